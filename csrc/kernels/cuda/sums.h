// Sums along rows and along columns, and what their norms need of them.
#pragma once

#include "walk.h"
#include "weights.h"

namespace abawkit::cuda {

// Mean and squares about the first value: exact for constant values, and never further off than rounding of the sums,
// as the first value is one of those that the variance is of.
template <class A>
struct Moments {
  A first, sum, square;
  ABAWKIT_DEVICE void start(A value) {
    first = value;
    sum = square = A(0);
  }
  ABAWKIT_DEVICE void add(A value) {
    const A off = value - first;
    sum += off;
    square += off * off;
  }
  ABAWKIT_DEVICE A mean(A count) const { return first + sum / count; }
  ABAWKIT_DEVICE A squares(A count) const {
    const A left = square - sum * (sum / count);
    return left > A(0) ? left : A(0);
  }
};

template <class Size, class T>
struct Sums {
  using A = Compute<T>;
  static constexpr int before = 0, during = 2, after = 0, last = 0, most_threads = chunk * slots, least_blocks = 3;
  static constexpr int at_once = Size::heads_at_once;
  static constexpr int buffer_bytes = tile_bytes<Size, T>();

  struct Arguments {
    Size size;
    Walk walk;
    int buffers;
    View<const T> features;
    const A *row, *column;  // weights
    A* sums;                // (N, K, H + W, C)
    A *means, *squares;     // (rows of the walk, 2, K, C) each, or null
  };
  struct Thread {
    Moments<A> moments[2][at_once];
  };

  // All images for some heads, then for others.
  ABAWKIT_DEVICE static std::int64_t rounds(const Arguments& a, const Where& at) {
    return a.size.heads() / at_once * a.walk.steps(at.block, a.size.images);
  }
  ABAWKIT_DEVICE static void phase(Phase<0>, const Arguments& a, const Where& at, Thread&) {
    copy_ahead<Size>(at.round, rounds(a, at), a.buffers, [&](std::int64_t round, int buffer) {
      stage(a.features, a.size, spot_of(a.walk, a.size, at, round), tiles(at, buffer));
    });
  }
  ABAWKIT_DEVICE static void phase(Phase<1>, const Arguments& a, const Where& at, Thread& thread) {
    const std::int64_t steps = a.walk.steps(at.block, a.size.images), step = at.round % steps;
    const Spot spot = spot_of(a.walk, a.size, at, step);
    const int head = static_cast<int>(at.round / steps) * at_once;
    if (spot.valid) {
      with_tile(a.features, a.size, spot, tiles(at, buffer_of(a, at)), [&](const auto& x) {
        const int H = a.size.height(), W = a.size.width();
        along<0>(a, spot, head, step == 0, thread, H, W, [&](int p, int i) { return x(p * W + i); });
        along<1>(a, spot, head, step == 0, thread, W, H, [&](int p, int i) { return x(i * W + p); });
      });
    }
    if (step == steps - 1 && a.means && spot.channel < a.size.channels) finish(a, spot, head, thread);
  }

 private:
  ABAWKIT_DEVICE static std::int64_t buffer_of(const Arguments& a, const Where& at) { return at.round % a.buffers; }
  ABAWKIT_DEVICE static T* tiles(const Where& at, std::int64_t buffer) {
    return reinterpret_cast<T*>(at.shared + buffer * buffer_bytes);
  }
  template <int direction, class Entry>
  ABAWKIT_DEVICE static void along(const Arguments& a, const Spot& spot, int head, bool first_image, Thread& thread,
                                   int positions, int entries, const Entry& entry) {
    const std::int64_t C = a.size.channels;
    const typename Size::template DirectionWeights<A, direction == 0> weight(
        (direction ? a.column : a.row) + head * entries * C + spot.channel, C);
    A* to = a.sums + ((spot.image * a.size.heads() + head) * a.size.positions() + direction * a.size.height()) * C +
            spot.channel;
    ABAWKIT_UNROLL
    for (int p = 0; p < positions; ++p) {
      keep_order();
      A sum[at_once] = {};
      ABAWKIT_UNROLL
      for (int i = 0; i < entries; ++i) {
        const A value = entry(p, i);
        ABAWKIT_UNROLL
        for (int k = 0; k < at_once; ++k) sum[k] += value * weight[k * entries + i];
      }
      ABAWKIT_UNROLL
      for (int k = 0; k < at_once; ++k) {
        to[(k * a.size.positions() + p) * C] = sum[k];
        if (!a.means) continue;
        Moments<A>& moments = thread.moments[direction][k];
        if (first_image && p == 0) moments.start(sum[k]);
        moments.add(sum[k]);
      }
    }
  }
  ABAWKIT_DEVICE static void finish(const Arguments& a, const Spot& spot, int head, const Thread& thread) {
    const std::int64_t C = a.size.channels, K = a.size.heads();
    // The number of images that this slot had; none leaves nothing to write.
    const std::int64_t end = smaller((spot.row / slots + 1) * a.walk.group_images, a.size.images);
    const std::int64_t left = end - spot.row / slots * a.walk.group_images - spot.slot;
    if (left <= 0) return;
    ABAWKIT_UNROLL
    for (int direction = 0; direction < 2; ++direction) {
      const A count = A(ceil_divide(left, slots) * (direction ? a.size.width() : a.size.height()));
      ABAWKIT_UNROLL
      for (int k = 0; k < at_once; ++k) {
        const std::int64_t to = ((spot.row * 2 + direction) * K + head + k) * C + spot.channel;
        a.means[to] = thread.moments[direction][k].mean(count);
        a.squares[to] = thread.moments[direction][k].squares(count);
      }
    }
  }
};

}  // namespace abawkit::cuda
