// torch.ops.idle_md.edge_forces and particle_forces: forces from the gradients of edges.
#include <ATen/Functions.h>
#include <torch/library.h>

#include <tuple>
#include <vector>

#include "cuda/gpu_tensors.hpp"
#include "cuda/particles.hpp"
#include "tensors.hpp"

namespace idle_md {
namespace {

using at::Tensor;

// Edges of a centre mostly follow each other, so its force is summed up before it is written.
template <class T>
void add_edges(const int64_t* centre, const int64_t* neighbor, const T* gradients, int64_t edges, int64_t atoms,
               double* forces) {
  for (int64_t e = 0; e < edges;) {
    const int64_t i = centre[e];
    double x = 0.0, y = 0.0, z = 0.0;
    for (; e < edges && centre[e] == i; ++e) {
      const int64_t j = neighbor[e];
      // as unsigned numbers, so that negative ones are large
      TORCH_CHECK_VALUE(uint64_t(i) < uint64_t(atoms) && uint64_t(j) < uint64_t(atoms), "edge ", e, " (atoms ", i,
                        " and ", j, ") names an atom that is not there: there are ", atoms);
      const double gx = gradients[3 * e], gy = gradients[3 * e + 1], gz = gradients[3 * e + 2];
      x += gx;
      y += gy;
      z += gz;
      forces[3 * j] -= gx;
      forces[3 * j + 1] -= gy;
      forces[3 * j + 2] -= gz;
    }
    forces[3 * i] += x;
    forces[3 * i + 1] += y;
    forces[3 * i + 2] += z;
  }
}

// Edges that were checked and made contiguous.
struct Edges {
  Tensor gradients, index;

  Edges(const Tensor& edge_gradients, const Tensor& edge_index) {
    TORCH_CHECK_TYPE(edge_index.scalar_type() == at::kLong, "edge_index must be int64, not ",
                     edge_index.scalar_type());
    TORCH_CHECK_VALUE(edge_index.dim() == 2 && edge_index.size(0) == 2, "edge_index must be (2, E), not ",
                      edge_index.sizes());
    TORCH_CHECK_VALUE(edge_gradients.dim() == 2 && edge_gradients.size(1) == 3 &&
                          edge_gradients.size(0) == edge_index.size(1),
                      "edge_gradients must be (", edge_index.size(1), ", 3), not ", edge_gradients.sizes());
    check_tensor("edge_gradients", edge_gradients);
    check_tensor("edge_index", edge_index);
    gradients = edge_gradients.contiguous();
    index = edge_index.contiguous();
  }

  // f_i += g_e, f_j -= g_e
  void add_to(double* forces, int64_t atoms) const {
    const int64_t edges = index.size(1);
    const int64_t* centre = index.const_data_ptr<int64_t>();
    with_values("edge_gradients", gradients,
                [&](const auto* values) { add_edges(centre, centre + edges, values, edges, atoms, forces); });
  }
};

// Forces (atoms, 3) float64.
Tensor edge_forces(const Tensor& edge_gradients, const Tensor& edge_index, int64_t atoms) {
  TORCH_CHECK_VALUE(atoms >= 0, "there cannot be ", atoms, " atoms");
  const Edges edges(edge_gradients, edge_index);
  Tensor forces = at::zeros({atoms, 3}, at::kDouble);
  edges.add_to(forces.mutable_data_ptr<double>(), atoms);
  return forces;
}

// Total energy, and forces (particles, 3) on all particles of an engine, which feel nothing where they
// are not among the atoms; eV and eV/angstrom are multiplied by so many of the engine's units.
std::tuple<Tensor, Tensor> particle_forces(const Tensor& atomic_energies, const Tensor& edge_gradients,
                                           const Tensor& edge_index, const Tensor& atoms, int64_t particles,
                                           double energy_unit, double force_unit, at::ScalarType dtype) {
  TORCH_CHECK_VALUE(particles >= 0, "there cannot be ", particles, " particles");
  TORCH_CHECK_VALUE(dtype == at::kFloat || dtype == at::kDouble, "forces come in torch.float32 or torch.float64");
  const Indices chosen(atoms, particles);
  TORCH_CHECK_VALUE(atomic_energies.dim() == 1 && atomic_energies.size(0) == chosen.count,
                    "atomic_energies must be (", chosen.count, ",), not ", atomic_energies.sizes());
  check_tensor("atomic_energies", atomic_energies);
  const Edges edges(edge_gradients, edge_index);
  double energy = 0.0;
  with_values("atomic_energies", atomic_energies.contiguous(), [&](const auto* values) {
    for (int64_t n = 0; n < chosen.count; ++n) energy += values[n];
  });
  std::vector<double> forces(3 * chosen.count, 0.0);
  edges.add_to(forces.data(), chosen.count);
  Tensor everywhere = at::zeros({particles, 3}, dtype);
  const auto write = [&](auto* to) {
    for (int64_t n = 0; n < chosen.count; ++n)
      for (int k = 0; k < 3; ++k) to[3 * chosen[n] + k] += forces[3 * n + k] * force_unit;
  };
  if (dtype == at::kFloat)
    write(everywhere.mutable_data_ptr<float>());
  else
    write(everywhere.mutable_data_ptr<double>());
  return {at::scalar_tensor(energy * energy_unit, at::kDouble), everywhere};
}

// The same on a GPU. Nothing waits for the device, so what names an atom that is not there is no error but
// gives no number.
struct EdgesOnGpu {
  Tensor gradients, index;

