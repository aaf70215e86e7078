#include "particles.hpp"

#include <cmath>
#include <string>

namespace idle_md::cuda {
namespace {

constexpr int fewest_bins = 64, atoms_per_bin = 4;

const char* real(bool is_double) { return is_double ? "double" : "float"; }

struct ListState {
  ListArguments args{};
  GroupArguments<int> bins{};

  ListState(const DeviceList& list, Pieces& pieces) {
    const long n = list.atoms;
    args.atoms = list.atoms;
    args.room = list.room();
    args.most_bins = std::max(fewest_bins, list.atoms / atoms_per_bin);
    args.reach = list.cutoff + list.skin;
    args.moved = 0.5 * list.skin;
    for (int k = 0; k < 3; ++k) args.periodic[k] = list.periodic[k];
    args.points = pieces.take<double>(3 * n);
    args.before = pieces.take<double>(3 * n);
    args.wrapped = pieces.take<double>(3 * n);
    args.cell = pieces.take<double>(9);
    args.grid = pieces.take<Grid>(1);
    args.wraps = pieces.take<int>(3 * n);
    args.bin = pieces.take<int>(n);
    args.found = pieces.take<Int64>(list.edges());
    args.neighbor = pieces.take<int>(list.edges());
    args.image = pieces.take<int>(list.edges());
    args.stale = pieces.take<int>(1);
    args.problem = pieces.take<int>(1);
    args.searches = pieces.take<int>(1);
    bins = take_groups(pieces, static_cast<const int*>(args.bin), list.atoms, args.most_bins);
    bins.only_if = args.stale;
    args.bin_start = bins.start;
    args.bin_atoms = bins.ordered;
  }
};

}  // namespace

int DeviceList::room() const {
  const double reach = cutoff + skin, near = densest * 4.0 / 3.0 * std::acos(-1.0) * reach * reach * reach;
  const int wanted = int(std::ceil(near / 8.0)) * 8;
  return periodic[0] || periodic[1] || periodic[2] ? wanted : std::max(1, std::min(wanted, atoms - 1));
}

size_t DeviceList::state_bytes() const {
  Pieces pieces;
  ListState(*this, pieces);
  return pieces.used;
}

void list_edges(Launcher& launcher, const DeviceList& list, char* state, const Particles& particles,
                Int64* index, const Vectors& vectors) {
  Pieces pieces{state, 0};
  ListState laid(list, pieces);
  ListArguments& args = laid.args;
  args.positions = particles.positions;
  args.box = particles.box;
  args.chosen = particles.chosen;
  args.unit = particles.angstrom;
  args.index = index;
  args.vectors = vectors.values;
  const Blocks per_atom{blocks_for(list.atoms, threads_of_edges)};
  const Blocks warp_per_atom{blocks_for(list.atoms, threads_of_edges / 32)};
  const std::string of_positions = real(particles.is_double), of_vectors = real(vectors.is_double);
  if (list.atoms == 0) return;
  launcher.launch(("move_points_" + of_positions).c_str(), per_atom, threads_of_edges, 0, args);
  launcher.launch(("make_grid_" + of_positions).c_str(), {}, threads_of_group,
                  2 * threads_of_group * sizeof(double), args);
  launcher.launch("find_bins", per_atom, threads_of_edges, 0, args);
  launch_groups(launcher, "bins", laid.bins);
  launcher.launch("search", warp_per_atom, threads_of_edges, 0, args);
  launcher.launch(("edge_vectors_" + of_vectors).c_str(), {blocks_for(list.edges(), threads_of_edges)},
                  threads_of_edges, 0, args);
}

ListReport report_of(const DeviceList& list, char* state) {
  Pieces pieces{state, 0};
  const ListState laid(list, pieces);
  return {laid.args.searches, laid.args.problem};
}

void all_pairs(Launcher& launcher, int atoms, const Particles& particles, const Vectors& vectors) {
  AllPairsArguments args{};
  args.atoms = atoms;
  args.unit = particles.angstrom;
  args.positions = particles.positions;
  args.chosen = particles.chosen;
  args.vectors = vectors.values;
  const std::string kernel = std::string("all_pairs_") + real(particles.is_double) + "_" + real(vectors.is_double);
  launcher.launch(kernel.c_str(), {blocks_for(long(atoms) * (atoms - 1), threads_of_edges)}, threads_of_edges, 0,
                  args);
}

size_t force_bytes(int atoms, int edges) {
  Pieces pieces;
  take_groups(pieces, static_cast<const Int64*>(nullptr), 2 * edges, atoms);
  return pieces.used;
}

void sum_forces(Launcher& launcher, const EdgeForces& given, char* memory) {
  Pieces pieces{memory, 0};
  const auto ends = take_groups(pieces, given.index, 2 * given.edges, given.atoms);
  launch_groups(launcher, "ends", ends);
  ForceArguments args{};
  args.atoms = given.atoms;
  args.edges = given.edges;
  args.particles = given.particles;
  args.start = ends.start;
  args.ordered = ends.ordered;
  args.gradients = given.gradients.values;
  args.chosen = given.chosen;
  args.force_unit = given.force_unit;
  args.energy_unit = given.energy_unit;
  args.energies = given.energies;
  args.energy = given.energy;
  args.forces = given.forces;
  const std::string kernel =
      std::string("sum_forces_") + real(given.gradients.is_double) + "_" + real(given.is_double);
  launcher.launch(kernel.c_str(), {1 + blocks_for(given.atoms, threads_of_edges / 32)}, threads_of_edges,
                  threads_of_edges / 32 * sizeof(double), args);
}

}  // namespace idle_md::cuda
