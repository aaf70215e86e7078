// torch.ops.idle_md.cuda_problem and compile_cuda: whether GPUs can be used, and kernels without one.
#include <torch/library.h>

#include "gpu.hpp"
#include "programs.hpp"

namespace idle_md::cuda {
namespace {

// Compiles kernels for an architecture such as 90 into the user's cache, unless they are there; returns
// what the assembler says of them, or nothing where they were.
std::string compile_cuda(std::string program, int64_t architecture, std::vector<std::string> options) {
  return compiled(program, int(architecture), options).log;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(idle_md, m) {
  m.def("cuda_problem() -> str", why_not);
  m.def("compile_cuda(str program, int architecture, str[] options) -> str", compile_cuda);
}

}  // namespace idle_md::cuda
