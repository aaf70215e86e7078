// Entries grouped by their keys, in a fixed order: integers are counted by atomics, whose order leaves
// no trace, and each group is sorted.
#pragma once

#include "device.cuh"

namespace idle_md::cuda {

template <class Key>
IDLE_MD_DEVICE bool is_grouped(const GroupArguments<Key>& args, int n) {
  return args.keys[n] >= 0 && args.keys[n] < args.groups;
}

template <class Key>
IDLE_MD_DEVICE bool is_off(const GroupArguments<Key>& args) {
  return args.only_if != nullptr && *args.only_if == 0;
}

template <class Key>
IDLE_MD_DEVICE void clear_groups(const GroupArguments<Key>& args, int first, int step) {
  for (int g = first; g < args.groups; g += step) args.count[g] = 0;
}

template <class Key>
IDLE_MD_DEVICE void count_groups(const GroupArguments<Key>& args, int first, int step) {
  for (int n = first; n < args.entries; n += step)
    if (is_grouped(args, n)) atomicAdd(args.count + args.keys[n], 1);
}

// By one block: starts from counts, which are cleared.
template <class Key>
IDLE_MD_DEVICE void scan_groups(const GroupArguments<Key>& args, int* totals) {
  const int threads = int(blockDim.x), me = int(threadIdx.x);
  const int each = (args.groups + threads - 1) / threads;
  const int begin = min(me * each, args.groups), end = min(begin + each, args.groups);
  int own = 0;
  for (int g = begin; g < end; ++g) own += args.count[g];
  totals[me] = own;
  __syncthreads();
  for (int distance = 1; distance < threads; distance *= 2) {
    const int before = me >= distance ? totals[me - distance] : 0;
    __syncthreads();
    totals[me] += before;
    __syncthreads();
  }
  int place = totals[me] - own;
  for (int g = begin; g < end; ++g) {
    args.start[g] = place;
    place += args.count[g];
    args.count[g] = 0;
  }
  if (me == threads - 1) args.start[args.groups] = totals[me];
}

template <class Key>
IDLE_MD_DEVICE void fill_groups(const GroupArguments<Key>& args, int first, int step) {
  for (int n = first; n < args.entries; n += step)
    if (is_grouped(args, n)) {
      const int g = int(args.keys[n]);
      args.unordered[args.start[g] + atomicAdd(args.count + g, 1)] = n;
    }
}

// An entry's place in its group is the number of smaller ones.
template <class Key>
IDLE_MD_DEVICE void order_groups(const GroupArguments<Key>& args, int first, int step) {
  const int filled = args.start[args.groups];
  for (int k = first; k < filled; k += step) {
    const int n = args.unordered[k], g = int(args.keys[n]);
    int place = args.start[g];
    for (int other = args.start[g]; other < args.start[g + 1]; ++other)
      place += args.unordered[other] < n;
    args.ordered[place] = n;
  }
}

// All of it in one block, for few entries.
template <class Key>
IDLE_MD_DEVICE void group_at_once(const GroupArguments<Key>& args, int* totals) {
  const int me = int(threadIdx.x), threads = int(blockDim.x);
  clear_groups(args, me, threads);
  __syncthreads();
  count_groups(args, me, threads);
  __syncthreads();
  scan_groups(args, totals);
  __syncthreads();
  fill_groups(args, me, threads);
  __syncthreads();
  order_groups(args, me, threads);
}

}  // namespace idle_md::cuda

#define IDLE_MD_GROUP_KERNELS(suffix, Key)                                            \
  IDLE_MD_KERNEL(group_##suffix, threads_of_group, 1, GroupArguments<Key>) {             \
    IDLE_MD_SHARED(memory);                                                           \
    if (!is_off(args)) group_at_once(args, reinterpret_cast<int*>(memory));           \
  }                                                                                   \
  IDLE_MD_KERNEL(clear_##suffix, threads_of_edges, blocks_of_edges, GroupArguments<Key>) {             \
    if (!is_off(args)) clear_groups(args, thread_of_grid(), gridDim.x * blockDim.x);  \
  }                                                                                   \
  IDLE_MD_KERNEL(count_##suffix, threads_of_edges, blocks_of_edges, GroupArguments<Key>) {             \
    if (!is_off(args)) count_groups(args, thread_of_grid(), gridDim.x * blockDim.x);  \
  }                                                                                   \
  IDLE_MD_KERNEL(scan_##suffix, threads_of_group, 1, GroupArguments<Key>) {              \
    IDLE_MD_SHARED(memory);                                                           \
    if (!is_off(args)) scan_groups(args, reinterpret_cast<int*>(memory));             \
  }                                                                                   \
  IDLE_MD_KERNEL(fill_##suffix, threads_of_edges, blocks_of_edges, GroupArguments<Key>) {              \
    if (!is_off(args)) fill_groups(args, thread_of_grid(), gridDim.x * blockDim.x);   \
  }                                                                                   \
  IDLE_MD_KERNEL(order_##suffix, threads_of_edges, blocks_of_edges, GroupArguments<Key>) {             \
    if (!is_off(args)) order_groups(args, thread_of_grid(), gridDim.x * blockDim.x);  \
  }
