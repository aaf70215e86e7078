// SPDX-License-Identifier: GPL-2.0-only
// Settings of LAMMPS that would silently take neighbours from a model.
#pragma once

#include <mpi.h>

#include <cstdint>
#include <string>
#include <vector>

namespace LAMMPS_NS {
class Atom;
class Force;
class Group;
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

// What takes neighbours from atoms of the model on this rank, and what to do; empty if nothing.
std::string find_lost_neighbors(const ModelAtoms& model, const LAMMPS_NS::Force& force,
                                const LAMMPS_NS::Neighbor& neighbor, const LAMMPS_NS::Group& group);

}  // namespace idle_md
