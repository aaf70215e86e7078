// How a block of threads shares out its products with weights, and the memory that it needs for them:
// computed alike by the kernels, while they are compiled, and by the host that launches them.
#pragma once

namespace idle_md::cuda {

constexpr int larger(int a, int b) { return a > b ? a : b; }

// Numbers from one row of activations to the next in shared memory: rows that lie a multiple of 32 apart
// would be read from the same banks.
constexpr int pitch(int columns) { return columns + 4; }

constexpr int most_partial = 8192;  // partial sums of a block

// A product (rows, inner) times (inner, columns). A thread has four columns of `height` rows, which is
// one tile; where there are fewer tiles than threads, several threads share the inner index of a tile.
struct Sharing {
  int height = 1, tiles = 0, shares = 1;
  int partial = 0;  // sums of shares that meet in shared memory

  constexpr Sharing(int rows, int inner, int columns, int threads) {
    for (int h = 1; h <= 8; ++h)
      if (rows % h == 0) height = h;
    tiles = rows / height * (columns / 4);
    for (int n = 2; n <= inner / 4 && n * tiles <= threads && n * rows * columns <= most_partial; ++n)
      shares = n;
    if (shares > 1) partial = shares * rows * columns;
  }
};

// Whether a product's rows, inner index and columns fill tiles of tensor cores.
constexpr bool fills_tiles(int rows, int inner, int columns) {
  return rows % 16 == 0 && inner % 8 == 0 && columns % 8 == 0;
}

// Numbers in the shared memory of a block that updates atoms.
struct UpdateMemory {
  int inputs = 0, hidden = 0, scalars = 0, both = 0, partial = 0;

  // F features, `head` hidden units of the head (0: none), `block` atoms; with `is_rough`, products that
  // fill tiles run on tensor cores.
  constexpr UpdateMemory(int F, int head, int block, int threads, bool is_rough)
      : inputs(block * larger(3 * pitch(2 * F), pitch(head))),
        hidden(block * pitch(larger(F, head))),
        scalars(block * pitch(F)),
        both(block * pitch(2 * F)) {
    const int products[][3] = {
        {3 * block, F, 2 * F}, {3 * block, 2 * F, F}, {block, 2 * F, F}, {block, F, 2 * F}, {block, F, 3 * F},
        {block, 3 * F, F},     {block, F, F},         {block, F, head},  {block, head, F}};
    for (const auto& each : products)
      if (!is_rough || !fills_tiles(each[0], each[1], each[2]))
        partial = larger(partial, Sharing(each[0], each[1], each[2], threads).partial);
  }
  constexpr int total() const { return inputs + hidden + scalars + both + partial; }
};

}  // namespace idle_md::cuda
