// Vectors of one instruction set, in the compiler's own vector types: one source serves every processor.
//
// ABAWKIT_ISA names the instruction set that this file is compiled for; everything lies in a namespace of that name, as
// the linker would else merge functions of different instruction sets into one.
#pragma once

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

// 1 / (1 + exp(-x)) of `U` vectors, step by step for all of them: one vector's chain of steps would leave the processor
// waiting. The exponential is within 1 unit in the last place, and clamped where float ends.
// Source: Cody and Waite's reduction; coefficients of Cephes (Moshier), expf; the polynomial as Estrin orders it.
#define ABAWKIT_EACH _Pragma("GCC unroll 8") for (int i = 0; i < U; ++i)
template <int U>
inline void sigmoids(float* values) {
  using V = Vector<float>;
  using I = Lanes<float>::integer;
  const float magic = 12582912.0f;  // 1.5 * 2^23: adding it rounds to an integer, which stands in the last bits
  V x[U], n[U], square[U], high[U], p[U];
  I power[U];
  ABAWKIT_EACH x[i] = -load(values + i * lanes<float>);
  ABAWKIT_EACH x[i] = x[i] < -87.0f ? V{} - 87.0f : x[i];
  ABAWKIT_EACH x[i] = x[i] > 88.0f ? V{} + 88.0f : x[i];
  ABAWKIT_EACH n[i] = x[i] * 1.44269504088896341f + magic;
  ABAWKIT_EACH power[i] = reinterpret_cast<I>(n[i]) << 23;
  ABAWKIT_EACH n[i] = n[i] - magic;
  ABAWKIT_EACH x[i] = x[i] - n[i] * 0.693359375f;
  ABAWKIT_EACH x[i] = x[i] + n[i] * 2.12194440e-4f;
  ABAWKIT_EACH square[i] = x[i] * x[i];
  ABAWKIT_EACH p[i] = x[i] * 1.9875691500e-4f + 1.3981999507e-3f;
  ABAWKIT_EACH high[i] = x[i] * 8.3334519073e-3f + 4.1665795894e-2f;
  ABAWKIT_EACH p[i] = p[i] * square[i] + high[i];
  ABAWKIT_EACH high[i] = x[i] * 1.6666665459e-1f + 5.0000001201e-1f;
  ABAWKIT_EACH p[i] = p[i] * square[i] + high[i];
  ABAWKIT_EACH p[i] = p[i] * square[i] + x[i];
  ABAWKIT_EACH p[i] = p[i] + 1.0f;
  ABAWKIT_EACH p[i] = 1.0f + reinterpret_cast<V>(reinterpret_cast<I>(p[i]) + power[i]);
  ABAWKIT_EACH store(values + i * lanes<float>, 1.0f / p[i]);
}
#undef ABAWKIT_EACH
template <int U>
inline void sigmoids(double* values) {
  for (int i = 0; i < U * lanes<double>; ++i) values[i] = 1 / (1 + __builtin_exp(-values[i]));
}

// The sigmoid of `count` values, a multiple of a vector's lanes, in place.
template <class A>
inline void sigmoid(A* values, std::int64_t count) {
  constexpr int U = 4;
  std::int64_t i = 0;
  for (; i + U * lanes<A> <= count; i += U * lanes<A>) sigmoids<U>(values + i);
  for (; i < count; i += lanes<A>) sigmoids<1>(values + i);
}

// x * clamp(x + 3, 0, 6) / 6 and its derivative, where the clamp is torch's.
template <class A>
inline A hardswish(A x) {
  return x <= -3 ? A(0) : x >= 3 ? x : x * (x + 3) / 6;
}
template <class A>
inline A hardswish_slope(A x) {
  return x <= -3 ? A(0) : x >= 3 ? A(1) : x / 3 + A(0.5);
}

// Transposes blocks of floats: `block` rows at a distance become `block` rows of a tile.
#if defined(__AVX2__)
inline constexpr int block = 8;
#else
inline constexpr int block = 4;
#endif
typedef float Block __attribute__((vector_size(4 * block)));
typedef float LooseBlock __attribute__((vector_size(4 * block), aligned(4), may_alias));

#if defined(__clang__) || __GNUC__ >= 12
#define ABAWKIT_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#error "GCC 12 or later, or clang, is needed for __builtin_shufflevector"
#endif

inline void transpose(const float* from, std::int64_t from_stride, float* to, std::int64_t to_stride) {
  Block r[block], s[block];
#pragma GCC unroll 8
  for (int i = 0; i < block; ++i) r[i] = *reinterpret_cast<const LooseBlock*>(from + i * from_stride);
#if defined(__AVX2__)
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {  // pairs within halves of a vector
    s[2 * i] = ABAWKIT_SHUFFLE(r[2 * i], r[2 * i + 1], 0, 8, 1, 9, 4, 12, 5, 13);
    s[2 * i + 1] = ABAWKIT_SHUFFLE(r[2 * i], r[2 * i + 1], 2, 10, 3, 11, 6, 14, 7, 15);
  }
#pragma GCC unroll 2
  for (int i = 0; i < 8; i += 4) {
    r[i] = ABAWKIT_SHUFFLE(s[i], s[i + 2], 0, 1, 8, 9, 4, 5, 12, 13);
    r[i + 1] = ABAWKIT_SHUFFLE(s[i], s[i + 2], 2, 3, 10, 11, 6, 7, 14, 15);
    r[i + 2] = ABAWKIT_SHUFFLE(s[i + 1], s[i + 3], 0, 1, 8, 9, 4, 5, 12, 13);
    r[i + 3] = ABAWKIT_SHUFFLE(s[i + 1], s[i + 3], 2, 3, 10, 11, 6, 7, 14, 15);
  }
#pragma GCC unroll 4
  for (int i = 0; i < 4; ++i) {  // halves
    s[i] = ABAWKIT_SHUFFLE(r[i], r[i + 4], 0, 1, 2, 3, 8, 9, 10, 11);
    s[i + 4] = ABAWKIT_SHUFFLE(r[i], r[i + 4], 4, 5, 6, 7, 12, 13, 14, 15);
  }
#else
  const Block a = ABAWKIT_SHUFFLE(r[0], r[1], 0, 4, 1, 5), b = ABAWKIT_SHUFFLE(r[0], r[1], 2, 6, 3, 7);
  const Block c = ABAWKIT_SHUFFLE(r[2], r[3], 0, 4, 1, 5), d = ABAWKIT_SHUFFLE(r[2], r[3], 2, 6, 3, 7);
  s[0] = ABAWKIT_SHUFFLE(a, c, 0, 1, 4, 5);
  s[1] = ABAWKIT_SHUFFLE(a, c, 2, 3, 6, 7);
  s[2] = ABAWKIT_SHUFFLE(b, d, 0, 1, 4, 5);
  s[3] = ABAWKIT_SHUFFLE(b, d, 2, 3, 6, 7);
#endif
#pragma GCC unroll 8
  for (int i = 0; i < block; ++i) *reinterpret_cast<LooseBlock*>(to + i * to_stride) = s[i];
}

}  // namespace abawkit::ABAWKIT_ISA
