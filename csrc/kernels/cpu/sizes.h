// Sizes known when compiling, or any: the same code is written once and compiled for both.
#pragma once

#include <cstdint>
#include <new>

#include "dda.h"

namespace abawkit::ABAWKIT_ISA {

template <int H, int W, int K, int M>
struct Fixed {
  static constexpr std::int64_t height = H, width = W, heads = K, squeezed = M, padded = (M + 15) / 16 * 16;
  static constexpr std::int64_t area = H * W, positions = H + W, gates = K * (H + W);
  explicit Fixed(const Sizes&) {}
  static bool fits(const Sizes& s) { return s.height == H && s.width == W && s.heads == K && s.squeezed == M; }
};

struct Any {
  std::int64_t height, width, heads, squeezed, padded, area, positions, gates;
  explicit Any(const Sizes& s)
      : height(s.height),
        width(s.width),
        heads(s.heads),
        squeezed(s.squeezed),
        padded(abawkit::padded(s)),
        area(s.area()),
        positions(s.positions()),
        gates(s.heads * s.positions()) {}
};

using Published = Fixed<7, 7, 2, 16>;  // DDAMFN's

// Hands out pieces of a workspace, each at a multiple of 64 bytes; with a null workspace it only counts.
class Arena {
 public:
  explicit Arena(void* base) : base_(base == nullptr ? nullptr : align(static_cast<char*>(base))) {}
  template <class T>
  T* take(std::int64_t count) {
    T* result = base_ == nullptr ? nullptr : reinterpret_cast<T*>(base_ + used_);
    used_ += (static_cast<std::size_t>(count) * sizeof(T) + 63) / 64 * 64;
    return result;
  }
  // `count` objects T(arguments..., *this), each with what it takes.
  template <class T, class... Arguments>
  T* make(std::int64_t count, const Arguments&... arguments) {
    T* all = take<T>(count);
    for (std::int64_t i = 0; i < count; ++i) {
      const T one(arguments..., *this);
      if (all != nullptr) new (all + i) T(one);
    }
    return all;
  }
  std::size_t bytes() const { return used_ + 64; }

 private:
  static char* align(char* p) { return p + (64 - reinterpret_cast<std::uintptr_t>(p) % 64) % 64; }
  char* base_;
  std::size_t used_ = 0;
};

}  // namespace abawkit::ABAWKIT_ISA
