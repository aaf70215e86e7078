// SPDX-License-Identifier: GPL-2.0-only
#include "model.hpp"

#include <ATen/Context.h>
#include <ATen/Functions.h>
#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <dlfcn.h>
#include <torch/csrc/jit/api/module.h>
#include <torch/csrc/jit/serialization/import.h>
#include <torch/version.h>

#include <optional>
#include <sstream>
#include <stdexcept>
#include <vector>

#include "native.hpp"

namespace idle_md {

using at::Tensor;

namespace {

// LAMMPS has loaded torch for the CPU alone; the rest of it stands beside that.
void load_cuda() {
  Dl_info torch;
  if (!dladdr(reinterpret_cast<const void*>(&at::get_num_threads), &torch)) return;
  const std::string path = torch.dli_fname;
  dlopen((path.substr(0, path.rfind('/') + 1) + "libtorch_cuda.so").c_str(), RTLD_NOW | RTLD_GLOBAL);
}

// As idle_md.devices does in Python.
at::Device find_device(const std::string& name) {
  std::optional<at::Device> device;
  try {
    device = at::Device(name);
  } catch (const c10::Error&) {
  }
  if (!device || !(device->is_cuda() || name == "cpu"))
    throw std::runtime_error("unknown device '" + name + "': use cpu, cuda, or cuda:1 of several GPUs");
  if (device->is_cpu()) return *device;
  load_cuda();
  const int count = at::hasCUDA() ? int(at::getNumGPUs()) : 0;
  if (count == 0)
    throw std::runtime_error("device '" + name + "': torch " TORCH_VERSION
                             " sees no CUDA device; leave device out for the CPU");
  if (device->index() >= count)
    throw std::runtime_error("device '" + name + "': torch sees " +
                             (count == 1 ? "cuda:0 alone" : "cuda:0 to cuda:" + std::to_string(count - 1)));
  return *device;
}

}  // namespace

struct Model::Implementation {
  torch::jit::Module module;
  Tensor constants;  // (Z, members) float64: what a member adds to the energies of its kernel
  std::vector<c10::IValue> kernels;  // native, one a member; without them the module itself runs
  at::ScalarType dtype = at::kDouble;
  at::Device device = at::kCPU;
  std::string reason;  // why the portable graph runs
  Tensor energies, gradients;

  void cast(at::ScalarType wanted) {
    // totals stay in float64
    const Tensor kept = module.attr("constants").toTensor().clone();
    module.to(wanted);
    module.setattr("constants", kept);
    dtype = wanted;
  }

  void make_native(const Metadata& metadata) {
    reason = why_portable(metadata, device.is_cuda());
    if (!reason.empty()) return;
    constants = module.attr("constants").toTensor().to(at::kCPU).reshape({-1, metadata.members}).contiguous();
    if (metadata.members == 1)
      kernels.push_back(make_kernel(module.attr("gradient").toModule(), metadata));
    else
      for (const torch::jit::Module& each : module.attr("gradients").toModule().children())
        kernels.push_back(make_kernel(each, metadata));
  }

  // The same operations in the same order as CommitteeCore and DeployedCore.
  void run_native(const Tensor& species, const Tensor& index, const Tensor& vectors, int64_t owned) {
    const int64_t* numbers = species.const_data_ptr<int64_t>();
    const double* added = constants.const_data_ptr<double>();
    const int64_t members = kernels.size();
    if (!energies.defined() || energies.numel() < owned)
      energies = at::empty({owned + owned / 8 + 16}, at::kDouble);
    double* total = energies.mutable_data_ptr<double>();
    for (int64_t i = 0; i < owned; ++i) {
      total[i] = 0.0;
      for (int64_t k = 0; k < members; ++k) total[i] += added[members * numbers[i] + k];
    }
    for (const c10::IValue& kernel : kernels) {
      auto [there, gradient] = call_kernel(kernel, species, index, vectors, owned);
      const Tensor energy = there.to(at::kCPU);
      const double* own = energy.const_data_ptr<double>();
      for (int64_t i = 0; i < owned; ++i) total[i] += own[i];
      if (members == 1)
        gradients = std::move(gradient);
      else
        gradients = gradients.defined() ? gradients.add_(gradient) : gradient.clone();
    }
    if (members == 1) return;
    for (int64_t i = 0; i < owned; ++i) total[i] /= double(members);
    gradients.div_(members);
  }

