// Features and gates in memory, and how tiles are read from them and written to them.
#pragma once

#include "sizes.h"
#include "transpose.h"

namespace abawkit::ABAWKIT_ISA {

// Where features, or their gradients, lie.
template <class X>
struct Images {
  X* data;
  std::int64_t channels;
  std::int64_t area;
  bool channels_last;
  template <class S>
  Images(const void* at, const Sizes& sizes, const S& s, bool last)
      : data(static_cast<X*>(const_cast<void*>(at))), channels(sizes.channels), area(s.area), channels_last(last) {}
  X* image(std::int64_t n) const { return data + n * channels * area; }
};

inline int channels_in_tile(std::int64_t channels, std::int64_t tile) {
  const std::int64_t left = channels - tile * tile_width;
  return left < tile_width ? static_cast<int>(left) : tile_width;
}

inline constexpr std::int64_t cache_line = 64;

// Asks for what is read next, rows of bytes, into the second-level cache, a share at each step of what is done before:
// more lines at once than the processor can wait for would hold it up. `Write` asks for lines that will be written.
template <bool Write = false>
class Asking {
 public:
  Asking() = default;
  Asking(const void* from, std::int64_t rows, std::int64_t bytes, std::int64_t stride, std::int64_t steps)
      : row_(static_cast<const char*>(from)),
        rows_(rows),
        bytes_(bytes),
        stride_(stride),
        share_(rows * ((bytes + cache_line - 1) / cache_line) / steps + 1) {}
  void operator()() {
    for (std::int64_t left = share_; left > 0 && rows_ > 0;) {
      const std::int64_t end = offset_ + left * cache_line < bytes_ ? offset_ + left * cache_line : bytes_;
      for (; offset_ < end; offset_ += cache_line, --left) __builtin_prefetch(row_ + offset_, Write, Write ? 3 : 2);
      if (offset_ < bytes_) return;
      offset_ = 0;
      row_ += stride_;
      --rows_;
    }
  }

