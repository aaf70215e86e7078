// The kernels between an engine's particles and edges, for every precision of both.
#include "forces.cuh"
#include "groups.cuh"
#include "neighbors.cuh"

using namespace idle_md::cuda;

IDLE_MD_GROUP_KERNELS(bins, int)
IDLE_MD_GROUP_KERNELS(ends, Int64)

IDLE_MD_KERNEL(find_bins, threads_of_edges, blocks_of_edges, ListArguments) { find_bins(args); }
IDLE_MD_KERNEL(search, threads_of_edges, blocks_of_edges, ListArguments) { search(args); }

#define IDLE_MD_OF_POSITIONS(Position)                                            \
  IDLE_MD_KERNEL(move_points_##Position, threads_of_edges, blocks_of_edges, ListArguments) {       \
    move_points<Position>(args);                                                  \
  }                                                                               \
  IDLE_MD_KERNEL(make_grid_##Position, threads_of_group, 1, ListArguments) {         \
    IDLE_MD_SHARED(memory);                                                       \
    make_grid<Position>(args, reinterpret_cast<double*>(memory));                 \
  }
IDLE_MD_OF_POSITIONS(float)
IDLE_MD_OF_POSITIONS(double)

#define IDLE_MD_OF_BOTH(Position, Real)                                                  \
  IDLE_MD_KERNEL(all_pairs_##Position##_##Real, threads_of_edges, blocks_of_edges, AllPairsArguments) {   \
    all_pairs<Position, Real>(args);                                                     \
  }                                                                                      \
  IDLE_MD_KERNEL(sum_forces_##Real##_##Position, threads_of_edges, blocks_of_edges, ForceArguments) {     \
    IDLE_MD_SHARED(memory);                                                              \
    sum_forces<Real, Position>(args, reinterpret_cast<double*>(memory));                 \
  }
IDLE_MD_OF_BOTH(float, float)
IDLE_MD_OF_BOTH(float, double)
IDLE_MD_OF_BOTH(double, float)
IDLE_MD_OF_BOTH(double, double)

IDLE_MD_KERNEL(edge_vectors_float, threads_of_edges, blocks_of_edges, ListArguments) { edge_vectors<float>(args); }
IDLE_MD_KERNEL(edge_vectors_double, threads_of_edges, blocks_of_edges, ListArguments) { edge_vectors<double>(args); }
