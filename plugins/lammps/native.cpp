// SPDX-License-Identifier: GPL-2.0-only
#include "native.hpp"

#include <ATen/core/dispatch/Dispatcher.h>
#include <dlfcn.h>
#include <torch/custom_class.h>

#include <cstdlib>

namespace idle_md {
namespace {

constexpr const char* operation = "idle_md::painn_energy_gradient";
constexpr const char* class_name = "__torch__.torch.classes.idle_md.PaiNN";

// IDLE_MD_OPS, or the library beside this one.
std::string library() {
  if (const char* given = std::getenv("IDLE_MD_OPS")) return given;
  Dl_info self;
  if (!dladdr(reinterpret_cast<const void*>(&library), &self)) return "libidle_md_ops.so";
  const std::string path = self.dli_fname;
  return path.substr(0, path.rfind('/') + 1) + "libidle_md_ops.so";
}

bool registered() { return c10::Dispatcher::singleton().findSchema({operation, ""}).has_value(); }

// Why the library cannot be loaded. What another copy has registered is used as it is.
std::string load() {
  if (registered()) return "";
  const std::string path = library();
  if (!dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL)) {
    const char* problem = dlerror();
    return std::string("they cannot be loaded: ") + (problem ? problem : path.c_str()) +
           "; `idle-md build-plugins` compiles them";
  }
  return registered() ? "" : path + " holds none of them";
}

std::string why_not_on_gpu() {
  const auto asked = c10::Dispatcher::singleton().findSchema({"idle_md::cuda_problem", ""});
  if (!asked) return "they were built by an earlier version: `idle-md build-plugins` compiles them";
  torch::jit::Stack stack;
  asked->callBoxed(stack);
  return stack[0].toStringRef();
}

}  // namespace

std::string why_portable(const Metadata& metadata, bool on_gpu) {
  if (metadata.backbone != "painn") return "there are none for " + metadata.backbone;
  if (metadata.features % 16) return "they need a multiple of 16 features";
  const std::string problem = load();
  return problem.empty() && on_gpu ? why_not_on_gpu() : problem;
}

c10::IValue make_kernel(const torch::jit::Module& gradient, const Metadata& metadata) {
  c10::Dict<std::string, at::Tensor> weights;
  for (const auto& buffer : gradient.named_buffers()) weights.insert(buffer.name, buffer.value.contiguous());
  const bool tabulated = weights.at("embedding").scalar_type() == at::kFloat;  // as exact as its precision
  const auto type = torch::getCustomClass(class_name);
  TORCH_CHECK(type, "the native operators lack ", class_name);
  c10::IValue object(c10::ivalue::Object::create(c10::StrongTypePtr(nullptr, type), 1));
  torch::jit::Stack stack{object, weights, metadata.cutoff, metadata.bessel, tabulated};
  type->getMethod("__init__").run(stack);
  return object;
}

std::pair<at::Tensor, at::Tensor> call_kernel(const c10::IValue& kernel, const at::Tensor& species,
                                              const at::Tensor& index, const at::Tensor& vectors, int64_t owned) {
  static const c10::OperatorHandle handle = c10::Dispatcher::singleton().findSchemaOrThrow(operation, "");
  torch::jit::Stack stack{kernel, species, index, vectors, owned};
  handle.callBoxed(stack);
  return {stack[0].toTensor(), stack[1].toTensor()};
}

}  // namespace idle_md
