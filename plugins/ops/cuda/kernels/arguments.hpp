// What the host hands to the kernels: plain structs that every compiler lays out alike.
//
// N atoms, E edges, F features. All pointers are on the device; numbers of an engine (species, edge
// indices) are 64-bit integers, those of the kernels 32-bit ones.
#pragma once

namespace idle_md::cuda {

using Int64 = long long;

constexpr int warps_of_messages = 4;      // in a block of a kernel over edges
constexpr int threads_of_edges = 128;     // in a block of a kernel whose warps have an atom each
constexpr int blocks_of_edges = 8;        // of either kind on a processor, at least
constexpr int threads_of_group = 512;     // in the one block that scans, or groups few keys
constexpr int chunk_features = 32;        // that a warp takes along an atom's edges

constexpr int chunks_of(int features) { return (features + chunk_features - 1) / chunk_features; }

// What a message reads of its edge, and what its way back reads beside.
constexpr long rounded16(long bytes) { return (bytes + 15) / 16 * 16; }
constexpr long ahead_bytes(long real, int terms) { return rounded16(real * (terms + 4) + 8); }
constexpr long back_bytes(long real, int terms) { return rounded16(real * terms + 8); }

// The edges of a model, kept to those that are shorter than the cutoff: rows of kept edges begin
// where the rows of all edges do.
template <class T>
struct EdgeArguments {
  int atoms, edges, elements;
  const Int64 *species, *centre, *neighbor;  // (N,), (E,), (E,)
  const T* vectors;                          // (E, 3)
  double cutoff, spacing;                    // angstrom; spacing of the splines' knots
  int bessel;                                // radial functions without tables
  const double* nodes;                       // (terms - 1,)
  int* start;                                // (N + 1,), of all edges
  int* end;                                  // (N,), of the kept ones
  int* kind;                                 // (N,), species that are rows of the tables
  int* sender;                               // (E,), neighbour of a kept edge, or -1
  void *ahead, *back;                        // (E,), records of kept edges
  T* gradients;                              // (E, 3), zero where an edge is not kept
  int* problem;                              // not zero: what comes out is NaN
};

// Numbers of entries by key: entry n is in the group keys[n], or in none where that is negative.
template <class Key>
struct GroupArguments {
  const Key* keys;      // (entries,)
  int entries, groups;
  int* count;           // (groups,), scratch
  int* start;           // (groups + 1,)
  int* unordered;       // (entries,), scratch
  int* ordered;         // (entries,), entries of a group in ascending order
  const int* only_if;   // nothing is done where this is zero; null: always
};

template <class T>
struct MessageArguments {
  int atoms;
  const int *start, *end;      // rows of kept edges by centre
  const int *kind;             // (N,)
  const void* ahead;
  const T* table;              // (rows, 2 F) for the first interaction, (rows, 3 F)
  const T* sent;               // (elements, 2 F) for the first, (N, 3 F)
  const T *scalars, *vectors;  // what the messages add to: (elements, F) for the first, (N, F); (N, 3, F)
  T *scalars_out, *vectors_out;
};

template <class T>
struct ReverseMessageArguments {
  int atoms, first;                        // first: no sums have been written before
  // Rows of kept edges: by sender, from start[a] to start[a + 1] in `ordered`; for the first interaction
  // by centre, from start[a] to end[a].
  const int *start, *end, *ordered;
  const int* kind;
  const void *ahead, *back;
  const T *table, *sent, *vectors;         // as in MessageArguments
  const T *scalar_gradient, *vector_gradient;  // (N, F), (N, 3, F), of what messages were added to
  T *sent_gradient, *received;             // (N, 3 F), (N, 3, F)
  T* sums;                                 // (E, chunks, 4): of length and direction
};

template <class T>
struct EdgeGradientArguments {
  int edges;
  const int *sender, *problem;
  const void *ahead, *back;
  const T* sums;
  T* gradients;  // (E, 3)
};

// A layer with the transpose of its weight for the way back.
template <class T>
struct DenseLayer {
  const T *weight, *transposed, *bias;  // (inputs, outputs), (outputs, inputs), (outputs,) or null
};

// What an update leaves for its way back.
template <class T>
struct Trace {
  T *mixed, *slope, *gates;  // (N, 3, 2 F), (N, F), (N, width): width 2 F for the last, or 3 F
};

template <class T>
struct UpdateArguments {
  int atoms;
  const T *scalars, *vectors;  // (N, F), (N, 3, F)
  DenseLayer<T> mix, hidden, output;
  Trace<T> trace;
  T *scalars_out, *vectors_out;
  DenseLayer<T> message_hidden, message_output;  // of the next interaction
  T *message_slope, *sent;                       // (N, F), (N, 3 F)
};

// The last update, the head, and the way back through both.
template <class T>
struct TopArguments {
  int atoms, owned;
  const T *scalars, *vectors;
  DenseLayer<T> mix, hidden, output;
  Trace<T> trace;
  DenseLayer<T> head;              // padded with zeros
  const T *direct, *readout;       // (F,), (head outputs,)
  const int* problem;
  double* energies;                // (N,)
  T *scalar_gradient, *vector_gradient;
};

// The way back through the network of a message and through the update before it.
template <class T>
struct ReverseUpdateArguments {
  int atoms;
  const T *sent_gradient, *received;  // (N, 3 F), (N, 3, F)
  DenseLayer<T> message_hidden, message_output;
  const T* message_slope;
  DenseLayer<T> mix, hidden, output;
  Trace<T> trace;
  T *scalar_gradient, *vector_gradient;  // replaced
};

constexpr int most_images = 500;  // of a cell, to each side
constexpr int padding = -1;       // image of a place that no edge takes

// The lattice and the bins of a list, on the device; lengths in angstrom.
struct Grid {
  double rows[9], reciprocal[9];  // lattice vectors, unit vectors along open directions
  double origin[3], per_bin[3];   // of open directions; bins per fraction
  int bins[3], reach[3];
};

// What can be wrong with a list: bits of its problem.
constexpr int bad_box = 1, bad_position = 2, no_room = 4;

// A list with a skin and room for `room` edges of every atom.
struct ListArguments {
  int atoms, most_bins, room;
  int periodic[3];
  double reach, moved;           // cutoff + skin, half the skin
  double unit;                   // angstrom per unit of length of the engine
  const void *positions, *box;   // (particles, 3); (3, 3) or null, in the engine's precision
  const Int64* chosen;           // (N,), indices of the particles
  double *points, *before, *wrapped;  // (N, 3): now, at the last search, inside the cell
  double* cell;                  // (9,), at the last search
  Grid* grid;
  int* wraps;                    // (N, 3)
  int *bin, *bin_start, *bin_atoms;   // (N,), (most_bins + 1,), (N,)
  Int64* found;                  // (N, room), scratch
  int *neighbor, *image;         // (N, room)
  int *stale, *problem, *searches;
  Int64* index;                  // (2, N room), of one evaluation alone
  void* vectors;                 // (N, room, 3), likewise, in the precision of the model
};

// Every pair of an open system.
struct AllPairsArguments {
  int atoms;
  double unit;
  const void* positions;
  const Int64* chosen;
  void* vectors;  // (N (N - 1), 3)
};

struct ForceArguments {
  int atoms, edges;
  long particles;
  const int *start, *ordered;       // entries by atom: e as centre, E + e as neighbour
  const void* gradients;            // (E, 3), in the precision of the model
  const Int64* chosen;              // (N,), or null: all
  double force_unit, energy_unit;
  const double* energies;           // (N,)
  double* energy;                   // or null
  void* forces;                     // (particles, 3)
};

}  // namespace idle_md::cuda
