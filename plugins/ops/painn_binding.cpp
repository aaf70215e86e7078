// torch.classes.idle_md.PaiNN and torch.ops.idle_md.painn_energy_gradient.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <torch/custom_class.h>
#include <torch/library.h>

#include <memory>
#include <mutex>
#include <string>

#include "cuda/painn_gpus.hpp"
#include "painn_reader.hpp"

namespace idle_md {
namespace {

using at::Tensor;
using State = std::tuple<Buffers, double, bool, bool>;  // weights, cutoff, Bessel functions, tables

void torch_threads(long n, void (*body)(void*, long, long), void* context) {
  at::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) { body(context, begin, end); });
}

// The buffers on the CPU, where weights are read.
Buffers on_the_host(const Buffers& buffers) {
  Buffers host;
  for (const auto& each : buffers) host.insert(each.key(), each.value().to(at::kCPU));
  return host;
}

class PaiNNModel : public torch::CustomClassHolder {
 public:
  PaiNNModel(Buffers buffers, double cutoff, bool bessel, bool tabulated)
      : buffers_(std::move(buffers)), cutoff_(cutoff), bessel_(bessel), tabulated_(tabulated) {
    TORCH_CHECK_VALUE(cutoff > 0 && std::isfinite(cutoff), "PaiNN: the cutoff must be positive, in angstrom: got ", cutoff);
    TORCH_CHECK_VALUE(buffers_.contains("embedding"), "PaiNN: the weight embedding is missing");
    dtype_ = buffers_.at("embedding").scalar_type();
    if (dtype_ == at::kFloat)
      single_ = make<float>();
    else if (dtype_ == at::kDouble)
      double_ = make<double>();
    else
      TORCH_CHECK_TYPE(false, "PaiNN: weights are float32 or float64, not ", dtype_);
  }

  std::tuple<Tensor, Tensor> energy_gradient(const Tensor& species, const Tensor& edge_index,
                                             const Tensor& edge_vectors, int64_t owned) {
    check(species, edge_index, edge_vectors, at::kCPU);
    return dtype_ == at::kFloat ? evaluate<float>(*single_, species, edge_index, edge_vectors, owned)
                                : evaluate<double>(*double_, species, edge_index, edge_vectors, owned);
  }

  std::tuple<Tensor, Tensor> energy_gradient_on_gpu(const Tensor& species, const Tensor& edge_index,
                                                    const Tensor& edge_vectors, int64_t owned) {
    check(species, edge_index, edge_vectors, species.device());
    TORCH_CHECK_VALUE(owned >= 0 && owned <= species.size(0), "n_owned is ", owned, ", but there are ",
                      species.size(0), " atoms");
    const Tensor numbers = species.contiguous(), pairs = edge_index.contiguous(), vectors = edge_vectors.contiguous();
    if (dtype_ == at::kFloat) return gpus(gpu_single_).energy_gradient(numbers, pairs, vectors, owned);
    return gpus(gpu_double_).energy_gradient(numbers, pairs, vectors, owned);
  }

  State state() const { return {buffers_, cutoff_, bessel_, tabulated_}; }

 private:
  // Calls with the weights, the filters and the radial functions.
  template <class T, class Use>
  auto with_weights(const Use& use) const {
    const Buffers host = on_the_host(buffers_);
    const WeightReader<T> reader(host);
    Radial radial;
    radial.bessel = bessel_;
    radial.cutoff = cutoff_;
    radial.nodes.assign(reader.nodes, reader.nodes + reader.n_radial);
    return use(reader.weights, reader.filters, radial);
  }

  template <class T>
  std::unique_ptr<Painn<T>> make() const {
    return with_weights<T>([&](const auto& weights, const auto& filters, const Radial& radial) {
      return std::make_unique<Painn<T>>(weights, filters, radial, tabulated_);
    });
  }

