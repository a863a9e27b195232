// Sizes that are known when compiling, and sizes that aren't; the memory of a thread follows from them.
#pragma once

#include "dda.h"
#include "program.h"

namespace abawkit::cuda {

// A thread's numbers: registers where their count is known, else memory that the thread owns, `stride` apart.
template <class A, int count>
struct Registers {
  A values[count];
  ABAWKIT_DEVICE Registers() {}
  ABAWKIT_DEVICE Registers(A*, std::int64_t) {}
  ABAWKIT_DEVICE A& operator[](int i) { return values[i]; }
  ABAWKIT_DEVICE void store(A* to, std::int64_t stride) const {
    ABAWKIT_UNROLL
    for (int i = 0; i < count; ++i) to[i * stride] = values[i];
  }
};

template <class A>
struct Owned {
  A* base;
  std::int64_t stride;
  ABAWKIT_DEVICE Owned() {}
  ABAWKIT_DEVICE Owned(A* memory, std::int64_t apart) : base(memory), stride(apart) {}
  ABAWKIT_DEVICE A& operator[](int i) { return base[i * stride]; }
  ABAWKIT_DEVICE void store(A*, std::int64_t) const {}  // it lies there already
};

// Numbers that a thread reads several times: copied to registers where their count is known.
template <class A, int count>
struct Kept {
  A values[count];
  ABAWKIT_DEVICE Kept(const A* from, std::int64_t stride) {
    ABAWKIT_UNROLL
    for (int i = 0; i < count; ++i) values[i] = from[i * stride];
  }
  ABAWKIT_DEVICE A operator[](int i) const { return values[i]; }
};

template <class A>
struct Read {
  const A* base;
  std::int64_t stride;
  ABAWKIT_DEVICE Read(const A* from, std::int64_t apart) : base(from), stride(apart) {}
  ABAWKIT_DEVICE A operator[](int i) const { return base[i * stride]; }
};

template <int H, int W, int K, int M>
struct Fixed {
  static constexpr bool fixed = true;
  static constexpr int heads_at_once = K;
  template <class A, int count>
  using Local = Registers<A, count>;
  template <class A, bool row>
  using DirectionWeights = Kept<A, K*(row ? W : H)>;
  static constexpr int position_count = K * (H + W), row_count = K * W, column_count = K * H;  // of a channel
  static constexpr int area_count = H * W, squeezed_count = M;

  Fixed() = default;
  explicit Fixed(const Sizes& s) : images(s.images), channels(static_cast<int>(s.channels)) {}
  static bool fits(const Sizes& s) { return s.height == H && s.width == W && s.heads == K && s.squeezed == M; }
  ABAWKIT_DEVICE static constexpr int height() { return H; }
  ABAWKIT_DEVICE static constexpr int width() { return W; }
  ABAWKIT_DEVICE static constexpr int heads() { return K; }
  ABAWKIT_DEVICE static constexpr int squeezed() { return M; }
  ABAWKIT_DEVICE static constexpr int positions() { return H + W; }
  ABAWKIT_DEVICE static constexpr int area() { return H * W; }
  std::int64_t images;
  int channels;
};

struct Any {
  static constexpr bool fixed = false;
  static constexpr int heads_at_once = 1;
  template <class A, int count>
  using Local = Owned<A>;
  template <class A, bool row>
  using DirectionWeights = Read<A>;
  static constexpr int position_count = 1, row_count = 1, column_count = 1, area_count = 1, squeezed_count = 1;

  Any() = default;
  explicit Any(const Sizes& s)
      : images(s.images),
        channels(static_cast<int>(s.channels)),
        h(static_cast<int>(s.height)),
        w(static_cast<int>(s.width)),
        k(static_cast<int>(s.heads)),
        m(static_cast<int>(s.squeezed)) {}
  ABAWKIT_DEVICE int height() const { return h; }
  ABAWKIT_DEVICE int width() const { return w; }
  ABAWKIT_DEVICE int heads() const { return k; }
  ABAWKIT_DEVICE int squeezed() const { return m; }
  ABAWKIT_DEVICE int positions() const { return h + w; }
  ABAWKIT_DEVICE int area() const { return h * w; }
  std::int64_t images;
  int channels, h, w, k, m;
};

}  // namespace abawkit::cuda
