// Memory of a call, cut into arrays. With no memory it only counts.
#pragma once

#include <cstddef>
#include <cstdint>

namespace abawkit::cuda {

class Workspace {
 public:
  explicit Workspace(void* memory) : memory_(reinterpret_cast<std::uintptr_t>(memory)) {
    if (memory_) memory_ = (memory_ + alignment - 1) / alignment * alignment;
  }
  template <class A>
  A* take(std::int64_t count) {
    const std::uintptr_t at = memory_ + used_;
    used_ += (static_cast<std::size_t>(count) * sizeof(A) + alignment - 1) / alignment * alignment;
    return reinterpret_cast<A*>(at);
  }
  std::size_t bytes() const { return used_ + alignment; }

 private:
  static constexpr std::size_t alignment = 64;
  std::uintptr_t memory_;
  std::size_t used_ = 0;
};

}  // namespace abawkit::cuda
