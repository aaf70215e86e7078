// CUDA on the host: the kernels of plugins/ops/cuda/kernels as ordinary C++.
//
// Every thread of a block is a fiber; a barrier, a ballot or a shuffle goes on with the next fiber until
// all have come. Blocks run one after the other in shuffled order, each with fresh shared memory full of
// NaN, and its fibers begin with another one each time. Threads that wait for some that never come, and
// lanes that are asked for what a lane that has ended holds, are errors.
//
// The address sanitizer sees reads and writes outside of memory, that of a block included. To the thread
// sanitizer fibers are threads that only barriers order, so it sees where one is missing.
#pragma once

#include <setjmp.h>
#include <ucontext.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <numeric>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/common_interface_defs.h>
#endif
#ifdef __SANITIZE_THREAD__
#include <sanitizer/tsan_interface.h>
#endif

#define IDLE_MD_UNSEEN __attribute__((no_sanitize("address", "thread"), noinline))

namespace emulation {

struct Index {
  unsigned x = 0, y = 0;
};

}  // namespace emulation

inline emulation::Index threadIdx, blockIdx, blockDim, gridDim;

namespace emulation {

constexpr int most_threads = 1024;
constexpr size_t stack_bytes = 1 << 18;

enum class State { ready, waiting, done };

struct Fiber {
  State state = State::done;
  bool is_started = false;
  ucontext_t context;
  jmp_buf place;
  char* stack = nullptr;
  void* sanitizer = nullptr;       // what the sanitizer keeps of it
  unsigned arrivals = 0;           // at its warp's barrier
  uint64_t slots[2] = {};          // what it hands to the other lanes, by turns
};

// One block at a time.
struct Block {
  Fiber fibers[most_threads];
  Fiber outside;
  int count = 0, current = 0;
  const std::function<void()>* body = nullptr;
  unsigned char* shared = nullptr;
  const char* problem = nullptr;
  char start_of_kernel = 0, barrier = 0, end_of_block = 0, warps[most_threads / 32] = {};
};

inline Block block;

inline void order_after(void* what) {
#ifdef __SANITIZE_THREAD__
  __tsan_acquire(what);
#endif
  (void)what;
}
inline void order_before(void* what) {
#ifdef __SANITIZE_THREAD__
  __tsan_release(what);
#endif
  (void)what;
}

// Goes on with another fiber, or with the outside (-1).
IDLE_MD_UNSEEN inline void go_on(int from, int to) {
  Fiber& self = from < 0 ? block.outside : block.fibers[from];
  Fiber& other = to < 0 ? block.outside : block.fibers[to];
  if (to >= 0) {
    block.current = to;
    threadIdx.x = unsigned(to);
  }
#if defined(__SANITIZE_ADDRESS__)
  void* fake = nullptr;
  const bool is_last = from >= 0 && self.state == State::done;
  __sanitizer_start_switch_fiber(is_last ? nullptr : &fake, other.stack, stack_bytes);
  swapcontext(&self.context, &other.context);
  __sanitizer_finish_switch_fiber(fake, nullptr, nullptr);
#elif defined(__SANITIZE_THREAD__)
  __tsan_switch_to_fiber(other.sanitizer, __tsan_switch_to_fiber_no_sync);
  swapcontext(&self.context, &other.context);
#else
  if (_setjmp(self.place)) return;
  if (other.is_started) _longjmp(other.place, 1);
  other.is_started = true;
  setcontext(&other.context);
#endif
}

// The next fiber that is ready, from one on; -1 if there is none.
IDLE_MD_UNSEEN inline int next_ready(int from) {
  for (int n = 0; n < block.count; ++n) {
    const int each = (from + n) % block.count;
    if (block.fibers[each].state == State::ready) return each;
  }
  return -1;
}

IDLE_MD_UNSEEN inline void fail(const char* problem) {
  block.problem = problem;
  go_on(block.current, -1);
}

IDLE_MD_UNSEEN inline void finish() {
  const int self = block.current;
  block.fibers[self].state = State::done;
  int next = next_ready(self);
  if (next < 0) {  // those that wait at a barrier do not wait for what has ended
    for (int n = 0; n < block.count; ++n)
      if (block.fibers[n].state == State::waiting) block.fibers[n].state = State::ready;
    next = next_ready(self);
  }
  go_on(self, next);
}

IDLE_MD_UNSEEN inline void run_fiber() {
#ifdef __SANITIZE_ADDRESS__
  __sanitizer_finish_switch_fiber(nullptr, nullptr, nullptr);
#endif
  order_after(&block.start_of_kernel);
  (*block.body)();
  order_before(&block.end_of_block);
  finish();
}

IDLE_MD_UNSEEN inline void wait_for_block() {
  const int self = block.current;
  block.fibers[self].state = State::waiting;
  const int next = next_ready(self);
  if (next >= 0) return go_on(self, next);
  for (int n = 0; n < block.count; ++n)
    if (block.fibers[n].state == State::waiting) block.fibers[n].state = State::ready;
}

// Hands a value to the lanes of the warp and returns when all have done so; where they are then read.
IDLE_MD_UNSEEN inline int wait_for_warp(uint64_t value) {
  const int self = block.current, first = self / 32 * 32;
  Fiber& own = block.fibers[self];
  const int turn = int(own.arrivals % 2);
  own.slots[turn] = value;
  const unsigned round = ++own.arrivals;
  for (;;) {
    int late = -1;
    for (int n = 1; n < 32; ++n) {
      const int lane = first + (self - first + n) % 32;
      const Fiber& other = block.fibers[lane];
      if (int(other.arrivals - round) >= 0) continue;
      if (lane >= block.count || other.state != State::ready) {
        fail("a warp's lanes do not all take part in a ballot or shuffle");
      } else {
        late = lane;
        break;
      }
    }
    if (late < 0) return turn;
    go_on(self, late);
  }
}

inline int exchange(uint64_t value) {
  char* warp = &block.warps[block.current / 32];
  order_before(warp);
  const int turn = wait_for_warp(value);
  order_after(warp);
  return turn;
}

IDLE_MD_UNSEEN inline uint64_t slot_of(int lane, int turn) {
  return block.fibers[block.current / 32 * 32 + lane].slots[turn];
}

template <class T>
uint64_t packed(T x) {
  uint64_t bits = 0;
  std::memcpy(&bits, &x, sizeof(T));
  return bits;
}

// Memory of exactly so many bytes, full of NaN.
inline std::unique_ptr<unsigned char[]> nan_memory(size_t bytes) {
  std::unique_ptr<unsigned char[]> memory(new unsigned char[bytes]);
  std::memset(memory.get(), 0xff, bytes);
  return memory;
}

// Runs a block of so many threads.
IDLE_MD_UNSEEN inline void run_block(Index index, int threads, unsigned char* shared,
                                     const std::function<void()>& body, int first) {
  blockIdx = index;
  block.count = threads;
  block.body = &body;
  block.shared = shared;
  block.problem = nullptr;
  for (int n = 0; n < threads; ++n) {
    Fiber& fiber = block.fibers[n];
    if (!fiber.stack) fiber.stack = static_cast<char*>(std::malloc(stack_bytes));
    fiber.state = State::ready;
    fiber.is_started = false;
    fiber.arrivals = 0;
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack;
    fiber.context.uc_stack.ss_size = stack_bytes;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, run_fiber, 0);
#ifdef __SANITIZE_THREAD__
    if (!fiber.sanitizer) fiber.sanitizer = __tsan_create_fiber(0);
#endif
  }
#ifdef __SANITIZE_THREAD__
  block.outside.sanitizer = __tsan_get_current_fiber();
#endif
  block.outside.is_started = true;
  go_on(-1, first % threads);
  order_after(&block.end_of_block);
  if (block.problem) throw std::runtime_error(block.problem);
}

