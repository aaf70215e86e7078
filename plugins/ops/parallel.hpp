// How the kernels run loops in parallel without knowing who owns the threads.
#pragma once

namespace idle_md {

// Runs body(context, begin, end) over parts of [0, n), perhaps in several threads.
using ParallelFor = void (*)(long n, void (*body)(void* context, long begin, long end),
                             void* context);

inline void serial_for(long n, void (*body)(void*, long, long), void* context) {
  if (n > 0) body(context, 0, n);
}

}  // namespace idle_md
