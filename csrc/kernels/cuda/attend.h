// Gates, their maximum over the heads, its product with the features, and the global depthwise convolution.
#pragma once

#include "gates.h"

namespace abawkit::cuda {

template <class Size, class T>
struct Attend {
  using A = Compute<T>;
  static constexpr int before = 0, during = 3, after = 0, last = 0, most_threads = chunk * slots, least_blocks = 3;
  static constexpr int buffer_bytes = tile_bytes<Size, T>() + slots * squeezed_bytes<Size, A>();

  struct Arguments {
    Size size;
    Walk walk;
    int buffers;
    View<const T> features;
    Weights<A> weights;
    const A* activated;  // (N, K, H + W, M)
    A* gates;            // (N, K, H + W, C), for sizes that aren't fixed
    A* pooled;           // (N, C)
    T *rows, *columns;   // null where not wanted
  };
  struct Thread {};

  ABAWKIT_DEVICE static std::int64_t rounds(const Arguments& a, const Where& at) {
    return a.walk.steps(at.block, a.size.images);
  }
  ABAWKIT_DEVICE static void phase(Phase<0>, const Arguments& a, const Where& at, Thread&) {
    copy_ahead<Size>(at.round, rounds(a, at), a.buffers, [&](std::int64_t round, int buffer) {
      const Spot spot = spot_of(a.walk, a.size, at, round);
      stage(a.features, a.size, spot, tiles(at, buffer));
      copy_squeezed<Size>(a.activated, spot, squeezed(at, buffer));
    });
  }
  ABAWKIT_DEVICE static void phase(Phase<1>, const Arguments& a, const Where& at, Thread&) {
    const Spot spot = spot_of(a.walk, a.size, at, at.round);
    if (!spot.valid) return;
    const std::int64_t C = a.size.channels;
    const int count = a.size.heads() * a.size.positions();
    typename Size::template Local<A, Size::position_count> gates(a.gates + spot.image * count * C + spot.channel, C);
    make_gates(a.size, gate_weights_of(a.weights, a.size.squeezed(), C, spot.channel),
               squeezed_of(a.activated, a.size, spot, squeezed(at, buffer_of(a, at))), gates);
    with_tile(a.features, a.size, spot, tiles(at, buffer_of(a, at)), [&](const auto& x) { pool(a, spot, gates, x); });
  }
  // Writes the gates in the order of memory.
  ABAWKIT_DEVICE static void phase(Phase<2>, const Arguments& a, const Where& at, Thread&) {
    const Spot spot = spot_of(a.walk, a.size, at, at.round);
    if (a.rows && spot.has_image)
      emit_gates(a.size, a.features.channels_last, tiles(at, buffer_of(a, at)), spot, a.rows, a.columns);
  }

 private:
  ABAWKIT_DEVICE static std::int64_t buffer_of(const Arguments& a, const Where& at) { return at.round % a.buffers; }
  template <class Gates, class Tile>
  ABAWKIT_DEVICE static void pool(const Arguments& a, const Spot& spot, Gates& gates, const Tile& x) {
    const std::int64_t C = a.size.channels;
    const int H = a.size.height(), W = a.size.width();
    A pooled = A(0);
    ABAWKIT_UNROLL
    for (int h = 0; h < H; ++h) {
      keep_order();
      ABAWKIT_UNROLL
      for (int w = 0; w < W; ++w) {
        const int i = h * W + w;
        pooled += a.weights.pool[i * C + spot.channel] * (x(i) * strongest_at(a.size, gates, h, w));
      }
    }
    a.pooled[spot.image * C + spot.channel] = pooled;
    if (!a.rows) return;
    if constexpr (Size::fixed) {  // over the channel's own entries, which nobody else reads
      ABAWKIT_UNROLL
      for (int i = 0; i < Size::position_count; ++i) x.base[i * x.stride] = narrow<T>(gates[i]);
    } else {
      for (int i = 0; i < a.size.heads() * a.size.positions(); ++i)
        *gate_output(a, spot.image, i, spot.channel) = narrow<T>(gates[i]);
    }
  }
  ABAWKIT_DEVICE static T* tiles(const Where& at, std::int64_t buffer) {
    return reinterpret_cast<T*>(at.shared + buffer * buffer_bytes);
  }
  ABAWKIT_DEVICE static A* squeezed(const Where& at, std::int64_t buffer) {
    return reinterpret_cast<A*>(at.shared + buffer * buffer_bytes + tile_bytes<Size, T>());
  }
  ABAWKIT_DEVICE static T* gate_output(const Arguments& a, std::int64_t image, int i, std::int64_t channel) {
    const int k = i / a.size.positions(), p = i % a.size.positions(), H = a.size.height(), W = a.size.width();
    const std::int64_t vector = (image * a.size.heads() + k) * a.size.channels + channel;
    return p < H ? a.rows + vector * H + p : a.columns + vector * W + p - H;
  }
};

}  // namespace abawkit::cuda
