// A PaiNN packed for the kernels of one instruction set, and the memory of an evaluation.
#pragma once

#include "gemm.hpp"
#include "painn.hpp"
#include "pieces.hpp"

namespace {

using idle_md::Edges;
using idle_md::Filters;
using idle_md::Layer;
using idle_md::max_interactions;
using idle_md::PainnWeights;
using idle_md::ParallelFor;
using idle_md::spline_terms;

// A layer with the matrix of its reverse half.
template <class T>
struct Dense {
  Packed<T> forward, reverse;
  const T* bias = nullptr;

  // Outputs may be padded with columns of zeros; what is padded has no effect.
  void take(Pieces& pieces, const Layer<T>& layer, long outputs) {
    const long inputs = layer.inputs;
    T* padded = pieces.take<T>(inputs * outputs);
    T* ahead = pieces.take<T>(inputs * outputs);
    T* back = pieces.take<T>(inputs * outputs);
    T* own = pieces.take<T>(outputs);
    if (pieces.block) {
      for (long k = 0; k < inputs * outputs; ++k) {
        const long row = k / outputs, column = k % outputs;
        padded[k] = column < layer.outputs ? layer.weight[row * layer.outputs + column] : T(0);
      }
      pack(padded, outputs, 1, inputs, outputs, ahead);
      pack(padded, 1, outputs, outputs, inputs, back);
      for (long k = 0; k < outputs; ++k) own[k] = k < layer.outputs && layer.bias ? layer.bias[k] : T(0);
    }
    forward = {ahead, inputs, outputs};
    reverse = {back, outputs, inputs};
    bias = layer.bias ? own : nullptr;
  }
};

template <class T>
struct Model {
  long F = 0, L = 0, H = 0;  // features, interactions, hidden units of the head (padded)
  const T *embedding, *sent, *direct, *readout;
  Dense<T> message_hidden[max_interactions], message_output[max_interactions];
  Dense<T> mix[max_interactions], update_hidden[max_interactions], update_output[max_interactions];
  Dense<T> head;
  int terms = 0;
  long rows = 0;
  const T* tables[max_interactions];  // (features / lanes, rows, parts, lanes)

  void take(Pieces& pieces, const PainnWeights<T>& w, const Filters<T>& filters) {
    F = w.features;
    L = w.interactions;
    H = (w.head_hidden.outputs + 15) / 16 * 16;
    embedding = pieces.copy(w.embedding, w.elements * F);
    sent = pieces.copy(w.sent, w.elements * 2 * F);
    direct = pieces.copy(w.direct, F);
    T* padded = pieces.take<T>(H);
    for (long k = 0; pieces.block && k < H; ++k) padded[k] = k < w.head_hidden.outputs ? w.readout[k] : T(0);
    readout = padded;
    if (H) head.take(pieces, w.head_hidden, H);
    for (long l = 0; l < L; ++l) {
      if (l > 0) {
        message_hidden[l].take(pieces, w.message_hidden[l], F);
        message_output[l].take(pieces, w.message_output[l], 3 * F);
      }
      mix[l].take(pieces, w.mix[l], 2 * F);
      update_hidden[l].take(pieces, w.update_hidden[l], F);
      update_output[l].take(pieces, w.update_output[l], w.update_output[l].outputs);
    }
    terms = filters.terms;
    rows = filters.rows;
    for (long l = 0; l < L; ++l) tables[l] = table(pieces, filters.tables[l], l > 0 ? 3 : 2);
  }

  const T* table(Pieces& pieces, const T* plain, long parts) {
    T* out = pieces.take<T>(rows * parts * F);
    if (!pieces.block) return out;
    T* next = out;
    for (long chunk = 0; chunk < F; chunk += lanes<T>)
      for (long row = 0; row < rows; ++row)
        for (long part = 0; part < parts; ++part)
          for (long k = 0; k < lanes<T>; ++k) *next++ = plain[(row * parts + part) * F + chunk + k];
    return out;
  }
};

// Memory that all threads share: what the forward half leaves for the reverse half.
template <class T>
struct Shared {
  T *scalars;                                      // (N, F)
  T *edge_gradients;                               // (E, 4), of the length and the direction
  T *vectors[max_interactions];                    // (N, 3, F), before an interaction
  T *sent[max_interactions];                       // (N, 3 F), what an interaction's messages read
  T *message_slope[max_interactions];              // (N, F), of the SiLU
  T *mixed[max_interactions];                      // (N, 3, 2 F)
  T *norm[max_interactions], *product[max_interactions], *update_slope[max_interactions];  // (N, F)
  T *gates[max_interactions];                      // (N, 3 F)
  T *scalar_gradient[2], *vector_gradient[2];      // (N, F), (N, 3, F); read one, write the other

  void take(Pieces& pieces, const Model<T>& model, long atoms, long edges) {
    const long n = atoms * model.F;
    scalars = pieces.take<T>(n);
    edge_gradients = pieces.take<T>(4 * edges);
    for (long l = 0; l < model.L; ++l) {
      if (l > 0) {
        vectors[l] = pieces.take<T>(3 * n);
        sent[l] = pieces.take<T>(3 * n);
        message_slope[l] = pieces.take<T>(n);
      }
      if (l + 1 < model.L) {
        mixed[l] = pieces.take<T>(6 * n);
        norm[l] = pieces.take<T>(n);
        product[l] = pieces.take<T>(n);
        update_slope[l] = pieces.take<T>(n);
        gates[l] = pieces.take<T>(3 * n);
      }
    }
    for (int k = 0; k < 2; ++k) {
      scalar_gradient[k] = pieces.take<T>(n);
      vector_gradient[k] = pieces.take<T>(3 * n);
    }
  }
};

}  // namespace
