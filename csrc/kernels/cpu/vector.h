// Vectors of one instruction set, in the compiler's own vector types: one source serves every processor.
//
// ABAWKIT_ISA names the instruction set that this file is compiled for; everything lies in a namespace of that name, as
// the linker would else merge functions of different instruction sets into one.
#pragma once

#if defined(__AVX2__)
#include <immintrin.h>
#endif

#include <cstdint>
#include <cstring>

#include "dda.h"

namespace abawkit::ABAWKIT_ISA {

#if defined(__AVX512F__)
inline constexpr int vector_bytes = 64;
#elif defined(__AVX2__)
inline constexpr int vector_bytes = 32;
#else
inline constexpr int vector_bytes = 16;
#endif

struct bfloat16 {
  std::uint16_t bits;
};

template <class A>
struct Lanes;
template <>
struct Lanes<float> {
  typedef float type __attribute__((vector_size(vector_bytes)));
  typedef float loose __attribute__((vector_size(vector_bytes), aligned(4), may_alias));
  typedef std::int32_t integer __attribute__((vector_size(vector_bytes)));
};
template <>
struct Lanes<double> {
  typedef double type __attribute__((vector_size(vector_bytes)));
  typedef double loose __attribute__((vector_size(vector_bytes), aligned(8), may_alias));
  typedef std::int64_t integer __attribute__((vector_size(vector_bytes)));
};
template <class A>
using Vector = typename Lanes<A>::type;

// A tile has 16 channels, which are this many vectors.
inline constexpr int tile_width = tile_channels;
template <class A>
inline constexpr int lanes = vector_bytes / static_cast<int>(sizeof(A));
template <class A>
inline constexpr int vectors = tile_width / lanes<A>;

template <class A>
inline Vector<A> load(const A* from) {
  return *reinterpret_cast<const typename Lanes<A>::loose*>(from);
}
template <class A>
inline void store(A* to, Vector<A> value) {
  *reinterpret_cast<typename Lanes<A>::loose*>(to) = value;
}

// A vector of which only the first `count` numbers, any number, are in memory; the others are zeros.
inline Vector<float> load_some(const float* from, std::int64_t count) {
  if (count >= lanes<float>) return load(from);
  float values[lanes<float>] = {};
  for (std::int64_t i = 0; i < count; ++i) values[i] = from[i];
  return load(values);
}
inline void store_some(float* to, std::int64_t count, Vector<float> value) {
  if (count >= lanes<float>) return store(to, value);
#if defined(__AVX512F__)
  if (count > 0) _mm512_mask_storeu_ps(to, (1u << count) - 1, reinterpret_cast<__m512>(value));
#else
  for (std::int64_t i = 0; i < count; ++i) to[i] = value[i];
#endif
}

inline float widen(float value) { return value; }
inline double widen(double value) { return value; }
inline float widen(bfloat16 value) {
  const std::uint32_t bits = static_cast<std::uint32_t>(value.bits) << 16;
  float result;
  std::memcpy(&result, &bits, sizeof result);
  return result;
}
template <class X, class A>
inline X narrow(A value) {
  if constexpr (sizeof(X) == sizeof(A)) {
    return value;
  } else {  // to the nearest, ties to even; a NaN stays one
    std::uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    if (value != value) return X{static_cast<std::uint16_t>((bits >> 16) | 0x40)};
    return X{static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16)};
  }
}

// Stores a vector rounded to bfloat16, to the nearest, ties to even.
inline void store_narrow(bfloat16* to, Vector<float> value) {
#if defined(__AVX512BF16__)
  typedef std::uint16_t half __attribute__((vector_size(32), aligned(2), may_alias));
  *reinterpret_cast<half*>(to) = (half)_mm512_cvtneps_pbh((__m512)value);
#else
  for (int i = 0; i < lanes<float>; ++i) to[i] = narrow<bfloat16>(float(value[i]));
#endif
}

// Two numbers in bfloat16, the first in the lower bits.
using Pair = std::uint32_t;

// The bits of a pair for each lane.
inline Vector<float> make_pairs(Vector<float> first, Vector<float> second) {
#if defined(__AVX512BF16__)
  const __m512i low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)first));
  const __m512i high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh((__m512)second));
  return (Vector<float>)_mm512_or_si512(low, _mm512_slli_epi32(high, 16));
#else
  Lanes<float>::integer bits = {};
  for (int i = 0; i < lanes<float>; ++i) {
    const Pair high = narrow<bfloat16>(float(second[i])).bits;
    bits[i] = static_cast<std::int32_t>(high << 16 | narrow<bfloat16>(float(first[i])).bits);
  }
  return reinterpret_cast<Vector<float>>(bits);
#endif
}

// sum + weights values, of a pair for each lane and one pair for all of them.
inline Vector<float> add_pair_products(Vector<float> sum, Vector<float> weights, Pair values) {
#if defined(__AVX512BF16__)
  return (Vector<float>)_mm512_dpbf16_ps((__m512)sum, (__m512bh)weights, (__m512bh)_mm512_set1_epi32(values));
#else
  using I = Lanes<float>::integer;
  const I bits = reinterpret_cast<I>(weights), high = bits & static_cast<std::int32_t>(0xffff0000);
  sum += reinterpret_cast<Vector<float>>(high) * widen(bfloat16{static_cast<std::uint16_t>(values >> 16)});
  return sum + reinterpret_cast<Vector<float>>(bits << 16) * widen(bfloat16{static_cast<std::uint16_t>(values)});
#endif
}

