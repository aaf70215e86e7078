// torch.ops.idle_md.neighbor_list and torch.classes.idle_md.NeighborList.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/custom_class.h>
#include <torch/library.h>

#include <cstring>
#include <mutex>
#include <tuple>
#include <utility>

#include "neighbors.hpp"

namespace idle_md {
namespace {

using at::Tensor;

void torch_parallel_for(long n, void (*body)(void*, long, long), void* context) {
  at::parallel_for(0, n, 1, [=](int64_t begin, int64_t end) { body(context, begin, end); });
}

void check_tensor(const char* name, const Tensor& tensor) {
  TORCH_CHECK_VALUE(tensor.device().is_cpu() && tensor.layout() == at::kStrided, "the ", name,
                    " must be a dense tensor on the CPU: it is ", tensor.layout(), " on ",
                    tensor.device());
  TORCH_CHECK_VALUE(tensor.scalar_type() == at::kDouble, "the ", name, " must be float64: it is ",
                    tensor.scalar_type(), ", convert it by .to(torch.float64)");
}

// Tensors that were checked and made contiguous, and the kernel's view of them.
struct System {
  Tensor positions, cell;
  Atoms atoms;

  System(const Tensor& given_positions, const Tensor& given_cell, const c10::List<bool>& pbc) {
    check_tensor("positions", given_positions);
    check_tensor("cell", given_cell);
    TORCH_CHECK_VALUE(given_positions.dim() == 2 && given_positions.size(1) == 3,
                      "positions have shape ", given_positions.sizes(),
                      ": neighbour lists need (N, 3)");
    TORCH_CHECK_VALUE(given_cell.sizes() == at::IntArrayRef({3, 3}), "the cell has shape ",
                      given_cell.sizes(), ": give three lattice vectors, (3, 3)");
    TORCH_CHECK_VALUE(pbc.size() == 3, "pbc has ", pbc.size(),
                      " values: give one for each of the three lattice vectors");
    positions = given_positions.contiguous();
    cell = given_cell.contiguous();
    atoms.positions = positions.const_data_ptr<double>();
    atoms.count = positions.size(0);
    std::memcpy(atoms.cell.data(), cell.const_data_ptr<double>(), sizeof(atoms.cell));
    for (int k = 0; k < 3; ++k) atoms.periodic[k] = pbc[k];
  }
};

struct Edges {
  Tensor index, shifts;  // (2, E) int64, (E, 3) float64

  EdgeArrays arrays() const {
    int64_t* centers = index.mutable_data_ptr<int64_t>();
    return {centers, centers + index.size(1), shifts.mutable_data_ptr<double>()};
  }
  int64_t count() const { return index.size(1); }
};

Edges search(const Atoms& atoms, double cutoff) {
  Edges edges;
  const auto allocate = [&](int64_t n_edges) {
    edges.index = at::empty({2, n_edges}, at::kLong);
    edges.shifts = at::empty({n_edges, 3}, at::kDouble);
    return edges.arrays();
  };
  find_edges(atoms, cutoff, allocate, torch_parallel_for);
  return edges;
}

void write_vectors(const Atoms& atoms, const Edges& edges, const Tensor& vectors) {
  const auto write = [&](auto* out) {
    edge_vectors(atoms.positions, edges.arrays(), edges.count(), out, torch_parallel_for);
  };
  if (vectors.scalar_type() == at::kFloat) {
    write(vectors.mutable_data_ptr<float>());
  } else {
    write(vectors.mutable_data_ptr<double>());
  }
}

std::tuple<Tensor, Tensor> neighbor_list(const Tensor& positions, const Tensor& cell,
                                         const c10::List<bool>& pbc, double cutoff) {
  const System system(positions, cell, pbc);
  const Edges edges = search(system.atoms, cutoff);
  Tensor vectors = at::empty({edges.count(), 3}, at::kDouble);
  write_vectors(system.atoms, edges, vectors);
  return {edges.index, vectors};
}

// A neighbour list with a skin, rebuilt when an atom has moved by more than half of it.
class NeighborList : public torch::CustomClassHolder {
 public:
  NeighborList(double cutoff, double skin) : cutoff_(cutoff), skin_(skin) {
    TORCH_CHECK_VALUE(std::isfinite(cutoff) && cutoff > 0.0,
                      "the cutoff must be positive and finite, in angstrom: got ", cutoff);
    TORCH_CHECK_VALUE(std::isfinite(skin) && skin >= 0.0,
                      "the skin must be zero or positive and finite, in angstrom: got ", skin);
  }