  // Packed when it is first wanted: most models never see a GPU.
  template <class T>
  cuda::PainnOnGpus<T>& gpus(std::unique_ptr<cuda::PainnOnGpus<T>>& place) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (!place)
      place = with_weights<T>([&](const auto& weights, const auto& filters, const Radial& radial) {
        return std::make_unique<cuda::PainnOnGpus<T>>(cuda::PackedPainn<T>(weights, filters, radial, tabulated_));
      });
    return *place;
  }

  void check(const Tensor& species, const Tensor& edge_index, const Tensor& edge_vectors, at::Device device) const {
    TORCH_CHECK_TYPE(species.scalar_type() == at::kLong, "species must be int64, not ", species.scalar_type());
    TORCH_CHECK_TYPE(edge_index.scalar_type() == at::kLong, "edge_index must be int64, not ", edge_index.scalar_type());
    TORCH_CHECK_TYPE(edge_vectors.scalar_type() == dtype_, "edge_vectors are ", edge_vectors.scalar_type(),
                     ", the model is ", dtype_);
    TORCH_CHECK_VALUE(species.dim() == 1, "species must be (N,), not ", species.sizes());
    TORCH_CHECK_VALUE(edge_index.dim() == 2 && edge_index.size(0) == 2, "edge_index must be (2, E), not ",
                      edge_index.sizes());
    TORCH_CHECK_VALUE(edge_vectors.dim() == 2 && edge_vectors.size(1) == 3 && edge_vectors.size(0) == edge_index.size(1),
                      "edge_vectors must be (", edge_index.size(1), ", 3), not ", edge_vectors.sizes());
    for (const Tensor* each : {&species, &edge_index, &edge_vectors})
      TORCH_CHECK_VALUE(each->device() == device && each->layout() == at::kStrided, "the native kernels run on the ",
                        device.is_cpu() ? "CPU" : device.str(), ": got a tensor on ", each->device());
  }

  template <class T>
  std::tuple<Tensor, Tensor> evaluate(const Painn<T>& model, const Tensor& species, const Tensor& edge_index,
                                      const Tensor& edge_vectors, int64_t owned) {
    const Tensor numbers = species.contiguous(), pairs = edge_index.contiguous(), vectors = edge_vectors.contiguous();
    const int64_t atoms = numbers.size(0), edges = vectors.size(0);
    Tensor energies = at::empty({atoms}, at::kDouble);
    Tensor gradients = gradient_buffer(edges);
    const int64_t* centre = pairs.const_data_ptr<int64_t>();
    try {
      model.energy_gradient(atoms, numbers.const_data_ptr<int64_t>(), edges, centre, centre + edges,
                            vectors.const_data_ptr<T>(), owned, torch_threads, energies.mutable_data_ptr<double>(),
                            gradients.mutable_data_ptr<T>());
    } catch (const std::invalid_argument& error) {
      TORCH_CHECK_VALUE(false, error.what());
    }
    return {energies, gradients};
  }

  // The memory of the gradients returned before, if nobody holds them any more.
  Tensor gradient_buffer(int64_t edges) {
    const std::lock_guard<std::mutex> lock(mutex_);
    const int64_t wanted = 3 * edges;
    const bool free = buffer_.defined() && buffer_.storage().use_count() == 1 && buffer_.numel() >= wanted &&
                      buffer_.numel() <= 4 * wanted + 4096;
    if (!free) buffer_ = at::empty({wanted + wanted / 8}, at::TensorOptions(dtype_));
    return buffer_.narrow(0, 0, wanted).view({edges, 3});
  }

  Buffers buffers_;
  double cutoff_;
  bool bessel_, tabulated_;
  at::ScalarType dtype_;
  std::unique_ptr<Painn<float>> single_;
  std::unique_ptr<Painn<double>> double_;
  std::unique_ptr<cuda::PainnOnGpus<float>> gpu_single_;
  std::unique_ptr<cuda::PainnOnGpus<double>> gpu_double_;
  std::mutex mutex_;
  Tensor buffer_;
};

std::tuple<Tensor, Tensor> painn_energy_gradient(const c10::intrusive_ptr<PaiNNModel>& model, const Tensor& species,
                                                 const Tensor& edge_index, const Tensor& edge_vectors,
                                                 int64_t n_owned) {
  return model->energy_gradient(species, edge_index, edge_vectors, n_owned);
}

std::tuple<Tensor, Tensor> painn_energy_gradient_on_gpu(const c10::intrusive_ptr<PaiNNModel>& model,
                                                        const Tensor& species, const Tensor& edge_index,
                                                        const Tensor& edge_vectors, int64_t n_owned) {
  return model->energy_gradient_on_gpu(species, edge_index, edge_vectors, n_owned);
}

std::string instruction_set() { return painn_kernels<float>().name; }

}  // namespace

TORCH_LIBRARY_FRAGMENT(idle_md, m) {
  m.class_<PaiNNModel>("PaiNN")
      .def(torch::init<Buffers, double, bool, bool>())
      .def_pickle([](const c10::intrusive_ptr<PaiNNModel>& self) { return self->state(); },
                  [](const State& state) {
                    return std::apply([](auto&&... each) { return c10::make_intrusive<PaiNNModel>(each...); }, state);
                  });
  m.def("painn_energy_gradient(__torch__.torch.classes.idle_md.PaiNN model, Tensor species, Tensor edge_index, "
        "Tensor edge_vectors, int n_owned) -> (Tensor, Tensor)", painn_energy_gradient);
  m.def("instruction_set() -> str", instruction_set);
}

TORCH_LIBRARY_IMPL(idle_md, CUDA, m) { m.impl("painn_energy_gradient", painn_energy_gradient_on_gpu); }

}  // namespace idle_md
