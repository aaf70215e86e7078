#include "painn_step.hpp"

#include <stdexcept>

#include "groups.hpp"
#include "kernels/sharing.hpp"

namespace idle_md::cuda {

template <class T>
PainnShape::PainnShape(const PainnOnDevice<T>& model, long atoms, const Device& device, bool allow_tf32)
    : is_double(sizeof(T) == 8),
      tabulated(model.tabulated),
      tf32(allow_tf32 && device.has_tensor_cores && sizeof(T) == 4),
      features(int(model.features)),
      head(int(model.head)),
      terms(model.terms) {
  share_out(atoms, device);
}

template PainnShape::PainnShape(const PainnOnDevice<float>&, long, const Device&, bool);
template PainnShape::PainnShape(const PainnOnDevice<double>&, long, const Device&, bool);

// As many atoms in a block as leave a block to every processor: more of them read the weights less often.
void PainnShape::share_out(long atoms, const Device& device) {
  constexpr int most_atoms = 16, warps_of_processor = 16;
  const auto resize = [&](int atoms_of_block) {
    block = atoms_of_block;
    threads = block < 8 ? 512 : 256;
  };
  resize(1);
  while (block < most_atoms && atoms > long(block) * device.processors) resize(2 * block);
  while (block > 1 && update_bytes() > device.shared_bytes) resize(block / 2);
  if (update_bytes() > device.shared_bytes)
    throw std::invalid_argument("PaiNN: " + std::to_string(features) +
                                " features do not fit the shared memory of this GPU");
  const long warps = atoms * chunks_of(features);
  while (slices < warps_of_messages && warps * slices < long(warps_of_processor) * device.processors) slices *= 2;
}

std::vector<std::string> PainnShape::options() const {
  const auto option = [](const char* name, const std::string& value) {
    return std::string("-DIDLE_MD_") + name + "=" + value;
  };
  return {option("REAL", is_double ? "double" : "float"),
          option("FEATURES", std::to_string(features)),
          option("HEAD", std::to_string(head)),
          option("TERMS", std::to_string(terms)),
          option("TABULATED", tabulated ? "true" : "false"),
          option("BLOCK", std::to_string(block)),
          option("THREADS", std::to_string(threads)),
          option("SLICES", std::to_string(slices)),
          option("TF32", tf32 ? "true" : "false")};
}

size_t PainnShape::update_bytes() const {
  return (is_double ? 8 : 4) * size_t(UpdateMemory(features, head, block, threads, tf32).total());
}

size_t PainnShape::message_bytes() const {
  constexpr int values = 6;
  return slices > 1 ? (is_double ? 8 : 4) * size_t(warps_of_messages * values * 32) : 0;
}

namespace {

// Memory of an evaluation: what the forward half leaves for the way back.
template <class T>
struct Workspace {
  int *start, *end, *kind, *sender, *problem;
  void *ahead, *back;
  T* sums;                                    // (E, chunks, 4)
  GroupArguments<int> senders;
  T *scalars, *scalars_out;                   // (N, F): before and after messages
  T* vectors_out;                             // (N, 3, F)
  T *vectors[max_interactions] = {};          // (N, 3, F), before an interaction
  T *sent[max_interactions] = {};             // (N, 3 F)
  T *message_slope[max_interactions] = {};    // (N, F)
  Trace<T> trace[max_interactions] = {};
  T *scalar_gradient, *vector_gradient, *sent_gradient, *received;

