// One list of neighbours, used by several evaluations, see driver.cpp: prints which of them get their own edges.
#include <dlfcn.h>

#include <cstdio>
#include <thread>

#include "list_on_gpu.cpp"  // not a file of its own to the compiler: torch's headers take long

using namespace idle_md::cuda;
using Edges = std::tuple<at::Tensor, at::Tensor>;

namespace {

constexpr int64_t atoms = 40;

struct System {
  at::Tensor chosen = at::arange(atoms, at::kLong), box = at::eye(3, at::kDouble).mul_(9.0);
  at::Tensor positions = at::rand({atoms, 3}, at::kDouble).mul_(9.0);

  Edges edges(ListOnGpu& list) const { return list.edges_of_particles(positions, box, chosen, 1.0, at::kDouble); }
  Edges expected() const {
    ListOnGpu own(4.0, 0.5);
    return edges(own);
  }
};

void compare(const char* what, const Edges& found, const System& system) {
  const auto [index, vectors] = system.expected();
  const bool is_own = at::equal(std::get<0>(found), index) && at::equal(std::get<1>(found), vectors);
  std::printf("%s: %s\n", what, is_own ? "its own" : "another's");
}

}  // namespace

int main() {
  std::setvbuf(stdout, nullptr, _IONBF, 0);
  dlopen("libtorch_cuda.so", RTLD_NOW);
  void* driver = dlopen("libcuda.so.1", RTLD_NOW);
  const auto hold_streams = reinterpret_cast<void (*)()>(dlsym(driver, "hold_streams"));
  const auto run_streams = reinterpret_cast<void (*)()>(dlsym(driver, "run_streams"));
  at::manual_seed(0);
  const System one, other;

  ListOnGpu shared(4.0, 0.5);
  const Edges first = one.edges(shared), second = other.edges(shared);
  compare("first", first, one);
  compare("second", second, other);
  std::printf("%d searches\n", int(shared.searches()));

  Edges here, there;
  hold_streams();
  std::thread thread([&] { there = other.edges(shared); });
  here = one.edges(shared);
  thread.join();
  run_streams();
  compare("here", here, one);
  compare("there", there, other);

  System crowded;
  crowded.positions.mul_(0.5);
  crowded.box.mul_(0.5);
  std::thread([&] { crowded.edges(shared); }).join();
  std::printf("problem %d\n", int(shared.problem()));  // whichever thread asks
  shared.make_room();
  shared.make_room();
  std::thread([&] { crowded.edges(shared); }).join();
  std::printf("problem %d\n", int(shared.problem()));
}
