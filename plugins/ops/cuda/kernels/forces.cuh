// From the gradients of edges to the forces on an engine's particles.
#pragma once

#include "device.cuh"

namespace idle_md::cuda {

// The sum of all atoms' energies, by one block.
IDLE_MD_DEVICE void sum_energies(const ForceArguments& args, double* memory) {
  double sum = 0.0;
  for (int n = int(threadIdx.x); n < args.atoms; n += threads_of_edges) sum += args.energies[n];
  sum = sum_warp(sum);
  if (lane() == 0) memory[warp()] = sum;
  __syncthreads();
  if (threadIdx.x > 0) return;
  for (int other = 1; other < threads_of_edges / 32; ++other) sum += memory[other];
  *args.energy = sum * args.energy_unit;
}

// A warp for each atom: f_i += g_e, f_j -= g_e. The first block sums energies.
template <class T, class Force>
IDLE_MD_DEVICE void sum_forces(const ForceArguments& args, double* memory) {
  if (blockIdx.x == 0) {
    if (args.energy != nullptr) sum_energies(args, memory);
    return;
  }
  const int atom = int(blockIdx.x - 1) * (threads_of_edges / 32) + warp();
  if (atom >= args.atoms) return;
  const T* gradients = static_cast<const T*>(args.gradients);
  double sum[4] = {};
  for (int n = args.start[atom] + lane(); n < args.start[atom + 1]; n += 32) {
    const int entry = args.ordered[n];
    const bool is_centre = entry < args.edges;
    const T* g = gradients + 3L * (is_centre ? entry : entry - args.edges);
    for (int k = 0; k < 3; ++k) sum[k] += is_centre ? double(g[k]) : -double(g[k]);
  }
  const double total = sum_four(sum);
  const int k = lane() / 8;
  if (lane() % 8 != 0 || k == 3) return;
  const long particle = args.chosen == nullptr ? atom : long(args.chosen[atom]);
  static_cast<Force*>(args.forces)[3 * particle + k] = Force(total * args.force_unit);
}

}  // namespace idle_md::cuda
