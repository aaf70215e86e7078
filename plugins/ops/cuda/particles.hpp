// From an engine's particles to edges and back, as sequences of launches.
#pragma once

#include <array>

#include "../pieces.hpp"
#include "groups.hpp"
#include "kernels/arguments.hpp"
#include "launcher.hpp"

namespace idle_md::cuda {

constexpr int few_atoms = 128;  // up to which all pairs of an open system are edges

// A list with a skin, whose state stays on the device between steps. Room for edges is fixed by how dense
// the atoms can be; where it is not enough, edges are not numbers.
struct DeviceList {
  int atoms = 0;
  std::array<bool, 3> periodic{};
  double cutoff = 0, skin = 0;  // angstrom
  double densest = 0.2;         // atoms per cubic angstrom, twice those of water; diamond has less

  int room() const;              // edges of every atom
  long edges() const { return long(atoms) * room(); }
  size_t state_bytes() const;    // to be filled with 0xff before the first step
};

// Positions and box of an engine, in its precision and unit of length.
struct Particles {
  bool is_double = false;
  const void *positions = nullptr, *box = nullptr;  // (particles, 3); (3, 3) or null
  const Int64* chosen = nullptr;                    // (N,)
  double angstrom = 1;
};

// Where edge vectors are written, in the precision of the model.
struct Vectors {
  bool is_double = false;
  void* values = nullptr;
};

// Writes the index (2, N room) and vectors (N, room, 3) of the edges as they are now.
void list_edges(Launcher& launcher, const DeviceList& list, char* state, const Particles& particles,
                Int64* index, const Vectors& vectors);

// Where the state has the number of searches less one, and what is wrong with the list, see arguments.hpp.
struct ListReport {
  const int *searches, *problem;
};
ListReport report_of(const DeviceList& list, char* state);

// Writes the vectors (N (N - 1), 3) of all pairs.
void all_pairs(Launcher& launcher, int atoms, const Particles& particles, const Vectors& vectors);

// What forces are summed from.
struct EdgeForces {
  int atoms = 0, edges = 0;
  long particles = 0;
  const Int64* index = nullptr;    // (2, E), in any order
  Vectors gradients;               // (E, 3)
  const Int64* chosen = nullptr;   // (N,), or null: all
  double energy_unit = 1, force_unit = 1;
  const double* energies = nullptr;  // (N,)
  double* energy = nullptr;          // or null
  bool is_double = true;           // the forces
  void* forces = nullptr;          // (particles, 3), zero before
};

size_t force_bytes(int atoms, int edges);
void sum_forces(Launcher& launcher, const EdgeForces& given, char* memory);

}  // namespace idle_md::cuda
