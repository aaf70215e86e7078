// SPDX-License-Identifier: GPL-2.0-only
// The native operators of plugins/ops, found beside this plugin and called through torch.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>
#include <torch/csrc/jit/api/module.h>

#include <string>
#include <utility>

#include "archive.hpp"

namespace idle_md {

// Why a model cannot run on native operators; empty if it can.
std::string why_portable(const Metadata& metadata, bool on_gpu);

// A torch.classes.idle_md.PaiNN with the weights of an exported gradient module.
c10::IValue make_kernel(const torch::jit::Module& gradient, const Metadata& metadata);

// Energies (atoms,) without constants, and gradients (edges, 3).
std::pair<at::Tensor, at::Tensor> call_kernel(const c10::IValue& kernel, const at::Tensor& species,
                                              const at::Tensor& index, const at::Tensor& vectors, int64_t owned);

}  // namespace idle_md
