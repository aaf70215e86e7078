// PaiNN in one pass forward and one back, stage by stage over blocks of atoms.
#pragma once

#include <initializer_list>

#include "painn_messages.hpp"

namespace {

constexpr long block_atoms = 32;  // that a thread takes through one stage together

template <class T>
void add(T* to, const T* from, long n) {
  for (long k = 0; k < n; k += lanes<T>) store(to + k, load(to + k) + load(from + k));
}

// Memory of one thread: what a block of atoms needs within one stage.
template <class T>
struct Local {
  T *vectors, *mixed, *mixed_gradient;        // (B, 3, F), (B, 3, 2 F) twice
  T *both, *both_gradient;                    // (B, 2 F), scalars beside norms
  T *hidden, *slope;                          // (B, F)
  T *wide, *gates;                            // (B, 3 F)
  T *norm, *product, *scalars;                // (B, F)
  T *head, *head_slope;                       // (B, H)
  EdgeSums<T>* sums;
  Returning<T, spline_terms>* returning;

  void take(Pieces& pieces, const Model<T>& model, long most_edges) {
    const long n = block_atoms * model.F;
    for (T** each : {&hidden, &slope, &norm, &product, &scalars}) *each = pieces.take<T>(n);
    for (T** each : {&both, &both_gradient}) *each = pieces.take<T>(2 * n);
    for (T** each : {&vectors, &wide, &gates}) *each = pieces.take<T>(3 * n);
    for (T** each : {&mixed, &mixed_gradient}) *each = pieces.take<T>(6 * n);
    for (T** each : {&head, &head_slope}) *each = pieces.take<T>(block_atoms * model.H);
    const long most = most_edges > edges_at_once ? most_edges : edges_at_once;
    sums = pieces.take<EdgeSums<T>>(most);
    returning = pieces.take<Returning<T, spline_terms>>(most);
  }
};

template <class T>
struct Pass {
  const Model<T>& model;
  const Edges<T>& edges;
  const Shared<T>& shared;
  void* (*thread_memory)(size_t);
  long most_edges;
  double* energies;
  T* gradients;
  long F, layer;

  using Stage = void (Pass::*)(long, long, const Local<T>&);

  // Runs a stage over all atoms, block by block.
  void run(ParallelFor parallel, Stage stage) {
    struct Task {
      Pass* pass;
      Stage stage;
    } task{this, stage};
    const long blocks = (edges.atoms + block_atoms - 1) / block_atoms;
    parallel(blocks, [](void* context, long begin, long end) {
      const Task& mine = *static_cast<Task*>(context);
      Pass& pass = *mine.pass;
      Pieces count, pieces;
      Local<T> local;
      local.take(count, pass.model, pass.most_edges);
      pieces.block = static_cast<char*>(pass.thread_memory(count.used));
      local.take(pieces, pass.model, pass.most_edges);
      for (long block = begin; block < end; ++block) {
        const long a0 = block * block_atoms, a1 = a0 + block_atoms;
        (pass.*mine.stage)(a0, a1 < pass.edges.atoms ? a1 : pass.edges.atoms, local);
      }
    }, &task);
  }

  void evaluate(ParallelFor parallel) {
    for (layer = 0; layer < model.L; ++layer) run(parallel, &Pass::forward);
    for (layer = model.L - 1; layer > 0; --layer) run(parallel, &Pass::reverse);
    run(parallel, &Pass::finish);
  }

  bool is_last() const { return layer == model.L - 1; }
  // The gradients with respect to what leaves update `l` (false) or what enters it (true).
  T* scalar_gradient(bool entering) const { return shared.scalar_gradient[(layer + entering) % 2]; }
  T* vector_gradient(bool entering) const { return shared.vector_gradient[(layer + entering) % 2]; }

