// Messages over edges, forward and reverse. Sums run over an atom's own edges in their order, so
// they do not depend on how atoms are spread over threads. Vectors of features are the outer loop:
// the part of the filters' table that belongs to one of them fits the first-level cache.
#pragma once

#include "painn_model.hpp"

namespace {

// The filters at one distance: parts (scalar, radial, mixing) and their derivatives.
template <class T, int parts, bool slopes, int fixed_terms>
struct FilterAt {
  Vec<T> value[parts], slope[slopes ? parts : 1];

  inline FilterAt(const T* row, const T* weight, const T* derivative, int n) {
    for (int p = 0; p < parts; ++p) {
      value[p] = Vec<T>{};
      if (slopes) slope[p] = Vec<T>{};
    }
    const int terms = fixed_terms ? fixed_terms : n;
#pragma GCC unroll 6
    for (int m = 0; m < terms; ++m, row += parts * lanes<T>)
      for (int p = 0; p < parts; ++p) {
        const Vec<T> entry = load(row + p * lanes<T>);
        value[p] += weight[m] * entry;
        if (slopes) slope[p] += derivative[m] * entry;
      }
  }
};

template <class T, int parts>
struct Table {
  const T* chunk;
  const Edges<T>& edges;
  int terms;

  Table(const Model<T>& model, const Edges<T>& all, long layer, long f)
      : chunk(model.tables[layer] + f * model.rows * parts), edges(all), terms(model.terms) {}

  template <bool slopes, int fixed>
  inline FilterAt<T, parts, slopes, fixed> at(long e) const {
    return at<slopes, fixed>(edges.first[e], edges.weights + e * terms, edges.slopes + e * terms);
  }

  template <bool slopes, int fixed>
  inline FilterAt<T, parts, slopes, fixed> at(long first, const T* weights, const T* derivatives) const {
    return {chunk + first * parts * lanes<T>, weights, derivatives, terms};
  }
};

// An edge on its way back. Those of an atom that sends lie far apart, so they are gathered once and
// not for every vector of features.
template <class T, int fixed>
struct Returning {
  T weights[fixed ? fixed : 1], slopes[fixed ? fixed : 1], direction[3];
  int32_t first;
  int64_t edge, centre;

  void gather(const Edges<T>& edges, long e) {
    for (int m = 0; m < fixed; ++m) {
      weights[m] = edges.weights[e * fixed + m];
      slopes[m] = edges.slopes[e * fixed + m];
    }
    for (int k = 0; k < 3; ++k) direction[k] = edges.direction[3 * e + k];
    first = edges.first[e];
    edge = e;
    centre = edges.centre[e];
  }
};

// Scalars (a1 - a0, F) and vectors (a1 - a0, 3, F) that the first interaction's messages add up to.
template <class T, int fixed>
void first_messages(const Model<T>& model, const Edges<T>& edges, long a0, long a1, T* scalars, T* vectors) {
  const long F = model.F;
  for (long f = 0; f < F; f += lanes<T>) {
    const Table<T, 2> table(model, edges, 0, f);
    for (long a = a0; a < a1; ++a) {
      Vec<T> q{}, v[3] = {};
      for (long e = edges.start[a]; e < edges.start[a + 1]; ++e) {
        const auto filter = table.template at<false, fixed>(e);
        const T* sent = model.sent + edges.species[edges.neighbor[e]] * 2 * F + f;
        q += load(sent) * filter.value[0];
        const Vec<T> radial = load(sent + F) * filter.value[1];
        for (int k = 0; k < 3; ++k) v[k] += edges.direction[3 * e + k] * radial;
      }
      store(scalars + (a - a0) * F + f, q);
      for (int k = 0; k < 3; ++k) store(vectors + ((a - a0) * 3 + k) * F + f, v[k]);
    }
  }
}

// The same of a later interaction, whose messages also carry the neighbours' vectors.
template <class T, int fixed>
void messages(const Model<T>& model, const Edges<T>& edges, long layer, long a0, long a1, const T* sent,
              const T* vectors, T* scalars_out, T* vectors_out) {
  const long F = model.F;
  for (long f = 0; f < F; f += lanes<T>) {
    const Table<T, 3> table(model, edges, layer, f);
    for (long a = a0; a < a1; ++a) {
      Vec<T> q{}, v[3] = {};
      for (long e = edges.start[a]; e < edges.start[a + 1]; ++e) {
        const auto filter = table.template at<false, fixed>(e);
        const long place = edges.neighbor[e] * 3 * F + f;
        q += load(sent + place) * filter.value[0];
        const Vec<T> radial = load(sent + place + F) * filter.value[1];
        const Vec<T> mixing = load(sent + place + 2 * F) * filter.value[2];
        for (int k = 0; k < 3; ++k)
          v[k] += edges.direction[3 * e + k] * radial + mixing * load(vectors + place + k * F);
      }
      store(scalars_out + (a - a0) * F + f, q);
      for (int k = 0; k < 3; ++k) store(vectors_out + ((a - a0) * 3 + k) * F + f, v[k]);
    }
  }
}

// Gradients of an edge's length and direction, summed over features in vectors first.
template <class T>
struct EdgeSums {
  Vec<T> along, across[3];

