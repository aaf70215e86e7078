#include "programs.hpp"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <string_view>

#include "kernel_sources.hpp"
#include "libraries.hpp"

namespace idle_md::cuda {
namespace {

namespace fs = std::filesystem;

// Frees a program of NVRTC.
struct Program {
  Compiler::Program handle = nullptr;
  ~Program() {
    if (handle) compiler().destroy(&handle);
  }
};

std::string text_of(Compiler::Program program, int (*size_of)(Compiler::Program, size_t*),
                    int (*get)(Compiler::Program, char*)) {
  size_t size = 0;
  if (size_of(program, &size) != 0 || size == 0) return "";
  std::string text(size, '\0');
  get(program, text.data());
  return text;
}

const char* source_of(const std::string& program) {
  for (const auto& [name, text] : kernel_sources)
    if (program == name) return text;
  throw std::runtime_error("there are no kernels " + program);
}

// The newest architecture that NVRTC knows and that is not newer.
int known_architecture(int architecture) {
  int count = 0;
  compiler().architecture_count(&count);
  std::vector<int> known(count);
  compiler().architectures(known.data());
  int best = 0;
  for (const int each : known)
    if (each <= architecture) best = std::max(best, each);
  if (best == 0) throw std::runtime_error("this NVRTC knows no GPU as old as sm_" + std::to_string(architecture));
  return best;
}

std::string nvrtc_version() {
  int major = 0, minor = 0;
  compiler().version(&major, &minor);
  return std::to_string(major) + "." + std::to_string(minor);
}

// 128 bits of FNV-1a.
class Hash {
 public:
  void add(std::string_view text) {
    for (const unsigned char byte : text) value_ = (value_ ^ byte) * prime;
    value_ = (value_ ^ 0x100) * prime;  // a border between texts
  }
  std::string hex() const {
    char out[33];
    std::snprintf(out, sizeof(out), "%016llx%016llx", static_cast<unsigned long long>(value_ >> 64),
                  static_cast<unsigned long long>(value_));
    return out;
  }

 private:
  using Wide = unsigned __int128;
  static constexpr Wide prime = (Wide(1) << 88) | 0x13b;
  Wide value_ = (Wide(0x6c62272e07bb0142ull) << 64) | 0x62b821756295c58dull;
};

// Where compiled kernels are kept, or nothing where there is no home.
fs::path cache_folder() {
  const char *cache = std::getenv("XDG_CACHE_HOME"), *home = std::getenv("HOME");
  if (cache && *cache) return fs::path(cache) / "idle_md" / "cuda";
  if (home && *home) return fs::path(home) / ".cache" / "idle_md" / "cuda";
  return {};
}

// Whole or not at all; where it cannot be written, it is compiled again next time.
void keep(const fs::path& place, const std::string& code) {
  std::error_code ignored;
  fs::create_directories(place.parent_path(), ignored);
  static std::atomic<int> kept{0};  // by threads with GPUs of their own
  const fs::path temporary = place.string() + "." + std::to_string(getpid()) + "." + std::to_string(kept++);
  const bool is_written = bool(std::ofstream(temporary, std::ios::binary) << code << std::flush);
  if (is_written)
    fs::rename(temporary, place, ignored);
  else
    fs::remove(temporary, ignored);
}

Compiled compile(const std::string& program, int architecture, const std::vector<std::string>& options) {
  std::vector<const char*> names, texts;
  for (const auto& [name, text] : kernel_sources) {
    names.push_back(name);
    texts.push_back(text);
  }
  const int known = known_architecture(architecture);
  const bool is_native = known == architecture;
  std::vector<std::string> all = {"-std=c++17", "-default-device", "--ptxas-options=-v",
                                  std::string("-arch=") + (is_native ? "sm_" : "compute_") + std::to_string(known)};
  all.insert(all.end(), options.begin(), options.end());
  std::vector<const char*> words;
  for (const std::string& each : all) words.push_back(each.c_str());
  Program made;
  const Compiler& c = compiler();
  if (c.create(&made.handle, source_of(program), program.c_str(), int(names.size()), texts.data(), names.data()) != 0)
    throw std::runtime_error("NVRTC takes no program " + program);
  const int status = c.compile(made.handle, int(words.size()), words.data());
  const std::string log = text_of(made.handle, c.log_size, c.log);
  if (status != 0) throw std::runtime_error(program + " cannot be compiled: " + log);
  return {is_native ? text_of(made.handle, c.cubin_size, c.cubin) : text_of(made.handle, c.ptx_size, c.ptx), log};
}

}  // namespace

Compiled compiled(const std::string& program, int architecture, const std::vector<std::string>& options) {
  Hash hash;
  for (const auto& [name, text] : kernel_sources) {
    hash.add(name);
    hash.add(text);
  }
  hash.add(program);
  for (const std::string& each : options) hash.add(each);
  const fs::path folder = cache_folder();
  const fs::path place = folder / (hash.hex() + "-sm_" + std::to_string(architecture) + "-nvrtc-" + nvrtc_version());
  if (!folder.empty()) {
    std::ifstream file(place, std::ios::binary);
    std::string code((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    if (!code.empty()) return {code, ""};
  }
  Compiled made = compile(program, architecture, options);
  if (!folder.empty()) keep(place, made.code);
  return made;
}

}  // namespace idle_md::cuda
