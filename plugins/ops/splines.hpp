// Tables of filters as coefficients of quintic B-splines.
#pragma once

#include <vector>

#include "painn.hpp"

namespace idle_md {

// The grid on which the radial functions of a basis are smooth.
Spline spline_grid(const Radial& radial);

long spline_rows(const Spline& spline);

// Coefficients (spline_rows, columns) of filters (radial.nodes.size() + 1, columns) without their
// envelope, interpolated at every knot.
template <class T>
std::vector<T> spline_table(const Spline& spline, const Radial& radial, const T* filter, long columns);

}  // namespace idle_md
