// Rounding to bfloat16, for the oracles of the mixed block.
#pragma once

#include <cstdint>
#include <cstring>

namespace {

// To the nearest, ties to even; through float32, as the kernels do.
template <class A>
A round_to_bfloat16(A value) {
  const auto single = static_cast<float>(value);
  std::uint32_t bits;
  std::memcpy(&bits, &single, sizeof bits);
  bits = (bits + 0x7fff + ((bits >> 16) & 1)) & 0xffff0000;
  float rounded;
  std::memcpy(&rounded, &bits, sizeof rounded);
  return A(rounded);
}

}  // namespace
