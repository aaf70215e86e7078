#include "libraries.hpp"

#include <dlfcn.h>
#include <link.h>

#include <cstdint>
#include <initializer_list>
#include <stdexcept>

namespace idle_md::cuda {
namespace {

// A library by one of its names, the first that opens.
void* open_first(const char* what, std::initializer_list<std::string> names) {
  for (const std::string& name : names)
    if (void* library = dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL)) return library;
  const char* problem = dlerror();
  throw std::runtime_error(std::string(what) + " cannot be opened" + (problem ? std::string(": ") + problem : ""));
}

template <class Function>
void find(void* library, const char* name, Function& function) {
  void* found = dlsym(library, name);
  if (!found) throw std::runtime_error(std::string(name) + " is missing");
  function = reinterpret_cast<Function>(found);
}

Driver open_driver() {
  void* library = open_first("NVIDIA's driver", {"libcuda.so.1"});
  Driver d{};
  find(library, "cuInit", d.initialise);
  find(library, "cuDeviceGetCount", d.device_count);
  find(library, "cuDeviceGet", d.device);
  find(library, "cuDeviceGetAttribute", d.attribute);
  find(library, "cuDevicePrimaryCtxRetain", d.retain_context);
  find(library, "cuCtxPushCurrent_v2", d.push_context);
  find(library, "cuCtxPopCurrent_v2", d.pop_context);
  find(library, "cuModuleLoadData", d.load_module);
  find(library, "cuModuleGetFunction", d.function);
  find(library, "cuFuncSetAttribute", d.set_function);
  find(library, "cuLaunchKernel", d.launch);
  find(library, "cuGetErrorName", d.error_name);
  d.check(d.initialise(0), "cuInit");
  int count = 0;
  d.check(d.device_count(&count), "cuDeviceGetCount");
  if (count == 0) throw std::runtime_error("the driver finds no GPU");
  return d;
}

// Where torch's own libraries are, beside whose package wheels put NVIDIA's.
std::string packages() {
  void* torch = dlopen("libc10.so", RTLD_NOW | RTLD_NOLOAD);
  link_map* map = nullptr;
  if (!torch || dlinfo(torch, RTLD_DI_LINKMAP, &map) != 0) return "";
  std::string path = map->l_name;
  for (int up = 0; up < 3; ++up) path = path.substr(0, path.rfind('/'));
  return path;
}

Compiler open_compiler() {
  const std::string nvidia = packages() + "/nvidia/";
  void* library = open_first("NVRTC, which torch's packages for CUDA bring,",
                             {nvidia + "cu13/lib/libnvrtc.so.13", nvidia + "cuda_nvrtc/lib/libnvrtc.so.12",
                              "libnvrtc.so.13", "libnvrtc.so.12", "/usr/local/cuda/lib64/libnvrtc.so"});
  Compiler c{};
  find(library, "nvrtcVersion", c.version);
  find(library, "nvrtcCreateProgram", c.create);
  find(library, "nvrtcDestroyProgram", c.destroy);
  find(library, "nvrtcCompileProgram", c.compile);
  find(library, "nvrtcGetProgramLogSize", c.log_size);
  find(library, "nvrtcGetProgramLog", c.log);
  find(library, "nvrtcGetCUBINSize", c.cubin_size);
  find(library, "nvrtcGetCUBIN", c.cubin);
  find(library, "nvrtcGetPTXSize", c.ptx_size);
  find(library, "nvrtcGetPTX", c.ptx);
  find(library, "nvrtcGetNumSupportedArchs", c.architecture_count);
  find(library, "nvrtcGetSupportedArchs", c.architectures);
  return c;
}

using StreamOf = int32_t (*)(int32_t, void**);

StreamOf open_stream() {
  void* torch = dlopen("libtorch_cuda.so", RTLD_NOW | RTLD_NOLOAD);
  if (!torch) throw std::runtime_error("this torch is not for CUDA");
  StreamOf function;
  find(torch, "aoti_torch_get_current_cuda_stream", function);
  return function;
}

}  // namespace

void Driver::check(int status, const char* what) const {
  if (status == 0) return;
  const char* name = nullptr;
  if (error_name(status, &name) != 0 || !name) name = "an unknown error";
  throw std::runtime_error(std::string(what) + ": " + name);
}

const Driver& driver() {
  static const Driver opened = open_driver();
  return opened;
}

const Compiler& compiler() {
  static const Compiler opened = open_compiler();
  return opened;
}

void* current_stream(int device) {
  static const StreamOf stream_of = open_stream();
  void* stream = nullptr;
  if (stream_of(device, &stream) != 0) throw std::runtime_error("torch has no current stream");
  return stream;
}

}  // namespace idle_md::cuda