  // One interaction: messages, update, and what the atoms send in the next one.
  void forward(long a0, long a1, const Local<T>& local) {
    const long n = (a1 - a0) * F;
    T* q = shared.scalars + a0 * F;
    if (layer == 0) {
      clear_edges(a0, a1);
      gather_first(a0, a1, local);
      for (long a = a0; a < a1; ++a) {
        const T* row = model.embedding + edges.species[a] * F;
        for (long f = 0; f < F; f += lanes<T>) store(q + (a - a0) * F + f, load(row + f));
      }
    } else {
      gather(a0, a1, local);
      add(local.vectors, shared.vectors[layer] + a0 * 3 * F, 3 * n);
    }
    add(q, local.scalars, n);
    const bool last = is_last();
    T* mixed = last ? local.mixed : shared.mixed[layer] + a0 * 6 * F;
    T* norm = last ? local.norm : shared.norm[layer] + a0 * F;
    T* product = last ? local.product : shared.product[layer] + a0 * F;
    T* slope = last ? local.slope : shared.update_slope[layer] + a0 * F;
    T* gates = last ? local.gates : shared.gates[layer] + a0 * 3 * F;
    update(a1 - a0, q, local, mixed, norm, product, slope, gates);
    if (last) {
      top(a0, a1, q, local);
    } else {
      vectors_after(a1 - a0, local.vectors, mixed, gates, shared.vectors[layer + 1] + a0 * 3 * F);
      next_sent(a0, a1, q, local);
    }
  }

  void clear_edges(long a0, long a1) {
    for (long k = 4 * edges.start[a0]; k < 4 * edges.start[a1]; ++k) shared.edge_gradients[k] = T(0);
  }

  void gather_first(long a0, long a1, const Local<T>& local) {
    if (model.terms == spline_terms)
      first_messages<T, spline_terms>(model, edges, a0, a1, local.scalars, local.vectors);
    else
      first_messages<T, 0>(model, edges, a0, a1, local.scalars, local.vectors);
  }

  void gather(long a0, long a1, const Local<T>& local) {
    const T *sent = shared.sent[layer], *vectors = shared.vectors[layer];
    if (model.terms == spline_terms)
      messages<T, spline_terms>(model, edges, layer, a0, a1, sent, vectors, local.scalars, local.vectors);
    else
      messages<T, 0>(model, edges, layer, a0, a1, sent, vectors, local.scalars, local.vectors);
  }

  // Scalars of an update; `local.vectors` hold the vectors that enter it.
  void update(long n, T* q, const Local<T>& local, T* mixed, T* norm, T* product, T* slope, T* gates) {
    const long width = model.update_output[layer].forward.outer;
    multiply(3 * n, local.vectors, F, model.mix[layer].forward, (const T*)nullptr, mixed, 2 * F);
    for (long a = 0; a < n; ++a)
      for (long f = 0; f < F; f += lanes<T>) {
        Vec<T> square = Vec<T>{} + T(1e-8), both{};
        for (int k = 0; k < 3; ++k) {
          const T* row = mixed + (a * 3 + k) * 2 * F + f;
          const Vec<T> left = load(row), right = load(row + F);
          square += left * left;
          both += left * right;
        }
        const Vec<T> length = root<T>(square);
        store(norm + a * F + f, length);
        store(product + a * F + f, both);
        store(local.both + a * 2 * F + f, load(q + a * F + f));
        store(local.both + a * 2 * F + F + f, length);
      }
    const Dense<T>& hidden = model.update_hidden[layer];
    multiply(n, local.both, 2 * F, hidden.forward, hidden.bias, local.hidden, F);
    for (long k = 0; k < n * F; k += lanes<T>)
      store(local.hidden + k, silu<T>(load(local.hidden + k), slope + k));
    const Dense<T>& output = model.update_output[layer];
    multiply(n, local.hidden, F, output.forward, output.bias, gates, width);
    for (long a = 0; a < n; ++a)
      for (long f = 0; f < F; f += lanes<T>) {
        const T* gate = gates + a * width + f;
        const long k = a * F + f;
        store(q + k, load(q + k) + load(gate) + load(gate + F) * load(product + k));
      }
  }

  void vectors_after(long n, const T* vectors, const T* mixed, const T* gates, T* out) {
    for (long a = 0; a < n; ++a)
      for (int k = 0; k < 3; ++k)
        for (long f = 0; f < F; f += lanes<T>) {
          const long row = a * 3 + k;
          const Vec<T> right = load(mixed + row * 2 * F + F + f);
          store(out + row * F + f, load(vectors + row * F + f) + load(gates + a * 3 * F + 2 * F + f) * right);
        }
  }

