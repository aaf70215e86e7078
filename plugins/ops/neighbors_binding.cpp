// torch.ops.idle_md.neighbor_list and torch.classes.idle_md.NeighborList.
#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <torch/custom_class.h>
#include <torch/library.h>

#include <algorithm>
#include <cstring>
#include <limits>
#include <mutex>
#include <tuple>
#include <utility>

#include "cuda/list_on_gpu.hpp"
#include "lattice.hpp"
#include "neighbors.hpp"
#include "tensors.hpp"

namespace idle_md {
namespace {

using at::Tensor;

void torch_parallel_for(long n, void (*body)(void*, long, long), void* context) {
  at::parallel_for(0, n, 1, [=](int64_t begin, int64_t end) { body(context, begin, end); });
}

void check_double(const char* name, const Tensor& tensor) {
  check_tensor(name, tensor);
  TORCH_CHECK_VALUE(tensor.scalar_type() == at::kDouble, "the ", name, " must be float64: it is ",
                    tensor.scalar_type(), ", convert it by .to(torch.float64)");
}

void check_positions(const Tensor& positions) {
  TORCH_CHECK_VALUE(positions.dim() == 2 && positions.size(1) == 3, "positions have shape ",
                    positions.sizes(), ": neighbour lists need (N, 3)");
}

void check_cell(const Tensor& cell) {
  TORCH_CHECK_VALUE(cell.sizes() == at::IntArrayRef({3, 3}), "the cell has shape ", cell.sizes(),
                    ": give three lattice vectors, (3, 3)");
}

// Positions that were checked and made contiguous, and the kernel's view of the system.
struct System {
  Tensor positions;
  Atoms atoms;

  System(Tensor contiguous, const double* cell, const std::array<bool, 3>& periodic)
      : positions(std::move(contiguous)) {
    atoms.positions = positions.const_data_ptr<double>();
    atoms.count = positions.size(0);
    std::memcpy(atoms.cell.data(), cell, sizeof(atoms.cell));
    atoms.periodic = periodic;
  }
};

System in_angstrom(const Tensor& positions, const Tensor& cell, const c10::List<bool>& pbc) {
  check_double("positions", positions);
  check_double("cell", cell);
  check_positions(positions);
  check_cell(cell);
  TORCH_CHECK_VALUE(pbc.size() == 3, "pbc has ", pbc.size(),
                    " values: give one for each of the three lattice vectors");
  const Tensor rows = cell.contiguous();
  return {positions.contiguous(), rows.const_data_ptr<double>(), {pbc[0], pbc[1], pbc[2]}};
}

// As in idle_md.neighbors: what is longer has flown apart.
constexpr double longest = 1e5, infinity = std::numeric_limits<double>::infinity();

void check_extent(const double* positions, int64_t count) {
  for (int k = 0; k < 3; ++k) {
    double low = infinity, high = -infinity;
    for (int64_t n = 0; n < count; ++n) {
      low = std::min(low, positions[3 * n + k]);
      high = std::max(high, positions[3 * n + k]);
    }
    TORCH_CHECK_VALUE(!(high - low > longest), "the atoms span ", high - low, " angstrom, more than ",
                      longest, ": has the structure flown apart?");
  }
}

// As in idle_md.cells: an engine, or its barostat, can make any box.
void check_box(const Atoms& atoms) {
  constexpr double narrowest = 0.5, densest = 1.0;  // angstrom; atoms per cubic angstrom
  const Lattice lattice(atoms.cell, atoms.periodic);
  const double volume = std::abs(dot(lattice.rows[0], cross(lattice.rows[1], lattice.rows[2])));
  const double width = *std::min_element(lattice.spacing.begin(), lattice.spacing.end());
  TORCH_CHECK_VALUE(width >= narrowest && atoms.count <= densest * volume, "the cell, ", width,
                    " angstrom between two of its faces and with a volume of ", volume, " cubic angstrom, cannot hold ",
                    atoms.count, " atoms: give the right one, in the right unit; or has a barostat made it collapse?");
}

// Some of an engine's particles, whose unit of length is so many angstrom.
System of_particles(const Tensor& particles, const c10::optional<Tensor>& box, const Tensor& chosen,
                    double angstrom) {
  check_tensor("positions", particles);
  check_positions(particles);
  TORCH_CHECK_VALUE(std::isfinite(angstrom) && angstrom > 0.0,
                    "the unit of length must be positive and finite, in angstrom: got ", angstrom);
  std::array<double, 9> rows{};
  if (box) {
    check_tensor("box", *box);
    check_cell(*box);
    with_values("box", box->contiguous(), [&](const auto* in) {
      for (int k = 0; k < 9; ++k) rows[k] = static_cast<double>(in[k]) * angstrom;
    });
  }
  const Indices atoms(chosen, particles.size(0));
  const Tensor source = particles.contiguous();
  Tensor positions = at::empty({atoms.count, 3}, at::kDouble);
  double* out = positions.mutable_data_ptr<double>();
  with_values("positions", source, [&](const auto* in) {
    for (int64_t n = 0; n < atoms.count; ++n) {
      for (int k = 0; k < 3; ++k) out[3 * n + k] = static_cast<double>(in[3 * atoms[n] + k]) * angstrom;
    }
  });
  const bool periodic = box.has_value();
  if (!periodic) check_extent(out, atoms.count);
  System system{std::move(positions), rows.data(), {periodic, periodic, periodic}};
  if (periodic) check_box(system.atoms);
  return system;
}

struct Edges {
  Tensor index, shifts;  // (2, E) int64; (E, 3) float64, none in an open system

