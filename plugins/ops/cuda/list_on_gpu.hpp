// A neighbour list that lives on a GPU.
#pragma once

#include <ATen/Functions.h>

#include <array>
#include <mutex>
#include <optional>
#include <tuple>

#include "particles.hpp"

namespace idle_md::cuda {

// Edges of the contract for tensors on one GPU. Their number is fixed by the number of atoms: places that
// no edge takes lead from an atom to itself and are longer than the cutoff. Nothing waits for the device:
// where the list has no room, or positions or box are not legal, all vectors are NaN.
//
// The index is shared with later calls, which change it.
class ListOnGpu {
 public:
  ListOnGpu(double cutoff, double skin) : cutoff_(cutoff), skin_(skin) {}

  // edge_index (2, E) and edge_vectors (E, 3) of positions (N, 3) and a cell (3, 3) in angstrom.
  std::tuple<at::Tensor, at::Tensor> edges(const at::Tensor& positions, const at::Tensor& cell,
                                           std::array<bool, 3> periodic, at::ScalarType dtype);
  // Of some of an engine's particles, whose unit of length is so many angstrom; without a box, open.
  std::tuple<at::Tensor, at::Tensor> edges_of_particles(const at::Tensor& positions,
                                                        const std::optional<at::Tensor>& box, const at::Tensor& atoms,
                                                        double angstrom, at::ScalarType dtype);
  int64_t searches() const;
  // What was wrong in the last call: bits, see arguments.hpp. Waits for the GPU.
  int64_t problem() const;
  // Twice the room for neighbours from now on; all tensors that were given away are no longer written to.
  void make_room();

 private:
  // What is kept for a number of atoms, directions and a GPU.
  struct Kept {
    at::Device device = at::kCPU;
    int64_t atoms = -1;
    at::Tensor index, state;  // without a state, all pairs
    DeviceList list;
  };

  std::tuple<at::Tensor, at::Tensor> found(const at::Tensor& positions, const at::Tensor& box,
                                           std::array<bool, 3> periodic, const at::Tensor& atoms, double angstrom,
                                           at::ScalarType dtype);
  void keep_for(at::Device device, int64_t atoms, std::array<bool, 3> periodic);
  int64_t reported(const int* place) const;

  const double cutoff_, skin_;
  mutable std::mutex mutex_;
  double densest_ = DeviceList().densest;
  Kept kept_;
};

}  // namespace idle_md::cuda
