// Atoms in bins of about a cutoff, in which the neighbours of a centre are looked for.
#pragma once

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <sstream>
#include <stdexcept>
#include <utility>
#include <vector>

#include "lattice.hpp"

namespace idle_md {

struct Atoms {
  const double* positions;     // (count, 3), wrapped into the cell or not
  int64_t count;
  std::array<Vector, 3> cell;  // lattice vectors as rows; those of open directions are not read
  std::array<bool, 3> periodic;
};

// Bins along one lattice direction. A coordinate of 2.5 is the middle of the third bin.
struct Axis {
  bool periodic = false;
  double origin = 0.0, bins_per_length = 1.0, range = 0.0;  // the cutoff, in bins
  int64_t n_bins = 1, reach = 0;

  void set_range(double bins) {
    range = bins;
    reach = static_cast<int64_t>(std::min(std::ceil(bins), 1e9));
  }
  double coordinate(double fraction) const { return (fraction - origin) * bins_per_length; }
  int64_t bin_of(double coordinate) const {
    return std::clamp<int64_t>(static_cast<int64_t>(coordinate), 0, n_bins - 1);
  }
  // The image that a bin number beyond the ends belongs to.
  int64_t image_of(int64_t bin) const {
    return bin >= 0 ? bin / n_bins : -((n_bins - 1 - bin) / n_bins);
  }
  int64_t last_image() const { return periodic ? (reach + n_bins - 1) / n_bins : 0; }
  int64_t lowest(int64_t bin) const {
    return periodic ? bin - reach : std::max<int64_t>(bin - reach, 0);
  }
  int64_t highest(int64_t bin) const {
    return periodic ? bin + reach : std::min(bin + reach, n_bins - 1);
  }
};

// The atoms and images that may be neighbours of the centres in one bin, sorted by key.
struct Candidates {
  static constexpr size_t most = 1000000;

  std::vector<uint64_t> keys;
  std::array<std::vector<double>, 3> positions, translations;
};

// Atoms wrapped into the cell and sorted into bins. Only occupied bins are stored, so memory grows
// with the number of atoms however sparse the system is.
//
// An atom in an image has a key, (index << 32) | code of the image; keys sort like (index, image).
class Bins {
 public:
  Bins(const Atoms& atoms, double cutoff);

  // Atoms and the numbers of their bins, by place in an order that keeps bins together.
  int64_t atom(int64_t place) const { return order_[place].second; }
  int64_t bin(int64_t place) const { return order_[place].first; }
  const Vector& wrapped(int64_t atom) const { return wrapped_[atom]; }
  uint64_t key(int64_t atom, const Image& image) const;
  // The lattice translation between an atom and a key's, both as they were given.
  Vector shift(int64_t atom, uint64_t key) const;
  // Stops early where there are more than Candidates::most.
  void find_candidates(int64_t bin, Candidates& candidates) const;

 private:
  // angstrom, and boxes: float64 resolves 1e-8 there, which the slack of the bins covers
  static constexpr double farthest = 1e8, slack = 1e-6, rounding = 1e-9;
  static constexpr double most_translations = 1e6;
  static constexpr int64_t most_bins = 1 << 20;  // per axis, so that a bin's number fits 64 bits
  static constexpr size_t few_atoms = 250;  // below, an open direction is faster without bins

  void wrap(const Atoms& atoms);
  Axis periodic_axis(int k, double cutoff) const;
  Axis open_axis(int k, double cutoff) const;
  void tabulate_images(double cutoff);
  void sort_atoms();
  int64_t bin_number(const Image& bin) const {
    return (bin[0] * axes_[1].n_bins + bin[1]) * axes_[2].n_bins + bin[2];
  }
  void add_row(const Image& home, int64_t a, int64_t b, std::vector<uint64_t>& keys) const;