  EdgeArrays arrays() const {
    int64_t* centers = index.mutable_data_ptr<int64_t>();
    double* translations = shifts.defined() ? shifts.mutable_data_ptr<double>() : nullptr;
    return {centers, centers + index.size(1), translations};
  }
  int64_t count() const { return index.size(1); }
};

Edges search(const Atoms& atoms, double cutoff) {
  Edges edges;
  const auto allocate = [&](int64_t n_edges) {
    edges.index = at::empty({2, n_edges}, at::kLong);
    const auto& [a, b, c] = atoms.periodic;
    if (a || b || c) edges.shifts = at::empty({n_edges, 3}, at::kDouble);
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
  const System system = in_angstrom(positions, cell, pbc);
  const Edges edges = search(system.atoms, cutoff);
  Tensor vectors = at::empty({edges.count(), 3}, at::kDouble);
  write_vectors(system.atoms, edges, vectors);
  return {edges.index, vectors};
}

// A neighbour list with a skin, rebuilt when an atom has moved by more than half of it.
class NeighborList : public torch::CustomClassHolder {
 public:
  NeighborList(double cutoff, double skin) : cutoff_(cutoff), skin_(skin), gpu_(cutoff, skin) {
    TORCH_CHECK_VALUE(std::isfinite(cutoff) && cutoff > 0.0,
                      "the cutoff must be positive and finite, in angstrom: got ", cutoff);
    TORCH_CHECK_VALUE(std::isfinite(skin) && skin >= 0.0,
                      "the skin must be zero or positive and finite, in angstrom: got ", skin);
  }

  std::tuple<Tensor, Tensor> compute(const Tensor& positions, const Tensor& cell,
                                     const c10::List<bool>& pbc, at::ScalarType dtype) {
    const c10::InferenceMode ordinary_tensors(false);  // they outlive this call
    if (positions.is_cuda()) return gpu_.edges(positions, cell, {pbc[0], pbc[1], pbc[2]}, dtype);
    return edges_of(in_angstrom(positions, cell, pbc), dtype);
  }

  std::tuple<Tensor, Tensor> compute_particles(const Tensor& positions,
                                               const c10::optional<Tensor>& box,
                                               const Tensor& atoms, double angstrom,
                                               at::ScalarType dtype) {
    const c10::InferenceMode ordinary_tensors(false);
    if (positions.is_cuda()) return gpu_.edges_of_particles(positions, box, atoms, angstrom, dtype);
    return edges_of(of_particles(positions, box, atoms, angstrom), dtype);
  }

  // Waits for a GPU.
  int64_t rebuilds() const {
    const std::lock_guard<std::mutex> lock(mutex_);
    return rebuilds_ + gpu_.searches();
  }

  // Of a GPU's list, see list_on_gpu.hpp; that on the CPU makes errors of problems, and room for all.
  int64_t problem() const { return gpu_.problem(); }
  void make_room() { gpu_.make_room(); }

  std::tuple<double, double> settings() const { return {cutoff_, skin_}; }

 private:
  struct List {
    Edges edges;
    Tensor positions;
    std::array<Vector, 3> cell;
    std::array<bool, 3> periodic;
  };

  std::tuple<Tensor, Tensor> edges_of(const System& system, at::ScalarType dtype) {
    TORCH_CHECK_VALUE(dtype == at::kFloat || dtype == at::kDouble,
                      "edge vectors come in torch.float32 or torch.float64");
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
  cuda::ListOnGpu gpu_;
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
      .def("compute_particles", &NeighborList::compute_particles,
           "The same for some particles of an engine: positions (N, 3) and box vectors (3, 3), "
           "none where it is open, in units of so many angstrom and in either precision, and the "
           "indices (n,) of the particles, by which atoms are numbered from 0.",
           {torch::arg("positions"), torch::arg("box"), torch::arg("atoms"),
            torch::arg("angstrom"), torch::arg("dtype")})
      .def("rebuilds", &NeighborList::rebuilds, "How often the list has been built.")
      .def("problem", &NeighborList::problem,
           "What was wrong with the list on a GPU in the last call, whose vectors are not numbers then: 1 the box, "
           "2 a position, 4 more neighbours of an atom than there is room for, or sums of these.")
      .def("make_room", &NeighborList::make_room,
           "Twice the room for neighbours on a GPU; 0.2 atoms per cubic angstrom have room at first.")
      .def_pickle(
          [](const c10::intrusive_ptr<NeighborList>& self) { return self->settings(); },
          [](const std::tuple<double, double>& settings) {
            return c10::make_intrusive<NeighborList>(std::get<0>(settings),
                                                     std::get<1>(settings));
          });
}

}  // namespace idle_md
