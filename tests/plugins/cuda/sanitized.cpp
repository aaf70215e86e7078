// Random systems through every kernel, for the sanitizers; the numbers are checked elsewhere.
//
//   sanitized FIRST LAST     seeds
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <vector>

#include "host.hpp"

using namespace idle_md::cuda;

namespace {

constexpr int F = IDLE_MD_FEATURES, head = IDLE_MD_HEAD, n_radial = IDLE_MD_TERMS - 1, interactions = 3, elements = 4;
constexpr double cutoff = 4.0;

struct Random {
  std::mt19937 engine;
  double uniform(double low, double high) { return std::uniform_real_distribution<double>(low, high)(engine); }
  int below(int n) { return int(engine() % unsigned(n)); }
  std::vector<double> numbers(long n, double size) {
    std::vector<double> out(n);
    for (double& x : out) x = uniform(-size, size);
    return out;
  }
};

// Weights, alive as long as this.
struct RandomModel {
  std::vector<std::vector<double>> kept;
  PainnCall<double> call{};

  const double* take(Random& random, long n) {
    kept.push_back(random.numbers(n, 0.2));
    return kept.back().data();
  }
  idle_md::Layer<double> layer(Random& random, long inputs, long outputs) {
    return {take(random, inputs * outputs), take(random, outputs), inputs, outputs};
  }
  explicit RandomModel(Random& random) {
    auto& w = call.weights;
    w.features = F;
    w.interactions = interactions;
    w.elements = elements;
    w.embedding = take(random, elements * F);
    w.sent = take(random, elements * 2 * F);
    w.direct = take(random, F);
    w.readout = take(random, head);
    w.head_hidden = layer(random, F, head);
    for (int l = 0; l < interactions; ++l) {
      call.filters[l] = take(random, (n_radial + 1) * (l ? 3 : 2) * F);
      w.message_hidden[l] = layer(random, F, F);
      w.message_output[l] = layer(random, F, 3 * F);
      w.mix[l] = {take(random, F * 2 * F), nullptr, F, 2 * F};
      w.update_hidden[l] = layer(random, 2 * F, F);
      w.update_output[l] = layer(random, F, (l + 1 < interactions ? 3 : 2) * F);
    }
    kept.push_back({});
    for (int k = 1; k <= n_radial; ++k) kept.back().push_back(k * 3.141592653589793 / cutoff);
    call.nodes = kept.back().data();
    call.n_radial = n_radial;
    call.cutoff = cutoff;
    call.bessel = 1;
    call.blocking = {IDLE_MD_BLOCK, IDLE_MD_THREADS, IDLE_MD_SLICES, 1, IDLE_MD_TF32};
  }
};

void check(int launches) {
  if (launches >= 0) return;
  std::fprintf(stderr, "%s\n", emulated_problem());
  std::exit(1);
}

void run(unsigned seed) {
  constexpr int sizes[] = {0, 1, 2, 5, 9, 31, 33};
  Random random{std::mt19937(seed)};
  const int n = sizes[seed % 7];
  const bool is_periodic = seed / 7 % 2;
  const double side = std::cbrt(14.0 * n + 1.0);
  std::vector<double> positions(3 * n);
  for (double& x : positions) x = random.uniform(-side, side);
  const double box[9] = {side, 0, 0, 0.2, 1.1 * side, 0, -0.3, 0.1, side};
  std::vector<Int64> chosen(n), species(n);
  for (int k = 0; k < n; ++k) {
    chosen[k] = k;
    species[k] = random.below(elements);
  }
  const DeviceList list{n, {is_periodic, is_periodic, is_periodic}, cutoff, 0.5};
  const long edges = list.edges();
  std::vector<char> state(list_bytes(&list) + 64, char(0xff));
  char* aligned = state.data() + (64 - reinterpret_cast<std::size_t>(state.data()) % 64) % 64;
  std::vector<Int64> index(2 * edges);
  std::vector<double> vectors(3 * edges), gradients(3 * edges), energies(n), forces(3 * n);
  const Particles particles{true, positions.data(), is_periodic ? box : nullptr, chosen.data(), 1.0};
  const Vectors made{true, vectors.data()};
  int searches = 0, problem = 0;
  for (int step = 0; step < 2; ++step) check(emulated_list(&list, aligned, &particles, index.data(), &made, &searches, &problem, seed));
  if (n > 1) {
    std::vector<double> all(3 * n * (n - 1));
    const Vectors pairs{true, all.data()};
    check(emulated_all_pairs(n, &particles, &pairs, seed));
  }
  RandomModel model(random);
  model.call.system = {n, int(edges), n - n / 3, species.data(), index.data(), index.data() + edges,
                       vectors.data(), energies.data(), gradients.data()};
  check(emulated_painn_double(&model.call, seed));
  double energy = 0.0;
  EdgeForces given;
  given.atoms = n;
  given.edges = int(edges);
  given.particles = n;
  given.index = index.data();
  given.gradients = {true, gradients.data()};
  given.energies = energies.data();
  given.energy = &energy;
  given.forces = forces.data();
  check(emulated_forces(&given, seed));
}

}  // namespace

int main(int, char** words) {
  for (unsigned seed = unsigned(std::atoi(words[1])); seed < unsigned(std::atoi(words[2])); ++seed) run(seed);
}