  void run_portable(const Tensor& species, const Tensor& index, const Tensor& vectors, int64_t owned) {
    const auto result = module.forward({species, index, vectors, owned}).toTuple();
    energies = result->elements()[0].toTensor().to(at::kCPU).contiguous();
    gradients = result->elements()[1].toTensor();
  }
};

Model::Model(const std::string& path, const std::string& content, Kernels kernels, Precision precision,
             const std::string& device)
    : metadata_(read_metadata(path, content)), own_(std::make_unique<Implementation>()) {
  own_->device = find_device(device);
  try {
    std::istringstream stream(content);
    own_->module = torch::jit::load(stream, own_->device);
    own_->module.eval();
    own_->dtype = metadata_.dtype == "float32" ? at::kFloat : at::kDouble;
    if (precision != Precision::of_file) own_->cast(precision == Precision::single ? at::kFloat : at::kDouble);
    if (kernels == Kernels::portable)
      own_->reason = "asked for";
    else
      own_->make_native(metadata_);
  } catch (const std::exception& error) {
    throw std::runtime_error(path + " cannot be used by torch " TORCH_VERSION ": " + summary(error));
  }
  if (kernels == Kernels::native && !own_->reason.empty())
    throw std::runtime_error(path + " cannot run on native operators: " + own_->reason +
                             "; `kernels auto` runs the portable graph where there are none");
}

Model::~Model() = default;

std::string Model::description() const {
  const std::string dtype = own_->dtype == at::kFloat ? ", float32" : ", float64";
  const std::string where = own_->device.is_cpu() ? "" : ", on " + own_->device.str();
  if (own_->reason.empty()) return "native operators" + dtype + where;
  return "the portable graph (" + own_->reason + ")" + dtype + where;
}

void Model::leave_out_lone_atoms() {
  const std::vector<int64_t> known(metadata_.elements.begin(), metadata_.elements.end());
  const std::vector<int64_t> no_index;
  const std::vector<double> no_vectors;
  evaluate(known.size(), known.data(), 0, no_index.data(), no_vectors.data(), known.size());
  const double* lone = energies();
  Tensor constants = own_->module.attr("constants").toTensor().to(at::kCPU).clone();
  const Tensor of_members = constants.reshape({constants.size(0), -1});
  for (size_t k = 0; k < known.size(); ++k) of_members[known[k]].sub_(lone[k]);
  own_->module.setattr("constants", constants.to(own_->device));
  if (!own_->kernels.empty()) own_->constants = of_members.contiguous();
}

bool Model::single() const { return own_->dtype == at::kFloat; }

void Model::evaluate(int64_t atoms, const int64_t* species, int64_t edges, const int64_t* index, const void* vectors,
                     int64_t owned) {
  const at::NoGradGuard no_autograd;
  const auto view = [this](const void* data, at::IntArrayRef shape, at::ScalarType type) {
    return at::from_blob(const_cast<void*>(data), shape, at::TensorOptions(type)).to(own_->device);
  };
  own_->gradients.reset();  // the kernel uses its memory again
  const Tensor numbers = view(species, {atoms}, at::kLong), pairs = view(index, {2, edges}, at::kLong);
  const Tensor values = view(vectors, {edges, 3}, own_->dtype);
  if (own_->kernels.empty())
    own_->run_portable(numbers, pairs, values, owned);
  else
    own_->run_native(numbers, pairs, values, owned);
  own_->gradients = own_->gradients.to(at::kCPU).contiguous();
}

const double* Model::energies() const { return own_->energies.const_data_ptr<double>(); }

const void* Model::gradients() const { return own_->gradients.const_data_ptr(); }

std::string summary(const std::exception& error) {
  const auto* torch_error = dynamic_cast<const c10::Error*>(&error);
  return torch_error ? torch_error->what_without_backtrace() : error.what();
}

void set_threads(int threads) { at::set_num_threads(threads); }

}  // namespace idle_md