  Workspace(Pieces& pieces, const PainnOnDevice<T>& model, const PainnSystem<T>& system) {
    const long N = system.atoms, E = system.edges, n = N * model.features;
    start = pieces.take<int>(N + 1);
    end = pieces.take<int>(N);
    kind = pieces.take<int>(N);
    sender = pieces.take<int>(E);
    problem = pieces.take<int>(1);
    ahead = pieces.take<char>(E * ahead_bytes(sizeof(T), model.terms));
    back = pieces.take<char>(E * back_bytes(sizeof(T), model.terms));
    sums = pieces.take<T>(E * chunks_of(int(model.features)) * 4);
    senders = take_groups(pieces, static_cast<const int*>(sender), system.edges, system.atoms);
    scalars = pieces.take<T>(n);
    scalars_out = pieces.take<T>(n);
    vectors_out = pieces.take<T>(3 * n);
    for (long l = 0; l < model.interactions; ++l) {
      if (l > 0) {
        vectors[l] = pieces.take<T>(3 * n);
        sent[l] = pieces.take<T>(3 * n);
        message_slope[l] = pieces.take<T>(n);
      }
      trace[l].mixed = pieces.take<T>(6 * n);
      trace[l].slope = pieces.take<T>(n);
      trace[l].gates = pieces.take<T>(3 * n);
    }
    scalar_gradient = pieces.take<T>(n);
    vector_gradient = pieces.take<T>(3 * n);
    sent_gradient = pieces.take<T>(3 * n);
    received = pieces.take<T>(3 * n);
  }
};

template <class T>
class Step {
 public:
  Step(Launcher& launcher, const PainnShape& shape, const PainnOnDevice<T>& model, const PainnSystem<T>& system,
       Pieces& pieces)
      : launcher_(launcher), shape_(shape), model_(model), system_(system), space_(pieces, model, system) {}

  void run() {
    keep_edges();
    const long last = model_.interactions - 1;
    for (long l = 0; l <= last; ++l) {
      messages(l);
      if (l < last) update(l);
    }
    top();
    for (long l = last; l > 0; --l) {
      reverse_messages(l);
      reverse_update(l);
    }
    reverse_first_messages();
    edge_gradients();
  }

 private:
  Blocks per_edge() const { return {blocks_for(system_.edges, threads_of_edges)}; }
  Blocks per_atom_and_chunk() const {
    return {blocks_for(system_.atoms, warps_of_messages / shape_.slices), chunks_of(shape_.features)};
  }
  template <class Arguments>
  void launch_messages(const char* kernel, const Arguments& args) {
    launcher_.launch(kernel, per_atom_and_chunk(), 32 * warps_of_messages, shape_.message_bytes(), args);
  }
  template <class Arguments>
  void launch_update(const char* kernel, const Arguments& args) {
    const Blocks blocks{blocks_for(system_.atoms, shape_.block)};
    launcher_.launch(kernel, blocks, shape_.threads, shape_.update_bytes(), args);
  }

  void keep_edges() {
    EdgeArguments<T> args{};
    args.atoms = system_.atoms;
    args.edges = system_.edges;
    args.elements = int(model_.elements);
    args.species = system_.species;
    args.centre = system_.centre;
    args.neighbor = system_.neighbor;
    args.vectors = system_.vectors;
    args.cutoff = model_.radial.cutoff;
    args.spacing = model_.spline.spacing;
    args.bessel = model_.radial.bessel;
    args.nodes = model_.nodes;
    args.start = space_.start;
    args.end = space_.end;
    args.kind = space_.kind;
    args.sender = space_.sender;
    args.ahead = space_.ahead;
    args.back = space_.back;
    args.gradients = system_.gradients;
    args.problem = space_.problem;
    launcher_.launch("find_rows", {blocks_for(system_.atoms + 1, threads_of_edges)}, threads_of_edges, 0, args);
    launcher_.launch("keep_edges", {blocks_for(system_.atoms, threads_of_edges / 32)}, threads_of_edges, 0, args);
    if (model_.interactions > 1 && system_.atoms > 0) launch_groups(launcher_, "senders", space_.senders);
  }

  void messages(long l) {
    MessageArguments<T> args{};
    args.atoms = system_.atoms;
    args.start = space_.start;
    args.end = space_.end;
    args.kind = space_.kind;
    args.ahead = space_.ahead;
    args.table = model_.tables[l];
    args.sent = l ? space_.sent[l] : model_.sent;
    args.scalars = l ? space_.scalars : model_.embedding;
    args.vectors = space_.vectors[l];
    args.scalars_out = space_.scalars_out;
    args.vectors_out = space_.vectors_out;
    launch_messages(l ? "messages" : "first_messages", args);
  }

  void update(long l) {
    UpdateArguments<T> args{};
    args.atoms = system_.atoms;
    args.scalars = space_.scalars_out;
    args.vectors = space_.vectors_out;
    args.mix = model_.mix[l];
    args.hidden = model_.update_hidden[l];
    args.output = model_.update_output[l];
    args.trace = space_.trace[l];
    args.scalars_out = space_.scalars;
    args.vectors_out = space_.vectors[l + 1];
    args.message_hidden = model_.message_hidden[l + 1];
    args.message_output = model_.message_output[l + 1];
    args.message_slope = space_.message_slope[l + 1];
    args.sent = space_.sent[l + 1];
    launch_update("update", args);
  }

