// NVIDIA's libraries, opened by name when they are first wanted: no header and no toolkit is needed to
// build, and the same operators load on machines without a GPU.
#pragma once

#include <cstddef>
#include <string>

namespace idle_md::cuda {

// The parts of the driver (libcuda.so.1) that are used; every function returns 0 where it succeeds.
struct Driver {
  using Handle = void*;

  int (*initialise)(unsigned);
  int (*device_count)(int*);
  int (*device)(int*, int);
  int (*attribute)(int*, int, int);
  int (*retain_context)(Handle*, int);
  int (*push_context)(Handle);
  int (*pop_context)(Handle*);
  int (*load_module)(Handle*, const void*);
  int (*function)(Handle*, Handle, const char*);
  int (*set_function)(Handle, int, int);
  int (*launch)(Handle, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, Handle, void**, void**);
  int (*error_name)(int, const char**);

  // Throws std::runtime_error with what failed.
  void check(int status, const char* what) const;
};

// The runtime compiler (libnvrtc), which torch's wheels for CUDA bring.
struct Compiler {
  using Program = void*;

  int (*version)(int*, int*);
  int (*create)(Program*, const char*, const char*, int, const char* const*, const char* const*);
  int (*destroy)(Program*);
  int (*compile)(Program, int, const char* const*);
  int (*log_size)(Program, std::size_t*);
  int (*log)(Program, char*);
  int (*cubin_size)(Program, std::size_t*);
  int (*cubin)(Program, char*);
  int (*ptx_size)(Program, std::size_t*);
  int (*ptx)(Program, char*);
  int (*architecture_count)(int*);
  int (*architectures)(int*);
};

// Opened once. Throw std::runtime_error with the reason where they cannot be had.
const Driver& driver();
const Compiler& compiler();

// The stream that torch uses on a device at the moment. Throws std::runtime_error where this torch is not
// for CUDA.
void* current_stream(int device);

}  // namespace idle_md::cuda
