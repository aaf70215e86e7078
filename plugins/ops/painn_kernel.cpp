// The kernels of PaiNN; compiled once for every instruction set.
#include "painn_pass.hpp"
#include "painn_splines.hpp"

namespace {

template <class T>
size_t packed_bytes(const PainnWeights<T>& weights, const Filters<T>& filters) {
  Pieces pieces;
  pieces.take<Model<T>>(1);
  Model<T> model;
  model.take(pieces, weights, filters);
  return pieces.used;
}

template <class T>
void pack_model(const PainnWeights<T>& weights, const Filters<T>& filters, void* packed) {
  Pieces pieces{static_cast<char*>(packed), 0};
  Model<T>* model = pieces.take<Model<T>>(1);
  *model = Model<T>{};
  model->take(pieces, weights, filters);
}

template <class T>
size_t shared_bytes(const void* packed, long atoms, long edges) {
  Pieces pieces;
  Shared<T> shared;
  shared.take(pieces, *static_cast<const Model<T>*>(packed), atoms, edges);
  return pieces.used;
}

template <class T>
void evaluate(const void* packed, const Edges<T>& edges, void* memory, void* (*thread_memory)(size_t),
              ParallelFor parallel, double* energies, T* gradients) {
  const Model<T>& model = *static_cast<const Model<T>*>(packed);
  Pieces pieces{static_cast<char*>(memory), 0};
  Shared<T> shared;
  shared.take(pieces, model, edges.atoms, edges.edges);
  long most = 0;
  for (long a = 0; a < edges.atoms; ++a)
    for (const int64_t* starts : {edges.start, edges.source})
      if (starts[a + 1] - starts[a] > most) most = starts[a + 1] - starts[a];
  Pass<T> pass{model, edges, shared, thread_memory, most, energies, gradients, model.F, 0};
  pass.evaluate(parallel);
}

}  // namespace

#define IDLE_MD_JOIN(a, b) a##b
#define IDLE_MD_NAME(a, b) IDLE_MD_JOIN(a, b)
#define IDLE_MD_TEXT(a) #a
#define IDLE_MD_STRING(a) IDLE_MD_TEXT(a)

namespace idle_md {

extern const PainnKernels<float> IDLE_MD_NAME(painn_float_, IDLE_MD_ISA);
extern const PainnKernels<double> IDLE_MD_NAME(painn_double_, IDLE_MD_ISA);

const PainnKernels<float> IDLE_MD_NAME(painn_float_, IDLE_MD_ISA) = {
    IDLE_MD_STRING(IDLE_MD_ISA), packed_bytes<float>, pack_model<float>, shared_bytes<float>, splines<float>, evaluate<float>};
const PainnKernels<double> IDLE_MD_NAME(painn_double_, IDLE_MD_ISA) = {
    IDLE_MD_STRING(IDLE_MD_ISA), packed_bytes<double>, pack_model<double>, shared_bytes<double>, splines<double>, evaluate<double>};

}  // namespace idle_md
