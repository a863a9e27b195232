// Storage types and arithmetic that the device and the host compute alike.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include "program.h"

#if defined(__CUDACC__)
#include <cuda_bf16.h>
#include <cuda_fp16.h>
#endif

namespace abawkit::cuda {

struct BFloat16 {
  std::uint16_t bits;
};
struct Float16 {
  std::uint16_t bits;
};

template <class T>
struct ComputeOf {
  using type = float;
};
template <>
struct ComputeOf<double> {
  using type = double;
};
template <class T>
using Compute = typename ComputeOf<T>::type;

template <class To, class From>
ABAWKIT_DEVICE To same_bits(const From& from) {
  static_assert(sizeof(To) == sizeof(From), "sizes differ");
  To to;
  memcpy(&to, &from, sizeof(To));
  return to;
}

ABAWKIT_DEVICE float widen(float value) { return value; }
ABAWKIT_DEVICE double widen(double value) { return value; }
ABAWKIT_DEVICE float widen(BFloat16 value) { return same_bits<float>(static_cast<std::uint32_t>(value.bits) << 16); }

ABAWKIT_DEVICE float widen(Float16 value) {
#if defined(__CUDA_ARCH__)
  return __half2float(__ushort_as_half(value.bits));
#else
  // The exponent's bias grows by 112: the product with 2^112 gets subnormal numbers right as well.
  const std::uint32_t magnitude = value.bits & 0x7fffu, sign = static_cast<std::uint32_t>(value.bits & 0x8000u) << 16;
  if (magnitude >= 0x7c00u) return same_bits<float>(sign | 0x7f800000u | (magnitude & 0x3ffu) << 13);
  return same_bits<float>(sign | same_bits<std::uint32_t>(same_bits<float>(magnitude << 13) * 5.192296858534828e33f));
#endif
}

template <class T>
ABAWKIT_DEVICE T narrow(Compute<T> value);
template <>
ABAWKIT_DEVICE float narrow<float>(float value) {
  return value;
}
template <>
ABAWKIT_DEVICE double narrow<double>(double value) {
  return value;
}

template <>
ABAWKIT_DEVICE BFloat16 narrow<BFloat16>(float value) {
#if defined(__CUDA_ARCH__)
  return {__bfloat16_as_ushort(__float2bfloat16_rn(value))};
#else
  const std::uint32_t bits = same_bits<std::uint32_t>(value);
  if (value != value) return {0x7fff};
  return {static_cast<std::uint16_t>((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16)};
#endif
}

template <>
ABAWKIT_DEVICE Float16 narrow<Float16>(float value) {
#if defined(__CUDA_ARCH__)
  return {__half_as_ushort(__float2half_rn(value))};
#else
  const std::uint32_t bits = same_bits<std::uint32_t>(value), sign = bits >> 16 & 0x8000u;
  const float magnitude = value < 0 ? -value : value;
  if (value != value) return {0x7fff};
  if (magnitude >= 65520.0f) return {static_cast<std::uint16_t>(sign | 0x7c00u)};
  if (magnitude < 6.103515625e-5f)  // subnormal: the sum's last bit is worth 2^-24
    return {static_cast<std::uint16_t>(sign | (same_bits<std::uint32_t>(magnitude + 0.5f) - 0x3f000000u))};
  const std::uint32_t rounded = (bits & 0x7fffffffu) + 0xfffu + (bits >> 13 & 1u);
  return {static_cast<std::uint16_t>(sign | ((rounded >> 13) - (112u << 10)))};
#endif
}

template <class A>
struct alignas(16) Vector {
  static constexpr int size = 16 / sizeof(A);
  A values[size];
};

template <class A>
ABAWKIT_DEVICE Vector<A> load_vector(const A* from) {
  return *reinterpret_cast<const Vector<A>*>(from);
}

ABAWKIT_DEVICE bool is_aligned(const void* pointer) { return reinterpret_cast<std::uintptr_t>(pointer) % 16 == 0; }

// Written out where the compiler must not choose between one rounding and two: it may in one kernel, and not in
// another.
ABAWKIT_DEVICE float fused_multiply_add(float a, float b, float c) { return fmaf(a, b, c); }

ABAWKIT_DEVICE float exponential(float x) { return expf(x); }
ABAWKIT_DEVICE double exponential(double x) { return exp(x); }
ABAWKIT_DEVICE double root(double x) { return sqrt(x); }

ABAWKIT_DEVICE float sigmoid(float x) {
#if defined(__CUDA_ARCH__)
  return __fdividef(1.0f, 1.0f + expf(-x));
#else
  return 1.0f / (1.0f + exponential(-x));
#endif
}
ABAWKIT_DEVICE double sigmoid(double x) { return 1.0 / (1.0 + exponential(-x)); }

// 1 / (1 + 2^x): the sigmoid of -x ln 2. Source: PTX ISA, "ex2" and "rcp": relative errors of at most 2^-22 and 1 ulp.
ABAWKIT_DEVICE float reciprocal_of_power(float x) {
#if defined(__CUDA_ARCH__)
  float power, result;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(power) : "f"(x));
  asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(result) : "f"(1.0f + power));
  return result;
#else
  return 1.0f / (1.0f + exp2f(x));
#endif
}

// The larger one, or NaN where one is: as torch.maximum.
ABAWKIT_DEVICE float larger(float a, float b) {
#if defined(__CUDA_ARCH__)
  float result;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(result) : "f"(a), "f"(b));
  return result;
#else
  return a > b || a != a ? a : b;
#endif
}
ABAWKIT_DEVICE double larger(double a, double b) { return a > b || a != a ? a : b; }

template <class A>
ABAWKIT_DEVICE A hardswish(A x) {
  const A inner = x + A(3);
  return x * (inner < A(0) ? A(0) : inner > A(6) ? A(6) : inner) * A(1.0 / 6);
}

template <class A>
ABAWKIT_DEVICE A hardswish_slope(A x) {
  return x < A(-3) ? A(0) : x > A(3) ? A(1) : x * A(1.0 / 3) + A(0.5);
}

}  // namespace abawkit::cuda
