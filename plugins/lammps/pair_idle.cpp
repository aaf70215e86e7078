// SPDX-License-Identifier: GPL-2.0-only
#include "pair_idle.h"

#include <cstring>
#include <fstream>
#include <iterator>

#include "atom.h"
#include "checks.h"
#include "comm.h"
#include "elements.hpp"
#include "error.h"
#include "force.h"
#include "group.h"
#include "memory.h"
#include "modify.h"
#include "neighbor.h"
#include "platform.h"
#include "update.h"
#include "utils.h"

using namespace LAMMPS_NS;
using idle_md::Kernels;
using idle_md::Precision;

PairIdle::PairIdle(LAMMPS* lmp) : Pair(lmp) {
  restartinfo = 0;
  single_enable = 0;
  one_coeff = 1;
  manybody_flag = 1;
  ghostneigh = 1;
  no_virial_fdotr_compute = 1;
  centroidstressflag = CENTROID_NOTAVAIL;
  nextra = 1;  // seconds in the model since the style was set
  pvector = new double[1]{};
}

PairIdle::~PairIdle() {
  delete[] pvector;
  if (!allocated) return;
  memory->destroy(setflag);
  memory->destroy(cutsq);
  memory->destroy(cutghost);
}

void PairIdle::settings(int narg, char** arg) {
  asked_ = Mode::automatic;
  kernels_ = Kernels::automatic;
  precision_ = Precision::of_file;
  device_ = "cpu";
  relative_ = false;
  const auto one_of = [&](const char* keyword, const char* value, std::initializer_list<const char*> known) {
    int place = 0;
    for (const char* each : known) {
      if (!std::strcmp(value, each)) return place;
      ++place;
    }
    error->all(FLERR, "pair_style idle: unknown {} {}", keyword, value);
    return 0;
  };
  for (int n = 0; n < narg; ++n) {
    const std::string word = arg[n];
    if (word == "threads" || word == "kernels" || word == "precision" || word == "device" ||
        word == "relative") {
      if (++n == narg) utils::missing_cmd_args(FLERR, "pair_style idle " + word, error);
      if (word == "kernels")
        kernels_ = Kernels(one_of("kernels", arg[n], {"auto", "native", "portable"}));
      else if (word == "precision")
        precision_ = Precision(1 + one_of("precision", arg[n], {"single", "double"}));
      else if (word == "device")
        device_ = arg[n];
      else if (word == "relative")
        relative_ = one_of("relative", arg[n], {"no", "yes"});
      else if (const int threads = utils::inumeric(FLERR, arg[n], false, lmp); threads > 0)
        idle_md::set_threads(threads);
      else
        error->all(FLERR, "pair_style idle: threads must be positive, not {}", arg[n]);
    } else {
      asked_ = Mode(1 + one_of("mode or keyword", arg[n], {"fold", "ghost", "local"}));
    }
  }
}

void PairIdle::coeff(int narg, char** arg) {
  if (narg < 4 || std::strcmp(arg[0], "*") || std::strcmp(arg[1], "*"))
    error->all(FLERR, "pair_style idle wants `pair_coeff * * model.pt H C O`, with an element for every atom type");
  load(arg[2]);
  parse_elements(narg - 3, arg + 3);
  const int n = atom->ntypes;
  if (!allocated) {
    memory->create(setflag, n + 1, n + 1, "pair:setflag");
    memory->create(cutsq, n + 1, n + 1, "pair:cutsq");
    memory->create(cutghost, n + 1, n + 1, "pair:cutghost");
    allocated = 1;
  }
  for (int i = 1; i <= n; ++i)
    for (int j = 1; j <= n; ++j) {
      setflag[i][j] = species_[i] >= 0 && species_[j] >= 0;
      cutsq[i][j] = cutghost[i][j] = 0.0;
    }
}