// A kernel of one program, which is named by what it was compiled for.
struct Kernel {
  int threads;
  size_t bytes;  // of its arguments
  void (*body)(const void* arguments);
};

inline std::map<std::string, Kernel>& kernels() {
  static std::map<std::string, Kernel> all;
  return all;
}

struct Registration {
  Registration(const std::string& program, const char* name, Kernel kernel) { kernels()[program + "/" + name] = kernel; }
};

// Runs a kernel with blocks in shuffled order. Nothing but the kernel's start orders them.
inline void run_kernel(const std::string& name, int blocks_x, int blocks_y, int threads, size_t shared,
                       const void* arguments, std::mt19937& random) {
  const auto found = kernels().find(name);
  if (found == kernels().end()) throw std::runtime_error("there is no kernel " + name);
  if (threads != found->second.threads) throw std::runtime_error(name + " is for other blocks");
  gridDim = {unsigned(blocks_x), unsigned(blocks_y)};
  blockDim = {unsigned(threads), 1};
  std::vector<int> order(size_t(blocks_x) * blocks_y);
  std::iota(order.begin(), order.end(), 0);
  std::shuffle(order.begin(), order.end(), random);
  const std::function<void()> body = [&] { found->second.body(arguments); };
  std::vector<std::unique_ptr<unsigned char[]>> memory;
  for (size_t n = 0; n < order.size(); ++n) memory.push_back(nan_memory(shared));
  order_before(&block.start_of_kernel);
  for (const int each : order) {
    const Index index{unsigned(each % blocks_x), unsigned(each / blocks_x)};
    run_block(index, threads, memory[each].get(), body, int(random() % unsigned(threads)));
  }
}

}  // namespace emulation

