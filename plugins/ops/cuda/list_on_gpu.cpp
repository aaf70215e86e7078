#include "list_on_gpu.hpp"

#include <algorithm>
#include <utility>

#include "gpu_tensors.hpp"

namespace idle_md::cuda {
namespace {

using at::Tensor;

// The index (2, E) of all pairs.
Tensor all_pairs_index(int64_t atoms, at::Device device) {
  const int64_t others = std::max<int64_t>(atoms - 1, 0);
  const auto options = at::TensorOptions(at::kLong).device(device);
  const Tensor centre = at::arange(atoms, options).repeat_interleave(others);
  const Tensor other = at::arange(others, options).repeat({atoms});
  return at::stack({centre, other.add(other.ge(centre))});
}

// A number that a list has in its state.
int number_at(const Tensor& state, const int* place) {
  return state.narrow(0, reinterpret_cast<const char*>(place) - bytes_of(state), 4).view(at::kInt).item<int>();
}

const void* data_of(const Tensor& tensor) { return tensor.const_data_ptr(); }

}  // namespace

std::tuple<Tensor, Tensor> ListOnGpu::edges(const Tensor& positions, const Tensor& cell, std::array<bool, 3> periodic,
                                            at::ScalarType dtype) {
  const at::Device device = positions.device();
  const Tensor atoms = at::arange(positions.size(0), at::TensorOptions(at::kLong).device(device));
  return found(positions, cell.to(positions.options()), periodic, atoms, 1.0, dtype);
}

std::tuple<Tensor, Tensor> ListOnGpu::edges_of_particles(const Tensor& positions, const std::optional<Tensor>& box,
                                                         const Tensor& atoms, double angstrom, at::ScalarType dtype) {
  const bool periodic = box.has_value();
  return found(positions, periodic ? box->to(positions.options()) : Tensor(), {periodic, periodic, periodic},
               atoms, angstrom, dtype);
}

std::tuple<Tensor, Tensor> ListOnGpu::found(const Tensor& given, const Tensor& box, std::array<bool, 3> periodic,
                                            const Tensor& atoms, double angstrom, at::ScalarType dtype) {
  const at::Device device = given.device();
  const bool is_periodic = periodic[0] || periodic[1] || periodic[2];
  TORCH_CHECK_VALUE(given.dim() == 2 && given.size(1) == 3, "positions have shape ", given.sizes(),
                    ": neighbour lists need (N, 3)");
  TORCH_CHECK_TYPE(given.scalar_type() == at::kFloat || given.scalar_type() == at::kDouble,
                   "positions must be float32 or float64: they are ", given.scalar_type());
  TORCH_CHECK_VALUE(dtype == at::kFloat || dtype == at::kDouble, "edge vectors come in torch.float32 or torch.float64");
  TORCH_CHECK_VALUE(!is_periodic || (box.device() == device && box.sizes() == at::IntArrayRef({3, 3})),
                    "the box must be (3, 3) and on ", device);
  TORCH_CHECK_VALUE(atoms.device() == device && atoms.scalar_type() == at::kLong && atoms.dim() == 1,
                    "atoms must be indices (n,), int64, on ", device);
  Kept replaced;  // freed after the mutex is: to free a tensor may mean to wait for Python
  const std::lock_guard<std::mutex> lock(mutex_);
  Kept& kept = kept_[{std::this_thread::get_id(), device.index()}];
  if (kept.atoms != atoms.size(0) || kept.list.periodic != periodic)
    replaced = std::exchange(kept, fresh(device, atoms.size(0), periodic));
  const Tensor positions = given.contiguous(), cell = is_periodic ? box.contiguous() : Tensor();
  const Tensor chosen = atoms.contiguous();
  const int64_t edges = kept.state.defined() ? kept.list.edges() : kept.pairs.size(1);
  const Tensor index = kept.state.defined() ? at::empty({2, edges}, chosen.options()) : kept.pairs;
  const Tensor vectors = at::empty({edges, 3}, at::TensorOptions(dtype).device(device));
  const Particles particles{positions.scalar_type() == at::kDouble, data_of(positions),
                            is_periodic ? data_of(cell) : nullptr, integers(chosen), angstrom};
  const Vectors out{dtype == at::kDouble, vectors.mutable_data_ptr()};
  const auto launcher = Gpu::at(device.index()).launcher("particles.cu");
  if (kept.state.defined())
    list_edges(*launcher, kept.list, bytes_of(kept.state), particles,
               reinterpret_cast<Int64*>(index.mutable_data_ptr<int64_t>()), out);
  else
    all_pairs(*launcher, int(kept.atoms), particles, out);
  return {index, vectors};
}

ListOnGpu::Kept ListOnGpu::fresh(at::Device device, int64_t atoms, std::array<bool, 3> periodic) const {
  const bool is_periodic = periodic[0] || periodic[1] || periodic[2];
  const bool is_all_pairs = atoms == 0 || (!is_periodic && atoms <= few_atoms);
  Kept made;
  made.atoms = atoms;
  made.list = {int(atoms), periodic, cutoff_, skin_, densest_};
  TORCH_CHECK_VALUE(is_all_pairs || 2 * atoms * made.list.room() < INT32_MAX, atoms,
                    " atoms are too many for one GPU's list");
  if (is_all_pairs) {
    made.pairs = all_pairs_index(atoms, device);
  } else {
    made.state = device_memory(made.list.state_bytes(), device);
    made.state.fill_(0xff);
  }
  return made;
}

int64_t ListOnGpu::searches() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  int64_t all = 0;
  for (const auto& [place, kept] : kept_)
    if (kept.state.defined()) all += number_at(kept.state, report_of(kept.list, bytes_of(kept.state)).searches) + 1;
  return all;
}

int64_t ListOnGpu::problem() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  int64_t all = 0;
  for (const auto& [place, kept] : kept_)
    if (kept.state.defined()) all |= number_at(kept.state, report_of(kept.list, bytes_of(kept.state)).problem);
  return all;
}

void ListOnGpu::make_room() {
  std::map<Place, Kept> replaced;
  const std::lock_guard<std::mutex> lock(mutex_);
  densest_ *= 2.0;
  kept_.swap(replaced);
}

}  // namespace idle_md::cuda
