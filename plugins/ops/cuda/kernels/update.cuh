// What happens to each atom by itself: updates (eqs. 9 and 10 of PaiNN), the networks of messages, the
// head, and their way back. A block takes some atoms through all of it in its shared memory.
#pragma once

#include "dense.cuh"

namespace idle_md::cuda {

constexpr double norm_epsilon = 1e-8;

// Sizes of a block: F features, `head` hidden units (0: none), `block` atoms.
// With `is_rough`, products run on tensor cores where the rows fill their tiles.
template <class T, int F, int head, int block, int threads, bool is_rough>
struct Atoms {
  static constexpr UpdateMemory sizes{F, head, block, threads, is_rough};
  // Rows are pitch(columns) apart.
  T *inputs;   // of the product at hand, (3 block, 2 F) at most
  T *hidden;   // (block, F)
  T *scalars;  // (block, F), or their gradients
  T *both;     // (block, 2 F)
  T *partial_sums;
  int first, count;

  IDLE_MD_DEVICE Atoms(unsigned char* memory, int atoms) {
    inputs = reinterpret_cast<T*>(memory);
    hidden = inputs + sizes.inputs;
    scalars = hidden + sizes.hidden;
    both = scalars + sizes.scalars;
    partial_sums = both + sizes.both;
    first = int(blockIdx.x) * block;
    count = min(block, atoms - first);
  }

  // Calls with an atom of the block and a feature.
  template <class Use>
  IDLE_MD_DEVICE void each(const Use& use) const {
    for (int n = int(threadIdx.x); n < count * F; n += threads) use(n / F, n % F);
  }

  // Rows that no atom has are zero.
  template <int rows>
  IDLE_MD_DEVICE void load(T* to, const T* from) const {
    for (int n = int(threadIdx.x); n < block * rows * F; n += threads)
      to[n / F * pitch(F) + n % F] = n < count * rows * F ? from[long(first) * rows * F + n] : T(0);
  }

  IDLE_MD_DEVICE long at(int a, int f) const { return long(first + a) * F + f; }
  IDLE_MD_DEVICE long at(int a, int k, int f) const { return (3L * (first + a) + k) * F + f; }
  IDLE_MD_DEVICE long mixed_at(int a, int k, int f) const { return (3L * (first + a) + k) * (2 * F) + f; }

  template <int rows, int inner, int columns, class Write>
  IDLE_MD_DEVICE void product(const T* x, const T* weights, const Write& write) const {
    if constexpr (is_rough && fills_tiles(rows, inner, columns))
      multiply_roughly<rows, inner, columns, threads>(x, weights, write);
    else
      multiply<T, rows, inner, columns, threads>(x, weights, partial_sums, write);
  }

  // hidden = silu(x W + b); the slope of the SiLU is kept in (N, F).
  template <int inner>
  IDLE_MD_DEVICE void activate(const T* x, const DenseLayer<T>& layer, T* slope) const {
    product<block, inner, F>(x, layer.weight, [&](int a, int f, T sum) {
      T own;
      hidden[a * pitch(F) + f] = silu(sum + layer.bias[f], own);
      if (a < count) slope[at(a, f)] = own;
    });
  }

  // The squared norm and the product of an atom's two mixtures.
  IDLE_MD_DEVICE void invariants(const T* mixed, int a, int f, T& square, T& both_sides) const {
    square = T(norm_epsilon);
    both_sides = T(0);
    for (int k = 0; k < 3; ++k) {
      const T left = mixed[mixed_at(a, k, f)], right = mixed[mixed_at(a, k, F + f)];
      square += left * left;
      both_sides += left * right;
    }
  }

  // An update's scalars, which stay in shared memory; the trace is written.
  template <int width, class Arguments>
  IDLE_MD_DEVICE void update(const Arguments& args) const {
    const Trace<T>& trace = args.trace;
    load<3>(inputs, args.vectors);
    __syncthreads();
    product<3 * block, F, 2 * F>(inputs, args.mix.weight, [&](int row, int f, T sum) {
      if (row < 3 * count) trace.mixed[(3L * first + row) * (2 * F) + f] = sum;
    });
    load<1>(scalars, args.scalars);
    for (int n = int(threadIdx.x); n < block * F; n += threads) {
      const int a = n / F, f = n % F;
      T square = T(0), product = T(0);
      if (a < count) invariants(trace.mixed, a, f, square, product);
      both[a * pitch(2 * F) + f] = scalars[a * pitch(F) + f];
      both[a * pitch(2 * F) + F + f] = sqrt(square);
    }
    __syncthreads();
    activate<2 * F>(both, args.hidden, trace.slope);
    product<block, F, width>(hidden, args.output.weight, [&](int a, int f, T sum) {
      if (a < count) trace.gates[long(first + a) * width + f] = sum + args.output.bias[f];
    });
    each([&](int a, int f) {
      T square, product;
      invariants(trace.mixed, a, f, square, product);
      const T* gates = trace.gates + long(first + a) * width + f;
      scalars[a * pitch(F) + f] += gates[0] + gates[F] * product;
    });
  }

