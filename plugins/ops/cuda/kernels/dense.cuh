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
        const Four<T> a = load_four(x + (row + r) * pitch(inner) + 4 * k);
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

// How many tiles of eight columns a warp has at once: as many as leave none of the warps without.
constexpr int tiles_at_once(int tiles, int warps, int row_tiles) {
  int best = 1;
  for (int n = 2; n <= 8 / row_tiles && n * warps <= tiles; ++n)
    if (tiles % n == 0) best = n;
  return best;
}

// The same on tensor cores, with the factors' mantissas rounded to 10 bits.
template <int rows, int inner, int columns, int threads, class Write>
IDLE_MD_DEVICE void multiply_roughly(const float* x, const float* weights, const Write& write) {
  constexpr int row_tiles = rows / 16, tiles = columns / 8, warps = threads / 32;
  constexpr int at_once = tiles_at_once(tiles, warps, row_tiles);
  const int group = lane() / 4, member = lane() % 4;
  for (int first = warp() * at_once; first < tiles; first += warps * at_once) {
    float sum[row_tiles][at_once][4] = {};
    for (int k = 0; k < inner; k += 8) {
      unsigned b[at_once][2];
      IDLE_MD_UNROLL
      for (int n = 0; n < at_once; ++n) {
        const float* w = weights + long(k + member) * columns + (first + n) * 8 + group;
        b[n][0] = rounded_to_tf32(w[0]);
        b[n][1] = rounded_to_tf32(w[4 * columns]);
      }
      IDLE_MD_UNROLL
      for (int r = 0; r < row_tiles; ++r) {
        const float* from = x + (16 * r + group) * pitch(inner) + k + member;
        const unsigned a[4] = {rounded_to_tf32(from[0]), rounded_to_tf32(from[8 * pitch(inner)]),
                               rounded_to_tf32(from[4]), rounded_to_tf32(from[8 * pitch(inner) + 4])};
        IDLE_MD_UNROLL
        for (int n = 0; n < at_once; ++n) tensor_product(sum[r][n], a, b[n]);
      }
    }
    IDLE_MD_UNROLL
    for (int r = 0; r < row_tiles; ++r)
      IDLE_MD_UNROLL
      for (int n = 0; n < at_once; ++n)
        IDLE_MD_UNROLL
        for (int k = 0; k < 4; ++k)
          write(16 * r + group + 8 * (k / 2), (first + n) * 8 + 2 * member + k % 2, sum[r][n][k]);
  }
  __syncthreads();
}

}  // namespace idle_md::cuda
