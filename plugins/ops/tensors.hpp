// Tensors that operators are given, checked and read.
#pragma once

#include <ATen/core/Tensor.h>

namespace idle_md {

inline void check_tensor(const char* name, const at::Tensor& tensor) {
  TORCH_CHECK_VALUE(tensor.device().is_cpu() && tensor.layout() == at::kStrided, "the ", name,
                    " must be a dense tensor on the CPU: it is ", tensor.layout(), " on ",
                    tensor.device());
}

// Calls with a pointer to values of either precision.
template <class Use>
void with_values(const char* name, const at::Tensor& contiguous, const Use& use) {
  if (contiguous.scalar_type() == at::kFloat) {
    use(contiguous.const_data_ptr<float>());
  } else {
    TORCH_CHECK_TYPE(contiguous.scalar_type() == at::kDouble, "the ", name,
                     " must be float32 or float64: it is ", contiguous.scalar_type());
    use(contiguous.const_data_ptr<double>());
  }
}

// Indices (n,) of an engine's particles.
struct Indices {
  at::Tensor contiguous;
  const int64_t* values;
  int64_t count;

  Indices(const at::Tensor& given, int64_t n_particles) {
    check_tensor("atoms", given);
    TORCH_CHECK_VALUE(given.scalar_type() == at::kLong && given.dim() == 1,
                      "atoms must be indices (n,), int64: they are ", given.sizes(), ", ",
                      given.scalar_type());
    contiguous = given.contiguous();
    values = contiguous.const_data_ptr<int64_t>();
    count = contiguous.size(0);
    for (int64_t n = 0; n < count; ++n) {
      TORCH_CHECK_VALUE(values[n] >= 0 && values[n] < n_particles, "atom ", values[n],
                        " is not there: there are ", n_particles, " particles");
    }
  }

  int64_t operator[](int64_t n) const { return values[n]; }
};

}  // namespace idle_md
