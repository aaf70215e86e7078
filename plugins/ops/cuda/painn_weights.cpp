#include "painn_weights.hpp"

#include "../splines.hpp"

namespace idle_md::cuda {
namespace {

// Lays the weights out in pieces; where these have memory, it is filled.
template <class T>
class Layout {
 public:
  Layout(char* block, const PainnWeights<T>& weights, const std::vector<std::vector<T>>& tables,
         PainnOnDevice<T>& model)
      : pieces_{block, 0} {
    const long F = weights.features;
    model.head = (weights.head_hidden.outputs + 3) / 4 * 4;
    const auto& nodes = model.radial.nodes;
    model.nodes = pieces_.copy(nodes.data(), long(nodes.size()));
    model.embedding = pieces_.copy(weights.embedding, weights.elements * F);
    model.sent = pieces_.copy(weights.sent, weights.elements * 2 * F);
    model.direct = pieces_.copy(weights.direct, F);
    model.readout = padded(weights.readout, 1, weights.head_hidden.outputs, model.head);
    model.head_hidden = dense(weights.head_hidden, model.head);
    for (long l = 0; l < weights.interactions; ++l) {
      model.tables[l] = pieces_.copy(tables[l].data(), long(tables[l].size()));
      if (l > 0) {
        model.message_hidden[l] = dense(weights.message_hidden[l], F);
        model.message_output[l] = dense(weights.message_output[l], 3 * F);
      }
      model.mix[l] = dense(weights.mix[l], 2 * F);
      model.update_hidden[l] = dense(weights.update_hidden[l], F);
      model.update_output[l] = dense(weights.update_output[l], weights.update_output[l].outputs);
    }
  }

  size_t used() const { return pieces_.used; }

 private:
  // Columns beyond those of the matrix are zero.
  T* padded(const T* matrix, long rows, long columns, long wanted) {
    T* out = pieces_.take<T>(rows * wanted);
    for (long k = 0; out && k < rows * wanted; ++k)
      out[k] = k % wanted < columns ? matrix[k / wanted * columns + k % wanted] : T(0);
    return out;
  }

  DenseLayer<T> dense(const Layer<T>& layer, long outputs) {
    T* weight = padded(layer.weight, layer.inputs, layer.outputs, outputs);
    T* transposed = pieces_.take<T>(layer.inputs * outputs);
    for (long k = 0; transposed && k < layer.inputs * outputs; ++k)
      transposed[k] = weight[k % layer.inputs * outputs + k / layer.inputs];
    return {weight, transposed, layer.bias ? padded(layer.bias, 1, layer.outputs, outputs) : nullptr};
  }

  Pieces pieces_;
};

}  // namespace

template <class T>
PackedPainn<T>::PackedPainn(const PainnWeights<T>& weights, const T* const* filters, const Radial& radial,
                            bool tabulated) {
  described_.features = weights.features;
  described_.interactions = weights.interactions;
  described_.elements = weights.elements;
  described_.tabulated = tabulated;
  described_.radial = radial;
  described_.spline = spline_grid(radial);
  described_.terms = tabulated ? spline_terms : int(radial.nodes.size()) + 1;
  std::vector<std::vector<T>> tables;
  for (long l = 0; l < weights.interactions; ++l) {
    const long columns = (l ? 3 : 2) * weights.features;
    tables.push_back(tabulated ? spline_table(described_.spline, radial, filters[l], columns)
                               : std::vector<T>(filters[l], filters[l] + described_.terms * columns));
  }
  bytes_.resize(Layout<T>(nullptr, weights, tables, described_).used());
  Layout<T>(bytes_.data(), weights, tables, described_);
}

template <class T>
PainnOnDevice<T> PackedPainn<T>::at(char* address) const {
  PainnOnDevice<T> model = described_;
  const auto move = [&](auto*& place) {
    if (place) place = reinterpret_cast<std::decay_t<decltype(place)>>(
        address + (reinterpret_cast<const char*>(place) - bytes_.data()));
  };
  const auto move_layer = [&](DenseLayer<T>& layer) {
    move(layer.weight);
    move(layer.transposed);
    move(layer.bias);
  };
  move(model.nodes);
  move(model.embedding);
  move(model.sent);
  move(model.direct);
  move(model.readout);
  move_layer(model.head_hidden);
  for (long l = 0; l < model.interactions; ++l) {
    move(model.tables[l]);
    for (auto* layers : {model.message_hidden, model.message_output, model.mix, model.update_hidden,
                         model.update_output})
      move_layer(layers[l]);
  }
  return model;
}

template class PackedPainn<float>;
template class PackedPainn<double>;

}  // namespace idle_md::cuda
