// The way from launches to a driver, see driver.cpp: prints what is found, for the test to look at.
#include <dlfcn.h>

#include <cstdio>
#include <stdexcept>
#include <vector>

#include "gpu.hpp"
#include "particles.hpp"

using namespace idle_md::cuda;

int main() {
  std::setvbuf(stdout, nullptr, _IONBF, 0);
  std::printf("%s\n", why_not().c_str());
  dlopen("libtorch_cuda.so", RTLD_NOW);  // as a torch for CUDA is there before its operators
  std::printf("%s\n", why_not().c_str());
  Gpu& gpu = Gpu::at(0);
  std::printf("%d %zu\n", gpu.device().processors, gpu.device().shared_bytes);

  const float positions[] = {0, 0, 0, 1, 0, 0, 0, 2, 0};
  const Int64 chosen[] = {0, 1, 2}, index[] = {0, 0, 1, 1, 2, 2, 1, 2, 0, 2, 0, 1};
  std::vector<double> vectors(18), forces(9);
  const Particles particles{false, positions, nullptr, chosen, 10.0};
  all_pairs(*gpu.launcher("particles.cu"), 3, particles, {true, vectors.data()});
  for (const double x : vectors) std::printf("%g ", x);
  std::printf("\n");

  EdgeForces given;
  given.atoms = 3;
  given.edges = 6;
  given.particles = 3;
  given.index = index;
  given.gradients = {true, vectors.data()};
  given.forces = forces.data();
  std::vector<char> memory(force_bytes(3, 6));
  sum_forces(*gpu.launcher("particles.cu"), given, memory.data());
  for (const double x : forces) std::printf("%g ", x);
  std::printf("\n");

  AllPairsArguments args{3, 10.0, positions, chosen, vectors.data()};
  const auto launcher = gpu.launcher("particles.cu");
  launcher->launch("all_pairs_float_double", {1}, threads_of_edges, 60000, args);  // more than what is always there
  try {
    launcher->launch("no_such_kernel", {1}, threads_of_edges, 0, args);
  } catch (const std::runtime_error& error) {
    std::printf("%s\n", error.what());
  }
}