void PairIdle::parse_elements(int narg, char** arg) {
  if (narg != atom->ntypes)
    error->all(FLERR, "pair_coeff names {} elements for {} atom types: name one for every type, in order, or NULL with "
               "pair_style hybrid/overlay", narg, atom->ntypes);
  const std::vector<int>& known = model_->metadata().elements;
  species_.assign(narg + 1, -1);
  for (int n = 0; n < narg; ++n) {
    const std::string name = arg[n];
    if (name == "NULL") {
      if (force->pair == this)
        error->all(FLERR, "pair_coeff: NULL leaves type {} without a potential: use pair_style hybrid/overlay with "
                   "another style for it", n + 1);
      continue;
    }
    for (const int number : known)
      if (name == idle_md::symbols[number]) species_[n + 1] = number;
    if (species_[n + 1] < 0)
      error->all(FLERR, "the model does not know {} (atom type {}): it was trained on {}", name, n + 1,
                 idle_md::joined(known));
  }
}

void PairIdle::load(const std::string& path) {
  const std::string content = read_file(path);
  std::string problem;
  try {
    model_ = std::make_unique<idle_md::Model>(path, content, kernels_, precision_, device_);
    if (relative_) model_->leave_out_lone_atoms();
  } catch (const std::exception& failed) {
    problem = failed.what();
  }
  agree(problem);
  const idle_md::Metadata& metadata = model_->metadata();
  for (const int number : metadata.elements)
    if (number < 1 || number > idle_md::n_elements) error->all(FLERR, "{} knows an element {}", path, number);
  log(fmt::format("idle: {}, fidelity {} ({}), elements {}, cutoff {:g} A, {} interaction{}", path, metadata.fidelity,
                  metadata.level_of_theory, idle_md::joined(metadata.elements), metadata.cutoff, metadata.interactions,
                  metadata.interactions == 1 ? "" : "s"));
  if (metadata.members > 1) log(fmt::format("idle: mean of a committee of {}", metadata.members));
  log("idle: runs on " + model_->description());
  if (relative_) log("idle: energies are relative to lone atoms");
}

// One rank reads for all of them.
std::string PairIdle::read_file(const std::string& path) {
  std::string content, problem;
  if (comm->me == 0) {
    try {
      std::ifstream file(path, std::ios::binary);
      content.assign(std::istreambuf_iterator<char>(file), {});
      if (!file.good() && content.empty()) problem = "no model at " + path + ": `idle-md export` writes one";
    } catch (const std::exception& failed) {
      problem = path + (platform::path_is_directory(path)
                            ? " is a folder: name the file of a model in it, as `idle-md export` writes one"
                            : std::string(" cannot be read: ") + failed.what());
    }
  }
  agree(problem);
  bigint size = content.size();
  MPI_Bcast(&size, 1, MPI_LMP_BIGINT, 0, world);
  content.resize(size);
  constexpr bigint piece = 1 << 30;
  for (bigint done = 0; done < size; done += piece)
    MPI_Bcast(content.data() + done, int(MIN(piece, size - done)), MPI_CHAR, 0, world);
  return content;
}

// Stops all ranks with the problem of one of them, if there is any.
void PairIdle::agree(const std::string& problem) {
  int mine = problem.empty() ? -1 : comm->me, culprit = -1;
  MPI_Allreduce(&mine, &culprit, 1, MPI_INT, MPI_MAX, world);
  if (culprit < 0) return;
  std::string text = problem;
  int size = text.size();
  MPI_Bcast(&size, 1, MPI_INT, culprit, world);
  text.resize(size);
  MPI_Bcast(text.data(), size, MPI_CHAR, culprit, world);
  error->all(FLERR, "{}", text);
}

void PairIdle::log(const std::string& line) {
  if (comm->me == 0) utils::logmesg(lmp, line + "\n");
}

