#include "list_on_gpu.hpp"

#include "gpu_tensors.hpp"

namespace idle_md::cuda {
namespace {

using at::Tensor;

// The index (2, E) of all pairs, or of a list whose neighbours are still to be written.
Tensor new_index(int64_t atoms, int64_t room, bool is_all_pairs, at::Device device) {
  const auto options = at::TensorOptions(at::kLong).device(device);
  const Tensor centre = at::arange(atoms, options).repeat_interleave(room);
  if (!is_all_pairs) return at::stack({centre, centre});
  const Tensor other = at::arange(room, options).repeat({atoms});
  return at::stack({centre, other.add(other.ge(centre))});
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
  const std::lock_guard<std::mutex> lock(mutex_);
  keep_for(device, atoms.size(0), periodic);
  const Tensor positions = given.contiguous(), cell = is_periodic ? box.contiguous() : Tensor();
  const Tensor chosen = atoms.contiguous();
  const Tensor vectors = at::empty({kept_.index.size(1), 3}, at::TensorOptions(dtype).device(device));
  const Particles particles{positions.scalar_type() == at::kDouble, data_of(positions),
                            is_periodic ? data_of(cell) : nullptr, integers(chosen), angstrom};
  const Vectors out{dtype == at::kDouble, vectors.mutable_data_ptr()};
  const auto launcher = Gpu::at(device.index()).launcher("particles.cu");
  if (!kept_.state.defined()) {
    all_pairs(*launcher, int(kept_.atoms), particles, out);
  } else {
    auto* neighbor = reinterpret_cast<Int64*>(kept_.index.mutable_data_ptr<int64_t>()) + kept_.index.size(1);
    list_edges(*launcher, kept_.list, bytes_of(kept_.state), particles, neighbor, out);
  }
  return {kept_.index, vectors};
}

void ListOnGpu::keep_for(at::Device device, int64_t atoms, std::array<bool, 3> periodic) {
  if (kept_.device == device && kept_.atoms == atoms && kept_.list.periodic == periodic) return;
  const bool is_periodic = periodic[0] || periodic[1] || periodic[2];
  const bool is_all_pairs = !is_periodic && atoms <= few_atoms;
  Kept fresh;
  fresh.device = device;
  fresh.atoms = atoms;
  fresh.list = {int(atoms), periodic, cutoff_, skin_, densest_};
  const int64_t room = is_all_pairs ? std::max<int64_t>(atoms - 1, 0) : fresh.list.room();
  TORCH_CHECK_VALUE(2 * atoms * room < INT32_MAX, atoms, " atoms are too many for one GPU's list");
  fresh.index = new_index(atoms, room, is_all_pairs, device);
  if (!is_all_pairs) {
    fresh.state = device_memory(fresh.list.state_bytes(), device);
    fresh.state.fill_(0xff);
  }
  kept_ = std::move(fresh);
}

int64_t ListOnGpu::searches() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return kept_.state.defined() ? reported(report_of(kept_.list, bytes_of(kept_.state)).searches) + 1 : 0;
}

int64_t ListOnGpu::problem() const {
  const std::lock_guard<std::mutex> lock(mutex_);
  return kept_.state.defined() ? reported(report_of(kept_.list, bytes_of(kept_.state)).problem) : 0;
}

int64_t ListOnGpu::reported(const int* place) const {
  const int64_t offset = reinterpret_cast<const char*>(place) - bytes_of(kept_.state);
  return kept_.state.narrow(0, offset, 4).view(at::kInt).item<int>();
}

void ListOnGpu::make_room() {
  const std::lock_guard<std::mutex> lock(mutex_);
  densest_ *= 2.0;
  kept_ = Kept();
}

}  // namespace idle_md::cuda
