// What runs on the host of plugins/ops/cuda, for ctypes and for the sanitizers.
#pragma once

#include "painn_step.hpp"
#include "particles.hpp"

// How a block is shared out; block 0: as on a GPU of so many processors.
struct Blocking {
  int block, threads, slices, processors, tf32;
};

template <class T>
struct PainnCall {
  idle_md::PainnWeights<T> weights;
  const T* filters[idle_md::max_interactions];
  const double* nodes;
  long n_radial;
  double cutoff;
  int bessel, tabulated;
  Blocking blocking;
  idle_md::cuda::PainnSystem<T> system;
};

// The functions that run kernels return the number of launches, or -1 where there is a problem.
extern "C" {

const char* emulated_problem();
int emulated_painn_float(const PainnCall<float>* call, unsigned seed);
int emulated_painn_double(const PainnCall<double>* call, unsigned seed);
int list_room(const idle_md::cuda::DeviceList* list);
long list_bytes(const idle_md::cuda::DeviceList* list);
int emulated_list(const idle_md::cuda::DeviceList* list, char* state, const idle_md::cuda::Particles* particles,
                  idle_md::cuda::Int64* index, const idle_md::cuda::Vectors* vectors, int* searches, int* problem,
                  unsigned seed);
int emulated_all_pairs(int atoms, const idle_md::cuda::Particles* particles, const idle_md::cuda::Vectors* vectors,
                       unsigned seed);
int emulated_forces(const idle_md::cuda::EdgeForces* given, unsigned seed);

}  // extern "C"
