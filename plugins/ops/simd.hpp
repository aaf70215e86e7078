// Vectors of the instruction set that the including file is compiled for. Everything is in an
// unnamed namespace and nothing of the standard library's templates is used: the linker would merge
// equal functions of files that are compiled for different processors.
#pragma once

#include <cstdint>

namespace {

#if defined(__AVX512F__)
constexpr int vector_bytes = 64, tile_rows = 12;
#elif defined(__AVX2__)
constexpr int vector_bytes = 32, tile_rows = 6;
#else
constexpr int vector_bytes = 16, tile_rows = 6;
#endif

template <class T>
struct Simd;

template <>
struct Simd<float> {
  typedef float V __attribute__((vector_size(vector_bytes), may_alias));
  typedef int32_t I __attribute__((vector_size(vector_bytes), may_alias));
  static constexpr int mantissa = 23, bias = 127, degree = 7;
  static constexpr float round = 12582912.0f, high = 0.693359375f, low = -2.12194440e-4f;
  static constexpr float largest = 87.0f;
};

template <>
struct Simd<double> {
  typedef double V __attribute__((vector_size(vector_bytes), may_alias));
  typedef int64_t I __attribute__((vector_size(vector_bytes), may_alias));
  static constexpr int mantissa = 52, bias = 1023, degree = 13;
  static constexpr double round = 6755399441055744.0, high = 0.693145751953125;
  static constexpr double low = 1.42860682030941723212e-6, largest = 700.0;
};

template <class T>
using Vec = typename Simd<T>::V;

template <class T>
constexpr int lanes = vector_bytes / int(sizeof(T));

template <class T>
inline Vec<T> load(const T* p) {
  typedef T U __attribute__((vector_size(vector_bytes), aligned(alignof(T)), may_alias));
  return *reinterpret_cast<const U*>(p);
}

template <class T>
inline void store(T* p, Vec<T> x) {
  typedef T U __attribute__((vector_size(vector_bytes), aligned(alignof(T)), may_alias));
  *reinterpret_cast<U*>(p) = x;
}

template <class T>
inline T sum(Vec<T> x) {
  T parts[lanes<T>];
  store(parts, x);
  for (int width = lanes<T> / 2; width > 0; width /= 2)
    for (int k = 0; k < width; ++k) parts[k] += parts[k + width];
  return parts[0];
}

// Sums of neighbouring lanes: those of a in the lower half, those of b in the upper one.
template <class T>
inline Vec<T> paired(Vec<T> a, Vec<T> b) {
  constexpr int L = lanes<T>;
  typename Simd<T>::I even, odd;
#pragma GCC unroll 16
  for (int k = 0; k < L; ++k) {
    even[k] = k < L / 2 ? 2 * k : L + 2 * (k - L / 2);
    odd[k] = even[k] + 1;
  }
  return __builtin_shuffle(a, b, even) + __builtin_shuffle(a, b, odd);
}

// Adds the sums over the lanes of four vectors to four numbers.
template <class T>
inline void add_sums(const Vec<T>* four, T* out) {
  if constexpr (lanes<T> < 4) {
    for (int k = 0; k < 4; ++k) out[k] += sum<T>(four[k]);
  } else {
    Vec<T> all = paired<T>(paired<T>(four[0], four[1]), paired<T>(four[2], four[3]));
    for (int left = lanes<T> / 4; left > 1; left /= 2) all = paired<T>(all, all);
    for (int k = 0; k < 4; ++k) out[k] += all[k];
  }
}

template <class T>
inline Vec<T> root(Vec<T> x) {
  T parts[lanes<T>];
  store(parts, x);
  for (int k = 0; k < lanes<T>; ++k)
    parts[k] = sizeof(T) == 4 ? T(__builtin_sqrtf(float(parts[k]))) : T(__builtin_sqrt(double(parts[k])));
  return load(parts);
}

// e^x by x = n ln 2 + r and the Taylor series of e^r, |r| <= ln(2) / 2.
template <class T>
inline Vec<T> exponential(Vec<T> x) {
  using S = Simd<T>;
  using I = typename S::I;
  x = x > S::largest ? Vec<T>{} + S::largest : x;
  x = x < -S::largest ? Vec<T>{} - S::largest : x;
  const Vec<T> shifted = x * T(1.44269504088896340736) + S::round;
  const Vec<T> n = shifted - S::round;
  const Vec<T> r = (x - n * S::high) - n * S::low;
  T factorial = 1;
  for (int k = 2; k <= S::degree; ++k) factorial *= T(k);
  T coefficient = T(1) / factorial;
  Vec<T> series = Vec<T>{} + coefficient;
#pragma GCC unroll 16
  for (int k = S::degree; k > 0; --k) {
    coefficient *= T(k);
    series = series * r + coefficient;
  }
  const I exponent = I(shifted) - I(Vec<T>{} + S::round) + S::bias;
  return series * Vec<T>(exponent << S::mantissa);
}

// Returns silu(x) = x / (1 + e^-x) and writes its derivative.
template <class T>
inline Vec<T> silu(Vec<T> x, T* slope) {
  const Vec<T> gate = T(1) / (T(1) + exponential<T>(-x));
  store(slope, gate * (T(1) + x * (T(1) - gate)));
  return x * gate;
}

}  // namespace
