// SPDX-License-Identifier: GPL-2.0-only
// A deployed model and its evaluation, free of LAMMPS.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <string>

#include "archive.hpp"

namespace idle_md {

enum class Kernels { automatic, native, portable };
enum class Precision { of_file, single, twofold };

class Model {
 public:
  // Of the content of a file that `path` names, on the device of a name: "cpu", "cuda" or "cuda:1". Throws
  // std::runtime_error that says what to do.
  Model(const std::string& path, const std::string& content, Kernels kernels, Precision precision,
        const std::string& device);
  ~Model();

  const Metadata& metadata() const { return metadata_; }
  // What runs it, for a line in the log.
  std::string description() const;

  // Makes energies those relative to lone atoms, which have none from then on.
  void leave_out_lone_atoms();

  // Whether the model runs in float32, or in float64.
  bool single() const;

  // Edges as in the edge contract: `index` (2, edges) sorted by centre, `vectors` (edges, 3) in
  // angstrom, in the model's precision. Throws what torch throws.
  void evaluate(int64_t atoms, const int64_t* species, int64_t edges, const int64_t* index, const void* vectors,
                int64_t owned);

  // Of the last evaluation: energies (owned,) in eV, and gradients (edges, 3) in eV/angstrom, in the
  // model's precision.
  const double* energies() const;
  const void* gradients() const;

 private:
  struct Implementation;
  Metadata metadata_;
  std::unique_ptr<Implementation> own_;
};

// What went wrong, without torch's stack of calls.
std::string summary(const std::exception& error);

// Threads that torch runs an evaluation with, in the whole process.
void set_threads(int threads);

}  // namespace idle_md