// 1 / d within a unit in the last place, for normal numbers.
inline Vector<float> reciprocal(Vector<float> d) {
#if defined(__AVX512F__)
  // Dividing 16 lanes takes as long as a third of the sigmoid; an estimate of 14 bits and a step of Newton's don't.
  const auto estimate = reinterpret_cast<Vector<float>>(_mm512_rcp14_ps(reinterpret_cast<__m512>(d)));
  return estimate + estimate * (1.0f - d * estimate);
#else
  return 1.0f / d;
#endif
}

// Between two limits; a NaN stays one. Compilers know these instructions, but not that it doesn't matter here in which
// of two ways a NaN is treated, and would compare and choose.
inline Vector<float> clamp(Vector<float> x, float least, float most) {
  const Vector<float> low = Vector<float>{} + least, high = Vector<float>{} + most;
#if defined(__AVX512F__)
  const auto below = _mm512_min_ps(reinterpret_cast<__m512>(high), reinterpret_cast<__m512>(x));
  return reinterpret_cast<Vector<float>>(_mm512_max_ps(reinterpret_cast<__m512>(low), below));
#elif defined(__AVX2__)
  const auto below = _mm256_min_ps(reinterpret_cast<__m256>(high), reinterpret_cast<__m256>(x));
  return reinterpret_cast<Vector<float>>(_mm256_max_ps(reinterpret_cast<__m256>(low), below));
#else
  x = high < x ? high : x;
  return low > x ? low : x;
#endif
}

// 1 / (1 + 2^y), y = -x log2(e), of `U` vectors, step by step for all of them: one vector's chain of steps would leave
// the processor waiting. y is split into a whole number n and f in -1/2..1/2; what the constant's rounding adds to y,
// 1.3e-8 x, is less than what that of x itself does. 2^f is a polynomial of degree 6 with the least greatest relative
// error, 2.0e-9, as Remez's exchange gives it, ordered as Estrin does. x is clamped where float ends.
#define ABAWKIT_EACH _Pragma("GCC unroll 8") for (int i = 0; i < U; ++i)
template <int U>
inline void sigmoids(float* values) {
  using V = Vector<float>;
  using I = Lanes<float>::integer;
  const float log2e = 1.44269504088896341f;
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, which stands in the last bits
  V x[U], n[U], square[U], middle[U], high[U];
  I power[U];
  ABAWKIT_EACH x[i] = clamp(load(values + i * lanes<float>), -87.0f, 87.0f);
  ABAWKIT_EACH n[i] = magic - x[i] * log2e;
  ABAWKIT_EACH power[i] = reinterpret_cast<I>(n[i]) << 23;
  ABAWKIT_EACH n[i] = n[i] - magic;
  ABAWKIT_EACH x[i] = -(x[i] * log2e) - n[i];
  ABAWKIT_EACH square[i] = x[i] * x[i];
  ABAWKIT_EACH high[i] = x[i] * 1.3398874403e-3f + 9.6184373575e-3f;
  ABAWKIT_EACH middle[i] = x[i] * 5.5503324712e-2f + 2.4022647914e-1f;
  ABAWKIT_EACH x[i] = x[i] * 6.9314720286e-1f + 1.0f;
  ABAWKIT_EACH high[i] = square[i] * 1.5353361934e-4f + high[i];
  ABAWKIT_EACH high[i] = high[i] * square[i] + middle[i];
  ABAWKIT_EACH x[i] = high[i] * square[i] + x[i];
  ABAWKIT_EACH x[i] = 1.0f + reinterpret_cast<V>(reinterpret_cast<I>(x[i]) + power[i]);
  ABAWKIT_EACH store(values + i * lanes<float>, reciprocal(x[i]));
}
#undef ABAWKIT_EACH
template <int U>
inline void sigmoids(double* values) {
  for (int i = 0; i < U * lanes<double>; ++i) values[i] = 1 / (1 + __builtin_exp(-values[i]));
}

// The sigmoid of `count` values, a multiple of a vector's lanes, in place.
template <class A>
inline void sigmoid(A* values, std::int64_t count) {
  constexpr int U = vector_bytes == 64 ? 7 : 4;  // as many as the registers hold
  std::int64_t i = 0;
  for (; i + U * lanes<A> <= count; i += U * lanes<A>) sigmoids<U>(values + i);
  for (; i < count; i += lanes<A>) sigmoids<1>(values + i);
}

// Adds what a vector holds to numbers in double.
inline void add_to(double* to, Vector<double> value) { store(to, load(to) + value); }
inline void add_to(double* to, Vector<float> value) {
#if defined(__AVX512F__)
  const __m512 all = reinterpret_cast<__m512>(value);
  add_to(to, reinterpret_cast<Vector<double>>(_mm512_cvtps_pd(_mm512_castps512_ps256(all))));
  add_to(to + 8, reinterpret_cast<Vector<double>>(_mm512_cvtps_pd(_mm512_extractf32x8_ps(all, 1))));
#elif defined(__AVX2__)
  const __m256 all = reinterpret_cast<__m256>(value);
  add_to(to, reinterpret_cast<Vector<double>>(_mm256_cvtps_pd(_mm256_castps256_ps128(all))));
  add_to(to + 4, reinterpret_cast<Vector<double>>(_mm256_cvtps_pd(_mm256_extractf128_ps(all, 1))));
#else
  for (int c = 0; c < lanes<float>; ++c) to[c] += double(value[c]);
#endif
}

// x * clamp(x + 3, 0, 6) / 6 and its derivative, where the clamp is torch's.
template <class V>
inline V hardswish(V x) {
  const V none = {};
  return x <= -3 ? none : x >= 3 ? x : x * (x + 3) / 6;
}
template <class V>
inline V hardswish_slope(V x) {
  const V none = {}, all = none + 1;
  return x <= -3 ? none : x >= 3 ? all : x / 3 + all / 2;
}

}  // namespace abawkit::ABAWKIT_ISA
