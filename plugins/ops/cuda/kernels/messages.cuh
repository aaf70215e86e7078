// Messages along edges, and their way back. A warp takes 32 features of an atom along the atom's
// edges; the part of the filters' table that these features need fits the first-level cache.
//
// `slices` warps share an atom's edges where there are few atoms.
#pragma once

#include "edges.cuh"

namespace idle_md::cuda {

// The filters of 32 features at one distance: parts (scalar, radial, mixing), and derivatives.
template <class T, int features, int terms, int parts>
struct Filters {
  T value[parts], slope[parts];

  template <bool slopes>
  IDLE_MD_DEVICE void read(const T* table, const Ahead<T, terms>& edge, const T* derivatives) {
    IDLE_MD_UNROLL
    for (int p = 0; p < parts; ++p) value[p] = slope[p] = T(0);
    const T* row = table + long(edge.first) * (parts * features);
    IDLE_MD_UNROLL
    for (int m = 0; m < terms; ++m)
      IDLE_MD_UNROLL
      for (int p = 0; p < parts; ++p) {
        const T entry = row[(m * parts + p) * features];
        value[p] += edge.weights[m] * entry;
        if constexpr (slopes) slope[p] += derivatives[m] * entry;
      }
  }
};

// Which atom, features and share of the edges a warp has.
template <int features, int slices>
struct Share {
  static constexpr int atoms_of_block = warps_of_messages / slices;
  int atom, slice, chunk, feature;
  bool is_on;  // the last chunk may be half empty

