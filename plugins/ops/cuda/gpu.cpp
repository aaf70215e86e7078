#include "gpu.hpp"

#include <stdexcept>

#include "libraries.hpp"
#include "programs.hpp"

namespace idle_md::cuda {
namespace {

// Numbers of CUDA's attributes.
constexpr int processors = 16, major_capability = 75, minor_capability = 76, most_shared = 97, dynamic_shared = 8;

// A context that is current while this lives.
class Current {
 public:
  explicit Current(void* context) { driver().check(driver().push_context(context), "cuCtxPushCurrent"); }
  ~Current() {
    void* popped = nullptr;
    driver().pop_context(&popped);
  }
  Current(const Current&) = delete;
  Current& operator=(const Current&) = delete;
};

}  // namespace

// A program's kernels, as they are loaded. It stays loaded until the process ends.
class Gpu::Module {
 public:
  explicit Module(const std::string& code) { driver().check(driver().load_module(&handle_, code.data()), "cuModuleLoadData"); }

  // A kernel with so much shared memory.
  void* kernel(const char* name, size_t shared) {
    constexpr size_t always = 48 * 1024;
    const std::lock_guard<std::mutex> lock(mutex_);
    Kernel& found = kernels_[name];
    if (!found.function)
      driver().check(driver().function(&found.function, handle_, (std::string("idle_md_") + name).c_str()), name);
    if (shared > always && shared > found.shared) {
      driver().check(driver().set_function(found.function, dynamic_shared, int(shared)), "cuFuncSetAttribute");
      found.shared = shared;
    }
    return found.function;
  }

 private:
  struct Kernel {
    void* function = nullptr;
    size_t shared = 0;
  };
  void* handle_ = nullptr;
  std::mutex mutex_;
  std::map<std::string, Kernel> kernels_;
};

namespace {

template <class Module>
class StreamLauncher : public Launcher {
 public:
  StreamLauncher(std::shared_ptr<Module> module, void* context, void* stream)
      : current_(context), module_(std::move(module)), stream_(stream) {}

 protected:
  void start(const char* kernel, Blocks blocks, int threads, size_t shared, const void* arguments) override {
    void* parameters[] = {const_cast<void*>(arguments)};
    const int status = driver().launch(module_->kernel(kernel, shared), unsigned(blocks.x), unsigned(blocks.y), 1,
                                       unsigned(threads), 1, 1, unsigned(shared), stream_, parameters, nullptr);
    driver().check(status, kernel);
  }

 private:
  Current current_;
  std::shared_ptr<Module> module_;
  void* stream_;
};

}  // namespace

Gpu::Gpu(int index) : index_(index) {
  int device = 0, major = 0, minor = 0, shared = 0;
  const Driver& d = driver();
  d.check(d.device(&device, index), "cuDeviceGet");
  d.check(d.attribute(&device_.processors, processors, device), "cuDeviceGetAttribute");
  d.check(d.attribute(&shared, most_shared, device), "cuDeviceGetAttribute");
  d.check(d.attribute(&major, major_capability, device), "cuDeviceGetAttribute");
  d.check(d.attribute(&minor, minor_capability, device), "cuDeviceGetAttribute");
  device_.shared_bytes = size_t(shared);
  device_.has_tensor_cores = major >= 8;
  architecture_ = 10 * major + minor;
  d.check(d.retain_context(&context_, device), "cuDevicePrimaryCtxRetain");
}

Gpu& Gpu::at(int index) {
  static std::mutex mutex;
  static std::map<int, std::unique_ptr<Gpu>> opened;
  const std::lock_guard<std::mutex> lock(mutex);
  std::unique_ptr<Gpu>& gpu = opened[index];
  if (!gpu) gpu.reset(new Gpu(index));
  return *gpu;
}

std::unique_ptr<Launcher> Gpu::launcher(const std::string& program, const std::vector<std::string>& options) {
  std::string key = program;
  for (const std::string& each : options) key += " " + each;
  const std::lock_guard<std::mutex> lock(mutex_);
  std::shared_ptr<Module>& module = modules_[key];
  if (!module) {
    const Current current(context_);
    module = std::make_shared<Module>(compiled(program, architecture_, options).code);
  }
  return std::make_unique<StreamLauncher<Module>>(module, context_, current_stream(index_));
}

std::string why_not() {
  try {
    driver();
    compiler();
    current_stream(0);
    return "";
  } catch (const std::exception& error) {
    return error.what();
  }
}

}  // namespace idle_md::cuda
