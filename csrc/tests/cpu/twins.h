// Two processes with the same images: what they add up is twice as much of each, so that results are those of one.
#pragma once

#include <stdexcept>

#include "processes.h"

namespace {

inline constexpr abawkit::Processes twins{[](double* numbers, std::int64_t count) {
  for (std::int64_t i = 0; i < count; ++i) numbers[i] *= 2;
  return 0;
}};
inline constexpr abawkit::Processes lost{[](double*, std::int64_t) { return 1; }};

// Whether a call throws.
template <class F>
inline bool throws(const F& call) {
  try {
    call();
  } catch (const std::runtime_error&) {
    return true;
  }
  return false;
}

}  // namespace