#define IDLE_MD_DEVICE inline
#define IDLE_MD_UNROLL
#define IDLE_MD_SHARED(name) unsigned char* name = emulation::block.shared
#define IDLE_MD_KERNEL(name, threads, blocks, Arguments)                                              \
  static void idle_md_##name(const Arguments& args);                                          \
  static const emulation::Registration registered_##name(                                     \
      IDLE_MD_PROGRAM, #name,                                                                 \
      {threads, sizeof(Arguments), [](const void* args) { idle_md_##name(*static_cast<const Arguments*>(args)); }}); \
  static void idle_md_##name([[maybe_unused]] const Arguments& args)

inline void __syncthreads() {
  emulation::order_before(&emulation::block.barrier);
  emulation::wait_for_block();
  emulation::order_after(&emulation::block.barrier);
}

inline void __syncwarp() { emulation::exchange(0); }

inline unsigned __ballot_sync(unsigned, bool is_set) {
  const int turn = emulation::exchange(is_set);
  unsigned all = 0;
  for (int lane = 0; lane < 32; ++lane) all |= unsigned(emulation::slot_of(lane, turn)) << lane;
  return all;
}

template <class T>
T __shfl_xor_sync(unsigned, T x, int mask) {
  const int turn = emulation::exchange(emulation::packed(x));
  const uint64_t bits = emulation::slot_of(int(threadIdx.x) % 32 ^ mask, turn);
  std::memcpy(&x, &bits, sizeof(T));
  return x;
}

// See plugins/ops/cuda/kernels/device.cuh.
inline unsigned rounded_to_tf32(float x) {
  unsigned bits;
  std::memcpy(&bits, &x, sizeof(bits));
  return (bits + 0x1000u) & ~0x1fffu;
}

inline void tensor_product(float (&c)[4], const unsigned (&a)[4], const unsigned (&b)[2]) {
  float left[16][8], right[8][8];
  const auto exchange = [](unsigned first, unsigned second, const auto& place) {
    const int turn = emulation::exchange(uint64_t(first) << 32 | second);
    for (int lane = 0; lane < 32; ++lane) {
      const uint64_t both = emulation::slot_of(lane, turn);
      const unsigned bits[2] = {unsigned(both >> 32), unsigned(both)};
      for (int k = 0; k < 2; ++k) std::memcpy(&place(lane / 4, lane % 4, k), &bits[k], sizeof(float));
    }
  };
  exchange(a[0], a[1], [&](int g, int t, int k) -> float& { return left[g + 8 * k][t]; });
  exchange(a[2], a[3], [&](int g, int t, int k) -> float& { return left[g + 8 * k][t + 4]; });
  exchange(b[0], b[1], [&](int g, int t, int k) -> float& { return right[t + 4 * k][g]; });
  const int g = int(threadIdx.x) % 32 / 4, t = int(threadIdx.x) % 4;
  for (int k = 0; k < 4; ++k)
    for (int n = 0; n < 8; ++n) c[k] += left[g + 8 * (k / 2)][n] * right[n][2 * t + k % 2];
}

inline int __popc(unsigned bits) { return __builtin_popcount(bits); }
inline int atomicAdd(int* place, int x) { return __atomic_fetch_add(place, x, __ATOMIC_RELAXED); }
inline int atomicOr(int* place, int x) { return __atomic_fetch_or(place, x, __ATOMIC_RELAXED); }

template <class T>
T min(T a, T b) {
  return b < a ? b : a;
}
