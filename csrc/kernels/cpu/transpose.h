// Between rows of features, channel after channel, and tiles, where channels lie in the lanes.
#pragma once

#include "vector.h"

namespace abawkit::ABAWKIT_ISA {

#if defined(__clang__) || __GNUC__ >= 12
#define ABAWKIT_SHUFFLE(a, b, ...) __builtin_shufflevector(a, b, __VA_ARGS__)
#else
#error "GCC 12 or later, or clang, is needed for __builtin_shufflevector"
#endif

// Floats that rows of features and a tile exchange at a time.
inline constexpr int quad = 4;

// A vector of the quads at `from`, 4 rows apart, and the inverse. Inserting from memory doesn't take the one port that
// shuffles; from vector types, compilers would load first and shuffle then.
inline Vector<float> gather_quads(const float* from, std::int64_t stride) {
#if defined(__AVX512F__)
  __m512 all = _mm512_castps128_ps512(_mm_loadu_ps(from));
  all = _mm512_insertf32x4(all, _mm_loadu_ps(from + 4 * stride), 1);
  all = _mm512_insertf32x4(all, _mm_loadu_ps(from + 8 * stride), 2);
  return reinterpret_cast<Vector<float>>(_mm512_insertf32x4(all, _mm_loadu_ps(from + 12 * stride), 3));
#elif defined(__AVX2__)
  const __m256 first = _mm256_castps128_ps256(_mm_loadu_ps(from));
  return reinterpret_cast<Vector<float>>(_mm256_insertf128_ps(first, _mm_loadu_ps(from + 4 * stride), 1));
#else
  (void)stride;
  return *reinterpret_cast<const Lanes<float>::loose*>(from);
#endif
}
inline void scatter_quads(Vector<float> value, float* to, std::int64_t stride) {
#if defined(__AVX512F__)
  const __m512 all = reinterpret_cast<__m512>(value);
  _mm_storeu_ps(to, _mm512_castps512_ps128(all));
  _mm_storeu_ps(to + 4 * stride, _mm512_extractf32x4_ps(all, 1));
  _mm_storeu_ps(to + 8 * stride, _mm512_extractf32x4_ps(all, 2));
  _mm_storeu_ps(to + 12 * stride, _mm512_extractf32x4_ps(all, 3));
#elif defined(__AVX2__)
  const __m256 all = reinterpret_cast<__m256>(value);
  _mm_storeu_ps(to, _mm256_castps256_ps128(all));
  _mm_storeu_ps(to + 4 * stride, _mm256_extractf128_ps(all, 1));
#else
  (void)stride;
  store(to, value);
#endif
}

// Transposes 4 x 4 floats in each quad of four vectors.
inline void transpose_quads(Vector<float> (&r)[quad]) {
#if defined(__AVX512F__)
#define ABAWKIT_PAIRS(a, b, i, j)                                                                                 \
  ABAWKIT_SHUFFLE(a, b, i, 16 + i, j, 16 + j, 4 + i, 20 + i, 4 + j, 20 + j, 8 + i, 24 + i, 8 + j, 24 + j, 12 + i, \
                  28 + i, 12 + j, 28 + j)
#define ABAWKIT_HALVES(a, b, i)                                                                                       \
  ABAWKIT_SHUFFLE(a, b, i, i + 1, 16 + i, 17 + i, 4 + i, 5 + i, 20 + i, 21 + i, 8 + i, 9 + i, 24 + i, 25 + i, 12 + i, \
                  13 + i, 28 + i, 29 + i)
#elif defined(__AVX2__)
#define ABAWKIT_PAIRS(a, b, i, j) ABAWKIT_SHUFFLE(a, b, i, 8 + i, j, 8 + j, 4 + i, 12 + i, 4 + j, 12 + j)
#define ABAWKIT_HALVES(a, b, i) ABAWKIT_SHUFFLE(a, b, i, i + 1, 8 + i, 9 + i, 4 + i, 5 + i, 12 + i, 13 + i)
#else
#define ABAWKIT_PAIRS(a, b, i, j) ABAWKIT_SHUFFLE(a, b, i, 4 + i, j, 4 + j)
#define ABAWKIT_HALVES(a, b, i) ABAWKIT_SHUFFLE(a, b, i, i + 1, 4 + i, 5 + i)
#endif
  const Vector<float> a = ABAWKIT_PAIRS(r[0], r[1], 0, 1), b = ABAWKIT_PAIRS(r[0], r[1], 2, 3);
  const Vector<float> c = ABAWKIT_PAIRS(r[2], r[3], 0, 1), d = ABAWKIT_PAIRS(r[2], r[3], 2, 3);
  r[0] = ABAWKIT_HALVES(a, c, 0);
  r[1] = ABAWKIT_HALVES(a, c, 2);
  r[2] = ABAWKIT_HALVES(b, d, 0);
  r[3] = ABAWKIT_HALVES(b, d, 2);
#undef ABAWKIT_PAIRS
#undef ABAWKIT_HALVES
}

// 16 rows of `count` floats, `stride` apart, become `count` rows of a tile, and the inverse. Where 4 don't divide the
// count, the last block overlaps the one before it and writes the same once more; `count` is at least 4.
inline void rows_to_tile(const float* from, std::int64_t stride, std::int64_t count, float* to) {
  for (std::int64_t done = 0; done < count; done += quad) {
    const std::int64_t i = done + quad <= count ? done : count - quad;
    for (int c = 0; c < tile_width; c += lanes<float>) {
      Vector<float> r[quad];
#pragma GCC unroll 4
      for (int j = 0; j < quad; ++j) r[j] = gather_quads(from + (c + j) * stride + i, stride);
      transpose_quads(r);
#pragma GCC unroll 4
      for (int j = 0; j < quad; ++j) store(to + (i + j) * tile_width + c, r[j]);
    }
  }
}
inline void tile_to_rows(const float* from, std::int64_t count, float* to, std::int64_t stride) {
  for (std::int64_t done = 0; done < count; done += quad) {
    const std::int64_t i = done + quad <= count ? done : count - quad;
    for (int c = 0; c < tile_width; c += lanes<float>) {
      Vector<float> r[quad];
#pragma GCC unroll 4
      for (int j = 0; j < quad; ++j) r[j] = load(from + (i + j) * tile_width + c);
      transpose_quads(r);
#pragma GCC unroll 4
      for (int j = 0; j < quad; ++j) scatter_quads(r[j], to + (c + j) * stride + i, stride);
    }
  }
}

}  // namespace abawkit::ABAWKIT_ISA