  void next_sent(long a0, long a1, const T* q, const Local<T>& local) {
    const long n = a1 - a0;
    const Dense<T>&hidden = model.message_hidden[layer + 1], &output = model.message_output[layer + 1];
    T* slope = shared.message_slope[layer + 1] + a0 * F;
    multiply(n, q, F, hidden.forward, hidden.bias, local.hidden, F);
    for (long k = 0; k < n * F; k += lanes<T>)
      store(local.hidden + k, silu<T>(load(local.hidden + k), slope + k));
    multiply(n, local.hidden, F, output.forward, output.bias, shared.sent[layer + 1] + a0 * 3 * F, 3 * F);
  }

  // The head, forward and reverse, and the reverse half of the last update.
  void top(long a0, long a1, const T* q, const Local<T>& local) {
    const long n = a1 - a0, H = model.H;
    T* gradient = local.scalars;
    if (H) {
      multiply(n, q, F, model.head.forward, model.head.bias, local.head, H);
      for (long k = 0; k < n * H; k += lanes<T>)
        store(local.head + k, silu<T>(load(local.head + k), local.head_slope + k));
    }
    for (long a = 0; a < n; ++a) {
      energies[a0 + a] = dot(q + a * F, model.direct, F) + dot(local.head + a * H, model.readout, H);
      for (long k = 0; k < H; k += lanes<T>) {
        T* slope = local.head_slope + a * H + k;
        store(slope, load(slope) * load(model.readout + k));
      }
    }
    if (H) multiply(n, local.head_slope, H, model.head.reverse, (const T*)nullptr, gradient, F);
    for (long a = 0; a < n; ++a)
      for (long f = 0; f < F; f += lanes<T>) {
        T* place = gradient + a * F + f;
        const Vec<T> own = load(model.direct + f);
        store(place, a0 + a >= edges.owned ? Vec<T>{} : H ? own + load(place) : own);
      }
    reverse_update(layer, n, local, local.mixed, local.norm, local.product, local.slope, local.gates, gradient,
                   (const T*)nullptr, vector_gradient(false) + a0 * 3 * F);
    T* out = scalar_gradient(false) + a0 * F;
    for (long k = 0; k < n * F; k += lanes<T>) store(out + k, load(gradient + k));
  }

  double dot(const T* a, const T* b, long n) const {
    Vec<T> total{};
    for (long k = 0; k < n; k += lanes<T>) total += load(a + k) * load(b + k);
    return double(sum<T>(total));
  }

  // The gradients of what entered an update, from those of what left it: `gradient` (n, F) is
  // replaced, `vectors` (n, 3, F) are written. Without `received`, nobody reads the vectors it made.
  void reverse_update(long index, long n, const Local<T>& local, const T* mixed, const T* norm, const T* product,
                      const T* slope, const T* gates, T* gradient, const T* received, T* vectors) {
    const Dense<T>&hidden = model.update_hidden[index], &output = model.update_output[index];
    const long width = output.forward.outer;
    for (long a = 0; a < n; ++a)
      for (long f = 0; f < F; f += lanes<T>) {
        const long k = a * F + f;
        T* row = local.wide + a * width + f;
        const Vec<T> own = load(gradient + k);
        store(row, own);
        store(row + F, own * load(product + k));
        if (!received) continue;
        Vec<T> gate{};
        for (int c = 0; c < 3; ++c)
          gate += load(received + (a * 3 + c) * F + f) * load(mixed + (a * 3 + c) * 2 * F + F + f);
        store(row + 2 * F, gate);
      }
    multiply(n, local.wide, width, output.reverse, (const T*)nullptr, local.hidden, F);
    for (long k = 0; k < n * F; k += lanes<T>) store(local.hidden + k, load(local.hidden + k) * load(slope + k));
    multiply(n, local.hidden, F, hidden.reverse, (const T*)nullptr, local.both_gradient, 2 * F);
    for (long a = 0; a < n; ++a)
      for (long f = 0; f < F; f += lanes<T>) {
        const long k = a * F + f;
        const T* inner = local.both_gradient + a * 2 * F + f;
        const T* gate = gates + a * width + f;
        const Vec<T> own = load(gradient + k), stretch = load(inner + F) / load(norm + k);
        const Vec<T> both = own * load(gate + F);
        store(gradient + k, own + load(inner));
        for (int c = 0; c < 3; ++c) {
          const long row = (a * 3 + c) * 2 * F + f;
          const Vec<T> left = load(mixed + row), right = load(mixed + row + F);
          Vec<T> turned = both * left;
          if (received) turned += load(received + (a * 3 + c) * F + f) * load(gate + 2 * F);
          store(local.mixed_gradient + row, stretch * left + both * right);
          store(local.mixed_gradient + row + F, turned);
        }
      }
    multiply(3 * n, local.mixed_gradient, 2 * F, model.mix[index].reverse, (const T*)nullptr,
             vectors, F);
    if (received) add(vectors, received, 3 * n * F);
  }