  void top() {
    const long l = model_.interactions - 1;
    TopArguments<T> args{};
    args.atoms = system_.atoms;
    args.owned = system_.owned;
    args.scalars = space_.scalars_out;
    args.vectors = space_.vectors_out;
    args.mix = model_.mix[l];
    args.hidden = model_.update_hidden[l];
    args.output = model_.update_output[l];
    args.trace = space_.trace[l];
    args.head = model_.head_hidden;
    args.direct = model_.direct;
    args.readout = model_.readout;
    args.problem = space_.problem;
    args.energies = system_.energies;
    args.scalar_gradient = space_.scalar_gradient;
    args.vector_gradient = space_.vector_gradient;
    launch_update("top", args);
  }

  ReverseMessageArguments<T> reverse_arguments(long l) const {
    ReverseMessageArguments<T> args{};
    args.atoms = system_.atoms;
    args.first = l == model_.interactions - 1;
    args.kind = space_.kind;
    args.ahead = space_.ahead;
    args.back = space_.back;
    args.table = model_.tables[l];
    args.scalar_gradient = space_.scalar_gradient;
    args.vector_gradient = space_.vector_gradient;
    args.sums = space_.sums;
    return args;
  }

  void reverse_messages(long l) {
    ReverseMessageArguments<T> args = reverse_arguments(l);
    args.start = space_.senders.start;
    args.ordered = space_.senders.ordered;
    args.sent = space_.sent[l];
    args.vectors = space_.vectors[l];
    args.sent_gradient = space_.sent_gradient;
    args.received = space_.received;
    launch_messages("reverse_messages", args);
  }

  void reverse_update(long l) {
    ReverseUpdateArguments<T> args{};
    args.atoms = system_.atoms;
    args.sent_gradient = space_.sent_gradient;
    args.received = space_.received;
    args.message_hidden = model_.message_hidden[l];
    args.message_output = model_.message_output[l];
    args.message_slope = space_.message_slope[l];
    args.mix = model_.mix[l - 1];
    args.hidden = model_.update_hidden[l - 1];
    args.output = model_.update_output[l - 1];
    args.trace = space_.trace[l - 1];
    args.scalar_gradient = space_.scalar_gradient;
    args.vector_gradient = space_.vector_gradient;
    launch_update("reverse_update", args);
  }

  void reverse_first_messages() {
    ReverseMessageArguments<T> args = reverse_arguments(0);
    args.start = space_.start;
    args.end = space_.end;
    args.sent = model_.sent;
    launch_messages("reverse_first_messages", args);
  }

  void edge_gradients() {
    EdgeGradientArguments<T> args{};
    args.edges = system_.edges;
    args.sender = space_.sender;
    args.problem = space_.problem;
    args.ahead = space_.ahead;
    args.back = space_.back;
    args.sums = space_.sums;
    args.gradients = system_.gradients;
    launcher_.launch("edge_gradients", per_edge(), threads_of_edges, 0, args);
  }

  Launcher& launcher_;
  const PainnShape& shape_;
  const PainnOnDevice<T>& model_;
  const PainnSystem<T>& system_;
  const Workspace<T> space_;
};

}  // namespace

template <class T>
size_t painn_bytes(const PainnOnDevice<T>& model, const PainnSystem<T>& system) {
  Pieces pieces;
  Workspace<T>(pieces, model, system);
  return pieces.used;
}

template <class T>
void painn_energy_gradient(Launcher& launcher, const PainnShape& shape, const PainnOnDevice<T>& model,
                           const PainnSystem<T>& system, char* memory) {
  Pieces pieces{memory, 0};
  Step<T>(launcher, shape, model, system, pieces).run();
}

template size_t painn_bytes(const PainnOnDevice<float>&, const PainnSystem<float>&);
template size_t painn_bytes(const PainnOnDevice<double>&, const PainnSystem<double>&);
template void painn_energy_gradient(Launcher&, const PainnShape&, const PainnOnDevice<float>&,
                                    const PainnSystem<float>&, char*);
template void painn_energy_gradient(Launcher&, const PainnShape&, const PainnOnDevice<double>&,
                                    const PainnSystem<double>&, char*);

}  // namespace idle_md::cuda
