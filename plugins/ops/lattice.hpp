// The lattice of a system that may be open along some directions; lengths in angstrom.
#pragma once

#include <array>
#include <cmath>
#include <cstdint>
#include <sstream>
#include <stdexcept>

namespace idle_md {

using Vector = std::array<double, 3>;
using Image = std::array<int64_t, 3>;

inline double dot(const Vector& a, const Vector& b) {
  return a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
}

inline Vector cross(const Vector& a, const Vector& b) {
  return {a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]};
}

inline Vector scaled(const Vector& a, double factor) {
  return {a[0] * factor, a[1] * factor, a[2] * factor};
}

inline double norm(const Vector& a) { return std::hypot(a[0], a[1], a[2]); }

inline Vector unit(const Vector& a) { return scaled(a, 1.0 / norm(a)); }

// Three lattice vectors, where those of open directions are replaced by unit vectors normal to
// the periodic ones: a fraction along an open direction is a length.
struct Lattice {
  std::array<Vector, 3> rows{{{1, 0, 0}, {0, 1, 0}, {0, 0, 1}}};
  std::array<Vector, 3> reciprocal;
  Vector spacing;  // of the lattice planes
  std::array<bool, 3> periodic;

  // Throws std::invalid_argument where the periodic directions span no volume.
  Lattice(const std::array<Vector, 3>& cell, const std::array<bool, 3>& periodic);

  Vector fractions(const Vector& position) const {
    return {dot(position, reciprocal[0]), dot(position, reciprocal[1]),
            dot(position, reciprocal[2])};
  }

  Vector translation(const Image& image) const {
    Vector sum;
    for (int x = 0; x < 3; ++x) {
      sum[x] = image[0] * rows[0][x] + image[1] * rows[1][x] + image[2] * rows[2][x];
    }
    return sum;
  }

 private:
  void span_open_directions();
  [[noreturn]] void refuse_flat(const std::array<Vector, 3>& cell) const;
};

inline Lattice::Lattice(const std::array<Vector, 3>& cell, const std::array<bool, 3>& is_periodic)
    : periodic(is_periodic) {
  constexpr double flattest = 1e-6;  // volume over that of a brick with the same edges
  for (int k = 0; k < 3; ++k) {
    if (periodic[k]) rows[k] = cell[k];
  }
  span_open_directions();
  const double volume = dot(rows[0], cross(rows[1], rows[2]));
  const double brick = norm(rows[0]) * norm(rows[1]) * norm(rows[2]);
  if (!std::isfinite(brick) || !(std::abs(volume) > flattest * brick)) refuse_flat(cell);
  for (int k = 0; k < 3; ++k) {
    reciprocal[k] = scaled(cross(rows[(k + 1) % 3], rows[(k + 2) % 3]), 1.0 / volume);
    spacing[k] = 1.0 / norm(reciprocal[k]);
  }
}

inline void Lattice::span_open_directions() {
  const int n_periodic = periodic[0] + periodic[1] + periodic[2];
  for (int k = 0; k < 3; ++k) {
    const int next = (k + 1) % 3, last = (k + 2) % 3;
    if (n_periodic == 1 && periodic[k]) {
      const bool along_x = std::abs(rows[k][0]) > 0.5 * norm(rows[k]);
      rows[next] = unit(cross(rows[k], along_x ? Vector{0, 1, 0} : Vector{1, 0, 0}));
      rows[last] = unit(cross(rows[k], rows[next]));
    } else if (n_periodic == 2 && !periodic[k]) {
      rows[k] = unit(cross(rows[next], rows[last]));
    }
  }
}

inline void Lattice::refuse_flat(const std::array<Vector, 3>& cell) const {
  std::ostringstream message;
  message << "the cell [";
  for (int k = 0; k < 3; ++k) {
    message << (k ? ", [" : "[") << cell[k][0] << ", " << cell[k][1] << ", " << cell[k][2] << "]";
  }
  message << "] spans no volume along its periodic directions [";
  for (int k = 0; k < 3; ++k) message << (k ? ", " : "") << (periodic[k] ? "True" : "False");
  message << "]: give lattice vectors in angstrom, or pbc=False";
  throw std::invalid_argument(message.str());
}

}  // namespace idle_md