  // The way back through an update: from the gradients of the scalars that left it, which are
  // replaced, and of the vectors, null where nobody reads them, to that of the vectors that entered.
  template <int width, class Arguments>
  IDLE_MD_DEVICE void reverse_update(const Arguments& args, const T* received) const {
    const Trace<T>& trace = args.trace;
    for (int n = int(threadIdx.x); n < block * F; n += threads) {
      const int a = n / F, f = n % F;
      T square, product = T(0), gate = T(0);
      if (a < count) {
        invariants(trace.mixed, a, f, square, product);
        for (int k = 0; width == 3 * F && k < 3; ++k)
          gate += received[at(a, k, f)] * trace.mixed[mixed_at(a, k, F + f)];
      }
      const T own = scalars[a * pitch(F) + f];
      inputs[a * pitch(width) + f] = own;
      inputs[a * pitch(width) + F + f] = own * product;
      if constexpr (width == 3 * F) inputs[a * pitch(width) + 2 * F + f] = gate;
    }
    __syncthreads();
    product<block, width, F>(inputs, args.output.transposed, [&](int a, int f, T sum) {
      hidden[a * pitch(F) + f] = a < count ? sum * trace.slope[at(a, f)] : T(0);
    });
    product<block, F, 2 * F>(hidden, args.hidden.transposed,
                             [&](int a, int f, T sum) { both[a * pitch(2 * F) + f] = sum; });
    for (int n = int(threadIdx.x); n < block * F; n += threads) {
      const int a = n / F, f = n % F;
      if (a >= count) {
        for (int k = 0; k < 3; ++k)
          inputs[(a * 3 + k) * pitch(2 * F) + f] = inputs[(a * 3 + k) * pitch(2 * F) + F + f] = T(0);
        continue;
      }
      T square, product;
      invariants(trace.mixed, a, f, square, product);
      const T* gates = trace.gates + long(first + a) * width + f;
      T& own = scalars[a * pitch(F) + f];
      const T stretch = both[a * pitch(2 * F) + F + f] / sqrt(square), turn = own * gates[F];
      own += both[a * pitch(2 * F) + f];
      for (int k = 0; k < 3; ++k) {
        const T left = trace.mixed[mixed_at(a, k, f)], right = trace.mixed[mixed_at(a, k, F + f)];
        T turned = turn * left;
        if constexpr (width == 3 * F) turned += received[at(a, k, f)] * gates[2 * F];
        inputs[(a * 3 + k) * pitch(2 * F) + f] = stretch * left + turn * right;
        inputs[(a * 3 + k) * pitch(2 * F) + F + f] = turned;
      }
    }
    __syncthreads();
    product<3 * block, 2 * F, F>(inputs, args.mix.transposed, [&](int row, int f, T sum) {
      if (row >= 3 * count) return;
      const long place = (3L * first + row) * F + f;
      args.vector_gradient[place] = width == 3 * F ? received[place] + sum : sum;
    });
    each([&](int a, int f) { args.scalar_gradient[at(a, f)] = scalars[a * pitch(F) + f]; });
  }

  // An update that is not the last, and what the next interaction sends.
  IDLE_MD_DEVICE void forward(const UpdateArguments<T>& args) const {
    update<3 * F>(args);
    each([&](int a, int f) {
      args.scalars_out[at(a, f)] = scalars[a * pitch(F) + f];
      const T gate = args.trace.gates[long(first + a) * (3 * F) + 2 * F + f];
      for (int k = 0; k < 3; ++k)
        args.vectors_out[at(a, k, f)] =
            args.vectors[at(a, k, f)] + gate * args.trace.mixed[mixed_at(a, k, F + f)];
    });
    __syncthreads();
    activate<F>(scalars, args.message_hidden, args.message_slope);
    product<block, F, 3 * F>(hidden, args.message_output.weight, [&](int a, int f, T sum) {
      if (a < count) args.sent[long(first + a) * (3 * F) + f] = sum + args.message_output.bias[f];
    });
  }

  IDLE_MD_DEVICE void top(const TopArguments<T>& args) const {
    update<2 * F>(args);
    __syncthreads();
    if constexpr (head > 0)
      product<block, F, head>(scalars, args.head.weight, [&](int a, int h, T sum) {
        T slope;
        hidden[a * pitch(head) + h] = silu(sum + args.head.bias[h], slope) * args.readout[h];
        inputs[a * pitch(head) + h] = slope * args.readout[h];
      });
    for (int a = warp(); a < count; a += threads / 32) {
      double energy = 0.0;
      for (int f = lane(); f < F; f += 32) energy += double(scalars[a * pitch(F) + f]) * double(args.direct[f]);
      if constexpr (head > 0)
        for (int h = lane(); h < head; h += 32) energy += double(hidden[a * pitch(head) + h]);
      energy = sum_warp(energy);
      if (lane() == 0) args.energies[first + a] = *args.problem ? not_a_number<double>() : energy;
    }
    __syncthreads();
    const auto begin = [&](int a, int f, T through) {
      scalars[a * pitch(F) + f] = first + a < args.owned ? args.direct[f] + through : T(0);
    };
    if constexpr (head > 0) {
      product<block, head, F>(inputs, args.head.transposed, begin);
    } else {
      for (int n = int(threadIdx.x); n < block * F; n += threads) begin(n / F, n % F, T(0));
      __syncthreads();
    }
    reverse_update<2 * F>(args, nullptr);
  }

  // The way back through the network of a message and through the update before it.
  IDLE_MD_DEVICE void reverse(const ReverseUpdateArguments<T>& args) const {
    for (int n = int(threadIdx.x); n < block * 3 * F; n += threads)
      inputs[n / (3 * F) * pitch(3 * F) + n % (3 * F)] =
          n < count * 3 * F ? args.sent_gradient[long(first) * 3 * F + n] : T(0);
    load<1>(scalars, args.scalar_gradient);
    __syncthreads();
    product<block, 3 * F, F>(inputs, args.message_output.transposed, [&](int a, int f, T sum) {
      hidden[a * pitch(F) + f] = a < count ? sum * args.message_slope[at(a, f)] : T(0);
    });
    product<block, F, F>(hidden, args.message_hidden.transposed,
                         [&](int a, int f, T sum) { scalars[a * pitch(F) + f] += sum; });
    reverse_update<3 * F>(args, args.received);
  }
};

}  // namespace idle_md::cuda
