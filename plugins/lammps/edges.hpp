// SPDX-License-Identifier: GPL-2.0-only
// From LAMMPS' atoms and neighbour list to the edges that a model needs on one rank, and back.
#pragma once

#include <cstdint>
#include <tuple>
#include <vector>

namespace LAMMPS_NS {
class NeighList;
}

namespace idle_md {

// LAMMPS' atoms on this rank, the owned ones first.
struct Atoms {
  int owned = 0, all = 0;
  const double* x = nullptr;         // (all, 3) in angstrom
  const int* type = nullptr;         // (all,)
  const int64_t* species = nullptr;  // atomic number by type, negative if the model lacks it
  const int* image_of = nullptr;     // (all,), the owned atom that an atom is or is an image of, or -1
  const int* mask = nullptr;         // (all,), bits of the groups that an atom is in
  int hidden = 0;                    // bits of the groups whose atoms have no part in anything
};

// Nodes are the owned atoms of the model, then the ghosts whose features the owned atoms' energies
// depend on. Ghosts that matter by their element alone share a node for every element.
class Edges {
 public:
  // `interactions` are those of the model, 1 where nothing but the edges of owned atoms is needed. T is
  // the precision of the vectors.
  template <class T>
  void find(const Atoms& atoms, const LAMMPS_NS::NeighList& list, double cutoff, int interactions);

  int64_t owned() const { return owned_; }
  int64_t nodes() const { return species_.size(); }
  int64_t count() const { return count_; }
  const int64_t* species() const { return species_.data(); }
  const int64_t* index() const { return neighbors_.data() + reserved_ - count_; }  // (2, count), sorted by centre
  template <class T>
  const T* vectors() const {  // (count, 3)
    return std::get<std::vector<T>>(vectors_).data();
  }

  // Which atom of LAMMPS a node is; not for nodes that ghosts share.
  int atom(int64_t node) const { return atom_[node]; }
  // The edges of a centre end before this one.
  int64_t end(int64_t centre) const { return end_[centre]; }
  int64_t centres() const { return end_.size(); }
  // Which atom of LAMMPS an edge leads to.
  int neighbor(int64_t edge) const {
    const int atom = atom_[neighbors_[reserved_ + edge]];
    return atom < 0 ? close_[edge] : atom;
  }

 private:
  void number_owned(const Atoms& atoms, const LAMMPS_NS::NeighList& list);
  template <class T>
  void add_edges(int64_t node, const Atoms& atoms, const LAMMPS_NS::NeighList& list, double square, bool last);
  int64_t find_close(int i, const Atoms& atoms, const LAMMPS_NS::NeighList& list, double square, int* found);
  int64_t add_node(int atom, int64_t species);
  int64_t shared_node(int64_t species);
  template <class T>
  void reserve(int64_t more);
  void write_centres();

  int64_t owned_ = 0, count_ = 0, reserved_ = 0;
  std::vector<int64_t> species_, shared_, end_;
  std::vector<int64_t> neighbors_;  // from reserved_ on; the centres are written before them at last
  std::vector<int> atom_, node_of_, close_;
  std::tuple<std::vector<float>, std::vector<double>> vectors_;
};

}  // namespace idle_md