  void add_to(T* gradient) const { add_sums<T>(&along, gradient); }
};

constexpr long edges_at_once = 48;  // whose sums fit the first-level cache

// Gradients of what atoms a0 to a1 have sent (.., 3 F), those of their vectors (.., 3, F) that come
// through the mixing, and of the edges to them (added). `sums` and `memory` hold the most edges of
// an atom.
template <class T, int fixed>
void reverse_messages(const Model<T>& model, const Edges<T>& edges, long layer, long a0, long a1,
                      const T* sent, const T* vectors, const T* scalar_gradient,
                      const T* vector_gradient, EdgeSums<T>* sums, void* memory, T* sent_gradient,
                      T* mixed_gradient, T* edge_gradients) {
  const long F = model.F;
  auto* returning = static_cast<Returning<T, fixed>*>(memory);
  for (long first = a0, last; first < a1; first = last) {
    const int64_t* source = edges.source;
    for (last = first + 1; last < a1 && source[last + 1] - source[first] <= edges_at_once; ++last) {
    }
    const long offset = source[first];
    for (long n = 0; n < source[last] - offset; ++n) {
      sums[n] = EdgeSums<T>{};
      returning[n].gather(edges, edges.outgoing[n + offset]);
    }
    for (long f = 0; f < F; f += lanes<T>) {
      const Table<T, 3> table(model, edges, layer, f);
      for (long a = first; a < last; ++a) {
        const long own = a * 3 * F + f;
        Vec<T> x[3], v[3], dx[3] = {}, dv[3] = {};
        for (int k = 0; k < 3; ++k) {
          x[k] = load(sent + own + k * F);
          v[k] = load(vectors + own + k * F);
        }
        for (long n = source[a] - offset; n < source[a + 1] - offset; ++n) {
          const Returning<T, fixed>& edge = returning[n];
          const long i = edge.centre;
          const auto filter = fixed ? table.template at<true, fixed>(edge.first, edge.weights, edge.slopes)
                                    : table.template at<true, fixed>(edge.edge);
          const T* u = edge.direction;
          EdgeSums<T>& out = sums[n];
          const Vec<T> q = load(scalar_gradient + i * F + f);
          Vec<T> g[3];
          for (int k = 0; k < 3; ++k) g[k] = load(vector_gradient + (i * 3 + k) * F + f);
          const Vec<T> radial = u[0] * g[0] + u[1] * g[1] + u[2] * g[2];
          const Vec<T> mixing = g[0] * v[0] + g[1] * v[1] + g[2] * v[2];
          dx[0] += q * filter.value[0];
          dx[1] += radial * filter.value[1];
          dx[2] += mixing * filter.value[2];
          out.along += q * (x[0] * filter.slope[0]) + radial * (x[1] * filter.slope[1]) +
                       mixing * (x[2] * filter.slope[2]);
          const Vec<T> through = x[1] * filter.value[1], mixed = x[2] * filter.value[2];
          for (int k = 0; k < 3; ++k) {
            out.across[k] += g[k] * through;
            dv[k] += g[k] * mixed;
          }
        }
        for (int k = 0; k < 3; ++k) {
          store(sent_gradient + own - a0 * 3 * F + k * F, dx[k]);
          store(mixed_gradient + own - a0 * 3 * F + k * F, dv[k]);
        }
      }
    }
    for (long n = 0; n < source[last] - offset; ++n) {
      sums[n].add_to(edge_gradients + 4 * returning[n].edge);
    }
  }
}

// Gradients of the edges of atoms a0 to a1 through the first interaction (added); the gradients of
// scalars and vectors are those of these atoms.
template <class T, int fixed>
void reverse_first_messages(const Model<T>& model, const Edges<T>& edges, long a0, long a1,
                            const T* scalar_gradient, const T* vector_gradient, EdgeSums<T>* sums,
                            T* edge_gradients) {
  const long F = model.F;
  for (long a = a0; a < a1; ++a) {
    const long begin = edges.start[a], end = edges.start[a + 1];
    for (long e = begin; e < end; ++e) sums[e - begin] = EdgeSums<T>{};
    for (long f = 0; f < F; f += lanes<T>) {
      const Table<T, 2> table(model, edges, 0, f);
      const Vec<T> q = load(scalar_gradient + (a - a0) * F + f);
      Vec<T> g[3];
      for (int k = 0; k < 3; ++k) g[k] = load(vector_gradient + ((a - a0) * 3 + k) * F + f);
      for (long e = begin; e < end; ++e) {
        const auto filter = table.template at<true, fixed>(e);
        const T *u = edges.direction + 3 * e;
        const T *sent = model.sent + edges.species[edges.neighbor[e]] * 2 * F + f;
        const Vec<T> x[2] = {load(sent), load(sent + F)};
        EdgeSums<T>& out = sums[e - begin];
        const Vec<T> radial = u[0] * g[0] + u[1] * g[1] + u[2] * g[2];
        out.along += q * (x[0] * filter.slope[0]) + radial * (x[1] * filter.slope[1]);
        const Vec<T> through = x[1] * filter.value[1];
        for (int k = 0; k < 3; ++k) out.across[k] += g[k] * through;
      }
    }
    for (long e = begin; e < end; ++e) sums[e - begin].add_to(edge_gradients + 4 * e);
  }
}

}  // namespace
