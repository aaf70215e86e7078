// Products with matrices of weights, which are packed once. A row of the result does not depend on
// the other rows, so results are the same however rows are spread over threads.
#pragma once

#include "simd.hpp"

namespace {

// A matrix (inner, outer), outer a multiple of the vector's lanes, as panels of two vectors' width
// (the last may have one): panel, row, column.
template <class T>
struct Packed {
  const T* panels = nullptr;
  long inner = 0, outer = 0;
};

template <class T>
inline void pack(const T* matrix, long row_stride, long column_stride, long inner, long outer, T* out) {
  const long width = 2 * lanes<T>;
  for (long first = 0; first < outer; first += width) {
    const long columns = outer - first < width ? outer - first : width;
    for (long k = 0; k < inner; ++k)
      for (long n = 0; n < columns; ++n)
        *out++ = matrix[k * row_stride + (first + n) * column_stride];
  }
}

template <class T, int rows, int vectors>
inline void tile(const T* a, long lda, const T* panel, long inner, const T* bias, T* c, long ldc) {
  constexpr int L = lanes<T>;
  Vec<T> sums[rows][vectors];
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < vectors; ++v) sums[r][v] = bias ? load(bias + v * L) : Vec<T>{};
  for (long k = 0; k < inner; ++k) {
    Vec<T> b[vectors];
    for (int v = 0; v < vectors; ++v) b[v] = load(panel + (k * vectors + v) * L);
#pragma GCC unroll 12
    for (int r = 0; r < rows; ++r) {
      const T x = a[r * lda + k];
      for (int v = 0; v < vectors; ++v) sums[r][v] += x * b[v];
    }
  }
  for (int r = 0; r < rows; ++r)
    for (int v = 0; v < vectors; ++v) store(c + r * ldc + v * L, sums[r][v]);
}

template <class T, int rows, int vectors>
inline void last_rows(long m, const T* a, long lda, const T* panel, long inner, const T* bias, T* c,
                      long ldc) {
  if constexpr (rows > 0) {
    if (m == rows)
      tile<T, rows, vectors>(a, lda, panel, inner, bias, c, ldc);
    else
      last_rows<T, rows - 1, vectors>(m, a, lda, panel, inner, bias, c, ldc);
  }
}

template <class T, int vectors>
inline void panel_product(long m, const T* a, long lda, const T* panel, long inner, const T* bias, T* c,
                          long ldc) {
  while (m >= tile_rows) {
    tile<T, tile_rows, vectors>(a, lda, panel, inner, bias, c, ldc);
    a += tile_rows * lda;
    c += tile_rows * ldc;
    m -= tile_rows;
  }
  last_rows<T, tile_rows - 1, vectors>(m, a, lda, panel, inner, bias, c, ldc);
}

// c (m, outer) = a (m, inner) b + bias, where bias may be null.
template <class T>
void multiply(long m, const T* a, long lda, const Packed<T>& b, const T* bias, T* c, long ldc) {
  const long width = 2 * lanes<T>;
  for (long first = 0; first < b.outer; first += width) {
    const T* panel = b.panels + first * b.inner;
    const T* own = bias ? bias + first : nullptr;
    if (b.outer - first >= width)
      panel_product<T, 2>(m, a, lda, panel, b.inner, own, c + first, ldc);
    else
      panel_product<T, 1>(m, a, lda, panel, b.inner, own, c + first, ldc);
  }
}

}  // namespace
