// Products over the M squeezed channels, as the programs that walk over the features need them.
#pragma once

#include "walk.h"
#include "weights.h"

namespace abawkit::cuda {

template <class Size, class A>
ABAWKIT_DEVICE constexpr int squeezed_bytes() {
  if constexpr (Size::fixed) return Size::position_count * Size::squeezed_count * static_cast<int>(sizeof(A));
  return 0;
}

// An image's (K, H + W, M): for fixed sizes a copy in shared memory, where `copy_squeezed` has put it.
template <class Size, class A>
ABAWKIT_DEVICE const A* squeezed_of(const A* all, const Size& size, const Spot& spot, A* shared) {
  const std::int64_t count = static_cast<std::int64_t>(size.heads()) * size.positions() * size.squeezed();
  if constexpr (Size::fixed) return shared + spot.slot * count;
  return all + spot.image * count;
}

// Starts to copy a spot's (K, H + W, M) to shared memory.
template <class Size, class A>
ABAWKIT_DEVICE void copy_squeezed([[maybe_unused]] const A* all, [[maybe_unused]] const Spot& spot,
                                  [[maybe_unused]] A* shared) {
  if constexpr (Size::fixed) {
    constexpr int count = Size::position_count * Size::squeezed_count, width = Vector<A>::size;
    static_assert(count % width == 0, "vectors");
    if (!spot.has_image) return;
    ABAWKIT_UNROLL
    for (int turn = 0; turn < (count / width + chunk - 1) / chunk; ++turn) {
      const int i = (spot.lane + turn * chunk) * width;
      if (i < count) start_copy(all + spot.image * count + i, shared + spot.slot * count + i);
    }
  }
}

// Calls sink(p, sum_m weight[m] squeezed[p, m]) for `count` positions; weights are `stride` apart.
template <class Size, class A, class Sink>
ABAWKIT_DEVICE void expand(const Size& size, const A* weight, std::int64_t stride, const A* squeezed, int count,
                           const Sink& sink) {
  if constexpr (Size::fixed && Size::squeezed_count % 4 == 0) {
    constexpr int M = Size::squeezed_count, width = Vector<A>::size;
    A w[M];
    ABAWKIT_UNROLL
    for (int m = 0; m < M; ++m) w[m] = weight[m * stride];
    ABAWKIT_UNROLL
    for (int p = 0; p < count; ++p) {
      A sum = A(0);
      ABAWKIT_UNROLL
      for (int m = 0; m < M; m += width) {
        const Vector<A> some = load_vector(squeezed + p * M + m);
        ABAWKIT_UNROLL
        for (int i = 0; i < width; ++i) sum += w[m + i] * some.values[i];
      }
      sink(p, sum);
    }
  } else {
    const int M = size.squeezed();
    for (int p = 0; p < count; ++p) {
      A sum = A(0);
      for (int m = 0; m < M; ++m) sum += weight[m * stride] * squeezed[static_cast<std::int64_t>(p) * M + m];
      sink(p, sum);
    }
  }
}

// One channel's weights of the gates of rows and of columns, and how far heads, and the M of a head, are apart.
template <class A>
struct GateWeights {
  const A *weight[2], *bias[2];
  std::int64_t head, step, bias_head;
};

template <class A>
ABAWKIT_DEVICE GateWeights<A> gate_weights_of(const Weights<A>& w, int squeezed, std::int64_t channels, int channel) {
  return {{w.gate[0] + channel, w.gate[1] + channel},
          {w.gate_bias[0] + channel, w.gate_bias[1] + channel},
          squeezed * channels,
          channels,
          channels};
}

// The gates of a channel, [k * (H + W) + p].
template <class Size, class A, class Gates>
ABAWKIT_DEVICE void make_gates(const Size& size, const GateWeights<A>& weights, const A* squeezed, Gates& gates) {
  const std::int64_t M = size.squeezed();
  ABAWKIT_UNROLL
  for (int k = 0; k < size.heads(); ++k) {
    ABAWKIT_UNROLL
    for (int d = 0; d < 2; ++d) {
      keep_order();
      const int first = k * size.positions() + (d ? size.height() : 0);
      const A bias = weights.bias[d][k * weights.bias_head];
      expand(size, weights.weight[d] + k * weights.head, weights.step, squeezed + first * M,
             d ? size.width() : size.height(), [&](int p, A sum) { gates[first + p] = sigmoid(sum + bias); });
    }
  }
}

// The product of head k's gates at a position of the features.
template <class Size, class Gates>
ABAWKIT_DEVICE auto map_at(const Size& size, Gates& gates, int k, int h, int w) {
  return gates[k * size.positions() + h] * gates[k * size.positions() + size.height() + w];
}

template <class Size, class Gates>
ABAWKIT_DEVICE auto strongest_at(const Size& size, Gates& gates, int h, int w) {
  auto strongest = map_at(size, gates, 0, h, w);
  ABAWKIT_UNROLL
  for (int k = 1; k < size.heads(); ++k) strongest = larger(strongest, map_at(size, gates, k, h, w));
  return strongest;
}

// Writes gates to their outputs in the order of memory, from where threads have put them: over their own tiles.
template <int across, int count, class Stored, class T>
ABAWKIT_DEVICE void copy_gates(const Stored* from, std::int64_t channel_stride, std::int64_t stride, T* to, int lane,
                               int channels) {
  for (int i = lane; i < channels * count; i += across)
    to[i] = narrow<T>(widen(from[i / count * channel_stride + i % count * stride]));
}

template <class Size, class T>
ABAWKIT_DEVICE void emit_gates(const Size& size, bool channels_last, const T* tiles, const Spot& spot, T* rows,
                               T* columns) {
  if constexpr (Size::fixed) {
    static_assert(Size::position_count <= Size::area_count, "gates are written over a channel's entries");
    constexpr int H = Size::height(), W = Size::width(), K = Size::heads(), P = Size::positions();
    const int channels = static_cast<int>(smaller(chunk, size.channels - spot.first_channel));
    const int channel_stride = channels_last ? 1 : Size::area(), stride = channels_last ? chunk : 1;
    const T* const image = tiles + spot.slot * chunk * Size::area();
    for (int k = 0; k < K; ++k) {
      const std::int64_t vector = (spot.image * K + k) * size.channels + spot.first_channel;
      const T* const from = image + k * P * stride;
      copy_gates<chunk, H>(from, channel_stride, stride, rows + vector * H, spot.lane, channels);
      copy_gates<chunk, W>(from + H * stride, channel_stride, stride, columns + vector * W, spot.lane, channels);
    }
  }
}

}  // namespace abawkit::cuda
