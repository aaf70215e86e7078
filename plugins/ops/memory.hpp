// Memory that is used again.
#pragma once

#include <cstddef>
#include <cstdlib>
#include <new>

namespace idle_md {

// Memory that a thread keeps from one evaluation to the next. It grows to what is asked for, and
// shrinks when that has become much less.
class Memory {
 public:
  ~Memory() { std::free(data_); }

  void* at_least(size_t bytes) {
    constexpr size_t small = size_t(1) << 26;
    if (bytes > size_ || (size_ > small && bytes < size_ / 8)) {
      std::free(data_);
      size_ = 0;
      const size_t wanted = (bytes + bytes / 8 + 63) / 64 * 64;
      data_ = std::aligned_alloc(64, wanted);
      if (!data_) throw std::bad_alloc();
      size_ = wanted;
    }
    return data_;
  }

 private:
  void* data_ = nullptr;
  size_t size_ = 0;
};

}  // namespace idle_md
