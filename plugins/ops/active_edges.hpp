// The edges that contribute, checked and in the order that the kernels need.
#pragma once

#include <cstring>
#include <limits>
#include <stdexcept>
#include <string>

#include "memory.hpp"
#include "painn.hpp"

namespace idle_md {

// The edges shorter than the cutoff, in memory of this thread.
template <class T>
class ActiveEdges : public Edges<T> {
 public:
  ActiveEdges(long atoms, const int64_t* species, long edges, const int64_t* centre,
              const int64_t* neighbor, const T* vectors, long owned, long elements, double cutoff,
              int terms, T* gradients) {
    this->atoms = atoms;
    this->owned = owned;
    this->species = species;
    for (long a = 0; a < atoms; ++a) {
      if (species[a] < 0 || species[a] >= elements)
        throw std::invalid_argument("atom " + std::to_string(a) + " has atomic number " +
                                    std::to_string(species[a]) + ", which the model does not know");
    }
    take(atoms, edges, terms);
    keep(edges, centre, neighbor, vectors, cutoff, gradients);
    sort_by_neighbor();
  }

 private:
  template <class A>
  A* next(size_t n) {
    A* piece = reinterpret_cast<A*>(base_ + used_);
    used_ += (n * sizeof(A) + 63) / 64 * 64;
    return piece;
  }

  void take(long atoms, long edges, int terms) {
    thread_local Memory memory;
    const size_t n = size_t(edges) + 16;
    base_ = nullptr;
    for (int round = 0; round < 2; ++round) {
      if (round) base_ = static_cast<char*>(memory.at_least(used_));
      used_ = 0;
      this->centre = centre_ = next<int64_t>(n);
      this->neighbor = neighbor_ = next<int64_t>(n);
      this->place = place_ = next<int64_t>(n);
      this->outgoing = outgoing_ = next<int64_t>(n);
      this->start = start_ = next<int64_t>(atoms + 1);
      this->source = source_ = next<int64_t>(atoms + 1);
      this->vectors = next<T>(3 * n);
      this->direction = next<T>(3 * n);
      this->inverse = next<T>(n);
      this->first = next<int32_t>(n);
      this->weights = next<T>(n * terms);
      this->slopes = next<T>(n * terms);
    }
  }

  void keep(long edges, const int64_t* centre, const int64_t* neighbor, const T* vectors, double cutoff,
            T* gradients) {
    const T square = T(cutoff) * T(cutoff);
    long kept = 0, atom = 0;
    start_[0] = 0;
    for (long e = 0; e < edges; ++e) {
      const int64_t i = centre[e], j = neighbor[e];
      const T* v = vectors + 3 * e;
      const T length = v[0] * v[0] + v[1] * v[1] + v[2] * v[2];
      if (i < atom || i >= this->atoms || j < 0 || j >= this->atoms || !(length > T(0)) ||
          !(length <= std::numeric_limits<T>::max()))
        refuse(e, i, j, atom, length);
      while (atom < i) start_[++atom] = kept;
      if (length >= square) {
        for (int k = 0; k < 3; ++k) gradients[3 * e + k] = T(0);
        continue;
      }
      centre_[kept] = i;
      neighbor_[kept] = j;
      place_[kept] = e;
      for (int k = 0; k < 3; ++k) this->vectors[3 * kept + k] = v[k];
      ++kept;
    }
    while (atom < this->atoms) start_[++atom] = kept;
    this->edges = kept;
  }

  [[noreturn]] void refuse(long e, int64_t i, int64_t j, long atom, T length) const {
    const std::string edge = "edge " + std::to_string(e);
    const std::string pair = " (atoms " + std::to_string(i) + " and " + std::to_string(j) + ")";
    if (i < 0 || i >= this->atoms || j < 0 || j >= this->atoms)
      throw std::invalid_argument(edge + pair + " names an atom that is not there: there are " +
                                  std::to_string(this->atoms));
    if (i < atom)
      throw std::invalid_argument(edge + pair + " is out of order: sort edges by their centre");
    if (length == T(0)) throw std::invalid_argument(edge + pair + " has length zero: two atoms at the same position");
    throw std::invalid_argument(edge + pair + " has a length that is not finite: check the positions");
  }

  void sort_by_neighbor() {
    std::memset(source_, 0, (this->atoms + 1) * sizeof(int64_t));
    for (long e = 0; e < this->edges; ++e) ++source_[neighbor_[e] + 1];
    for (long a = 0; a < this->atoms; ++a) source_[a + 1] += source_[a];
    for (long e = 0; e < this->edges; ++e) outgoing_[source_[neighbor_[e]]++] = e;
    for (long a = this->atoms; a > 0; --a) source_[a] = source_[a - 1];
    source_[0] = 0;
  }

  char* base_ = nullptr;
  size_t used_ = 0;
  int64_t *centre_, *neighbor_, *place_, *outgoing_, *start_, *source_;
};

}  // namespace idle_md
