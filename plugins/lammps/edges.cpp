// SPDX-License-Identifier: GPL-2.0-only
#include "edges.hpp"

#include <algorithm>

#include "neigh_list.h"

namespace idle_md {

template <class T>
void Edges::find(const Atoms& atoms, const LAMMPS_NS::NeighList& list, double cutoff, int interactions) {
  count_ = 0;
  end_.clear();
  shared_.assign(shared_.size(), -1);
  number_owned(atoms, list);
  // Nodes that are found while the edges of one hop are made are those of the next.
  int64_t node = 0;
  for (int hop = 1; hop <= interactions; ++hop) {
    const int64_t end = nodes();
    for (; node < end; ++node) add_edges<T>(node, atoms, list, cutoff * cutoff, hop == interactions);
  }
  write_centres();
}

void Edges::number_owned(const Atoms& atoms, const LAMMPS_NS::NeighList& list) {
  species_.clear();
  atom_.clear();
  node_of_.assign(atoms.all, -1);
  for (int n = 0; n < list.inum; ++n) {
    const int i = list.ilist[n];
    const int64_t species = atoms.species[atoms.type[i]];
    if (species >= 0 && !(atoms.mask[i] & atoms.hidden)) add_node(i, species);
  }
  owned_ = nodes();
  if (!atoms.image_of) return;
  for (int j = atoms.owned; j < atoms.all; ++j)
    if (atoms.image_of[j] >= 0) node_of_[j] = node_of_[atoms.image_of[j]];
}

template <class T>
void Edges::add_edges(int64_t node, const Atoms& atoms, const LAMMPS_NS::NeighList& list, double square, bool last) {
  const int i = atom_[node];
  reserve<T>(list.numneigh[i]);
  const double *all = atoms.x, *x = all + 3 * i;
  int* close = &close_[count_];
  const int64_t found = find_close(i, atoms, list, square, close);
  int64_t* neighbors = &neighbors_[reserved_ + count_];
  T* vectors = std::get<std::vector<T>>(vectors_).data() + 3 * count_;
  int64_t kept = 0;
  for (int64_t n = 0; n < found; ++n) {
    const int64_t j = close[n];
    int64_t other = node_of_[j];
    if (other < 0) {
      const int64_t species = atoms.species[atoms.type[j]];
      if (species < 0) continue;
      other = last ? shared_node(species) : add_node(j, species);
    }
    close[kept] = j;
    neighbors[kept] = other;
    for (int k = 0; k < 3; ++k) vectors[3 * kept + k] = T(all[3 * j + k] - x[k]);
    ++kept;
  }
  end_.push_back(count_ += kept);
}

// Writes the neighbours within the cutoff; returns how many. What is too far is written and then
// written over: half of a list is kept, which half no processor can foresee.
int64_t Edges::find_close(int i, const Atoms& atoms, const LAMMPS_NS::NeighList& list, double square, int* found) {
  const int n_neighbors = list.numneigh[i];
  const int* neighbors = list.firstneigh[i];
  const double* all = atoms.x;
  const double x = all[3 * i], y = all[3 * i + 1], z = all[3 * i + 2];
  int64_t close = 0;
  for (int n = 0; n < n_neighbors; ++n) {
    const int64_t j = neighbors[n] & NEIGHMASK;
    const double dx = all[3 * j] - x, dy = all[3 * j + 1] - y, dz = all[3 * j + 2] - z;
    found[close] = j;
    close += dx * dx + dy * dy + dz * dz < square;
  }
  return close;
}

// Both rows of the index are one piece of memory, so the centres wait until their number is known.
void Edges::write_centres() {
  int64_t* out = neighbors_.data() + reserved_ - count_;
  int64_t begin = 0;
  for (int64_t node = 0; node < centres(); ++node) {
    std::fill(out + begin, out + end_[node], node);
    begin = end_[node];
  }
}

int64_t Edges::add_node(int atom, int64_t species) {
  node_of_[atom] = nodes();
  atom_.push_back(atom);
  species_.push_back(species);
  return node_of_[atom];
}

int64_t Edges::shared_node(int64_t species) {
  if (species >= int64_t(shared_.size())) shared_.resize(species + 1, -1);
  if (shared_[species] < 0) {
    shared_[species] = nodes();
    atom_.push_back(-1);
    species_.push_back(species);
  }
  return shared_[species];
}

template <class T>
void Edges::reserve(int64_t more) {
  std::vector<T>& vectors = std::get<std::vector<T>>(vectors_);
  const int64_t wanted = count_ + more + 1;
  if (wanted > int64_t(vectors.size()) / 3) vectors.resize(3 * (wanted + wanted / 4 + 64));
  if (wanted <= reserved_) return;
  const int64_t size = wanted + wanted / 4 + 64;
  close_.resize(size);
  neighbors_.resize(2 * size);
  std::copy_backward(&neighbors_[reserved_], &neighbors_[reserved_ + count_], &neighbors_[size + count_]);
  reserved_ = size;
}

template void Edges::find<float>(const Atoms&, const LAMMPS_NS::NeighList&, double, int);
template void Edges::find<double>(const Atoms&, const LAMMPS_NS::NeighList&, double, int);

}  // namespace idle_md
