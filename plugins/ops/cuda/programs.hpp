// The kernels, compiled by NVRTC for a GPU at hand and kept in the user's cache.
#pragma once

#include <string>
#include <vector>

namespace idle_md::cuda {

// Machine code, or what the driver makes it from, and what the assembler says of registers: nothing where
// the code was in the cache.
struct Compiled {
  std::string code, log;
};

// kernels/<program> for an architecture such as 90; for one that NVRTC does not know, portable code. It
// is kept by the hash of sources and options, the architecture and NVRTC's version. Throws
// std::runtime_error, with the compiler's log, where it cannot be compiled.
Compiled compiled(const std::string& program, int architecture, const std::vector<std::string>& options);

}  // namespace idle_md::cuda
