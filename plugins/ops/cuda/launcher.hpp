// What starts kernels: a GPU's driver, or an emulation on the host.
#pragma once

#include <cstddef>

namespace idle_md::cuda {

struct Blocks {
  int x = 1, y = 1;
};

inline int blocks_for(long items, int per_block) { return int((items + per_block - 1) / per_block); }

// The kernels of one program (kernels/*.cu) on one stream.
class Launcher {
 public:
  virtual ~Launcher() = default;

  // Starts a kernel with shared memory of so many bytes, unless there are no blocks.
  template <class Arguments>
  void launch(const char* kernel, Blocks blocks, int threads, size_t shared, const Arguments& arguments) {
    if (blocks.x > 0 && blocks.y > 0) start(kernel, blocks, threads, shared, &arguments);
  }

 protected:
  virtual void start(const char* kernel, Blocks blocks, int threads, size_t shared, const void* arguments) = 0;
};

}  // namespace idle_md::cuda
