// A PaiNN as the kernels read it: packed once, in one block of memory that is copied to the device.
#pragma once

#include <vector>

#include "../painn.hpp"
#include "../pieces.hpp"
#include "kernels/arguments.hpp"

namespace idle_md::cuda {

template <class T>
struct PainnOnDevice {
  long features = 0, interactions = 0, elements = 0, head = 0;
  int terms = 0;
  bool tabulated = true;
  Radial radial;
  Spline spline;
  const double* nodes = nullptr;
  const T *embedding = nullptr, *sent = nullptr, *direct = nullptr, *readout = nullptr;
  const T* tables[max_interactions] = {};
  DenseLayer<T> message_hidden[max_interactions] = {}, message_output[max_interactions] = {};
  DenseLayer<T> mix[max_interactions] = {}, update_hidden[max_interactions] = {},
                update_output[max_interactions] = {};
  DenseLayer<T> head_hidden = {};
};

// A model on the host, and its copies on devices.
template <class T>
class PackedPainn {
 public:
  // As idle_md::Painn.
  PackedPainn(const PainnWeights<T>& weights, const T* const* filters, const Radial& radial, bool tabulated);

  const std::vector<char>& bytes() const { return bytes_; }
  // The model whose packed bytes were copied to an address.
  PainnOnDevice<T> at(char* address) const;

 private:
  PainnOnDevice<T> described_;  // with places in the packed bytes
  std::vector<char> bytes_;
};

}  // namespace idle_md::cuda