  EdgesOnGpu(const Tensor& edge_gradients, const Tensor& edge_index)
      : gradients(edge_gradients.contiguous()), index(edge_index.contiguous()) {
    TORCH_CHECK_TYPE(index.scalar_type() == at::kLong, "edge_index must be int64, not ", index.scalar_type());
    TORCH_CHECK_VALUE(index.dim() == 2 && index.size(0) == 2, "edge_index must be (2, E), not ", index.sizes());
    TORCH_CHECK_VALUE(gradients.dim() == 2 && gradients.size(1) == 3 && gradients.size(0) == index.size(1),
                      "edge_gradients must be (", index.size(1), ", 3), not ", gradients.sizes());
    TORCH_CHECK_VALUE(gradients.device() == index.device(), "edge_gradients are on ", gradients.device(),
                      ", edge_index is on ", index.device());
  }

  cuda::EdgeForces described(int64_t atoms, int64_t particles) const {
    cuda::EdgeForces given;
    given.atoms = int(atoms);
    given.particles = particles;
    given.edges = int(index.size(1));
    given.index = cuda::integers(index);
    with_values("edge_gradients", gradients, [&](const auto* values) {
      given.gradients = {gradients.scalar_type() == at::kDouble, const_cast<void*>(static_cast<const void*>(values))};
    });
    return given;
  }

  // Sums into zeros.
  void sum(cuda::EdgeForces given, const Tensor& forces) const {
    given.forces = forces.mutable_data_ptr();
    given.is_double = forces.scalar_type() == at::kDouble;
    const Tensor memory = cuda::device_memory(cuda::force_bytes(given.atoms, given.edges), index.device());
    sum_forces(*cuda::Gpu::at(index.device().index()).launcher("particles.cu"), given, cuda::bytes_of(memory));
  }
};

Tensor edge_forces_on_gpu(const Tensor& edge_gradients, const Tensor& edge_index, int64_t atoms) {
  TORCH_CHECK_VALUE(atoms >= 0, "there cannot be ", atoms, " atoms");
  const EdgesOnGpu edges(edge_gradients, edge_index);
  Tensor forces = at::empty({atoms, 3}, at::TensorOptions(at::kDouble).device(edge_index.device()));
  edges.sum(edges.described(atoms, atoms), forces);
  return forces;
}

std::tuple<Tensor, Tensor> particle_forces_on_gpu(const Tensor& atomic_energies, const Tensor& edge_gradients,
                                                  const Tensor& edge_index, const Tensor& atoms, int64_t particles,
                                                  double energy_unit, double force_unit, at::ScalarType dtype) {
  TORCH_CHECK_VALUE(particles >= 0, "there cannot be ", particles, " particles");
  TORCH_CHECK_VALUE(dtype == at::kFloat || dtype == at::kDouble, "forces come in torch.float32 or torch.float64");
  const EdgesOnGpu edges(edge_gradients, edge_index);
  const Tensor chosen = atoms.contiguous(), energies = atomic_energies.to(at::kDouble).contiguous();
  for (const Tensor* each : {&chosen, &energies})
    TORCH_CHECK_VALUE(each->device() == edge_index.device(), "the tensors are not on one device: ", each->device(),
                      " and ", edge_index.device());
  TORCH_CHECK_VALUE(chosen.dim() == 1 && energies.sizes() == chosen.sizes(), "atomic_energies must be (",
                    chosen.numel(), ",), not ", energies.sizes());
  const auto options = at::TensorOptions(at::kDouble).device(edge_index.device());
  Tensor energy = at::empty({}, options), everywhere = at::zeros({particles, 3}, options.dtype(dtype));
  cuda::EdgeForces given = edges.described(chosen.numel(), particles);
  given.chosen = cuda::integers(chosen);
  given.energies = energies.const_data_ptr<double>();
  given.energy = energy.mutable_data_ptr<double>();
  given.energy_unit = energy_unit;
  given.force_unit = force_unit;
  edges.sum(given, everywhere);
  return {energy, everywhere};
}

}  // namespace

TORCH_LIBRARY_IMPL(idle_md, CUDA, m) {
  m.impl("edge_forces", edge_forces_on_gpu);
  m.impl("particle_forces", particle_forces_on_gpu);
}

TORCH_LIBRARY_FRAGMENT(idle_md, m) {
  m.def("edge_forces(Tensor edge_gradients, Tensor edge_index, int atoms) -> Tensor", edge_forces);
  m.def("particle_forces(Tensor atomic_energies, Tensor edge_gradients, Tensor edge_index, Tensor atoms, int particles, "
        "float energy_unit, float force_unit, ScalarType dtype) -> (Tensor energy, Tensor forces)", particle_forces);
}

}  // namespace idle_md
