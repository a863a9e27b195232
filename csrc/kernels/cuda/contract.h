// The two products over which a gradient or a value passes the bottleneck.
#pragma once

#include "walk.h"

namespace abawkit::cuda {

template <class Size, class A>
struct ContractArguments {
  Size size;
  const A* from;
  const A *mean[2], *reciprocal[2], *scale[2], *shift[2];  // (K, C) of rows and of columns; mean[0] null for no norm
  const A* weight[2];
  const A* bias;  // may be null
  A* to;
};

// to[n, k, p, m] = bias[k, m] + sum_c weight[k, m, c] f(from[n, k, p, c]), f a norm or nothing.
//
// A block has one head of one image. A warp has 7 positions by 4 of the M outputs, each of its threads every 32nd
// channel; their sums meet in shared memory.
template <class Size, class A>
struct Contract {
  static constexpr int lanes = 32, warps = 8, tile_p = 7, tile_m = 4, tile = tile_p * tile_m;
  static constexpr int before = 0, during = 2, after = 0, last = 0, most_threads = lanes * warps,
                       least_blocks = sizeof(A) == 8 ? 1 : 2;
  static constexpr int shared_bytes = warps * tile * (lanes + 1) * static_cast<int>(sizeof(A));

  using Arguments = ContractArguments<Size, A>;
  struct Thread {};

  struct Place {
    std::int64_t head;  // n * K + k
    int k, direction, first, count, first_m;
    bool valid;
  };
  ABAWKIT_DEVICE static int tiles_of(int positions) { return (positions + tile_p - 1) / tile_p; }
  ABAWKIT_DEVICE static int all_tiles(const Size& s) {
    return (tiles_of(s.height()) + tiles_of(s.width())) * ((s.squeezed() + tile_m - 1) / tile_m);
  }
  ABAWKIT_DEVICE static Place place_of(const Arguments& a, const Where& at, int warp) {
    const int across = (a.size.squeezed() + tile_m - 1) / tile_m, rows = tiles_of(a.size.height());
    const int number = static_cast<int>(at.round) * warps + warp;
    Place place;
    place.head = at.block;
    place.k = static_cast<int>(at.block % a.size.heads());
    place.first_m = number % across * tile_m;
    place.direction = number / across >= rows;
    const int in_direction = (number / across - place.direction * rows) * tile_p;
    const int left = (place.direction ? a.size.width() : a.size.height()) - in_direction;
    place.count = left < tile_p ? left : tile_p;
    place.first = place.direction * a.size.height() + in_direction;
    place.valid = number < all_tiles(a.size);
    return place;
  }

  ABAWKIT_DEVICE static std::int64_t rounds(const Arguments& a, const Where&) {
    return (all_tiles(a.size) + warps - 1) / warps;
  }
  ABAWKIT_DEVICE static void phase(Phase<0>, const Arguments& a, const Where& at, Thread&) {
    const int lane = at.thread % lanes, warp = at.thread / lanes;
    const Place place = place_of(a, at, warp);
    if (!place.valid) return;
    A sums[tile_p][tile_m] = {};
    const std::int64_t C = a.size.channels, M = a.size.squeezed();
    const int d = place.direction;
    const A* const from = a.from + (place.head * a.size.positions() + place.first) * C;
    const A* const weight = a.weight[d] + (place.k * M + place.first_m) * C;
    for (std::int64_t c = lane; c < C; c += lanes) {
      A mean = A(0), factor = A(1), shift = A(0), w[tile_m];
      if (a.mean[0]) {
        const std::int64_t kc = place.k * C + c;
        mean = a.mean[d][kc];
        factor = a.scale[d][kc] * a.reciprocal[d][kc];
        shift = a.shift[d][kc];
      }
      ABAWKIT_UNROLL
      for (int m = 0; m < tile_m; ++m) w[m] = place.first_m + m < M ? weight[m * C + c] : A(0);
      ABAWKIT_UNROLL
      for (int p = 0; p < tile_p; ++p) {
        if (p >= place.count) continue;
        const A value = (from[p * C + c] - mean) * factor + shift;
        ABAWKIT_UNROLL
        for (int m = 0; m < tile_m; ++m) sums[p][m] += value * w[m];
      }
    }
    A* const shared = reinterpret_cast<A*>(at.shared) + warp * tile * (lanes + 1) + lane;
    ABAWKIT_UNROLL
    for (int i = 0; i < tile; ++i) shared[i * (lanes + 1)] = sums[i / tile_m][i % tile_m];
  }
  ABAWKIT_DEVICE static void phase(Phase<1>, const Arguments& a, const Where& at, Thread&) {
    const Place place = place_of(a, at, at.thread / tile);
    const int p = at.thread % tile / tile_m, m = place.first_m + at.thread % tile_m, M = a.size.squeezed();
    if (at.thread >= warps * tile || !place.valid || p >= place.count || m >= M) return;
    A sum = a.bias ? a.bias[place.k * M + m] : A(0);
    const A* const shared = reinterpret_cast<const A*>(at.shared) + at.thread * (lanes + 1);
    ABAWKIT_UNROLL
    for (int i = 0; i < lanes; ++i) sum += shared[i];
    a.to[(place.head * a.size.positions() + place.first + p) * M + m] = sum;
  }
};

// to[group, d, k, m, c] = sum over images and the positions of direction d of small[n, k, p, m] (large[n, k, p, c] -
// mean[d, k, c]), and the same without `small`. A thread has one channel and up to 16 of the M.
template <class Size, class A>
struct Outer {
  static constexpr int before = 1, during = 0, after = 0, last = 0, most_threads = 128, least_blocks = 4, tile_m = 16;

