// A neighbour list that lives on a GPU.
#pragma once

#include <ATen/Functions.h>

#include <array>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <tuple>

#include "particles.hpp"

namespace idle_md::cuda {

// Edges of the contract for tensors on one GPU. Their number is fixed by the number of atoms: places that
// no edge takes lead from an atom to itself and are longer than the cutoff. Nothing waits for the device:
// where the list has no room, or positions or box are not legal, all vectors are NaN.
//
// Threads may have streams of their own, which nothing orders: each keeps a list of its own on every GPU,
// and what is written belongs to one evaluation.
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
  // In all threads.
  int64_t searches() const;
  // What was wrong in the last call of any thread: bits, see arguments.hpp. Waits for the GPU.
  int64_t problem() const;
  // Twice the room for neighbours from now on; what was recorded for replay is no longer good.
  void make_room();

 private:
  // What is kept for a number of atoms and directions.
  struct Kept {
    int64_t atoms = -1;
    at::Tensor pairs, state;  // the index of all pairs, which is never written to again; or a list
    DeviceList list;
  };
  using Place = std::pair<std::thread::id, at::DeviceIndex>;

  std::tuple<at::Tensor, at::Tensor> found(const at::Tensor& positions, const at::Tensor& box,
                                           std::array<bool, 3> periodic, const at::Tensor& atoms, double angstrom,
                                           at::ScalarType dtype);
  Kept fresh(at::Device device, int64_t atoms, std::array<bool, 3> periodic) const;

  const double cutoff_, skin_;
  mutable std::mutex mutex_;
  double densest_ = DeviceList().densest;
  std::map<Place, Kept> kept_;
};

}  // namespace idle_md::cuda