  Lattice lattice_;
  std::array<Axis, 3> axes_;
  std::vector<Vector> wrapped_, coordinates_;       // positions in the cell, also in bins
  std::vector<Image> wraps_;                        // position = wrapped + wrap @ cell
  std::vector<Image> images_;                       // by code
  std::vector<std::pair<int64_t, int64_t>> order_;  // (bin, atom), ascending
};

inline Bins::Bins(const Atoms& atoms, double cutoff) : lattice_(atoms.cell, atoms.periodic) {
  for (int k = 0; k < 3; ++k) {
    if (atoms.periodic[k]) axes_[k] = periodic_axis(k, cutoff);
  }
  tabulate_images(cutoff);
  wrap(atoms);
  for (int k = 0; k < 3; ++k) {
    if (!atoms.periodic[k]) axes_[k] = open_axis(k, cutoff);
  }
  sort_atoms();
}

inline void Bins::wrap(const Atoms& atoms) {
  wrapped_.resize(atoms.count);
  wraps_.assign(atoms.count, Image{});
  for (int64_t i = 0; i < atoms.count; ++i) {
    const double* r = atoms.positions + 3 * i;
    const Vector position = {r[0], r[1], r[2]}, fractions = lattice_.fractions(position);
    bool near = true;
    for (int k = 0; k < 3; ++k) {
      near = near && std::abs(r[k]) < farthest && std::abs(fractions[k]) < farthest;
      if (near && lattice_.periodic[k]) {
        wraps_[i][k] = static_cast<int64_t>(std::floor(fractions[k]));
      }
    }
    if (!near) {
      std::ostringstream message;
      message << "the position of atom " << i << " is [" << r[0] << ", " << r[1] << ", " << r[2]
              << "]: it must be a number and less than " << farthest
              << " angstrom or boxes away; has the structure flown apart?";
      throw std::invalid_argument(message.str());
    }
    const Vector offset = lattice_.translation(wraps_[i]);
    for (int k = 0; k < 3; ++k) wrapped_[i][k] = position[k] - offset[k];
  }
}

inline Axis Bins::periodic_axis(int k, double cutoff) const {
  Axis axis;
  axis.periodic = true;
  const double spacing = lattice_.spacing[k];
  const double range = cutoff * (1.0 + rounding) + slack * spacing;
  axis.n_bins = static_cast<int64_t>(std::clamp<double>(spacing / range + 0.25, 1.0, most_bins));
  axis.bins_per_length = static_cast<double>(axis.n_bins);
  axis.set_range(range / spacing * axis.bins_per_length);
  return axis;
}

inline Axis Bins::open_axis(int k, double cutoff) const {
  Axis axis;
  const double range = cutoff * (1.0 + rounding) + slack;
  double low = 3.0 * farthest, high = -low;
  for (const Vector& position : wrapped_) {
    const double length = dot(position, lattice_.reciprocal[k]);
    low = std::min(low, length);
    high = std::max(high, length);
  }
  const double extent = std::max(high - low, 0.0);
  const bool one_bin = wrapped_.size() < few_atoms;
  const double width =
      one_bin ? 2.0 * extent + 1.0 : std::max(range, extent / static_cast<double>(most_bins - 1));
  axis.origin = low;
  axis.n_bins = static_cast<int64_t>(extent / width) + 1;
  axis.bins_per_length = 1.0 / width;
  axis.set_range(range / width);
  return axis;
}

inline void Bins::tabulate_images(double cutoff) {
  const Image last = {axes_[0].last_image(), axes_[1].last_image(), axes_[2].last_image()};
  if ((2.0 * last[0] + 1.0) * (2.0 * last[1] + 1.0) * (2.0 * last[2] + 1.0) > most_translations) {
    std::ostringstream message;
    message << "the cell is far smaller than the cutoff of " << cutoff
            << " angstrom: its lattice planes are " << lattice_.spacing[0] << ", "
            << lattice_.spacing[1] << " and " << lattice_.spacing[2]
            << " angstrom apart; is it in angstrom?";
    throw std::invalid_argument(message.str());
  }
  for (int64_t a = -last[0]; a <= last[0]; ++a) {
    for (int64_t b = -last[1]; b <= last[1]; ++b) {
      for (int64_t c = -last[2]; c <= last[2]; ++c) images_.push_back({a, b, c});
    }
  }
}

inline void Bins::sort_atoms() {
  coordinates_.resize(wrapped_.size());
  order_.resize(wrapped_.size());
  for (size_t i = 0; i < wrapped_.size(); ++i) {
    const Vector fractions = lattice_.fractions(wrapped_[i]);
    Image bin;
    for (int k = 0; k < 3; ++k) {
      coordinates_[i][k] = axes_[k].coordinate(fractions[k]);
      bin[k] = axes_[k].bin_of(coordinates_[i][k]);
    }
    order_[i] = {bin_number(bin), i};
  }
  std::sort(order_.begin(), order_.end());
}

inline uint64_t Bins::key(int64_t atom, const Image& image) const {
  uint64_t code = 0;
  for (int k = 0; k < 3; ++k) {
    const int64_t last = axes_[k].last_image();
    code = code * (2 * last + 1) + (image[k] + last);
  }
  return static_cast<uint64_t>(atom) << 32 | code;
}

inline Vector Bins::shift(int64_t atom, uint64_t key) const {
  Image image = images_[key & 0xffffffff];
  for (int k = 0; k < 3; ++k) image[k] += wraps_[atom][k] - wraps_[key >> 32][k];
  return lattice_.translation(image);
}

inline void Bins::find_candidates(int64_t bin, Candidates& candidates) const {
  const auto& [x, y, z] = axes_;
  const Image home = {bin / z.n_bins / y.n_bins, bin / z.n_bins % y.n_bins, bin % z.n_bins};
  auto& keys = candidates.keys;
  keys.clear();
  for (int64_t a = x.lowest(home[0]); a <= x.highest(home[0]); ++a) {
    for (int64_t b = y.lowest(home[1]); b <= y.highest(home[1]); ++b) {
      add_row(home, a, b, keys);
      if (keys.size() > Candidates::most) return;
    }
  }
  if (!std::is_sorted(keys.begin(), keys.end())) std::sort(keys.begin(), keys.end());
  for (int k = 0; k < 3; ++k) {
    candidates.positions[k].resize(keys.size());
    candidates.translations[k].resize(keys.size());
  }
  for (size_t n = 0; n < keys.size(); ++n) {
    const Vector& position = wrapped_[keys[n] >> 32];
    const Vector translation = lattice_.translation(images_[keys[n] & 0xffffffff]);
    for (int k = 0; k < 3; ++k) {
      candidates.positions[k][n] = position[k];
      candidates.translations[k][n] = translation[k];
    }
  }
}

// Adds what lies in the bins (a, b, any) and within the range of the home bin.
inline void Bins::add_row(const Image& home, int64_t a, int64_t b,
                          std::vector<uint64_t>& keys) const {
  const auto& [x, y, z] = axes_;
  const int64_t end = z.highest(home[2]) + 1;
  for (int64_t c = z.lowest(home[2]), next; c < end; c = next) {
    const Image image = {x.image_of(a), y.image_of(b), z.image_of(c)};
    next = std::min(end, (image[2] + 1) * z.n_bins);
    const int64_t first = bin_number(
        {a - image[0] * x.n_bins, b - image[1] * y.n_bins, c - image[2] * z.n_bins});
    auto place = std::lower_bound(order_.begin(), order_.end(), std::pair(first, int64_t{0}));
    for (; place != order_.end() && place->first < first + next - c; ++place) {
      bool near = true;
      for (int k = 0; k < 3; ++k) {
        const double beyond = static_cast<double>(image[k] * axes_[k].n_bins - home[k]);
        const double distance = coordinates_[place->second][k] + beyond;
        near = near && distance > -axes_[k].range && distance < 1.0 + axes_[k].range;
      }
      if (near) keys.push_back(key(place->second, image));
    }
  }
}

}  // namespace idle_md
