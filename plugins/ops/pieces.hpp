// Pieces of one block of memory. In an unnamed namespace, because files that are compiled for
// different processors use it.
#pragma once

#include <cstddef>
#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

namespace {

// Hands out 64-byte aligned pieces of one block of memory; without a block it only counts. What lies
// between two pieces must not be touched: the address sanitizer is told so.
struct Pieces {
  char* block = nullptr;
  size_t used = 0;

  template <class T>
  T* take(long n) {
    T* piece = block ? reinterpret_cast<T*>(block + used) : nullptr;
    const size_t bytes = size_t(n) * sizeof(T), end = used + bytes;
    used = (end + 63) / 64 * 64;
#ifdef __SANITIZE_ADDRESS__
    used += 64;
    if (block) __asan_poison_memory_region(block + end, used - end);
#endif
    return piece;
  }

  template <class T>
  const T* copy(const T* from, long n) {
    T* to = take<T>(n);
    for (long k = 0; to && from && k < n; ++k) to[k] = from[k];
    return to;
  }
};

}  // namespace
