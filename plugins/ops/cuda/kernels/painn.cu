// The kernels of PaiNN for one precision and size, which are given as macros:
//
//   IDLE_MD_REAL       float or double
//   IDLE_MD_FEATURES   a multiple of 16
//   IDLE_MD_HEAD       hidden units of the head, a multiple of 4; 0: none
//   IDLE_MD_TERMS      rows of a filter's table that take part at a distance
//   IDLE_MD_TABULATED  whether they are splines' coefficients, or radial functions
//   IDLE_MD_BLOCK      atoms that a block updates
//   IDLE_MD_THREADS    threads of such a block
//   IDLE_MD_SLICES     warps that share an atom's edges: 1, 2 or 4
//   IDLE_MD_TF32       whether products run on tensor cores, in TF32
#include "edges.cuh"
#include "groups.cuh"
#include "messages.cuh"
#include "update.cuh"

using namespace idle_md::cuda;

using Real = IDLE_MD_REAL;
using UpdatedAtoms = Atoms<Real, IDLE_MD_FEATURES, IDLE_MD_HEAD, IDLE_MD_BLOCK, IDLE_MD_THREADS,
                           IDLE_MD_TF32>;
constexpr int threads_of_messages = 32 * warps_of_messages;

IDLE_MD_KERNEL(find_rows, threads_of_edges, blocks_of_edges, EdgeArguments<Real>) { find_rows(args); }

IDLE_MD_KERNEL(keep_edges, threads_of_edges, blocks_of_edges, EdgeArguments<Real>) {
  keep_edges<Real, IDLE_MD_TERMS, IDLE_MD_TABULATED>(args);
}

IDLE_MD_GROUP_KERNELS(senders, int)

IDLE_MD_KERNEL(first_messages, threads_of_messages, blocks_of_edges, MessageArguments<Real>) {
  IDLE_MD_SHARED(memory);
  first_messages<Real, IDLE_MD_FEATURES, IDLE_MD_TERMS, IDLE_MD_SLICES>(args, reinterpret_cast<Real*>(memory));
}

IDLE_MD_KERNEL(messages, threads_of_messages, blocks_of_edges, MessageArguments<Real>) {
  IDLE_MD_SHARED(memory);
  later_messages<Real, IDLE_MD_FEATURES, IDLE_MD_TERMS, IDLE_MD_SLICES>(args, reinterpret_cast<Real*>(memory));
}

IDLE_MD_KERNEL(update, IDLE_MD_THREADS, 1, UpdateArguments<Real>) {
  IDLE_MD_SHARED(memory);
  UpdatedAtoms(memory, args.atoms).forward(args);
}

IDLE_MD_KERNEL(top, IDLE_MD_THREADS, 1, TopArguments<Real>) {
  IDLE_MD_SHARED(memory);
  UpdatedAtoms(memory, args.atoms).top(args);
}

IDLE_MD_KERNEL(reverse_messages, threads_of_messages, blocks_of_edges, ReverseMessageArguments<Real>) {
  IDLE_MD_SHARED(memory);
  reverse_messages<Real, IDLE_MD_FEATURES, IDLE_MD_TERMS, IDLE_MD_SLICES>(args, reinterpret_cast<Real*>(memory));
}

IDLE_MD_KERNEL(reverse_update, IDLE_MD_THREADS, 1, ReverseUpdateArguments<Real>) {
  IDLE_MD_SHARED(memory);
  UpdatedAtoms(memory, args.atoms).reverse(args);
}

IDLE_MD_KERNEL(reverse_first_messages, threads_of_messages, blocks_of_edges, ReverseMessageArguments<Real>) {
  reverse_first_messages<Real, IDLE_MD_FEATURES, IDLE_MD_TERMS, IDLE_MD_SLICES>(args);
}

IDLE_MD_KERNEL(edge_gradients, threads_of_edges, blocks_of_edges, EdgeGradientArguments<Real>) {
  edge_gradients<Real, IDLE_MD_TERMS, chunks_of(IDLE_MD_FEATURES)>(args);
}
