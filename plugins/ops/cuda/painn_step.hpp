// Energies and edge gradients of PaiNN as a sequence of launches, by the edge contract.
#pragma once

#include <string>
#include <vector>

#include "device.hpp"
#include "launcher.hpp"
#include "painn_weights.hpp"

namespace idle_md::cuda {

// What the kernels are compiled for, see kernels/painn.cu.
struct PainnShape {
  bool is_double = false, tabulated = true, tf32 = false;
  int features = 0, head = 0, terms = 0;
  int block = 1, threads = 0, slices = 1;

  // With TF32, which only single precision on tensor cores knows, where it is allowed. Throws
  // std::invalid_argument where a block's memory does not fit the device.
  template <class T>
  PainnShape(const PainnOnDevice<T>& model, long atoms, const Device& device, bool allow_tf32);

  std::vector<std::string> options() const;  // macros for the compiler
  size_t update_bytes() const;               // shared memory of a block that updates atoms
  size_t message_bytes() const;

 private:
  void share_out(long atoms, const Device& device);
};

template <class T>
struct PainnSystem {
  int atoms = 0, edges = 0, owned = 0;
  const Int64 *species = nullptr, *centre = nullptr, *neighbor = nullptr;  // (N,), (E,), (E,)
  const T* vectors = nullptr;                                              // (E, 3)
  double* energies = nullptr;                                              // (N,)
  T* gradients = nullptr;                                                  // (E, 3)
};

// Bytes on the device that an evaluation needs.
template <class T>
size_t painn_bytes(const PainnOnDevice<T>& model, const PainnSystem<T>& system);

// Writes energies, without reference energies, and gradients. What the contract forbids (edges that are
// out of order, of no length, or name atoms that are not there; unknown species) makes all of it NaN.
template <class T>
void painn_energy_gradient(Launcher& launcher, const PainnShape& shape, const PainnOnDevice<T>& model,
                           const PainnSystem<T>& system, char* memory);

}  // namespace idle_md::cuda