  std::tuple<Tensor, Tensor> compute(const Tensor& positions, const Tensor& cell,
                                     const c10::List<bool>& pbc, at::ScalarType dtype) {
    TORCH_CHECK_VALUE(dtype == at::kFloat || dtype == at::kDouble,
                      "edge vectors come in torch.float32 or torch.float64");
    const c10::InferenceMode ordinary_tensors(false);  // they outlive this call
    const System system(positions, cell, pbc);
    List replaced;  // freed after the mutex is: to free a tensor may mean to wait for Python
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!is_current(system.atoms)) {
      List fresh{search(system.atoms, cutoff_ + skin_), system.positions.clone(),
                 system.atoms.cell, system.atoms.periodic};
      replaced = std::exchange(list_, std::move(fresh));
      ++rebuilds_;
    }
    reserve_vectors(dtype);
    write_vectors(system.atoms, list_.edges, vectors_);
    return {list_.edges.index, vectors_.detach()};
  }

  int64_t rebuilds() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return rebuilds_;
  }

  std::tuple<double, double> settings() const { return {cutoff_, skin_}; }

 private:
  struct List {
    Edges edges;
    Tensor positions;
    std::array<Vector, 3> cell;
    std::array<bool, 3> periodic;
  };

  bool is_current(const Atoms& now) const {
    if (!list_.positions.defined() || now.count != list_.positions.size(0)) return false;
    if (now.periodic != list_.periodic) return false;
    for (int k = 0; k < 3; ++k) {
      if (now.periodic[k] && now.cell[k] != list_.cell[k]) return false;
    }
    const double* before = list_.positions.const_data_ptr<double>();
    return !moved_beyond(0.5 * skin_, before, now.positions, now.count);
  }

  // Callers get tensors of their own on the memory of vectors_, which is written again only when
  // none of those, and no view of them, is left.
  void reserve_vectors(at::ScalarType dtype) {
    const bool fits = vectors_.defined() && vectors_.scalar_type() == dtype &&
                      vectors_.size(0) == list_.edges.count();
    if (!fits || vectors_.storage().use_count() > 1) {
      vectors_ = at::empty({list_.edges.count(), 3}, dtype);
    }
  }

  const double cutoff_, skin_;
  mutable std::mutex mutex_;
  List list_;
  Tensor vectors_;
  int64_t rebuilds_ = 0;
};

}  // namespace

TORCH_LIBRARY_FRAGMENT(idle_md, m) {
  m.def(
      "neighbor_list(Tensor positions, Tensor cell, bool[] pbc, float cutoff) -> "
      "(Tensor edge_index, Tensor edge_vectors)",
      neighbor_list);
  m.class_<NeighborList>("NeighborList")
      .def(torch::init<double, double>(), "Cutoff and skin in angstrom.",
           {torch::arg("cutoff"), torch::arg("skin")})
      .def("compute", &NeighborList::compute,
           "edge_index (2, E), which is shared with later calls and must not be written to, and "
           "edge_vectors (E, 3) in the given dtype, in angstrom. Edges between the cutoff and "
           "cutoff + skin are included. No gradient flows through.",
           {torch::arg("positions"), torch::arg("cell"), torch::arg("pbc"), torch::arg("dtype")})
      .def("rebuilds", &NeighborList::rebuilds, "How often the list has been built.")
      .def_pickle(
          [](const c10::intrusive_ptr<NeighborList>& self) { return self->settings(); },
          [](const std::tuple<double, double>& settings) {
            return c10::make_intrusive<NeighborList>(std::get<0>(settings),
                                                     std::get<1>(settings));
          });
}

}  // namespace idle_md
