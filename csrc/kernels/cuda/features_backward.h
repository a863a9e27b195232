// The last pass of backward: gradients of the features and of the weights of rows and columns.
#pragma once

#include "gates.h"

namespace abawkit::cuda {

template <class Size, class T>
struct FeaturesBackward {
  using A = Compute<T>;
  static constexpr int before = 1, during = 3, after = 2, last = 0, most_threads = chunk * slots, least_blocks = 2;
  static constexpr int buffer_bytes = tile_bytes<Size, T>() + 2 * slots * squeezed_bytes<Size, A>();

  struct Arguments {
    Size size;
    Walk walk;
    int buffers;
    View<const T> features;
    View<T> gradient;
    Weights<A> weights;
    bool batch_statistics;
    const A *mean[2], *reciprocal[2];                // (K, C)
    const A *scale_gradient[2], *shift_gradient[2];  // of these norms
    const A *activated, *squeeze_gradient;           // (N, K, H + W, M)
    const A* pooled_gradient;                        // (N, C)
    A* gates;                                        // (N, K, H + W, C), for sizes that aren't fixed
    A* sums;                                         // (N, K, H + W, C), overwritten for such
    A *row_gradient, *column_gradient;               // (partials of the walk, K, W, C), (..., K, H, C)
  };
  static constexpr int count = Size::fixed ? Size::position_count : 1, row_count = Size::row_count,
                       column_count = Size::column_count;
  using Local = typename Size::template Local<A, count>;
  struct Thread {
    typename Size::template Local<A, row_count> row;        // [k * W + w]
    typename Size::template Local<A, column_count> column;  // [k * H + h]
  };

  ABAWKIT_DEVICE static std::int64_t rounds(const Arguments& a, const Where& at) {
    return a.walk.steps(at.block, a.size.images);
  }
  ABAWKIT_DEVICE static void phase(Phase<0>, const Arguments& a, const Where& at, Thread& thread) {
    const Spot spot = spot_of(a.walk, a.size, at, 0);
    if (spot.channel >= a.size.channels) return;
    const int K = a.size.heads();
    thread.row = {weight_gradient(a, spot, 0), a.size.channels};
    thread.column = {weight_gradient(a, spot, 1), a.size.channels};
    ABAWKIT_UNROLL
    for (int i = 0; i < K * a.size.width(); ++i) thread.row[i] = A(0);
    ABAWKIT_UNROLL
    for (int i = 0; i < K * a.size.height(); ++i) thread.column[i] = A(0);
  }
  ABAWKIT_DEVICE static void phase(Phase<1>, const Arguments& a, const Where& at, Thread&) {
    copy_ahead<Size>(at.round, rounds(a, at), a.buffers, [&](std::int64_t round, int buffer) {
      const Spot spot = spot_of(a.walk, a.size, at, round);
      stage(a.features, a.size, spot, tiles(at, buffer));
      copy_squeezed<Size>(a.activated, spot, squeezed(at, buffer, 0));
      copy_squeezed<Size>(a.squeeze_gradient, spot, squeezed(at, buffer, 1));
    });
  }
  ABAWKIT_DEVICE static void phase(Phase<2>, const Arguments& a, const Where& at, Thread& thread) {
    const Spot spot = spot_of(a.walk, a.size, at, at.round);
    if (!spot.valid) return;
    const std::int64_t C = a.size.channels;
    const int K = a.size.heads(), P = a.size.positions();
    const std::int64_t own = spot.image * K * P * C + spot.channel;
    Local gates(a.gates + own, C), gradient(a.sums + own, C);
    make_gates(a.size, gate_weights_of(a.weights, a.size.squeezed(), C, spot.channel),
               squeezed_of(a.activated, a.size, spot, squeezed(at, buffer_of(a, at), 0)), gates);
    make_gradient(a, spot, a.sums + own,
                  squeezed_of(a.squeeze_gradient, a.size, spot, squeezed(at, buffer_of(a, at), 1)), gradient);
    with_tile(a.features, a.size, spot, tiles(at, buffer_of(a, at)),
              [&](const auto& x) { finish(a, spot, gates, gradient, x, thread); });
  }
  ABAWKIT_DEVICE static void phase(Phase<3>, const Arguments& a, const Where& at, Thread&) {
    unstage(a.gradient, a.size, spot_of(a.walk, a.size, at, at.round), tiles(at, buffer_of(a, at)));
  }
  ABAWKIT_DEVICE static void phase(Phase<4>, const Arguments& a, const Where& at, Thread& thread) {
    if constexpr (Size::fixed) {
      const Spot spot = spot_of(a.walk, a.size, at, 0);
      if (spot.channel >= a.size.channels) return;
      hand_over<row_count>(spot, thread.row, handed(at));
      hand_over<column_count>(spot, thread.column, handed(at) + row_entries);
    }
  }
  ABAWKIT_DEVICE static void phase(Phase<5>, const Arguments& a, const Where& at, Thread& thread) {
    if constexpr (Size::fixed) {
      const Spot spot = spot_of(a.walk, a.size, at, 0);
      if (spot.slot || spot.channel >= a.size.channels) return;
      take_over<row_count>(spot, thread.row, handed(at));
      take_over<column_count>(spot, thread.column, handed(at) + row_entries);
      thread.row.store(weight_gradient(a, spot, 0), a.size.channels);
      thread.column.store(weight_gradient(a, spot, 1), a.size.channels);
    }
  }