  struct Arguments {
    Size size;
    std::int64_t groups, group_images;
    const A *small, *large;
    const A* mean[2];  // null for none
    A* to;
    A* sums;  // (groups, 2, K, C), or null
  };
  struct Thread {};
  static std::int64_t blocks(const Arguments& a) {
    return a.groups * 2 * a.size.heads() * ceil_divide(a.size.squeezed(), tile_m) *
           ceil_divide(a.size.channels, most_threads);
  }
  ABAWKIT_DEVICE static std::int64_t rounds(const Arguments&, const Where&) { return 0; }

  ABAWKIT_DEVICE static void phase(Phase<0>, const Arguments& a, const Where& at, Thread&) {
    const std::int64_t C = a.size.channels, chunks = ceil_divide(C, most_threads);
    const std::int64_t c = at.block % chunks * most_threads + at.thread;
    if (c >= C) return;
    const int M = a.size.squeezed(), K = a.size.heads(), across = (M + tile_m - 1) / tile_m;
    std::int64_t rest = at.block / chunks;
    const int first_m = static_cast<int>(rest % across) * tile_m, d = static_cast<int>(rest / across % 2);
    rest /= across * 2;
    const std::int64_t k = rest % K, group = rest / K;
    const int count = d ? a.size.width() : a.size.height(), first = d ? a.size.height() : 0;
    const int wanted = M - first_m < tile_m ? M - first_m : tile_m;
    const A mean = a.mean[0] ? a.mean[d][k * C + c] : A(0);
    A products[tile_m] = {}, sum = A(0);
    const std::int64_t end = smaller((group + 1) * a.group_images, a.size.images);
    for (std::int64_t n = group * a.group_images; n < end; ++n) {
      const std::int64_t position = (n * K + k) * a.size.positions() + first;
      const A* const large = a.large + position * C + c;
      const A* const small = a.small + position * M + first_m;
      ABAWKIT_UNROLL
      for (int p = 0; p < count; ++p) {
        const A value = large[p * C] - mean;
        sum += value;
        add(products, small + p * M, value, wanted);
      }
    }
    A* const to = a.to + (((group * 2 + d) * K + k) * M + first_m) * C + c;
    ABAWKIT_UNROLL
    for (int m = 0; m < tile_m; ++m)
      if (m < wanted) to[m * C] = products[m];
    if (a.sums && first_m == 0) a.sums[((group * 2 + d) * K + k) * C + c] = sum;
  }

 private:
  ABAWKIT_DEVICE static void add(A (&products)[tile_m], const A* small, A value, int wanted) {
    if constexpr (Size::fixed && Size::squeezed_count % tile_m == 0) {
      (void)wanted;
      ABAWKIT_UNROLL
      for (int m = 0; m < tile_m; m += Vector<A>::size) {
        const Vector<A> four = load_vector(small + m);
        ABAWKIT_UNROLL
        for (int i = 0; i < Vector<A>::size; ++i) products[m + i] += four.values[i] * value;
      }
    } else {
      ABAWKIT_UNROLL
      for (int m = 0; m < tile_m; ++m)
        if (m < wanted) products[m] += small[m] * value;
    }
  }
};

}  // namespace abawkit::cuda
