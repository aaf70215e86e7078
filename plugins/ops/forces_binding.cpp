// torch.ops.idle_md.edge_forces: forces on atoms from the gradients of edges.
#include <ATen/Functions.h>
#include <torch/library.h>

namespace idle_md {
namespace {

using at::Tensor;

template <class T>
void add_edges(const int64_t* centre, const int64_t* neighbor, const T* gradients, int64_t edges, int64_t atoms,
               double* forces) {
  for (int64_t e = 0; e < edges; ++e) {
    const int64_t i = centre[e], j = neighbor[e];
    TORCH_CHECK_VALUE(i >= 0 && i < atoms && j >= 0 && j < atoms, "edge ", e, " (atoms ", i, " and ", j,
                      ") names an atom that is not there: there are ", atoms);
    for (int k = 0; k < 3; ++k) {
      forces[3 * i + k] += double(gradients[3 * e + k]);
      forces[3 * j + k] -= double(gradients[3 * e + k]);
    }
  }
}

// f_i += g_e, f_j -= g_e: forces (atoms, 3) float64.
Tensor edge_forces(const Tensor& edge_gradients, const Tensor& edge_index, int64_t atoms) {
  TORCH_CHECK_TYPE(edge_index.scalar_type() == at::kLong, "edge_index must be int64, not ", edge_index.scalar_type());
  TORCH_CHECK_VALUE(edge_index.dim() == 2 && edge_index.size(0) == 2, "edge_index must be (2, E), not ",
                    edge_index.sizes());
  TORCH_CHECK_VALUE(edge_gradients.dim() == 2 && edge_gradients.size(1) == 3 &&
                        edge_gradients.size(0) == edge_index.size(1),
                    "edge_gradients must be (", edge_index.size(1), ", 3), not ", edge_gradients.sizes());
  TORCH_CHECK_VALUE(edge_gradients.device().is_cpu() && edge_index.device().is_cpu(),
                    "the native operators run on the CPU");
  TORCH_CHECK_VALUE(atoms >= 0, "there cannot be ", atoms, " atoms");
  const Tensor gradients = edge_gradients.contiguous(), pairs = edge_index.contiguous();
  Tensor forces = at::zeros({atoms, 3}, at::kDouble);
  const int64_t edges = pairs.size(1);
  const int64_t* centre = pairs.const_data_ptr<int64_t>();
  double* out = forces.mutable_data_ptr<double>();
  if (gradients.scalar_type() == at::kFloat)
    add_edges(centre, centre + edges, gradients.const_data_ptr<float>(), edges, atoms, out);
  else if (gradients.scalar_type() == at::kDouble)
    add_edges(centre, centre + edges, gradients.const_data_ptr<double>(), edges, atoms, out);
  else
    TORCH_CHECK_TYPE(false, "edge_gradients are float32 or float64, not ", gradients.scalar_type());
  return forces;
}

}  // namespace

TORCH_LIBRARY_FRAGMENT(idle_md, m) {
  m.def("edge_forces(Tensor edge_gradients, Tensor edge_index, int atoms) -> Tensor", edge_forces);
}

}  // namespace idle_md
