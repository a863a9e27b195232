// Parameters of one tile, between their own layout and that of the kernels: channels in the lanes.
#pragma once

#include <cstring>

#include "images.h"

namespace abawkit::ABAWKIT_ISA {

// (K, C, inner) -> (K, to_inner, 16) of one tile; channels that there are not become zero.
template <class A>
inline void pack(const Sizes& s, std::int64_t heads, std::int64_t inner, const void* source, std::int64_t tile, A* to,
                 std::int64_t to_inner) {
  const int count = channels_in_tile(s.channels, tile);
  for (std::int64_t k = 0; k < heads; ++k) {
    const A* from = static_cast<const A*>(source) + (k * s.channels + tile * tile_width) * inner;
    A* at = to + k * to_inner * tile_width;
    if constexpr (sizeof(A) == sizeof(float))
      if (count == tile_width && inner == to_inner && inner >= quad) {
        rows_to_tile(from, inner, inner, at);
        continue;
      }
    for (std::int64_t i = 0; i < to_inner; ++i)
      for (int c = 0; c < tile_width; ++c) at[i * tile_width + c] = i < inner && c < count ? from[c * inner + i] : 0;
  }
}

// The inverse.
template <class A>
inline void unpack(const Sizes& s, std::int64_t heads, std::int64_t inner, const A* from, std::int64_t from_inner,
                   std::int64_t tile, void* target) {
  const int count = channels_in_tile(s.channels, tile);
  for (std::int64_t k = 0; k < heads; ++k)
    store_rows(from + k * from_inner * tile_width, inner, count,
               static_cast<A*>(target) + (k * s.channels + tile * tile_width) * inner);
}

// squeeze_weight (K, M, C) -> (K, Mp, 16 channels) of one tile.
template <class A>
inline void pack_squeeze(const Sizes& s, const void* source, std::int64_t tile, A* to) {
  const std::int64_t width = padded(s);
  const int count = channels_in_tile(s.channels, tile);
  std::memset(to, 0, s.heads * width * tile_width * sizeof(A));
  for (std::int64_t k = 0; k < s.heads; ++k)
    for (std::int64_t m = 0; m < s.squeezed; ++m) {
      const A* from = static_cast<const A*>(source) + (k * s.squeezed + m) * s.channels + tile * tile_width;
      std::memcpy(to + (k * width + m) * tile_width, from, count * sizeof(A));
    }
}

// The same, transposed: (K, 16 channels, Mp).
template <class A>
inline void pack_squeeze_transposed(const Sizes& s, const void* source, std::int64_t tile, A* to) {
  const std::int64_t width = padded(s);
  const int count = channels_in_tile(s.channels, tile);
  for (std::int64_t k = 0; k < s.heads; ++k) {
    const A* from = static_cast<const A*>(source) + k * s.squeezed * s.channels + tile * tile_width;
    A* at = to + k * width * tile_width;
    if constexpr (sizeof(A) == sizeof(float))
      if (count == tile_width && s.squeezed == tile_width) {
        rows_to_tile(from, s.channels, tile_width, at);
        continue;
      }
    for (int c = 0; c < tile_width; ++c)
      for (std::int64_t m = 0; m < width; ++m)
        at[c * width + m] = m < s.squeezed && c < count ? from[m * s.channels + c] : 0;
  }
}

// A gate's weights (K, C, M) -> (K, 16 channels, Mp), of one tile.
template <class A>
inline void pack_rows(const Sizes& s, const void* source, std::int64_t tile, A* to) {
  const std::int64_t width = padded(s);
  std::memset(to, 0, s.heads * width * tile_width * sizeof(A));
  for (std::int64_t k = 0; k < s.heads; ++k)
    for (int c = 0; c < channels_in_tile(s.channels, tile); ++c) {
      const A* from = static_cast<const A*>(source) + (k * s.channels + tile * tile_width + c) * s.squeezed;
      std::memcpy(to + (k * tile_width + c) * width, from, s.squeezed * sizeof(A));
    }
}

}  // namespace abawkit::ABAWKIT_ISA