void PairIdle::init_style() {
  const std::string units = update->unit_style;
  if (units != "metal" && units != "real")
    error->all(FLERR, "pair_style idle works with units metal (eV) or real (kcal/mol), not {}", units);
  energy_unit_ = units == "metal" ? 1.0 : utils::get_conversion_factor(utils::ENERGY, utils::METAL2REAL);
  if (!atom->tag_enable) error->all(FLERR, "pair_style idle needs atoms with IDs: leave `atom_modify id no` out");
  choose_mode();
  if (!warned_ && comm->me == 0 && !modify->get_compute_by_style("heat/flux").empty())
    error->warning(FLERR, "compute heat/flux with pair_style idle: the per-atom virial is one partition of many, half "
                   "of every edge to either atom, which does not give the heat flux of this model");
  warned_ = warned_ || !modify->get_compute_by_style("heat/flux").empty();
  if (mode_ == Mode::ghost) {
    raise_ghost_cutoff();
    neighbor->add_request(this, NeighConst::REQ_FULL | NeighConst::REQ_GHOST);
  } else {
    neighbor->add_request(this, NeighConst::REQ_FULL);
  }
  images_step_ = -1;
  checked_ = false;
}

// Before the first step: what takes neighbours may be set up after this style is.
void PairIdle::check() {
  const idle_md::Metadata& metadata = model_->metadata();
  const idle_md::Neighborhood around{*comm, *force, *group, *neighbor, *list, metadata.cutoff, ghost_reach()};
  const idle_md::ModelAtoms described(*atom, species_, world);
  agree(idle_md::find_lost_neighbors(described, around));
  const std::string remark = idle_md::remark_on_charge(described, metadata.charges, world);
  if (!remark.empty() && remark != remark_ && comm->me == 0) error->warning(FLERR, remark);
  remark_ = remark;
  hidden_ = idle_md::hidden_groups(*neighbor);
  checked_ = true;
}

void PairIdle::choose_mode() {
  const int interactions = model_->metadata().interactions;
  const Mode before = mode_;
  mode_ = asked_;
  if (mode_ == Mode::automatic)
    mode_ = comm->nprocs == 1 ? Mode::fold : interactions == 1 ? Mode::local : Mode::ghost;
  if (mode_ == Mode::fold && comm->nprocs > 1)
    error->all(FLERR, "pair_style idle fold runs on one MPI rank, not {}: use {}", comm->nprocs,
               interactions == 1 ? "local" : "ghost");
  if (mode_ == Mode::local && interactions > 1)
    error->all(FLERR, "pair_style idle local is for models without message passing, this one has {} interactions: use "
               "ghost, or fold on one MPI rank", interactions);
  const char* name = mode_ == Mode::fold ? "fold" : mode_ == Mode::ghost ? "ghost" : "local";
  if (mode_ != Mode::fold && !force->newton_pair)
    error->all(FLERR, "pair_style idle {} puts forces on ghost atoms: set `newton on`{}", name,
               comm->nprocs == 1 ? ", or use fold" : "");
  if (mode_ != before)
    log(fmt::format("idle: mode {} on {} MPI rank{}", name, comm->nprocs, comm->nprocs > 1 ? "s" : ""));
}

double PairIdle::ghost_reach() const {
  const idle_md::Metadata& metadata = model_->metadata();
  return (mode_ == Mode::ghost ? metadata.interactions : 1) * metadata.cutoff + neighbor->skin;
}

void PairIdle::raise_ghost_cutoff() {
  if (comm->mode != Comm::SINGLE)
    error->all(FLERR, "pair_style idle ghost needs the same ghost cutoff for all atoms: set `comm_modify mode single`");
  const double wanted = ghost_reach();
  if (comm->cutghostuser >= wanted) return;
  log(fmt::format("idle: ghosts reach {:g} A: {} interactions of {:g} A and the skin", wanted,
                  model_->metadata().interactions, model_->metadata().cutoff));
  comm->cutghostuser = wanted;
}

double PairIdle::init_one(int i, int j) {
  return cutghost[i][j] = cutghost[j][i] = model_->metadata().cutoff;
}

double PairIdle::memory_usage() { return Pair::memory_usage() + 56.0 * edges_.count(); }
