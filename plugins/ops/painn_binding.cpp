// torch.classes.idle_md.PaiNN and torch.ops.idle_md.painn_energy_gradient.
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <torch/custom_class.h>
#include <torch/library.h>

#include <memory>
#include <mutex>
#include <string>

#include "painn.hpp"

namespace idle_md {
namespace {

using at::Tensor;
using Buffers = c10::Dict<std::string, Tensor>;
using State = std::tuple<Buffers, double, bool, bool>;  // weights, cutoff, Bessel functions, tables

void torch_threads(long n, void (*body)(void*, long, long), void* context) {
  at::parallel_for(0, n, 1, [&](int64_t begin, int64_t end) { body(context, begin, end); });
}

// Finds the weights of an exported PaiNN by the names of its module's buffers: the stages are nested,
// so each one's names begin with one "rest." more.
template <class T>
class WeightReader {
 public:
  explicit WeightReader(const Buffers& buffers) : buffers_(buffers) {
    const Tensor embedding = find("embedding");
    TORCH_CHECK_VALUE(embedding.dim() == 2, "PaiNN: embedding must be a matrix");
    weights.elements = embedding.size(0);
    weights.features = embedding.size(1);
    const long F = weights.features;
    TORCH_CHECK_VALUE(F > 0 && F % 16 == 0, "PaiNN: the native kernels need a multiple of 16 features, not ", F);
    n_radial = find("basis.nodes").numel();
    TORCH_CHECK_VALUE(n_radial > 1, "PaiNN: basis.nodes must hold two radial functions or more");
    nodes = data("basis.nodes", {n_radial});
    weights.embedding = data("embedding", {weights.elements, F});
    weights.sent = data("sent", {weights.elements, 2 * F});
    filters[0] = data("filter", {n_radial + 1, 2 * F});
    read_stages(F);
  }

  PainnWeights<T> weights;
  const T* filters[max_interactions] = {};
  long n_radial = 0;
  const T* nodes = nullptr;

 private:
  void read_stages(long F) {
    std::string stage = "rest.";
    long l = 0;
    for (;; ++l) {
      TORCH_CHECK_VALUE(l < max_interactions, "PaiNN: at most ", max_interactions, " interactions");
      if (l > 0) {
        filters[l] = data(stage + "filter", {n_radial + 1, 3 * F});
        weights.message_hidden[l] = layer(stage + "network.hidden", F, F);
        weights.message_output[l] = layer(stage + "network.output", F, 3 * F);
        stage += "rest.";
      }
      const bool last = !buffers_.contains(stage + "rest.filter");
      weights.mix[l] = {data(stage + "mix", {F, 2 * F}), nullptr, F, 2 * F};
      weights.update_hidden[l] = layer(stage + "network.hidden", 2 * F, F);
      weights.update_output[l] = layer(stage + "network.output", F, (last ? 2 : 3) * F);
      stage += "rest.";
      if (last) break;
    }
    weights.interactions = l + 1;
    weights.direct = data(stage + "direct", {F});
    if (!buffers_.contains(stage + "output")) return;
    const long H = find(stage + "output").numel();
    weights.head_hidden = layer(stage + "hidden", F, H);
    weights.readout = data(stage + "output", {H});
  }

  Tensor find(const std::string& name) const {
    TORCH_CHECK_VALUE(buffers_.contains(name), "PaiNN: the weight ", name, " is missing");
    return buffers_.at(name);
  }

  const T* data(const std::string& name, at::IntArrayRef shape) const {
    const Tensor tensor = find(name);
    TORCH_CHECK_VALUE(tensor.sizes() == shape, "PaiNN: ", name, " has shape ", tensor.sizes(), ", not ", shape);
    TORCH_CHECK_VALUE(tensor.device().is_cpu() && tensor.is_contiguous(), "PaiNN: ", name,
                      " must be contiguous, on the CPU");
    TORCH_CHECK_TYPE(tensor.scalar_type() == c10::CppTypeToScalarType<T>::value, "PaiNN: ", name, " is ",
                     tensor.scalar_type(), ", not in the precision of the embedding");
    return tensor.const_data_ptr<T>();
  }

  Layer<T> layer(const std::string& name, long inputs, long outputs) const {
    return {data(name + ".weight", {inputs, outputs}), data(name + ".bias", {outputs}), inputs, outputs};
  }

  const Buffers& buffers_;
};

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
    check(species, edge_index, edge_vectors);
    return dtype_ == at::kFloat ? evaluate<float>(*single_, species, edge_index, edge_vectors, owned)
                                : evaluate<double>(*double_, species, edge_index, edge_vectors, owned);
  }

  State state() const { return {buffers_, cutoff_, bessel_, tabulated_}; }

 private:
  template <class T>
  std::unique_ptr<Painn<T>> make() const {
    const WeightReader<T> reader(buffers_);
    Radial radial;
    radial.bessel = bessel_;
    radial.cutoff = cutoff_;
    radial.nodes.assign(reader.nodes, reader.nodes + reader.n_radial);
    return std::make_unique<Painn<T>>(reader.weights, reader.filters, radial, tabulated_);
  }

  void check(const Tensor& species, const Tensor& edge_index, const Tensor& edge_vectors) const {
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
      TORCH_CHECK_VALUE(each->device().is_cpu() && each->layout() == at::kStrided,
                        "the native kernels run on the CPU: got a tensor on ", each->device());
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
  std::mutex mutex_;
  Tensor buffer_;
};

std::tuple<Tensor, Tensor> painn_energy_gradient(const c10::intrusive_ptr<PaiNNModel>& model, const Tensor& species,
                                                 const Tensor& edge_index, const Tensor& edge_vectors,
                                                 int64_t n_owned) {
  return model->energy_gradient(species, edge_index, edge_vectors, n_owned);
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

}  // namespace idle_md
