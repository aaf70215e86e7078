// Tensors on a GPU, as the launches take them.
#pragma once

#include <ATen/Functions.h>

#include "gpu.hpp"
#include "kernels/arguments.hpp"

namespace idle_md::cuda {

inline const Int64* integers(const at::Tensor& tensor) {
  return reinterpret_cast<const Int64*>(tensor.const_data_ptr<int64_t>());
}

inline char* bytes_of(const at::Tensor& tensor) { return reinterpret_cast<char*>(tensor.mutable_data_ptr<uint8_t>()); }

// Memory for the launches that follow on the current stream.
inline at::Tensor device_memory(size_t bytes, at::Device device) {
  return at::empty({int64_t(bytes)}, at::TensorOptions(at::kByte).device(device));
}

}  // namespace idle_md::cuda
