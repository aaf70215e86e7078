// Products with matrices of weights, by a block for some rows of activations in its shared memory.
// A row of the result does not depend on the other rows.
#pragma once

#include "device.cuh"

namespace idle_md::cuda {

// Calls write(row, column, sum) for each sum over k of x[row, k] weights[k, column].
template <class T, int rows, int inner, int columns, int threads, class Write>
IDLE_MD_DEVICE void multiply(const T* x, const T* weights, T* partial, const Write& write) {
  static_assert(inner % 4 == 0 && columns % 4 == 0, "numbers are read four at a time");
  constexpr Sharing sharing(rows, inner, columns, threads);
  constexpr int height = sharing.height, tiles = sharing.tiles, shares = sharing.shares;
  for (int item = int(threadIdx.x); item < tiles * shares; item += threads) {
    const int tile = item % tiles, share = item / tiles;
    const int column = tile % (columns / 4) * 4, row = tile / (columns / 4) * height;
    const int begin = inner / 4 * share / shares, end = inner / 4 * (share + 1) / shares;
    T sum[height][4] = {};
    for (int k = begin; k < end; ++k) {
      Four<T> w[4];
      IDLE_MD_UNROLL
      for (int n = 0; n < 4; ++n) w[n] = load_four(weights + long(4 * k + n) * columns + column);
      IDLE_MD_UNROLL
      for (int r = 0; r < height; ++r) {
        const Four<T> a = load_four(x + (row + r) * inner + 4 * k);
        IDLE_MD_UNROLL
        for (int n = 0; n < 4; ++n)
          IDLE_MD_UNROLL
          for (int c = 0; c < 4; ++c) sum[r][c] += a.at[n] * w[n].at[c];
      }
    }
    IDLE_MD_UNROLL
    for (int r = 0; r < height; ++r)
      IDLE_MD_UNROLL
      for (int c = 0; c < 4; ++c) {
        if constexpr (shares > 1)
          partial[(share * rows + row + r) * columns + column + c] = sum[r][c];
        else
          write(row + r, column + c, sum[r][c]);
      }
  }
  if constexpr (shares > 1) {
    __syncthreads();
    for (int n = int(threadIdx.x); n < rows * columns; n += threads) {
      T sum = partial[n];
      for (int share = 1; share < shares; ++share) sum += partial[share * rows * columns + n];
      write(n / columns, n % columns, sum);
    }
  }
  __syncthreads();
}

}  // namespace idle_md::cuda
