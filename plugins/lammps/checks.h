// SPDX-License-Identifier: GPL-2.0-only
// Whether all neighbours reach a model: settings of LAMMPS can silently take some from it.
#pragma once

#include <mpi.h>

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace LAMMPS_NS {
class Atom;
class Comm;
class Force;
class Group;
class NeighList;
class Neighbor;
}  // namespace LAMMPS_NS

namespace idle_md {

// The atoms that the model describes.
struct ModelAtoms {
  // `species` is the atomic number by type, -1 for atoms that the model does not describe.
  ModelAtoms(const LAMMPS_NS::Atom& atom, const std::vector<int64_t>& species, MPI_Comm world);

  const LAMMPS_NS::Atom& atom;
  const std::vector<int64_t>& species;
  int some, every;  // bits of the groups that some, or all of them are in, over all ranks
};

// Where a model's neighbours come from.
struct Neighborhood {
  LAMMPS_NS::Comm& comm;
  const LAMMPS_NS::Force& force;
  const LAMMPS_NS::Group& group;
  const LAMMPS_NS::Neighbor& neighbor;
  const LAMMPS_NS::NeighList& list;
  double cutoff, ghosts;  // in angstrom: how far edges, and ghosts, have to reach
};

// What takes neighbours from atoms of the model on this rank, and what to do; empty if nothing. After
// all of LAMMPS has been set up: fixes and other pair styles have their say until then.
std::string find_lost_neighbors(const ModelAtoms& model, const Neighborhood& around);

// What there is to say of the charges of the model's atoms, which are no input of it; empty if nothing,
// or no atom has one. `known` are those that it was trained on. The same on all ranks.
std::string remark_on_charge(const ModelAtoms& model, const std::optional<std::map<int, long>>& known, MPI_Comm world);

// Bits of the groups that have no pair with any atom, as atoms have for which a fix tries to be without them.
int hidden_groups(const LAMMPS_NS::Neighbor& neighbor);

}  // namespace idle_md
