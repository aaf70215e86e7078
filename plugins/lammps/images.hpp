// SPDX-License-Identifier: GPL-2.0-only
// Which owned atom a ghost is an image of.
#pragma once

#include <unordered_map>
#include <vector>

namespace idle_md {

class Images {
 public:
  // `ids` (all,) of atoms, the owned ones first. Writes -1 for ghosts that another rank owns.
  template <class Id>
  void find(const Id* ids, int owned, int all) {
    owner_.clear();
    owner_.reserve(owned);
    for (int i = 0; i < owned; ++i) owner_[ids[i]] = i;
    of_.resize(all);
    for (int i = 0; i < all; ++i) {
      const auto found = i < owned ? owner_.end() : owner_.find(ids[i]);
      of_[i] = i < owned ? i : found == owner_.end() ? -1 : found->second;
    }
  }

  const int* of() const { return of_.data(); }
  int count() const { return of_.size(); }

 private:
  std::unordered_map<long long, int> owner_;
  std::vector<int> of_;
};

}  // namespace idle_md
