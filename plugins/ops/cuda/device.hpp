// What a GPU can do.
#pragma once

#include <cstddef>

namespace idle_md::cuda {

struct Device {
  int processors = 1;                // streaming multiprocessors
  std::size_t shared_bytes = 49152;  // that a block may have
  bool has_tensor_cores = false;     // that take TF32
};

}  // namespace idle_md::cuda