  // The reverse half of the messages of `layer`, and of the update before it.
  void reverse(long a0, long a1, const Local<T>& local) {
    const long n = a1 - a0, below = layer - 1;
    T* received = local.vectors;
    scatter(a0, a1, local, received);
    add(received, vector_gradient(false) + a0 * 3 * F, 3 * n * F);
    const Dense<T>&hidden = model.message_hidden[layer], &output = model.message_output[layer];
    multiply(n, local.wide, 3 * F, output.reverse, (const T*)nullptr, local.hidden, F);
    const T* slope = shared.message_slope[layer] + a0 * F;
    for (long k = 0; k < n * F; k += lanes<T>) store(local.hidden + k, load(local.hidden + k) * load(slope + k));
    T* gradient = scalar_gradient(true) + a0 * F;
    multiply(n, local.hidden, F, hidden.reverse, (const T*)nullptr, gradient, F);
    add(gradient, scalar_gradient(false) + a0 * F, n * F);
    reverse_update(below, n, local, shared.mixed[below] + a0 * 6 * F, shared.norm[below] + a0 * F,
                   shared.product[below] + a0 * F, shared.update_slope[below] + a0 * F,
                   shared.gates[below] + a0 * 3 * F, gradient, received, vector_gradient(true) + a0 * 3 * F);
  }

  void scatter(long a0, long a1, const Local<T>& local, T* mixed_gradient) {
    const T *sent = shared.sent[layer], *vectors = shared.vectors[layer];
    const T *q = scalar_gradient(false), *v = vector_gradient(false);
    if (model.terms == spline_terms)
      reverse_messages<T, spline_terms>(model, edges, layer, a0, a1, sent, vectors, q, v, local.sums, local.returning,
                             local.wide, mixed_gradient, shared.edge_gradients);
    else
      reverse_messages<T, 0>(model, edges, layer, a0, a1, sent, vectors, q, v, local.sums, local.returning,
                             local.wide, mixed_gradient, shared.edge_gradients);
  }

  // The first interaction's messages reversed, and the gradients of these atoms' edges.
  void finish(long a0, long a1, const Local<T>& local) {
    const T *gradient = scalar_gradient(false) + a0 * F, *vectors = vector_gradient(false) + a0 * 3 * F;
    T* edge_gradients = shared.edge_gradients;
    if (model.terms == spline_terms)
      reverse_first_messages<T, spline_terms>(model, edges, a0, a1, gradient, vectors, local.sums, edge_gradients);
    else
      reverse_first_messages<T, 0>(model, edges, a0, a1, gradient, vectors, local.sums, edge_gradients);
    for (long e = edges.start[a0]; e < edges.start[a1]; ++e) {
      const T *u = edges.direction + 3 * e, *g = edge_gradients + 4 * e + 1;
      const T inverse = edges.inverse[e];
      const T length = g[-1] - (g[0] * u[0] + g[1] * u[1] + g[2] * u[2]) * inverse;
      for (int k = 0; k < 3; ++k) gradients[3 * edges.place[e] + k] = g[k] * inverse + length * u[k];
    }
  }
};

}  // namespace
