#include <cmath>

#include "painn.hpp"

namespace idle_md {

void Radial::raw(double r, double* values, double* slopes) const {
  const long n = long(nodes.size());
  if (bessel) {
    const double norm = std::sqrt(2 / cutoff);
    for (long k = 0; k < n; ++k) {
      const double sine = std::sin(nodes[k] * r), cosine = std::cos(nodes[k] * r);
      values[k] = norm * (r == 0 ? nodes[k] : sine / r);
      slopes[k] = r == 0 ? 0 : norm * (nodes[k] * cosine - sine / r) / r;
    }
  } else {
    const double per = (n - 1) / cutoff, width = -0.5 * per * per;
    for (long k = 0; k < n; ++k) {
      const double offset = r - nodes[k];
      values[k] = std::exp(width * offset * offset);
      slopes[k] = 2 * width * offset * values[k];
    }
  }
  values[n] = 1;
  slopes[n] = 0;
}

}  // namespace idle_md
