// SPDX-License-Identifier: GPL-2.0-only
// One step: from atoms to edges, through the model, to energies, forces and virial.
#include <cmath>
#include <cstdio>

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "pair_idle.h"
#include "platform.h"
#include "update.h"

using namespace LAMMPS_NS;

void PairIdle::compute(int eflag, int vflag) {
  ev_init(eflag, vflag);
  if (!checked_) check();
  if (model_->single())
    step<float>();
  else
    step<double>();
}

// An error of one rank. Where several ranks meet it, the first to abort ends the others before they have said why, and
// all but rank 0 have no screen: so each says it itself, and gives mpirun the time to pass it on.
void PairIdle::stop(const std::string& why) {
  if (comm->nprocs > 1) {
    std::fprintf(stderr, "ERROR on proc %d: %s\n", comm->me, why.c_str());
    std::fflush(stderr);
    platform::usleep(200000);
  }
  error->one(FLERR, why);
}

// As in idle_md.deploy.failures; kernels fail in their own ways, or not at all.
template <class T>
std::string PairIdle::atoms_in_one_place() const {
  constexpr double one_place = 1e-3;  // angstrom
  const T* vectors = edges_.vectors<T>();
  for (int64_t centre = 0, e = 0; centre < edges_.centres(); ++centre)
    for (; e < edges_.end(centre); ++e) {
      const T *r = vectors + 3 * e, square = r[0] * r[0] + r[1] * r[1] + r[2] * r[2];
      if (square <= T(one_place * one_place))
        return fmt::format("atoms {} and {} are in one place: move one of them, or remove it",
                           atom->tag[edges_.atom(centre)], atom->tag[edges_.neighbor(e)]);
    }
  return "";
}

template <class T>
void PairIdle::step() {
  find_edges<T>();
  if (edges_.owned() == 0) return;
  if (neighbor->ago == 0) {
    const std::string reason = atoms_in_one_place<T>();
    if (!reason.empty()) stop(fmt::format("the model cannot be evaluated at step {}: {}", update->ntimestep, reason));
  }
  const double start = platform::walltime();
  try {
    model_->evaluate(edges_.nodes(), edges_.species(), edges_.count(), edges_.index(), edges_.vectors<T>(),
                     edges_.owned());
  } catch (const std::exception& failed) {
    const std::string reason = atoms_in_one_place<T>();
    stop(fmt::format("the model cannot be evaluated at step {}: {}", update->ntimestep,
                     reason.empty() ? idle_md::summary(failed) : reason));
  }
  pvector[0] += platform::walltime() - start;
  add_energies<T>(model_->energies());
  add_forces(static_cast<const T*>(model_->gradients()));
}

template <class T>
void PairIdle::find_edges() {
  idle_md::Atoms atoms;
  atoms.owned = atom->nlocal;
  atoms.all = atom->nlocal + atom->nghost;
  atoms.x = atoms.all ? atom->x[0] : nullptr;
  atoms.type = atom->type;
  atoms.species = species_.data();
  atoms.mask = atom->mask;
  atoms.hidden = hidden_;
  if (mode_ != Mode::local) {
    if (neighbor->ago == 0 || neighbor->lastcall != images_step_ || images_.count() != atoms.all)
      images_.find(atom->tag, atoms.owned, atoms.all);
    images_step_ = neighbor->lastcall;
    atoms.image_of = images_.of();
  }
  edges_.find<T>(atoms, *list, model_->metadata().cutoff, mode_ == Mode::ghost ? model_->metadata().interactions : 1);
}

template <class T>
void PairIdle::add_energies(const double* energies) {
  double total = 0.0;
  for (int64_t node = 0; node < edges_.owned(); ++node) {
    const double energy = energies[node] * energy_unit_;
    total += energy;
    if (eflag_atom) eatom[edges_.atom(node)] += energy;
  }
  if (!std::isfinite(total)) {
    const std::string reason = atoms_in_one_place<T>();
    if (!reason.empty()) stop(fmt::format("the model cannot be evaluated at step {}: {}", update->ntimestep, reason));
    stop(fmt::format("the energy of the model is not a number at step {}: atoms are too close or have flown apart, "
                     "start from a relaxed structure or use a shorter timestep", update->ntimestep));
  }
  if (eflag_global) eng_vdwl += total;
}

// f_i += g, f_j -= g
template <class T>
void PairIdle::add_forces(const T* gradients) {
  double* f = atom->f[0];
  const double unit = energy_unit_;
  int64_t e = 0;
  for (int64_t centre = 0; centre < edges_.centres(); ++centre) {
    const int64_t end = edges_.end(centre);
    double x = 0.0, y = 0.0, z = 0.0;
    for (; e < end; ++e) {
      double* other = f + 3 * edges_.neighbor(e);
      const double gx = gradients[3 * e] * unit, gy = gradients[3 * e + 1] * unit, gz = gradients[3 * e + 2] * unit;
      x += gx;
      y += gy;
      z += gz;
      other[0] -= gx;
      other[1] -= gy;
      other[2] -= gz;
    }
    double* own = f + 3 * edges_.atom(centre);
    own[0] += x;
    own[1] += y;
    own[2] += z;
  }
  if (vflag_either) add_virial(gradients);
}

// The sum of -r g over edges, half of every edge's part to either atom. The gradient of an edge need
// not point along it: its part is made symmetric, as the sum over all edges is.
template <class T>
void PairIdle::add_virial(const T* gradients) {
  const T* vectors = edges_.vectors<T>();
  for (int64_t e = 0; e < edges_.count(); ++e) {
    const double r[3] = {vectors[3 * e], vectors[3 * e + 1], vectors[3 * e + 2]};
    const double g[3] = {gradients[3 * e] * energy_unit_, gradients[3 * e + 1] * energy_unit_,
                         gradients[3 * e + 2] * energy_unit_};
    const double part[6] = {-r[0] * g[0],
                            -r[1] * g[1],
                            -r[2] * g[2],
                            -0.5 * (r[0] * g[1] + r[1] * g[0]),
                            -0.5 * (r[0] * g[2] + r[2] * g[0]),
                            -0.5 * (r[1] * g[2] + r[2] * g[1])};
    if (vflag_global)
      for (int k = 0; k < 6; ++k) virial[k] += part[k];
    if (!vflag_atom) continue;
    double *own = vatom[edges_.atom(edges_.index()[e])], *other = vatom[edges_.neighbor(e)];
    for (int k = 0; k < 6; ++k) {
      own[k] += 0.5 * part[k];
      other[k] += 0.5 * part[k];
    }
  }
}
