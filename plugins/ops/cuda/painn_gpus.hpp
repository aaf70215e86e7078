// A PaiNN on every GPU where tensors come from.
#pragma once

#include <ATen/Context.h>

#include <map>
#include <memory>
#include <mutex>
#include <tuple>

#include "gpu_tensors.hpp"
#include "painn_step.hpp"

namespace idle_md::cuda {

template <class T>
class PainnOnGpus {
 public:
  explicit PainnOnGpus(PackedPainn<T> packed) : packed_(std::move(packed)) {}

  // Energies (N,) and gradients (E, 3) of contiguous tensors on one GPU.
  std::tuple<at::Tensor, at::Tensor> energy_gradient(const at::Tensor& species, const at::Tensor& edge_index,
                                                     const at::Tensor& edge_vectors, int64_t owned) {
    const at::Device device = species.device();
    const PainnOnDevice<T>& model = on(device);
    const auto real = at::TensorOptions(edge_vectors.scalar_type()).device(device);
    at::Tensor energies = at::empty({species.size(0)}, real.dtype(at::kDouble));
    at::Tensor gradients = at::empty({edge_vectors.size(0), 3}, real);
    PainnSystem<T> system;
    system.atoms = int(species.size(0));
    system.edges = int(edge_vectors.size(0));
    system.owned = int(owned);
    system.species = integers(species);
    system.centre = integers(edge_index);
    system.neighbor = system.centre + edge_vectors.size(0);
    system.vectors = edge_vectors.const_data_ptr<T>();
    system.energies = energies.mutable_data_ptr<double>();
    system.gradients = gradients.mutable_data_ptr<T>();
    Gpu& gpu = Gpu::at(device.index());
    const PainnShape shape(model, system.atoms, gpu.device(), at::globalContext().allowTF32CuBLAS());
    const at::Tensor memory = device_memory(painn_bytes(model, system), device);
    painn_energy_gradient(*gpu.launcher("painn.cu", shape.options()), shape, model, system, bytes_of(memory));
    return {energies, gradients};
  }

 private:
  struct Copy {
    at::Tensor bytes;
    PainnOnDevice<T> model;
  };

  // Copied when it is first wanted there.
  const PainnOnDevice<T>& on(at::Device device) {
    const std::lock_guard<std::mutex> lock(mutex_);
    std::unique_ptr<Copy>& copy = copies_[device.index()];
    if (!copy) {
      const auto& bytes = packed_.bytes();
      const at::Tensor host = at::from_blob(const_cast<char*>(bytes.data()), {int64_t(bytes.size())}, at::kByte);
      at::Tensor there = host.to(device);
      copy = std::make_unique<Copy>(Copy{there, packed_.at(bytes_of(there))});
    }
    return copy->model;
  }

  PackedPainn<T> packed_;
  std::mutex mutex_;
  std::map<int, std::unique_ptr<Copy>> copies_;
};

}  // namespace idle_md::cuda
