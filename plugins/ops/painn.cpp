#include "painn.hpp"

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>
#include <stdexcept>
#include <string>

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

// Memory that a thread keeps from one evaluation to the next. It grows to what is asked for, and
// shrinks when that has become much less.
class Memory {
 public:
  ~Memory() { std::free(data_); }

  void* at_least(size_t bytes) {
    constexpr size_t small = size_t(1) << 26;
    if (bytes > size_ || (size_ > small && bytes < size_ / 8)) {
      std::free(data_);
      size_ = 0;
      const size_t wanted = (bytes + bytes / 8 + 63) / 64 * 64;
      data_ = std::aligned_alloc(64, wanted);
      if (!data_) throw std::bad_alloc();
      size_ = wanted;
    }
    return data_;
  }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

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

// The edges shorter than the cutoff, in memory of this thread.
template <class T>
class ActiveEdges : public Edges<T> {
 public:
  ActiveEdges(long atoms, const int64_t* species, long edges, const int64_t* centre,
              const int64_t* neighbor, const T* vectors, long owned, long elements, double cutoff,
              int terms, T* gradients) {
    this->atoms = atoms;
    this->owned = owned;
    this->species = species;
    for (long a = 0; a < atoms; ++a) {
      if (species[a] < 0 || species[a] >= elements)
        throw std::invalid_argument("atom " + std::to_string(a) + " has atomic number " +
                                    std::to_string(species[a]) + ", which the model does not know");
    }
    take(atoms, edges, terms);
    keep(edges, centre, neighbor, vectors, cutoff, gradients);
    sort_by_neighbor();
  }

 private:
  template <class A>
  A* next(size_t n) {
    A* piece = reinterpret_cast<A*>(base_ + used_);
    used_ += (n * sizeof(A) + 63) / 64 * 64;
    return piece;
  }

  void take(long atoms, long edges, int terms) {
    thread_local Memory memory;
    const size_t n = size_t(edges) + 16;
    base_ = nullptr;
    for (int round = 0; round < 2; ++round) {
      if (round) base_ = static_cast<char*>(memory.at_least(used_));
      used_ = 0;
      this->centre = centre_ = next<int64_t>(n);
      this->neighbor = neighbor_ = next<int64_t>(n);
      this->place = place_ = next<int64_t>(n);
      this->outgoing = outgoing_ = next<int64_t>(n);
      this->start = start_ = next<int64_t>(atoms + 1);
      this->source = source_ = next<int64_t>(atoms + 1);
      this->vectors = next<T>(3 * n);
      this->direction = next<T>(3 * n);
      this->inverse = next<T>(n);
      this->first = next<int32_t>(n);
      this->weights = next<T>(n * terms);
      this->slopes = next<T>(n * terms);
    }
  }

  void keep(long edges, const int64_t* centre, const int64_t* neighbor, const T* vectors, double cutoff,
            T* gradients) {
    const T square = T(cutoff) * T(cutoff);
    long kept = 0, atom = 0;
    start_[0] = 0;
    for (long e = 0; e < edges; ++e) {
      const int64_t i = centre[e], j = neighbor[e];
      const T* v = vectors + 3 * e;
      const T length = v[0] * v[0] + v[1] * v[1] + v[2] * v[2];
      if (i < atom || i >= this->atoms || j < 0 || j >= this->atoms || !(length > T(0)) ||
          !(length <= std::numeric_limits<T>::max()))
        refuse(e, i, j, atom, length);
      while (atom < i) start_[++atom] = kept;
      if (length >= square) {
        for (int k = 0; k < 3; ++k) gradients[3 * e + k] = T(0);
        continue;
      }
      centre_[kept] = i;
      neighbor_[kept] = j;
      place_[kept] = e;
      for (int k = 0; k < 3; ++k) this->vectors[3 * kept + k] = v[k];
      ++kept;
    }
    while (atom < this->atoms) start_[++atom] = kept;
    this->edges = kept;
  }

  [[noreturn]] void refuse(long e, int64_t i, int64_t j, long atom, T length) const {
    const std::string edge = "edge " + std::to_string(e);
    const std::string pair = " (atoms " + std::to_string(i) + " and " + std::to_string(j) + ")";
    if (i < 0 || i >= this->atoms || j < 0 || j >= this->atoms)
      throw std::invalid_argument(edge + pair + " names an atom that is not there: there are " +
                                  std::to_string(this->atoms));
    if (i < atom)
      throw std::invalid_argument(edge + pair + " is out of order: sort edges by their centre");
    if (length == T(0)) throw std::invalid_argument(edge + pair + " has length zero: two atoms at the same position");
    throw std::invalid_argument(edge + pair + " has a length that is not finite: check the positions");
  }

  void sort_by_neighbor() {
    std::memset(source_, 0, (this->atoms + 1) * sizeof(int64_t));
    for (long e = 0; e < this->edges; ++e) ++source_[neighbor_[e] + 1];
    for (long a = 0; a < this->atoms; ++a) source_[a + 1] += source_[a];
    for (long e = 0; e < this->edges; ++e) outgoing_[source_[neighbor_[e]]++] = e;
    for (long a = this->atoms; a > 0; --a) source_[a] = source_[a - 1];
    source_[0] = 0;
  }

  char* base_ = nullptr;
  size_t used_ = 0;
  int64_t *centre_, *neighbor_, *place_, *outgoing_, *start_, *source_;
};

}  // namespace

void Radial::raw(double r, double* values, double* slopes) const {
  const long n = long(nodes.size());
  if (bessel) {
    const double norm = std::sqrt(2 / cutoff);
    for (long k = 0; k < n; ++k) {
      const double sine = std::sin(nodes[k] * r), cosine = std::cos(nodes[k] * r);
      values[k] = norm * (r == 0 ? nodes[k] : sine / r);
      slopes[k] = r == 0 ? 0 : norm * (nodes[k] * cosine - sine / r) / r;
    }
  } else {
    const double per = (n - 1) / cutoff, width = -0.5 * per * per;
    for (long k = 0; k < n; ++k) {
      const double offset = r - nodes[k];
      values[k] = std::exp(width * offset * offset);
      slopes[k] = 2 * width * offset * values[k];
    }
  }
  values[n] = 1;
  slopes[n] = 0;
}

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
