// Directions and lengths of edges, and the B-splines that their filters are made of.
#pragma once

#include "painn_model.hpp"

namespace {

using idle_md::Spline;

// Quintic B-splines at t in [0, 1) of their interval, and their derivatives: the recursion of
// de Boor, Cox and Mansfield for equally spaced knots.
template <class T>
inline void b_splines(Vec<T> t, Vec<T>* value, Vec<T>* slope) {
  value[0] = Vec<T>{} + T(1);
#pragma GCC unroll 5
  for (int degree = 1; degree < spline_terms; ++degree) {
    if (degree == spline_terms - 1) {
      slope[0] = -value[0];
      for (int j = 1; j < degree; ++j) slope[j] = value[j - 1] - value[j];
      slope[degree] = value[degree - 1];
    }
    const T scale = T(1) / T(degree);
    value[degree] = scale * t * value[degree - 1];
    for (int j = degree - 1; j > 0; --j)
      value[j] = scale * ((t + T(degree - j)) * value[j - 1] + (T(j + 1) - t) * value[j]);
    value[0] = scale * (T(1) - t) * value[0];
  }
}

template <class T>
void splines(const Spline& spline, const Edges<T>& edges, long begin, long end) {
  constexpr int L = lanes<T>;
  const T per_spacing = T(1 / spline.spacing), per_cutoff = T(1 / spline.cutoff);
  for (long e = begin; e < end; e += L) {
    const int n = end - e < L ? int(end - e) : L;
    T r[L], inverse[L], place[L];
    int32_t interval[L];
    for (int k = 0; k < L; ++k) {
      const T* v = edges.vectors + 3 * (e + (k < n ? k : 0));
      r[k] = v[0] * v[0] + v[1] * v[1] + v[2] * v[2];
    }
    store(r, root<T>(load(r)));
    store(inverse, T(1) / load(r));
    for (int k = 0; k < L; ++k) {
      const double scaled = double(r[k]) / spline.spacing;  // in single precision, places were coarse
      interval[k] = int32_t(scaled);
      place[k] = T(scaled - double(interval[k]));
    }
    // The envelope 1 - 28 x^6 + 48 x^7 - 21 x^8, factored, and its derivative.
    Vec<T> x = load(r) * per_cutoff;
    x = x > T(1) ? Vec<T>{} + T(1) : x;
    const Vec<T> rest = T(1) - x, square = rest * rest, x2 = x * x;
    const Vec<T> series = T(1) + x * (T(3) + x * (T(6) + x * (T(10) + x * (T(15) + x * T(21)))));
    const Vec<T> fade = square * rest * series, fade_slope = square * x2 * x2 * x * (T(-168) * per_cutoff);
    Vec<T> value[spline_terms], slope[spline_terms];
    b_splines<T>(load(place), value, slope);
    T weights[spline_terms][L], slopes[spline_terms][L];
    for (int m = 0; m < spline_terms; ++m) {
      store(weights[m], value[m] * fade);
      store(slopes[m], value[m] * fade_slope + slope[m] * (fade * per_spacing));
    }
    for (int k = 0; k < n; ++k) {
      edges.inverse[e + k] = inverse[k];
      edges.first[e + k] = interval[k];
      for (int c = 0; c < 3; ++c)
        edges.direction[3 * (e + k) + c] = edges.vectors[3 * (e + k) + c] * inverse[k];
      for (int m = 0; m < spline_terms; ++m) {
        edges.weights[(e + k) * spline_terms + m] = weights[m][k];
        edges.slopes[(e + k) * spline_terms + m] = slopes[m][k];
      }
    }
  }
}

}  // namespace