  IDLE_MD_DEVICE Share() {
    atom = int(blockIdx.x) * atoms_of_block + warp() / slices;
    slice = warp() % slices;
    chunk = int(blockIdx.y);
    feature = chunk * chunk_features + lane();
    is_on = feature < features;
    if (!is_on) feature = features - 1;
  }
};

// Adds up what the slices of an atom have; those of the first one are right afterwards.
template <class T, int slices, int values>
IDLE_MD_DEVICE void add_slices(T (&x)[values], T* memory) {
  if constexpr (slices > 1) {
    for (int k = 0; k < values; ++k) memory[(warp() * values + k) * 32 + lane()] = x[k];
    __syncthreads();
    if (warp() % slices == 0)
      for (int other = 1; other < slices; ++other)
        for (int k = 0; k < values; ++k) x[k] += memory[((warp() + other) * values + k) * 32 + lane()];
  }
}

// The first interaction, where what is sent depends on the element alone and there are no vectors.
template <class T, int F, int terms, int slices>
IDLE_MD_DEVICE void first_messages(const MessageArguments<T>& args, T* memory) {
  const Share<F, slices> my;
  T sum[4] = {};
  if (my.atom < args.atoms) {
    const auto* ahead = static_cast<const Ahead<T, terms>*>(args.ahead);
    const int end = args.end[my.atom];
    for (int e = args.start[my.atom] + my.slice; e < end; e += slices) {
      const Ahead<T, terms> edge = ahead[e];
      Filters<T, F, terms, 2> filter;
      filter.template read<false>(args.table + my.feature, edge, nullptr);
      const T* sent = args.sent + long(args.kind[edge.neighbor]) * (2 * F) + my.feature;
      sum[0] += sent[0] * filter.value[0];
      const T radial = sent[F] * filter.value[1];
      for (int k = 0; k < 3; ++k) sum[k + 1] += edge.direction[k] * radial;
    }
  }
  add_slices<T, slices>(sum, memory);
  if (my.atom >= args.atoms || my.slice > 0 || !my.is_on) return;
  const long own = long(my.atom) * F + my.feature;
  args.scalars_out[own] = args.scalars[long(args.kind[my.atom]) * F + my.feature] + sum[0];
  for (int k = 0; k < 3; ++k) args.vectors_out[(3L * my.atom + k) * F + my.feature] = sum[k + 1];
}

template <class T, int F, int terms, int slices>
IDLE_MD_DEVICE void later_messages(const MessageArguments<T>& args, T* memory) {
  const Share<F, slices> my;
  T sum[4] = {};
  if (my.atom < args.atoms) {
    const auto* ahead = static_cast<const Ahead<T, terms>*>(args.ahead);
    const int end = args.end[my.atom];
    for (int e = args.start[my.atom] + my.slice; e < end; e += slices) {
      const Ahead<T, terms> edge = ahead[e];
      Filters<T, F, terms, 3> filter;
      filter.template read<false>(args.table + my.feature, edge, nullptr);
      const long place = long(edge.neighbor) * (3 * F) + my.feature;
      const T *sent = args.sent + place, *vectors = args.vectors + place;
      sum[0] += sent[0] * filter.value[0];
      const T radial = sent[F] * filter.value[1], mixing = sent[2 * F] * filter.value[2];
      for (int k = 0; k < 3; ++k)
        sum[k + 1] += edge.direction[k] * radial + mixing * vectors[k * F];
    }
  }
  add_slices<T, slices>(sum, memory);
  if (my.atom >= args.atoms || my.slice > 0 || !my.is_on) return;
  const long own = long(my.atom) * F + my.feature;
  args.scalars_out[own] = args.scalars[own] + sum[0];
  for (int k = 0; k < 3; ++k) {
    const long row = (3L * my.atom + k) * F + my.feature;
    args.vectors_out[row] = args.vectors[row] + sum[k + 1];
  }
}

// Writes, or adds, the sums over a warp's features of an edge's four gradients.
template <class T, int chunks>
IDLE_MD_DEVICE void add_edge_sums(const ReverseMessageArguments<T>& args, int slot, int chunk,
                                  const T (&x)[4]) {
  const T sum = sum_four(x);
  if (lane() % 8 == 0) {
    T* place = args.sums + (long(slot) * chunks + chunk) * 4 + lane() / 8;
    *place = args.first ? sum : *place + sum;
  }
}

// Gradients of what an atom has sent, of its vectors (those they have received are added), and of the
// edges that lead away from it.
template <class T, int F, int terms, int slices>
IDLE_MD_DEVICE void reverse_messages(const ReverseMessageArguments<T>& args, T* memory) {
  const Share<F, slices> my;
  T sum[6] = {};  // of what was sent, then of the vectors
  if (my.atom < args.atoms) {
    const auto* ahead = static_cast<const Ahead<T, terms>*>(args.ahead);
    const auto* back = static_cast<const Back<T, terms>*>(args.back);
    const long own = long(my.atom) * (3 * F) + my.feature;
    T x[3], v[3];
    for (int k = 0; k < 3; ++k) {
      x[k] = my.is_on ? args.sent[own + k * F] : T(0);
      v[k] = my.is_on ? args.vectors[own + k * F] : T(0);
    }
    const int end = args.start[my.atom + 1];
    for (int n = args.start[my.atom] + my.slice; n < end; n += slices) {
      const int slot = args.ordered[n];
      const Ahead<T, terms> edge = ahead[slot];
      const Back<T, terms> way = back[slot];
      Filters<T, F, terms, 3> filter;
      filter.template read<true>(args.table + my.feature, edge, way.slopes);
      const T q = args.scalar_gradient[long(way.centre) * F + my.feature];
      T g[3];
      for (int k = 0; k < 3; ++k) g[k] = args.vector_gradient[(3L * way.centre + k) * F + my.feature];
      const T* u = edge.direction;
      const T radial = u[0] * g[0] + u[1] * g[1] + u[2] * g[2];
      const T mixing = g[0] * v[0] + g[1] * v[1] + g[2] * v[2];
      sum[0] += q * filter.value[0];
      sum[1] += radial * filter.value[1];
      sum[2] += mixing * filter.value[2];
      const T through = x[1] * filter.value[1], mixed = x[2] * filter.value[2];
      T out[4];
      out[0] = q * (x[0] * filter.slope[0]) + radial * (x[1] * filter.slope[1]) +
               mixing * (x[2] * filter.slope[2]);
      for (int k = 0; k < 3; ++k) {
        out[k + 1] = g[k] * through;
        sum[3 + k] += g[k] * mixed;
      }
      add_edge_sums<T, chunks_of(F)>(args, slot, my.chunk, out);
    }
  }
  add_slices<T, slices>(sum, memory);
  if (my.atom >= args.atoms || my.slice > 0 || !my.is_on) return;
  const long own = long(my.atom) * (3 * F) + my.feature;
  for (int k = 0; k < 3; ++k) {
    args.sent_gradient[own + k * F] = sum[k];
    args.received[own + k * F] = sum[3 + k] + args.vector_gradient[own + k * F];
  }
}

// Gradients of the edges through the first interaction.
template <class T, int F, int terms, int slices>
IDLE_MD_DEVICE void reverse_first_messages(const ReverseMessageArguments<T>& args) {
  const Share<F, slices> my;
  if (my.atom >= args.atoms) return;
  const auto* ahead = static_cast<const Ahead<T, terms>*>(args.ahead);
  const auto* back = static_cast<const Back<T, terms>*>(args.back);
  const T q = my.is_on ? args.scalar_gradient[long(my.atom) * F + my.feature] : T(0);
  T g[3];
  for (int k = 0; k < 3; ++k)
    g[k] = my.is_on ? args.vector_gradient[(3L * my.atom + k) * F + my.feature] : T(0);
  const int end = args.end[my.atom];
  for (int e = args.start[my.atom] + my.slice; e < end; e += slices) {
    const Ahead<T, terms> edge = ahead[e];
    const Back<T, terms> way = back[e];
    Filters<T, F, terms, 2> filter;
    filter.template read<true>(args.table + my.feature, edge, way.slopes);
    const T* sent = args.sent + long(args.kind[edge.neighbor]) * (2 * F) + my.feature;
    const T* u = edge.direction;
    const T radial = u[0] * g[0] + u[1] * g[1] + u[2] * g[2], through = sent[F] * filter.value[1];
    const T out[4] = {q * (sent[0] * filter.slope[0]) + radial * (sent[F] * filter.slope[1]),
                      g[0] * through, g[1] * through, g[2] * through};
    add_edge_sums<T, chunks_of(F)>(args, e, my.chunk, out);
  }
}

}  // namespace idle_md::cuda
