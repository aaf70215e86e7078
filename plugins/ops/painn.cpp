#include "painn.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <string>

#include "active_edges.hpp"
#include "memory.hpp"
#include "splines.hpp"

namespace idle_md {

#define IDLE_MD_KERNELS(name)                    \
  extern const PainnKernels<float> painn_float_##name; \
  extern const PainnKernels<double> painn_double_##name;
IDLE_MD_KERNELS(baseline)
IDLE_MD_KERNELS(avx2)
IDLE_MD_KERNELS(avx512)
#undef IDLE_MD_KERNELS

namespace {

void* thread_memory(size_t bytes) {
  thread_local Memory memory;
  return memory.at_least(bytes);
}

const char* best_instructions() {
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
  const char* wanted = std::getenv("IDLE_MD_ISA");
  if (wanted && !std::strcmp(wanted, "baseline")) return "baseline";
  if (wanted && !std::strcmp(wanted, "avx2") && avx2) return "avx2";
  return avx512 ? "avx512" : avx2 ? "avx2" : "baseline";
}

template <class T>
const PainnKernels<T>& kernels_of(const char* name);

template <>
const PainnKernels<float>& kernels_of<float>(const char* name) {
  return !std::strcmp(name, "avx512") ? painn_float_avx512
         : !std::strcmp(name, "avx2") ? painn_float_avx2
                                      : painn_float_baseline;
}

template <>
const PainnKernels<double>& kernels_of<double>(const char* name) {
  return !std::strcmp(name, "avx512") ? painn_double_avx512
         : !std::strcmp(name, "avx2") ? painn_double_avx2
                                      : painn_double_baseline;
}

// Directions, lengths and radial functions of edges, for tables that belong to these.
template <class T>
void radial_terms(const Radial& radial, const Edges<T>& edges, long begin, long end) {
  const long n = long(radial.nodes.size()) + 1;
  std::vector<double> values(n), slopes(n);
  for (long e = begin; e < end; ++e) {
    const T* v = edges.vectors + 3 * e;
    const double r = std::sqrt(double(v[0]) * v[0] + double(v[1]) * v[1] + double(v[2]) * v[2]);
    edges.inverse[e] = T(1 / r);
    edges.first[e] = 0;
    for (int k = 0; k < 3; ++k) edges.direction[3 * e + k] = T(v[k] / r);
    radial.raw(r, values.data(), slopes.data());
    const double x = std::min(r / radial.cutoff, 1.0), rest = 1 - x;
    const double series = 1 + x * (3 + x * (6 + x * (10 + x * (15 + x * 21))));
    const double fade = rest * rest * rest * series;
    const double fade_slope = rest * rest * std::pow(x, 5) * (-168 / radial.cutoff);
    for (long k = 0; k < n; ++k) {
      edges.weights[e * n + k] = T(values[k] * fade);
      edges.slopes[e * n + k] = T(slopes[k] * fade + values[k] * fade_slope);
    }
  }
}

}  // namespace

template <class T>
const PainnKernels<T>& painn_kernels() {
  static const PainnKernels<T>& kernels = kernels_of<T>(best_instructions());
  return kernels;
}

template const PainnKernels<float>& painn_kernels<float>();
template const PainnKernels<double>& painn_kernels<double>();

template <class T>
Painn<T>::Painn(const PainnWeights<T>& weights, const T* const* filters, const Radial& radial, bool tabulated)
    : kernels_(painn_kernels<T>()), radial_(radial), elements_(weights.elements), tabulated_(tabulated) {
  const long n = long(radial.nodes.size()) + 1;
  Filters<T> described;
  std::vector<std::vector<T>> tables;
  if (!tabulated) {
    described.rows = n;
    described.terms = int(n);
    for (long l = 0; l < weights.interactions; ++l) described.tables[l] = filters[l];
  } else {
    spline_ = spline_grid(radial);
    described.rows = spline_rows(spline_);
    described.terms = spline_terms;
    for (long l = 0; l < weights.interactions; ++l) {
      const long columns = (l ? 3 : 2) * weights.features;
      tables.push_back(spline_table(spline_, radial, filters[l], columns));
      described.tables[l] = tables.back().data();
    }
  }
  terms_ = described.terms;
  packed_ = std::aligned_alloc(64, kernels_.packed_bytes(weights, described));
  if (!packed_) throw std::bad_alloc();
  kernels_.pack(weights, described, packed_);
}

template <class T>
Painn<T>::~Painn() {
  std::free(packed_);
}

template <class T>
void Painn<T>::energy_gradient(long atoms, const int64_t* species, long edges, const int64_t* centre,
                               const int64_t* neighbor, const T* vectors, long owned,
                               ParallelFor parallel, double* energies, T* gradients) const {
  if (owned < 0 || owned > atoms)
    throw std::invalid_argument("n_owned is " + std::to_string(owned) + ", but there are " +
                                std::to_string(atoms) + " atoms");
  const ActiveEdges<T> active(atoms, species, edges, centre, neighbor, vectors, owned, elements_,
                              radial_.cutoff, terms_, gradients);
  struct Task {
    const Painn* model;
    const Edges<T>* edges;
  } task{this, &active};
  constexpr long part = 512;
  parallel((active.edges + part - 1) / part, [](void* context, long begin, long end) {
    const Task& mine = *static_cast<Task*>(context);
    const long last = std::min(end * part, mine.edges->edges);
    if (!mine.model->tabulated_)
      radial_terms(mine.model->radial_, *mine.edges, begin * part, last);
    else
      mine.model->kernels_.splines(mine.model->spline_, *mine.edges, begin * part, last);
  }, &task);
  thread_local Memory memory;
  void* shared = memory.at_least(kernels_.shared_bytes(packed_, atoms, active.edges));
  kernels_.evaluate(packed_, active, shared, thread_memory, parallel, energies, gradients);
}

template class Painn<float>;
template class Painn<double>;

}  // namespace idle_md
