// SPDX-License-Identifier: GPL-2.0-only
#include "checks.h"

#include "atom.h"
#include "force.h"
#include "group.h"
#include "neighbor.h"

namespace idle_md {
namespace {

// LAMMPS leaves bonded pairs out of lists where both weights are zero, and marks them where they are
// others than one: the model knows no weights.
std::string special_bonds(const ModelAtoms& model, const LAMMPS_NS::Force& force) {
  const LAMMPS_NS::Atom& atom = model.atom;
  if (atom.molecular == LAMMPS_NS::Atom::ATOMIC) return "";
  for (int order = 1; order <= 3; ++order) {
    if (force.special_lj[order] == 1.0 && force.special_coul[order] == 1.0) continue;
    for (int i = 0; i < atom.nlocal; ++i) {
      if (model.species[atom.type[i]] < 0) continue;
      const int before = order > 1 && atom.nspecial ? atom.nspecial[i][order - 2] : 0;
      if (!atom.nspecial || atom.nspecial[i][order - 1] > before)
        return "special_bonds weighs or leaves out bonded pairs, which the model needs in full: write `special_bonds "
               "lj/coul 1 1 1`, or leave bonds of the model's atoms out of the data file";
    }
  }
  return "";
}

std::string exclusions(const ModelAtoms& model, const LAMMPS_NS::Neighbor& neighbor, const LAMMPS_NS::Group& group) {
  const std::string remedy = ": exclude no pairs of atoms that the model describes";
  for (int n = 0; n < neighbor.nex_type; ++n)
    if (model.species[neighbor.ex1_type[n]] >= 0 && model.species[neighbor.ex2_type[n]] >= 0)
      return "neigh_modify exclude type " + std::to_string(neighbor.ex1_type[n]) + " " +
             std::to_string(neighbor.ex2_type[n]) + " takes pairs of the model from the neighbour list" + remedy;
  for (int n = 0; n < neighbor.nex_group; ++n) {
    const int one = neighbor.ex1_group[n], two = neighbor.ex2_group[n];
    if (model.some & group.bitmask[one] && model.some & group.bitmask[two])
      return std::string("neigh_modify exclude group ") + group.names[one] + " " + group.names[two] +
             " takes pairs of the model from the neighbour list" + remedy;
  }
  for (int n = 0; n < neighbor.nex_mol; ++n)
    if (model.some & group.bitmask[neighbor.ex_mol_group[n]])
      return std::string("neigh_modify exclude molecule of group ") + group.names[neighbor.ex_mol_group[n]] +
             " takes pairs of the model from the neighbour list" + remedy;
  if (neighbor.includegroup && !(model.every & group.bitmask[neighbor.includegroup]))
    return std::string("neigh_modify include ") + group.names[neighbor.includegroup] +
           " leaves atoms of the model without neighbours: include all of them";
  return "";
}

}  // namespace

ModelAtoms::ModelAtoms(const LAMMPS_NS::Atom& atoms, const std::vector<int64_t>& by_type, MPI_Comm world)
    : atom(atoms), species(by_type) {
  int bits[2] = {0, 0};  // groups with an atom of the model, and groups that lack one
  for (int i = 0; i < atom.nlocal; ++i) {
    if (species[atom.type[i]] < 0) continue;
    bits[0] |= atom.mask[i];
    bits[1] |= ~atom.mask[i];
  }
  MPI_Allreduce(MPI_IN_PLACE, bits, 2, MPI_INT, MPI_BOR, world);
  some = bits[0];
  every = ~bits[1];
}

std::string find_lost_neighbors(const ModelAtoms& model, const LAMMPS_NS::Force& force,
                                const LAMMPS_NS::Neighbor& neighbor, const LAMMPS_NS::Group& group) {
  const std::string bonds = special_bonds(model, force);
  return bonds.empty() ? exclusions(model, neighbor, group) : bonds;
}

}  // namespace idle_md
