// What the kernels are written in. NVRTC and nvcc compile them for a GPU; on the host they are
// ordinary C++, where emulation.hpp, included before, brings the names of CUDA that they use.
//
// A kernel is a function of one struct of arguments, see arguments.hpp; registers are to leave room for so
// many blocks of so many threads on a processor. Sums run in an order that
// depends on the system alone: two runs are equal bit by bit.
#pragma once

#include "arguments.hpp"
#include "sharing.hpp"

#ifdef __CUDACC__
#define IDLE_MD_DEVICE __device__ __forceinline__
#define IDLE_MD_UNROLL _Pragma("unroll")
#define IDLE_MD_KERNEL(name, threads, blocks, Arguments) \
  extern "C" __global__ void __launch_bounds__(threads, blocks) idle_md_##name(const Arguments args)
#define IDLE_MD_SHARED(name) extern __shared__ __align__(16) unsigned char name[]

// A number with the 10 bits of mantissa that tensor cores read of it.
IDLE_MD_DEVICE unsigned rounded_to_tf32(float x) {
  unsigned bits;
  asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
  return bits;
}

// c (16, 8) += a (16, 8) b (8, 8) by a warp. Lane 4 g + t has a[g + 8 (k % 2), t + 4 (k / 2)] for k < 4,
// b[t + 4 k, g] for k < 2, and c[g + 8 (k / 2), 2 t + k % 2] for k < 4.
IDLE_MD_DEVICE void tensor_product(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
      "{%0, %1, %2, %3};"
      : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
      : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}
#endif

namespace idle_md::cuda {

constexpr unsigned all_lanes = 0xffffffffu;

IDLE_MD_DEVICE int lane() { return int(threadIdx.x) % 32; }
IDLE_MD_DEVICE int warp() { return int(threadIdx.x) / 32; }
IDLE_MD_DEVICE int thread_of_grid() { return int(blockIdx.x * blockDim.x + threadIdx.x); }

template <class T>
IDLE_MD_DEVICE T not_a_number() {
  return T(nan(""));
}

template <class T>
IDLE_MD_DEVICE T largest() {
  if constexpr (sizeof(T) == 4)
    return 3.402823466e+38f;
  else
    return 1.7976931348623157e+308;
}

// Four consecutive numbers, read at once.
template <class T>
struct alignas(16) Four {
  T at[4];
};

template <class T>
IDLE_MD_DEVICE Four<T> load_four(const T* from) {
  return *reinterpret_cast<const Four<T>*>(from);
}

template <class T>
IDLE_MD_DEVICE T exponential(T x) {
  return T(exp(double(x)));
}
template <>
IDLE_MD_DEVICE float exponential<float>(float x) {
  return expf(x);
}

// silu(x) = x / (1 + e^-x), and its derivative.
template <class T>
IDLE_MD_DEVICE T silu(T x, T& slope) {
  const T gate = T(1) / (T(1) + exponential<T>(-x));
  slope = gate * (T(1) + x * (T(1) - gate));
  return x * gate;
}

// The sums over a warp of four values per lane: lane 8 k ends with the k-th one.
template <class T>
IDLE_MD_DEVICE T sum_four(const T (&x)[4]) {
  const bool upper = lane() & 16, odd = lane() & 8;
  const T first = (upper ? x[2] : x[0]) + __shfl_xor_sync(all_lanes, upper ? x[0] : x[2], 16);
  const T second = (upper ? x[3] : x[1]) + __shfl_xor_sync(all_lanes, upper ? x[1] : x[3], 16);
  T sum = (odd ? second : first) + __shfl_xor_sync(all_lanes, odd ? first : second, 8);
  IDLE_MD_UNROLL
  for (int distance = 4; distance > 0; distance /= 2) sum += __shfl_xor_sync(all_lanes, sum, distance);
  return sum;
}

// The sum over a warp, in every lane.
template <class T>
IDLE_MD_DEVICE T sum_warp(T x) {
  IDLE_MD_UNROLL
  for (int distance = 16; distance > 0; distance /= 2) x += __shfl_xor_sync(all_lanes, x, distance);
  return x;
}

}  // namespace idle_md::cuda
