// From the gradient of the pooled values and of the gates to that of what the gates are the sigmoid of.
#pragma once

#include "gates.h"

namespace abawkit::cuda {

template <class Size, class T>
struct AttendBackward {
  using A = Compute<T>;
  static constexpr int before = 1, during = 2, after = 2, last = 0, most_threads = chunk * slots, least_blocks = 2;
  static constexpr int buffer_bytes = tile_bytes<Size, T>() + slots * squeezed_bytes<Size, A>();

  struct Arguments {
    Size size;
    Walk walk;
    int buffers;
    View<const T> features;
    Weights<A> weights;
    const A* activated;                 // (N, K, H + W, M)
    const A* pooled_gradient;           // (N, C)
    const T *grad_rows, *grad_columns;  // each may be null
    A* gates;                           // (N, K, H + W, C), for sizes that aren't fixed
    A* gradient;                        // (N, K, H + W, C)
    A* pool_gradient;  // (groups of the walk, H * W, C), for sizes that aren't fixed (its rows, H * W, C)
  };
  struct Thread {
    typename Size::template Local<A, Size::area_count> pool;
  };

  ABAWKIT_DEVICE static std::int64_t rounds(const Arguments& a, const Where& at) {
    return a.walk.steps(at.block, a.size.images);
  }
  ABAWKIT_DEVICE static void phase(Phase<0>, const Arguments& a, const Where& at, Thread& thread) {
    const Spot spot = spot_of(a.walk, a.size, at, 0);
    if (spot.channel >= a.size.channels) return;
    thread.pool = {pool_gradient(a, spot), a.size.channels};
    ABAWKIT_UNROLL
    for (int i = 0; i < a.size.area(); ++i) thread.pool[i] = A(0);
  }
  ABAWKIT_DEVICE static void phase(Phase<1>, const Arguments& a, const Where& at, Thread&) {
    copy_ahead<Size>(at.round, rounds(a, at), a.buffers, [&](std::int64_t round, int buffer) {
      const Spot spot = spot_of(a.walk, a.size, at, round);
      stage(a.features, a.size, spot, tiles(at, buffer));
      copy_squeezed<Size>(a.activated, spot, squeezed(at, buffer));
    });
  }
  ABAWKIT_DEVICE static void phase(Phase<2>, const Arguments& a, const Where& at, Thread& thread) {
    const Spot spot = spot_of(a.walk, a.size, at, at.round);
    if (!spot.valid) return;
    using Local = typename Size::template Local<A, Size::position_count>;
    const std::int64_t C = a.size.channels;
    const int K = a.size.heads(), P = a.size.positions(), H = a.size.height(), W = a.size.width();
    const std::int64_t own = spot.image * K * P * C + spot.channel;
    Local gates(a.gates + own, C), gradient(a.gradient + own, C);
    make_gates(a.size, gate_weights_of(a.weights, a.size.squeezed(), C, spot.channel),
               squeezed_of(a.activated, a.size, spot, squeezed(at, buffer_of(a, at))), gates);
    ABAWKIT_UNROLL
    for (int k = 0; k < K; ++k) {
      keep_order();
      const std::int64_t vector = (spot.image * K + k) * C + spot.channel;
      ABAWKIT_UNROLL
      for (int h = 0; h < H; ++h) gradient[k * P + h] = a.grad_rows ? widen(a.grad_rows[vector * H + h]) : A(0);
      ABAWKIT_UNROLL
      for (int w = 0; w < W; ++w)
        gradient[k * P + H + w] = a.grad_columns ? widen(a.grad_columns[vector * W + w]) : A(0);
    }
    keep_order();
    const A pooled_gradient = a.pooled_gradient[spot.image * C + spot.channel];
    with_tile(a.features, a.size, spot, tiles(at, buffer_of(a, at)), [&](const auto& x) {
      ABAWKIT_UNROLL
      for (int h = 0; h < H; ++h) {
        keep_order();
        ABAWKIT_UNROLL
        for (int w = 0; w < W; ++w) {
          const A weighted = pooled_gradient * x(h * W + w);
          const A strongest = strongest_at(a.size, gates, h, w);
          thread.pool[h * W + w] += weighted * strongest;
          share_out(a.size, gates, gradient, h, w, strongest,
                    weighted * a.weights.pool[(h * W + w) * C + spot.channel]);
        }
      }
    });
    ABAWKIT_UNROLL
    for (int i = 0; i < K * P; ++i) {
      const A gate = gates[i];
      a.gradient[own + i * C] = gradient[i] * (gate * (A(1) - gate));
    }
  }
  ABAWKIT_DEVICE static void phase(Phase<3>, const Arguments& a, const Where& at, Thread& thread) {
    if constexpr (Size::fixed) {
      const Spot spot = spot_of(a.walk, a.size, at, 0);
      if (spot.channel < a.size.channels)
        hand_over<Size::area_count>(spot, thread.pool, reinterpret_cast<A*>(at.shared));
    }
  }
  ABAWKIT_DEVICE static void phase(Phase<4>, const Arguments& a, const Where& at, Thread& thread) {
    if constexpr (Size::fixed) {
      const Spot spot = spot_of(a.walk, a.size, at, 0);
      if (spot.slot || spot.channel >= a.size.channels) return;
      take_over<Size::area_count>(spot, thread.pool, reinterpret_cast<const A*>(at.shared));
      thread.pool.store(pool_gradient(a, spot), a.size.channels);
    }
  }

 private:
  ABAWKIT_DEVICE static std::int64_t buffer_of(const Arguments& a, const Where& at) { return at.round % a.buffers; }
  static_assert(!Size::fixed || (slots - 1) * chunk * Size::area_count * static_cast<int>(sizeof(A)) <= buffer_bytes,
                "what slots hand over takes the tiles' space");
  ABAWKIT_DEVICE static T* tiles(const Where& at, std::int64_t buffer) {
    return reinterpret_cast<T*>(at.shared + buffer * buffer_bytes);
  }
  ABAWKIT_DEVICE static A* squeezed(const Where& at, std::int64_t buffer) {
    return reinterpret_cast<A*>(at.shared + buffer * buffer_bytes + tile_bytes<Size, T>());
  }
  ABAWKIT_DEVICE static A* pool_gradient(const Arguments& a, const Spot& spot) {
    return a.pool_gradient + a.walk.template partial<Size>(spot) * a.size.area() * a.size.channels + spot.channel;
  }
  // The gradient of a maximum of maps. Of heads that tie, each takes half of what is left, from the last to the second;
  // the first takes the rest: what a chain of torch.maximum does.
  template <class Local>
  ABAWKIT_DEVICE static void share_out(const Size& size, Local& gates, Local& gradient, int h, int w, A strongest,
                                       A left) {
    const int P = size.positions(), H = size.height();
    int ties = 0;
    ABAWKIT_UNROLL
    for (int k = 0; k < size.heads(); ++k) ties += map_at(size, gates, k, h, w) == strongest;
    ABAWKIT_UNROLL
    for (int k = size.heads() - 1; k >= 0; --k) {
      const A row = gates[k * P + h], column = gates[k * P + H + w];
      if (row * column != strongest) continue;
      const A share = ties-- > 1 ? left * A(0.5) : left;
      left -= share;
      gradient[k * P + h] += share * column;
      gradient[k * P + H + w] += share * row;
    }
  }
};

}  // namespace abawkit::cuda
