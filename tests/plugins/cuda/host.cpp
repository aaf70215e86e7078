#include "host.hpp"

#include "emulation.hpp"

#define IDLE_MD_PROGRAM "particles"
#include "kernels/particles.cu"

namespace {

class EmulatedLauncher : public Launcher {
 public:
  EmulatedLauncher(std::string program, unsigned seed) : program_(std::move(program)), random_(seed) {}
  int launches() const { return launches_; }

 protected:
  void start(const char* kernel, Blocks blocks, int threads, size_t shared, const void* arguments) override {
    emulation::run_kernel(program_ + "/" + kernel, blocks.x, blocks.y, threads, shared, arguments, random_);
    ++launches_;
  }

 private:
  std::string program_;
  std::mt19937 random_;
  int launches_ = 0;
};

std::string problem;

// The number of launches, or -1 with a problem.
template <class Run>
int guarded(const Run& run) {
  try {
    return run();
  } catch (const std::exception& error) {
    problem = error.what();
    return -1;
  }
}

std::string program_of(const PainnShape& shape) {
  std::string values;
  for (const std::string& option : shape.options()) values += " " + option.substr(option.find('=') + 1);
  return values.substr(1);
}

}  // namespace

// Memory full of NaN, aligned as a device's.
struct DeviceMemory {
  explicit DeviceMemory(size_t bytes) : own(emulation::nan_memory(bytes + 64)) {
    start = reinterpret_cast<char*>((reinterpret_cast<uintptr_t>(own.get()) + 63) / 64 * 64);
  }
  std::unique_ptr<unsigned char[]> own;
  char* start;
};

template <class T>
int painn(const PainnCall<T>& call, unsigned seed) {
  return guarded([&] {
    const idle_md::Radial radial{call.bessel != 0, call.cutoff, {call.nodes, call.nodes + call.n_radial}};
    const PackedPainn<T> packed(call.weights, call.filters, radial, call.tabulated != 0);
    const auto model = packed.at(const_cast<char*>(packed.bytes().data()));
    PainnShape shape(model, call.system.atoms, {std::max(1, call.blocking.processors), 1 << 20, true},
                     call.blocking.tf32 != 0);
    if (call.blocking.block > 0) {
      shape.block = call.blocking.block;
      shape.threads = call.blocking.threads;
      shape.slices = call.blocking.slices;
    }
    const DeviceMemory memory(painn_bytes(model, call.system));
    EmulatedLauncher launcher(program_of(shape), seed);
    painn_energy_gradient(launcher, shape, model, call.system, memory.start);
    return launcher.launches();
  });
}

const char* emulated_problem() { return problem.c_str(); }
int emulated_painn_float(const PainnCall<float>* call, unsigned seed) { return painn(*call, seed); }
int emulated_painn_double(const PainnCall<double>* call, unsigned seed) { return painn(*call, seed); }

int list_room(const DeviceList* list) { return list->room(); }
long list_bytes(const DeviceList* list) { return long(list->state_bytes()); }

int emulated_list(const DeviceList* list, char* state, const Particles* particles, Int64* index,
                  const Vectors* vectors, int* searches, int* problem, unsigned seed) {
  return guarded([&] {
    EmulatedLauncher launcher("particles", seed);
    list_edges(launcher, *list, state, *particles, index, *vectors);
    if (list->atoms) {
      const auto report = report_of(*list, state);
      *searches = *report.searches + 1;
      *problem = *report.problem;
    }
    return launcher.launches();
  });
}

int emulated_all_pairs(int atoms, const Particles* particles, const Vectors* vectors, unsigned seed) {
  return guarded([&] {
    EmulatedLauncher launcher("particles", seed);
    all_pairs(launcher, atoms, *particles, *vectors);
    return launcher.launches();
  });
}

int emulated_forces(const EdgeForces* given, unsigned seed) {
  return guarded([&] {
    const DeviceMemory memory(force_bytes(given->atoms, given->edges));
    EmulatedLauncher launcher("particles", seed);
    sum_forces(launcher, *given, memory.start);
    return launcher.launches();
  });
}
