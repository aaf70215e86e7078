// Energies of PaiNN (Schuett et al., arXiv 2102.03150) and their gradients, for the edge contract.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "parallel.hpp"

namespace idle_md {

// A layer y = x W + b as torch keeps it: weight (inputs, outputs), bias (outputs) or null.
template <class T>
struct Layer {
  const T* weight = nullptr;
  const T* bias = nullptr;
  long inputs = 0, outputs = 0;
};

constexpr int max_interactions = 16;

// The weights, as they are exported. Those of the first message stand in tables over the elements.
template <class T>
struct PainnWeights {
  long features = 0, interactions = 0, elements = 0;  // elements: rows of the tables
  const T* embedding = nullptr;                       // (elements, features)
  const T* sent = nullptr;                            // (elements, 2 features)
  Layer<T> message_hidden[max_interactions], message_output[max_interactions];  // from the second on
  Layer<T> mix[max_interactions], update_hidden[max_interactions], update_output[max_interactions];
  Layer<T> head_hidden;        // inputs 0: none
  const T* direct = nullptr;   // (features,)
  const T* readout = nullptr;  // (head_hidden.outputs,)
};

// A filter at distance r is W(r) = sum_m weight_m(r) row(first(r) + m). The rows belong to the radial
// functions, or to quintic B-splines of W without its envelope; weights and slopes carry the envelope.
template <class T>
struct Filters {
  long rows = 0;                           // of every table
  int terms = 0;                           // rows that take part at a distance
  const T* tables[max_interactions] = {};  // (rows, 2 features) the first, (rows, 3 features)
};

constexpr int spline_terms = 6;

struct Spline {
  double spacing = 0, cutoff = 0;  // angstrom; the first row takes part from distance 0 on
};

// The edges that are shorter than the cutoff, sorted by centre.
template <class T>
struct Edges {
  long atoms = 0, owned = 0, edges = 0;
  const int64_t* species = nullptr;   // (atoms,), in [0, elements)
  const int64_t* centre = nullptr;    // (edges,)
  const int64_t* neighbor = nullptr;  // (edges,)
  const int64_t* place = nullptr;     // (edges,), where an edge's gradient is written
  T* vectors = nullptr;               // (edges, 3)
  T* direction = nullptr;             // (edges, 3)
  T* inverse = nullptr;               // (edges,), one over the length
  int32_t* first = nullptr;           // (edges,), first row of the filters' tables
  T* weights = nullptr;               // (edges, terms)
  T* slopes = nullptr;                // (edges, terms), derivatives of the weights
  const int64_t* start = nullptr;     // (atoms + 1,), an atom's edges as centre
  const int64_t* source = nullptr;    // (atoms + 1,), an atom's places in `outgoing`
  const int64_t* outgoing = nullptr;  // (edges,), edges sorted by neighbour
};

// What the kernels of one instruction set offer.
template <class T>
struct PainnKernels {
  const char* name;
  // Bytes of the packed model; 64-byte aligned memory of this size is then filled by `pack`.
  size_t (*packed_bytes)(const PainnWeights<T>&, const Filters<T>&);
  void (*pack)(const PainnWeights<T>&, const Filters<T>&, void* packed);
  // Bytes of the memory that an evaluation needs.
  size_t (*shared_bytes)(const void* packed, long atoms, long edges);
  // Writes direction, inverse, first, weights and slopes of edges from their vectors.
  void (*splines)(const Spline&, const Edges<T>&, long begin, long end);
  // Writes energies (atoms,) without reference energies, and gradients at the edges' places.
  // `thread_memory` gives every thread memory of its own, the same again until more is wanted.
  void (*evaluate)(const void* packed, const Edges<T>&, void* shared, void* (*thread_memory)(size_t),
                   ParallelFor, double* energies, T* gradients);
};

// The best kernels that this processor runs; IDLE_MD_ISA=baseline, avx2 or avx512 asks for others.
template <class T>
const PainnKernels<T>& painn_kernels();

// Radial functions under the envelope, see idle_md.nn.radial.
struct Radial {
  bool bessel = true;
  double cutoff = 0;
  std::vector<double> nodes;

  // The functions without the envelope, and their derivatives; then 1 and 0.
  void raw(double r, double* values, double* slopes) const;
};

// A model that evaluates edges; thread-safe.
template <class T>
class Painn {
 public:
  // `filters` are (radial.nodes.size() + 1, 2 or 3 features) for every interaction. They are used as
  // they are, or from tables, which is faster.
  Painn(const PainnWeights<T>& weights, const T* const* filters, const Radial& radial, bool tabulated);
  ~Painn();
  Painn(const Painn&) = delete;
  Painn& operator=(const Painn&) = delete;

  // Writes energies (atoms,) without reference energies, and the gradients (edges, 3) of the sum of
  // the first `owned`. Throws std::invalid_argument if species, edges or vectors are not legal.
  void energy_gradient(long atoms, const int64_t* species, long edges, const int64_t* centre,
                       const int64_t* neighbor, const T* vectors, long owned, ParallelFor parallel,
                       double* energies, T* gradients) const;

 private:
  const PainnKernels<T>& kernels_;
  Radial radial_;
  Spline spline_;
  long elements_;
  bool tabulated_;
  int terms_;
  void* packed_;
};

}  // namespace idle_md