 private:
  ABAWKIT_DEVICE static std::int64_t buffer_of(const Arguments& a, const Where& at) { return at.round % a.buffers; }
  // Writes the gradient of the features, and adds to those of the weights.
  template <class X>
  ABAWKIT_DEVICE static void finish(const Arguments& a, const Spot& spot, Local& gates, Local& gradient, const X& x,
                                    Thread& thread) {
    const std::int64_t C = a.size.channels;
    const int K = a.size.heads(), P = a.size.positions(), H = a.size.height(), W = a.size.width();
    keep_order();
    const auto to = output_of(a, x);
    const typename Size::template DirectionWeights<A, true> row_weight(a.weights.row + spot.channel, C);
    const A pooled_gradient = a.pooled_gradient[spot.image * C + spot.channel];
    ABAWKIT_UNROLL
    for (int h = 0; h < H; ++h) {
      keep_order();
      ABAWKIT_UNROLL
      for (int w = 0; w < W; ++w) {
        const int i = h * W + w;
        const A value = x(i);
        A sum = pooled_gradient * a.weights.pool[i * C + spot.channel] * strongest_at(a.size, gates, h, w);
        ABAWKIT_UNROLL
        for (int k = 0; k < K; ++k) {
          const A row = gradient[k * P + h], column = gradient[k * P + H + w];
          sum += row * row_weight[k * W + w];
          sum += column * a.weights.column[(k * H + h) * C + spot.channel];
          thread.row[k * W + w] += row * value;
          thread.column[k * H + h] += column * value;
        }
        to.base[i * to.stride] = narrow<T>(sum);
      }
    }
  }

  static constexpr int row_entries = (slots - 1) * chunk * row_count;
  static_assert(!Size::fixed ||
                    (slots - 1) * chunk * (row_count + column_count) * static_cast<int>(sizeof(A)) <= buffer_bytes,
                "what slots hand over takes the tiles' space");
  ABAWKIT_DEVICE static A* handed(const Where& at) { return reinterpret_cast<A*>(at.shared); }
  ABAWKIT_DEVICE static T* tiles(const Where& at, std::int64_t buffer) {
    return reinterpret_cast<T*>(at.shared + buffer * buffer_bytes);
  }
  ABAWKIT_DEVICE static A* squeezed(const Where& at, std::int64_t buffer, int which) {
    return reinterpret_cast<A*>(at.shared + buffer * buffer_bytes + tile_bytes<Size, T>() +
                                which * slots * squeezed_bytes<Size, A>());
  }
  ABAWKIT_DEVICE static A* weight_gradient(const Arguments& a, const Spot& spot, int direction) {
    const std::int64_t entries = direction ? a.size.height() : a.size.width();
    return (direction ? a.column_gradient : a.row_gradient) +
           a.walk.template partial<Size>(spot) * a.size.heads() * entries * a.size.channels + spot.channel;
  }
  // Where the gradient goes: over the tile, or into memory at once.
  template <class X>
  ABAWKIT_DEVICE static auto output_of(const Arguments& a, const X& x) {
    if constexpr (Size::fixed) {
      return x;
    } else {
      return Tile<T, std::int64_t>{a.gradient.data + (x.base - a.features.data), x.stride};
    }
  }

  // From that of the squeeze to that of the sums, through their norms.
  ABAWKIT_DEVICE static void make_gradient(const Arguments& a, const Spot& spot, const A* sums,
                                           const A* squeeze_gradient, Local& gradient) {
    const std::int64_t C = a.size.channels, M = a.size.squeezed();
    const int K = a.size.heads(), P = a.size.positions();
    ABAWKIT_UNROLL
    for (int k = 0; k < K; ++k) {
      ABAWKIT_UNROLL
      for (int d = 0; d < 2; ++d) {
        keep_order();
        const int positions = d ? a.size.width() : a.size.height(), first = k * P + (d ? a.size.height() : 0);
        const std::int64_t kc = k * C + spot.channel;
        const A share = a.batch_statistics ? A(1) / A(a.size.images * positions) : A(0);
        const A mean = a.mean[d][kc], reciprocal = a.reciprocal[d][kc], factor = a.weights.scale[d][kc] * reciprocal;
        const A average = a.shift_gradient[d][kc] * share, slope = a.scale_gradient[d][kc] * share;
        expand(a.size, a.weights.squeeze + k * M * C + spot.channel, C, squeeze_gradient + first * M, positions,
               [&](int p, A sum) {
                 const A hat = (sums[(first + p) * C] - mean) * reciprocal;
                 gradient[first + p] = factor * (sum - average - hat * slope);
               });
      }
    }
  }
};

}  // namespace abawkit::cuda