 private:
  const char* row_ = nullptr;
  std::int64_t rows_ = 0, bytes_ = 0, stride_ = 0, share_ = 0, offset_ = 0;
};
using Ahead = Asking<false>;

// For the tiles from..to of an image.
template <bool Write = false, class S, class X>
inline Asking<Write> ahead_of(const S& s, const Images<X>& x, std::int64_t n, std::int64_t from, std::int64_t to,
                              std::int64_t steps) {
  constexpr auto size = static_cast<std::int64_t>(sizeof(X));
  const std::int64_t first = from * tile_width, end = to * tile_width < x.channels ? to * tile_width : x.channels;
  if (x.channels_last) return {x.image(n) + first, s.area, (end - first) * size, x.channels * size, steps};
  return {x.image(n) + first * s.area, 1, (end - first) * s.area * size, 0, steps};
}

// 16 channels that lie next to each other.
template <class A, class X>
inline void copy_channels(const X* from, A* to) {
  if constexpr (sizeof(X) == sizeof(A))
    for (int j = 0; j < tile_width; j += lanes<A>) store(to + j, load(from + j));
  else
    for (int c = 0; c < tile_width; ++c) to[c] = widen(from[c]);
}

// (area, 16) of one image and tile; channels that there are not are zero. `rows` has room for 16 rows of an image.
template <class S, class A, class X>
inline void load_tile(const S& s, const Images<const X>& x, std::int64_t n, std::int64_t tile, A* to, A* rows) {
  const int count = channels_in_tile(x.channels, tile);
  const X* image = x.image(n);
  if (count < tile_width)
    for (std::int64_t i = 0; i < s.area * tile_width; ++i) to[i] = 0;
  if (x.channels_last) {
    const X* from = image + tile * tile_width;
    if (count == tile_width)
      for (std::int64_t i = 0; i < s.area; ++i) copy_channels(from + i * x.channels, to + i * tile_width);
    else
      for (std::int64_t i = 0; i < s.area; ++i)
        for (int c = 0; c < count; ++c) to[i * tile_width + c] = widen(from[i * x.channels + c]);
    return;
  }
  const X* from = image + tile * tile_width * s.area;
  if constexpr (sizeof(A) == sizeof(float)) {
    if (count == tile_width && s.area >= quad) {
      if constexpr (sizeof(X) == sizeof(A)) {
        rows_to_tile(from, s.area, s.area, to);
      } else {
        for (std::int64_t i = 0; i < tile_width * s.area; ++i) rows[i] = widen(from[i]);
        rows_to_tile(rows, s.area, s.area, to);
      }
      return;
    }
  }
  for (std::int64_t i = 0; i < s.area; ++i)
    for (int c = 0; c < count; ++c) to[i * tile_width + c] = widen(from[c * s.area + i]);
}

// All tiles of an image that lies channels last, read in the order of memory: (tiles, area, 16).
template <class S, class A, class X>
inline void load_image(const S& s, const Images<const X>& x, std::int64_t n, A* to) {
  const std::int64_t whole = x.channels / tile_width, left = x.channels % tile_width;
  if (left > 0) std::memset(to + whole * s.area * tile_width, 0, s.area * tile_width * sizeof(A));
  for (std::int64_t i = 0; i < s.area; ++i) {
    const X* from = x.image(n) + i * x.channels;
    A* at = to + i * tile_width;
    for (std::int64_t tile = 0; tile < whole; ++tile, from += tile_width, at += s.area * tile_width)
      copy_channels(from, at);
    for (std::int64_t c = 0; c < left; ++c) at[c] = widen(from[c]);
  }
}

// The inverse of `load_tile`.
template <class S, class A, class X>
inline void store_tile(const S& s, const Images<X>& x, std::int64_t n, std::int64_t tile, const A* from, A* rows) {
  const int count = channels_in_tile(x.channels, tile);
  X* image = x.image(n);
  if (x.channels_last) {
    X* to = image + tile * tile_width;
    for (std::int64_t i = 0; i < s.area; ++i, to += x.channels, from += tile_width)
      if constexpr (sizeof(X) == sizeof(A))
        if (count == tile_width)
          copy_channels(from, to);
        else
          for (int c = 0; c < count; ++c) to[c] = from[c];
      else
        for (int c = 0; c < count; ++c) to[c] = narrow<X>(from[c]);
    return;
  }
  X* to = image + tile * tile_width * s.area;
  if constexpr (sizeof(A) == sizeof(float)) {
    if (count == tile_width && s.area >= quad) {
      if constexpr (sizeof(X) == sizeof(A)) {
        tile_to_rows(from, s.area, to, s.area);
      } else {
        tile_to_rows(from, s.area, rows, s.area);
        for (std::int64_t i = 0; i < tile_width * s.area; ++i) to[i] = narrow<X>(rows[i]);
      }
      return;
    }
  }
  for (std::int64_t i = 0; i < s.area; ++i)
    for (int c = 0; c < count; ++c) to[c * s.area + i] = narrow<X>(from[i * tile_width + c]);
}

// `rows` of a tile (rows, 16), of which `count` channels exist, as (count, rows).
template <class A, class X>
inline void store_rows(const A* from, std::int64_t rows, int count, X* to) {
  if constexpr (sizeof(A) == sizeof(float) && sizeof(X) == sizeof(A))
    if (count == tile_width && rows >= quad) return tile_to_rows(from, rows, to, rows);
  for (int c = 0; c < count; ++c)
    for (std::int64_t i = 0; i < rows; ++i) to[c * rows + i] = narrow<X>(from[i * tile_width + c]);
}

// Adds (count, rows) to a tile (rows, 16); `scratch` has room for one.
template <class A, class X>
inline void add_rows(const X* from, std::int64_t rows, int count, A* to, A* scratch) {
  if constexpr (sizeof(A) == sizeof(float) && sizeof(X) == sizeof(A))
    if (count == tile_width && rows >= quad) {
      rows_to_tile(from, rows, rows, scratch);
      for (std::int64_t i = 0; i < rows * tile_width; ++i) to[i] += scratch[i];
      return;
    }
  for (int c = 0; c < count; ++c)
    for (std::int64_t i = 0; i < rows; ++i) to[i * tile_width + c] += widen(from[c * rows + i]);
}

// Asks for the lines of the gates of one image and tile; either array may be null. Inlined, as compilers leave out
// calls of functions that do nothing but ask.
template <bool Write, class S, class X>
[[gnu::always_inline]] inline void ask_for_gates(const S& s, std::int64_t channels, std::int64_t n, std::int64_t tile,
                                                 const X* rows, const X* columns) {
  const std::int64_t count = channels_in_tile(channels, tile), size = count * static_cast<std::int64_t>(sizeof(X));
  for (std::int64_t k = 0; k < s.heads; ++k) {
    const std::int64_t channel = (n * s.heads + k) * channels + tile * tile_width;
    for (std::int64_t i = 0; rows != nullptr && i < size * s.height; i += cache_line)
      __builtin_prefetch(reinterpret_cast<const char*>(rows + channel * s.height) + i, Write, 3);
    for (std::int64_t i = 0; columns != nullptr && i < size * s.width; i += cache_line)
      __builtin_prefetch(reinterpret_cast<const char*>(columns + channel * s.width) + i, Write, 3);
  }
}

// Writes the gates of one image and tile as (N, K, C, H) and (N, K, C, W).
template <class S, class A, class X>
inline void store_gates(const S& s, std::int64_t channels, std::int64_t n, std::int64_t tile, const A* gates, X* rows,
                        X* columns) {
  const int count = channels_in_tile(channels, tile);
  for (std::int64_t k = 0; k < s.heads; ++k) {
    const std::int64_t channel = (n * s.heads + k) * channels + tile * tile_width;
    const A* from = gates + k * s.positions * tile_width;
    store_rows(from, s.height, count, rows + channel * s.height);
    store_rows(from + s.height * tile_width, s.width, count, columns + channel * s.width);
  }
}

// Adds gradients (N, K, C, H) and (N, K, C, W) of one image and tile that came from outside; either may be null.
template <class S, class A, class X>
inline void add_gate_gradients(const S& s, std::int64_t channels, std::int64_t n, std::int64_t tile, const X* rows,
                               const X* columns, A* gradients, A* scratch) {
  const int count = channels_in_tile(channels, tile);
  for (std::int64_t k = 0; k < s.heads; ++k) {
    const std::int64_t channel = (n * s.heads + k) * channels + tile * tile_width;
    A* to = gradients + k * s.positions * tile_width;
    if (rows != nullptr) add_rows(rows + channel * s.height, s.height, count, to, scratch);
    if (columns != nullptr) add_rows(columns + channel * s.width, s.width, count, to + s.height * tile_width, scratch);
  }
}

}  // namespace abawkit::ABAWKIT_ISA
