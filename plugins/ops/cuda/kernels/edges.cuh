// Edges, checked and kept to those that are shorter than the cutoff, and their gradients.
#pragma once

#include "device.cuh"

namespace idle_md::cuda {

template <class T, int terms>
struct alignas(16) Ahead {
  T weights[terms], direction[3], inverse;  // of the filters' rows; one over the length
  int first, neighbor;                      // first row of the filters' tables
};

template <class T, int terms>
struct alignas(16) Back {
  T slopes[terms];  // derivatives of the weights
  int centre, place;
};

// The first edge whose centre is not before an atom.
IDLE_MD_DEVICE int first_edge(const Int64* centre, int edges, int atom) {
  int low = 0, high = edges;
  while (low < high) {
    const int middle = low + (high - low) / 2;
    if (centre[middle] < atom)
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

template <class T>
IDLE_MD_DEVICE void find_rows(const EdgeArguments<T>& args) {
  const int a = thread_of_grid();
  if (a <= args.atoms) args.start[a] = first_edge(args.centre, args.edges, a);
  if (a < args.atoms) {
    const Int64 number = args.species[a];
    args.kind[a] = number >= 0 && number < args.elements ? int(number) : -1;
  }
  if (a == 0) *args.problem = args.atoms == 0 && args.edges > 0;
}

// Quintic B-splines at t in [0, 1) of their interval, and their derivatives: the recursion of
// de Boor, Cox and Mansfield for equally spaced knots.
template <class T, int terms>
IDLE_MD_DEVICE void b_splines(T t, T (&value)[terms], T (&slope)[terms]) {
  value[0] = T(1);
  IDLE_MD_UNROLL
  for (int degree = 1; degree < terms; ++degree) {
    if (degree == terms - 1) {
      slope[0] = -value[0];
      IDLE_MD_UNROLL
      for (int j = 1; j < degree; ++j) slope[j] = value[j - 1] - value[j];
      slope[degree] = value[degree - 1];
    }
    const T scale = T(1) / T(degree);
    value[degree] = scale * t * value[degree - 1];
    IDLE_MD_UNROLL
    for (int j = degree - 1; j > 0; --j)
      value[j] = scale * ((t + T(degree - j)) * value[j - 1] + (T(j + 1) - t) * value[j]);
    value[0] = scale * (T(1) - t) * value[0];
  }
}

// The radial functions without their envelope, see idle_md.nn.radial; then 1.
template <class T, int terms>
IDLE_MD_DEVICE void radial_functions(const EdgeArguments<T>& args, double r, T (&value)[terms],
                                     T (&slope)[terms]) {
  constexpr int n = terms - 1;
  for (int k = 0; k < n; ++k) {
    if (args.bessel) {
      const double norm = sqrt(2.0 / args.cutoff), angle = args.nodes[k] * r, wave = sin(angle) / r;
      value[k] = T(norm * wave);
      slope[k] = T(norm * (args.nodes[k] * cos(angle) - wave) / r);
    } else {
      const double per = (n - 1) / args.cutoff, width = -0.5 * per * per, offset = r - args.nodes[k];
      const double own = exp(width * offset * offset);
      value[k] = T(own);
      slope[k] = T(2.0 * width * offset * own);
    }
  }
  value[n] = T(1);
  slope[n] = T(0);
}

template <class T, int terms, bool tabulated>
IDLE_MD_DEVICE void keep_edge(const EdgeArguments<T>& args, int a, int e, int slot, T square) {
  Ahead<T, terms> ahead;
  Back<T, terms> back;
  const T* v = args.vectors + 3L * e;
  const T r = sqrt(square);
  ahead.inverse = T(1) / r;
  for (int k = 0; k < 3; ++k) ahead.direction[k] = v[k] * ahead.inverse;
  ahead.first = 0;
  T per_spacing = T(1);
  if constexpr (tabulated) {
    const double scaled = double(r) / args.spacing;  // in single precision, places were coarse
    ahead.first = int(scaled);
    per_spacing = T(1.0 / args.spacing);
    b_splines(T(scaled - double(ahead.first)), ahead.weights, back.slopes);
  } else {
    radial_functions(args, double(r), ahead.weights, back.slopes);
  }
  // The envelope 1 - 28 x^6 + 48 x^7 - 21 x^8, factored, and its derivative.
  const T per_cutoff = T(1.0 / args.cutoff);
  const T x = min(r * per_cutoff, T(1)), rest = T(1) - x, x2 = x * x;
  const T series = T(1) + x * (T(3) + x * (T(6) + x * (T(10) + x * (T(15) + x * T(21)))));
  const T fade = rest * rest * rest * series;
  const T fade_slope = rest * rest * x2 * x2 * x * (T(-168) * per_cutoff);
  IDLE_MD_UNROLL
  for (int m = 0; m < terms; ++m) {
    back.slopes[m] = ahead.weights[m] * fade_slope + back.slopes[m] * (fade * per_spacing);
    ahead.weights[m] *= fade;
  }
  ahead.neighbor = int(args.neighbor[e]);
  back.centre = a;
  back.place = e;
  static_cast<Ahead<T, terms>*>(args.ahead)[slot] = ahead;
  static_cast<Back<T, terms>*>(args.back)[slot] = back;
}

// A warp for each atom keeps the edges of its row, in their order.
template <class T, int terms, bool tabulated>
IDLE_MD_DEVICE void keep_edges(const EdgeArguments<T>& args) {
  static_assert(sizeof(Ahead<T, terms>) == ahead_bytes(sizeof(T), terms), "as the host counts them");
  static_assert(sizeof(Back<T, terms>) == back_bytes(sizeof(T), terms), "as the host counts them");
  const int a = int(blockIdx.x) * (threads_of_edges / 32) + warp();
  if (a >= args.atoms) return;
  const int begin = args.start[a], end = args.start[a + 1];
  const T limit = T(args.cutoff) * T(args.cutoff);
  bool is_bad = end < begin || (a == 0 && begin != 0) || (a == args.atoms - 1 && end != args.edges);
  int kept = begin;
  for (int base = begin; base < end; base += 32) {
    const int e = base + lane();
    bool is_kept = false;
    T square = T(0);
    if (e < end) {
      const T* v = args.vectors + 3L * e;
      square = v[0] * v[0] + v[1] * v[1] + v[2] * v[2];
      const Int64 j = args.neighbor[e];
      const bool is_legal = args.centre[e] == a && j >= 0 && j < args.atoms && square > T(0) &&
                            square <= largest<T>();
      is_bad = is_bad || !is_legal;
      is_kept = is_legal && square < limit;
      if (!is_kept)
        for (int k = 0; k < 3; ++k) args.gradients[3L * e + k] = T(0);
    }
    const unsigned taken = __ballot_sync(all_lanes, is_kept);
    const int slot = kept + __popc(taken & ((1u << lane()) - 1u));
    if (is_kept) {
      keep_edge<T, terms, tabulated>(args, a, e, slot, square);
      args.sender[slot] = int(args.neighbor[e]);
    }
    kept += __popc(taken);
  }
  for (int slot = kept + lane(); slot < end; slot += 32) args.sender[slot] = -1;
  if (lane() == 0) {
    is_bad = is_bad || args.kind[a] < 0;
    args.end[a] = kept;
  }
  if (is_bad) atomicOr(args.problem, 1);
  if (lane() == 0 && args.kind[a] < 0) args.kind[a] = 0;
}

// A thread for each edge: the gradient of its vector from those of its length and direction.
template <class T, int terms, int chunks>
IDLE_MD_DEVICE void edge_gradients(const EdgeGradientArguments<T>& args) {
  const int slot = thread_of_grid();
  if (slot >= args.edges) return;
  if (*args.problem) {
    for (int k = 0; k < 3; ++k) args.gradients[3L * slot + k] = not_a_number<T>();
    return;
  }
  if (args.sender[slot] < 0) return;
  T sum[4] = {};
  for (int chunk = 0; chunk < chunks; ++chunk) {
    const Four<T> part = load_four(args.sums + (long(slot) * chunks + chunk) * 4);
    for (int k = 0; k < 4; ++k) sum[k] += part.at[k];
  }
  const Ahead<T, terms>& ahead = static_cast<const Ahead<T, terms>*>(args.ahead)[slot];
  const T *u = ahead.direction, inverse = ahead.inverse;
  const T along = sum[0] - (sum[1] * u[0] + sum[2] * u[1] + sum[3] * u[2]) * inverse;
  T* out = args.gradients + 3L * static_cast<const Back<T, terms>*>(args.back)[slot].place;
  for (int k = 0; k < 3; ++k) out[k] = sum[k + 1] * inverse + along * u[k];
}

}  // namespace idle_md::cuda
