// SPDX-License-Identifier: GPL-2.0-only
// What a model.pt says of itself, checked before its code runs.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

namespace idle_md {

struct Metadata {
  std::string fidelity, level_of_theory, dtype, backbone;
  std::vector<int> elements;  // atomic numbers
  double cutoff = 0.0;        // angstrom
  int interactions = 0;       // message-passing steps; 1 is strictly local
  int members = 1;            // of a committee
  long features = 0;
  bool bessel = false;
  std::optional<std::map<int, long>> charges;  // geometries by total charge in e, where known
};

// Checks the content of a file against the hash inside it, and that this plugin can run it.
// Throws std::runtime_error that says what to do; `path` is for the message.
Metadata read_metadata(const std::string& path, const std::string& content);

}  // namespace idle_md
