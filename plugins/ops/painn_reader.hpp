// The weights of an exported PaiNN, found by the names of its module's buffers.
#pragma once

#include <ATen/core/Dict.h>
#include <ATen/core/Tensor.h>

#include <string>

#include "painn.hpp"

namespace idle_md {

using Buffers = c10::Dict<std::string, at::Tensor>;

// Reads buffers on the CPU. The stages are nested, so each one's names begin with one "rest." more.
template <class T>
class WeightReader {
 public:
  explicit WeightReader(const Buffers& buffers) : buffers_(buffers) {
    const at::Tensor embedding = find("embedding");
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

  at::Tensor find(const std::string& name) const {
    TORCH_CHECK_VALUE(buffers_.contains(name), "PaiNN: the weight ", name, " is missing");
    return buffers_.at(name);
  }

  const T* data(const std::string& name, at::IntArrayRef shape) const {
    const at::Tensor tensor = find(name);
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

}  // namespace idle_md
