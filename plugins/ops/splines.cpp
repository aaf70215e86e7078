#include "splines.hpp"

#include <cmath>

namespace idle_md {

namespace {

// Knots beyond both ends of the distances, over which the end conditions die away (by 0.43 each).
constexpr long margin = 30;
// Rows before distance 0 and after the cutoff that a spline of degree 5 reaches, and one for rounding.
constexpr long before = 2, after = 4;
// Knots per radial function. The fastest one, sin(n pi r / cutoff), turns by 0.33 in a spacing, which
// a quintic spline follows to 4e-8 of its amplitude, and its slope to 4e-7.
constexpr double knots_per_function = 9.6;

// Solves the equations of interpolation, (c[g-2] + 26 c[g-1] + 66 c[g] + 26 c[g+1] + c[g+2]) / 120 =
// f[g], with coefficients beyond the ends zero; columns side by side. By elimination without pivots:
// the diagonal outweighs its row.
void interpolate(std::vector<double>& values, long rows, long columns) {
  constexpr double near = 26.0 / 120, far = 1.0 / 120;
  std::vector<double> diagonal(rows, 66.0 / 120), above(rows, near);
  double* f = values.data();
  std::vector<double> below(rows, near);
  for (long g = 0; g + 1 < rows; ++g) {
    const double first = below[g + 1] / diagonal[g], second = far / diagonal[g];
    diagonal[g + 1] -= first * above[g];
    above[g + 1] -= first * far;
    for (long k = 0; k < columns; ++k) f[(g + 1) * columns + k] -= first * f[g * columns + k];
    if (g + 2 >= rows) continue;
    below[g + 2] -= second * above[g];
    diagonal[g + 2] -= second * far;
    for (long k = 0; k < columns; ++k) f[(g + 2) * columns + k] -= second * f[g * columns + k];
  }
  for (long g = rows - 1; g >= 0; --g)
    for (long k = 0; k < columns; ++k) {
      double rest = f[g * columns + k];
      if (g + 1 < rows) rest -= above[g] * f[(g + 1) * columns + k];
      if (g + 2 < rows) rest -= far * f[(g + 2) * columns + k];
      f[g * columns + k] = rest / diagonal[g];
    }
}

}  // namespace

Spline spline_grid(const Radial& radial) {
  Spline spline;
  spline.cutoff = radial.cutoff;
  spline.spacing = radial.cutoff / std::ceil(knots_per_function * double(radial.nodes.size()));
  return spline;
}

long spline_rows(const Spline& spline) {
  return std::lround(spline.cutoff / spline.spacing) + before + after;
}

template <class T>
std::vector<T> spline_table(const Spline& spline, const Radial& radial, const T* filter, long columns) {
  const long n = long(radial.nodes.size()) + 1;
  const long rows = spline_rows(spline) - before - after + 1 + 2 * margin;
  std::vector<double> values(rows * columns, 0.0), raw(n), slopes(n);
  for (long g = 0; g < rows; ++g) {
    radial.raw(double(g - margin) * spline.spacing, raw.data(), slopes.data());
    for (long k = 0; k < n; ++k)
      for (long column = 0; column < columns; ++column)
        values[g * columns + column] += raw[k] * double(filter[k * columns + column]);
  }
  interpolate(values, rows, columns);
  const double* first = values.data() + (margin - before) * columns;
  return {first, first + spline_rows(spline) * columns};
}

template std::vector<float> spline_table(const Spline&, const Radial&, const float*, long);
template std::vector<double> spline_table(const Spline&, const Radial&, const double*, long);

}  // namespace idle_md
