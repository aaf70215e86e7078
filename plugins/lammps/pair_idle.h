// SPDX-License-Identifier: GPL-2.0-only
// pair_style idle [fold|ghost|local] [threads N] [kernels native|portable|auto] [precision single|double]
//     [device cpu|cuda|cuda:N] [relative yes|no]
// pair_coeff * * model.pt H C N O
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "edges.hpp"
#include "images.hpp"
#include "model.hpp"
#include "pair.h"

namespace LAMMPS_NS {

class PairIdle : public Pair {
 public:
  explicit PairIdle(class LAMMPS*);
  ~PairIdle() override;
  void settings(int, char**) override;
  void coeff(int, char**) override;
  void init_style() override;
  double init_one(int, int) override;
  void compute(int, int) override;
  double memory_usage() override;

 private:
  // fold: ghosts are the owned atoms that they are images of; one rank.
  // ghost: ghosts are nodes as far as message passing reaches; any number of ranks.
  // local: for models without message passing; any number of ranks.
  enum class Mode { automatic, fold, ghost, local };

  void parse_elements(int narg, char** arg);
  void load(const std::string& path);
  std::string read_file(const std::string& path);
  void agree(const std::string& problem);
  void choose_mode();
  double ghost_reach() const;
  void raise_ghost_cutoff();
  void check();
  template <class T>  // of the model's precision
  void step();
  template <class T>
  void find_edges();
  template <class T>
  void add_forces(const T* gradients);
  template <class T>
  void add_virial(const T* gradients);
  template <class T>
  void add_energies(const double* energies);
  template <class T>
  std::string atoms_in_one_place() const;
  void stop(const std::string& why);
  void log(const std::string& line);

  Mode asked_ = Mode::automatic, mode_ = Mode::automatic;
  idle_md::Kernels kernels_ = idle_md::Kernels::automatic;
  idle_md::Precision precision_ = idle_md::Precision::of_file;
  std::string device_ = "cpu";
  bool relative_ = false;
  std::unique_ptr<idle_md::Model> model_;
  std::vector<int64_t> species_;  // atomic number by type, -1 for NULL
  double energy_unit_ = 1.0;      // LAMMPS' unit of energy in one eV
  idle_md::Images images_;
  bigint images_step_ = -1;  // of the neighbour list that they belong to
  idle_md::Edges edges_;
  bool warned_ = false, checked_ = false;
  std::string remark_;  // what was said of charges
  int hidden_ = 0;  // bits of groups whose atoms are not there
};

}  // namespace LAMMPS_NS
