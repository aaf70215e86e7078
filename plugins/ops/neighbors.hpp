// Neighbour lists of open, periodic and partly periodic systems; lengths in angstrom.
#pragma once

#include <cstdint>
#include <functional>

#include "bins.hpp"
#include "parallel.hpp"

namespace idle_md {

// Where edges are written: centres and neighbours (n_edges,), lattice translations (n_edges, 3) or
// null in an open system, which has none.
struct EdgeArrays {
  int64_t* centers;
  int64_t* neighbors;
  double* shifts;
};

// Finds every directed pair (i, j, image) closer than the cutoff, i = j across a box included.
//
// Edges come sorted by centre i, then neighbour j, then image as an integer triple, so they
// depend on the input alone, not on the algorithm or the number of threads. `allocate` gets the
// number of edges and returns the arrays to fill.
//
// Throws std::invalid_argument for a cutoff that is not positive, positions that are no numbers or
// absurdly far away, periodic directions that span no volume, and so many atoms or images within
// the cutoff that they would fill the memory.
void find_edges(const Atoms& atoms, double cutoff,
                const std::function<EdgeArrays(int64_t n_edges)>& allocate,
                ParallelFor parallel_for = serial_for);

// vectors[e] = positions[neighbors[e]] - positions[centers[e]] + shifts[e], rounded once to Real.
template <class Real>
void edge_vectors(const double* positions, const EdgeArrays& edges, int64_t n_edges,
                  Real* vectors, ParallelFor parallel_for = serial_for);

// Whether an atom is further than a distance from where it was; true where that is not a number.
bool moved_beyond(double distance, const double* before, const double* now, int64_t n_atoms);

}  // namespace idle_md
