// A GPU on which kernels are started.
#pragma once

#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "launcher.hpp"
#include "device.hpp"

namespace idle_md::cuda {

class Gpu {
 public:
  // The GPU of a number, opened once. Throws std::runtime_error where there is none.
  static Gpu& at(int index);

  const Device& device() const { return device_; }

  // Starts kernels of a program on torch's current stream, as long as this GPU's context is current: for
  // as long as the launcher lives. The program is compiled when it is first wanted.
  std::unique_ptr<Launcher> launcher(const std::string& program, const std::vector<std::string>& options = {});

 private:
  class Module;
  explicit Gpu(int index);

  int index_;
  int architecture_ = 0;
  Device device_;
  void* context_ = nullptr;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<Module>> modules_;
};

// Why kernels cannot run on any GPU here; empty where they can.
std::string why_not();

}  // namespace idle_md::cuda
