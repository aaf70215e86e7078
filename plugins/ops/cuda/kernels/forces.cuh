// From the gradients of edges to the forces on an engine's particles.
#pragma once

#include "device.cuh"

namespace idle_md::cuda {

// Whether every edge is between two atoms.
IDLE_MD_DEVICE bool is_whole(const ForceArguments& args) { return args.start[args.atoms] == 2 * args.edges; }

// The particle that an atom is, or -1 if there is none.
IDLE_MD_DEVICE long particle_of(const ForceArguments& args, int atom) {
  const long particle = args.chosen == nullptr ? atom : long(args.chosen[atom]);
  return particle >= 0 && particle < args.particles ? particle : -1;
}

// The sum of all atoms' energies, by one block; no number if an edge or an atom is of nothing.
IDLE_MD_DEVICE void sum_energies(const ForceArguments& args, double* memory) {
  double sum = is_whole(args) ? 0.0 : not_a_number<double>();
  for (int n = int(threadIdx.x); n < args.atoms; n += threads_of_edges)
    sum += particle_of(args, n) < 0 ? not_a_number<double>() : args.energies[n];
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
  const long particle = particle_of(args, atom);
  if (lane() % 8 != 0 || k == 3 || particle < 0) return;
  const double force = is_whole(args) ? total * args.force_unit : not_a_number<double>();
  static_cast<Force*>(args.forces)[3 * particle + k] = Force(force);
}

}  // namespace idle_md::cuda
