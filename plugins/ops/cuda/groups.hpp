// Entries grouped by keys, see kernels/groups.cuh.
#pragma once

#include <algorithm>
#include <string>

#include "../pieces.hpp"
#include "kernels/arguments.hpp"
#include "launcher.hpp"

namespace idle_md::cuda {

constexpr int few_entries = 1 << 14;  // that one block groups in less time than five launches take

template <class Key>
GroupArguments<Key> take_groups(Pieces& pieces, const Key* keys, int entries, int groups) {
  GroupArguments<Key> args{};
  args.keys = keys;
  args.entries = entries;
  args.groups = groups;
  args.count = pieces.take<int>(groups);
  args.start = pieces.take<int>(groups + 1);
  args.unordered = pieces.take<int>(entries);
  args.ordered = pieces.take<int>(entries);
  return args;
}

// `suffix` names the kernels' instances.
template <class Key>
void launch_groups(Launcher& launcher, const std::string& suffix, const GroupArguments<Key>& args) {
  const size_t totals = threads_of_group * sizeof(int);
  const auto launch = [&](const char* phase, int blocks, int threads, size_t shared) {
    launcher.launch((phase + suffix).c_str(), {blocks}, threads, shared, args);
  };
  if (args.entries + args.groups <= few_entries) {
    launch("group_", 1, threads_of_group, totals);
    return;
  }
  const int of_entries = blocks_for(args.entries, threads_of_edges);
  launch("clear_", blocks_for(args.groups, threads_of_edges), threads_of_edges, 0);
  launch("count_", of_entries, threads_of_edges, 0);
  launch("scan_", 1, threads_of_group, totals);
  launch("fill_", of_entries, threads_of_edges, 0);
  launch("order_", of_entries, threads_of_edges, 0);
}

}  // namespace idle_md::cuda
