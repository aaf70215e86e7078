// SPDX-License-Identifier: GPL-2.0-only
#include "checks.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "atom.h"
#include "comm.h"
#include "force.h"
#include "group.h"
#include "neigh_list.h"
#include "neighbor.h"

namespace idle_md {
namespace {

// `comm_modify group` is kept where styles do not see it.
struct CommGroup : LAMMPS_NS::Comm {
  static int of(LAMMPS_NS::Comm& comm) { return comm.*&CommGroup::bordergroup; }
};

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

std::string angstrom(double length) {
  char text[32];
  std::snprintf(text, sizeof text, "%g A", length);
  return text;
}

// The list itself, whatever styles and commands have made of it.
std::string skipped_pairs(const ModelAtoms& model, const Neighborhood& around) {
  const LAMMPS_NS::NeighList& list = around.list;
  const double wanted = around.cutoff + around.neighbor.skin;
  for (int i = 1; i <= model.atom.ntypes; ++i)
    for (int j = i; j <= model.atom.ntypes; ++j) {
      if (model.species[i] < 0 || model.species[j] < 0) continue;
      const bool skipped = list.ijskip && (list.iskip[i] || list.iskip[j] || list.ijskip[i][j] || list.ijskip[j][i]);
      if (skipped || std::sqrt(around.neighbor.cutneighsq[i][j]) < wanted * (1.0 - 1e-9))
        return "pairs of types " + std::to_string(i) + " and " + std::to_string(j) +
               " are taken from the model by another pair_coeff, and it needs all pairs of its atoms: use "
               "hybrid/overlay, where other styles add to it, without `none` for these types; or name NULL in its "
               "pair_coeff for types that it shall not describe";
    }
  return "";
}

std::string ghosts(const ModelAtoms& model, const Neighborhood& around) {
  const int group = CommGroup::of(around.comm);
  if (group && !(model.every & around.group.bitmask[group]))
    return std::string("comm_modify group ") + around.group.names[group] +
           " leaves atoms of the model without ghosts of the others: write `comm_modify group all`";
  if (around.comm.mode != LAMMPS_NS::Comm::SINGLE) return "";  // as far as neighbours of each type
  const double reach = std::max(around.comm.cutghostuser, around.neighbor.cutneighmax);
  if (reach >= around.ghosts * (1.0 - 1e-9)) return "";
  return "ghosts reach " + angstrom(reach) + ", the model and the skin need " + angstrom(around.ghosts) +
         ": write `comm_modify cutoff " + std::to_string(around.ghosts) + "`";
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

std::string find_lost_neighbors(const ModelAtoms& model, const Neighborhood& around) {
  for (const std::string& lost : {special_bonds(model, around.force), exclusions(model, around.neighbor, around.group),
                                  skipped_pairs(model, around), ghosts(model, around)})
    if (!lost.empty()) return lost;
  return "";
}

// As idle_md.deploy.gate does in Python.
std::string remark_on_charge(const ModelAtoms& model, const std::optional<std::map<int, long>>& known, MPI_Comm world) {
  const LAMMPS_NS::Atom& atom = model.atom;
  if (!atom.q_flag) return "";
  double sums[2] = {0.0, 0.0};  // of charges, and of their sizes
  for (int i = 0; i < atom.nlocal; ++i)
    if (model.species[atom.type[i]] >= 0) {
      sums[0] += atom.q[i];
      sums[1] += std::abs(atom.q[i]);
    }
  MPI_Allreduce(MPI_IN_PLACE, sums, 2, MPI_DOUBLE, MPI_SUM, world);
  const int total = int(std::lround(sums[0]));
  const bool whole = std::abs(sums[0] - total) <= 0.05;
  if (sums[1] == 0.0 || (whole && (known ? known->count(total) : total == 0))) return "";
  char text[32];
  std::snprintf(text, sizeof text, "%+.2g", sums[0]);
  std::string trained = "its file does not say which charges it was trained on: use it only if this was one of them";
  if (known) {
    trained = "it was trained on geometries of the charges";
    for (const auto& [charge, count] : *known)
      trained += std::string(charge == known->begin()->first ? " " : ", ") + (charge > 0 ? "+" : "") +
                 std::to_string(charge) + " (" + std::to_string(count) + ")";
  }
  return std::string("what the model describes has a charge of ") + text + " e: the model is given no charge, and " +
         trained;
}

int hidden_groups(const LAMMPS_NS::Neighbor& neighbor) {
  constexpr int all = 1;  // bit of the group of all atoms
  int bits = 0;
  for (int n = 0; n < neighbor.nex_group; ++n) {
    if (neighbor.ex1_bit[n] == all) bits |= neighbor.ex2_bit[n];
    if (neighbor.ex2_bit[n] == all) bits |= neighbor.ex1_bit[n];
  }
  return bits;
}

}  // namespace idle_md
