// Evaluation in one kernel, for fixed sizes and folded weights.
//
// A block takes `images` images and goes over their channels twice: first for the sums of rows and columns and their
// product with the squeeze's weights, then for gates, maximum and pooling. The features come from memory once; the
// second time they are in the second-level cache. Several images share what is read of the weights.
#pragma once

#include "gates.h"

namespace abawkit::cuda {

template <class Size, class T, int images>
struct Fused {
  using A = Compute<T>;
  static constexpr int before = 0, during = 4, after = 2, last = 3, most_threads = 256, least_blocks = 2;
  static constexpr int across = most_threads / images;  // channels at once
  static constexpr int H = Size::height(), W = Size::width(), K = Size::heads(), M = Size::squeezed(), P = H + W;
  static constexpr int width = Vector<A>::size, area = H * W, outputs = K * P * M;

  // The product: a thread has one head, direction and 4 of the M, and every splits-th 4 channels.
  static constexpr int gates_entries = K * (M + 1) * 16;  // of one direction's folded weights
  static_assert(H == W && M % width == 0 && M % 16 == 0 && width == 4, "the product's tiles");
  static constexpr int tiles_count = K * 2 * M / 4, splits = across / tiles_count, tile = H * 4;
  static_assert(splits > 0 && splits * tiles_count == across && across % (splits * 4) == 0, "the product's tiles");
  static constexpr int sums_stride = across + 16;  // rows and columns in different banks

  static constexpr int tiles_bytes = most_threads * area * static_cast<int>(sizeof(A));
  static constexpr int sums_bytes = images * K * P * sums_stride * static_cast<int>(sizeof(A));
  static constexpr int parts_bytes = images * outputs * (splits + 1) * static_cast<int>(sizeof(A));
  static_assert(sums_bytes <= tiles_bytes && parts_bytes <= tiles_bytes, "they take the tiles' place");
  static constexpr int shared_bytes = tiles_bytes + images * outputs * static_cast<int>(sizeof(A));

  struct Arguments {
    Size size;
    View<const T> features;
    const A* folded;
    bool aligned;                                                 // whether `folded` is
    std::int64_t first_block, second_block, second_at, shift_at;  // where dda.h puts what, in entries
    T *embedding, *rows, *columns;
  };
  struct Thread {
    A sums[K * P];
    A products[H][4];
  };

  ABAWKIT_DEVICE static int chunks(const Arguments& a) { return (a.size.channels + across - 1) / across; }
  ABAWKIT_DEVICE static std::int64_t rounds(const Arguments& a, const Where&) { return chunks(a); }

  ABAWKIT_DEVICE static void phase(Phase<0>, const Arguments& a, const Where& at, Thread&) {
    stage<across>(a.features, a.size, spot(a, at), tiles(at));
  }
  ABAWKIT_DEVICE static void phase(Phase<1>, const Arguments& a, const Where& at, Thread& thread) {
    const Spot here = spot(a, at);
    ABAWKIT_UNROLL
    for (int i = 0; i < K * P; ++i) thread.sums[i] = A(0);
    if (here.valid)
      with_tile<across>(a.features, a.size, here, tiles(at), [&](const auto& x) { sum(a, here, x, thread); });
  }
  ABAWKIT_DEVICE static void phase(Phase<2>, const Arguments& a, const Where& at, Thread& thread) {
    const Spot here = spot(a, at);
    A* const to = tiles(at) + here.slot * K * P * sums_stride + here.lane;
    ABAWKIT_UNROLL
    for (int i = 0; i < K * P; ++i) to[i * sums_stride] = thread.sums[i];
  }
  ABAWKIT_DEVICE static void phase(Phase<3>, const Arguments& a, const Where& at, Thread& thread) {
    if (at.round == 0) {
      ABAWKIT_UNROLL
      for (int i = 0; i < tile; ++i) thread.products[i / 4][i % 4] = A(0);
    }
    multiply(a, at, thread);
  }

  ABAWKIT_DEVICE static void phase(Phase<4>, const Arguments&, const Where& at, Thread& thread) {
    A* const to = tiles(at) + at.thread / splits * tile * (splits + 1) + at.thread % splits;
    ABAWKIT_UNROLL
    for (int i = 0; i < tile; ++i) to[i * (splits + 1)] = thread.products[i / 4][i % 4];
  }
  ABAWKIT_DEVICE static void phase(Phase<5>, const Arguments& a, const Where& at, Thread&) {
    for (int i = at.thread; i < images * outputs; i += most_threads) {
      const A* const parts = tiles(at) + i * (splits + 1);
      A sum = A(0);
      ABAWKIT_UNROLL
      for (int split = 0; split < splits; ++split) sum += parts[split];
      const int tile_number = i / tile % tiles_count, m = tile_number % (M / 4) * 4 + i % 4;
      const int k = tile_number / (M / 4) / 2, direction = tile_number / (M / 4) % 2;
      const int position = k * P + direction * H + i % tile / 4;
      squeezed(at)[i / outputs * outputs + position * M + m] = hardswish(sum + a.folded[a.shift_at + k * M + m]);
    }
  }

  ABAWKIT_DEVICE static void phase(Phase<6>, const Arguments& a, const Where& at, Thread&) {
    stage<across>(a.features, a.size, spot(a, at), tiles(at));
  }
  ABAWKIT_DEVICE static void phase(Phase<7>, const Arguments& a, const Where& at, Thread&) {
    const Spot here = spot(a, at);
    if (!here.valid) return;
    const A* const weights = a.folded + a.second_at + here.channel / 16 * a.second_block + here.channel % 16;
    Registers<A, K * P> gates;
    make_gates(a.size,
               GateWeights<A>{{weights, weights + gates_entries},
                              {weights + K * M * 16, weights + gates_entries + K * M * 16},
                              M * 16,
                              16,
                              16},
               static_cast<const A*>(squeezed(at) + here.slot * outputs), gates);
    with_tile<across>(a.features, a.size, here, tiles(at),
                      [&](const auto& x) { attend(a, here, weights + 2 * gates_entries, gates, x); });
  }
  ABAWKIT_DEVICE static void phase(Phase<8>, const Arguments& a, const Where& at, Thread&) {
    const Spot here = spot(a, at);
    if (a.rows && here.has_image)
      emit_gates<across>(a.size, a.features.channels_last, tiles(at), here, a.rows, a.columns);
  }

 private:
  ABAWKIT_DEVICE static A* tiles(const Where& at) { return reinterpret_cast<A*>(at.shared); }
  ABAWKIT_DEVICE static A* squeezed(const Where& at) { return reinterpret_cast<A*>(at.shared + tiles_bytes); }
  ABAWKIT_DEVICE static Spot spot(const Arguments& a, const Where& at) {
    Spot here;
    const int thread = opaque(at.thread);
    here.lane = thread % across;
    here.slot = thread / across;
    here.first_channel = static_cast<int>(at.round) * across;
    here.channel = here.first_channel + here.lane;
    here.row = 0;
    here.image = at.block * images + here.slot;
    here.has_image = here.image < a.size.images;
    here.valid = here.has_image && here.channel < a.size.channels;
    return here;
  }

  template <class Tile>
  ABAWKIT_DEVICE static void sum(const Arguments& a, const Spot& here, const Tile& x, Thread& thread) {
    const A* const weights = a.folded + here.channel / 16 * a.first_block + here.channel % 16;
    constexpr int columns_at = K * W * 16, shifts_at = columns_at + K * H * 16;
    ABAWKIT_UNROLL
    for (int k = 0; k < K; ++k) {
      ABAWKIT_UNROLL
      for (int p = 0; p < P; ++p) thread.sums[k * P + p] = weights[shifts_at + (p < H ? k : K + k) * 16];
    }
    const Kept<A, K * W> row_weights(weights, 16);
    ABAWKIT_UNROLL
    for (int h = 0; h < H; ++h) {
      keep_order();
      ABAWKIT_UNROLL
      for (int w = 0; w < W; ++w) {
        const A value = x(h * W + w);
        ABAWKIT_UNROLL
        for (int k = 0; k < K; ++k) {
          thread.sums[k * P + h] += value * row_weights[k * W + w];
          thread.sums[k * P + H + w] += value * weights[columns_at + (k * H + h) * 16];
        }
      }
    }
  }

  ABAWKIT_DEVICE static Vector<A> load_weights(const A* from, bool aligned) {
    return aligned ? load_vector(from) : Vector<A>{{from[0], from[1], from[2], from[3]}};
  }
  ABAWKIT_DEVICE static void multiply(const Arguments& a, const Where& at, Thread& thread) {
    const int split = at.thread % splits, number = at.thread / splits % tiles_count;
    const int m = number % (M / 4) * 4, row = number / (M / 4) * H, k = number / (M / 4) / 2;
    const int slot = at.thread / across, first_channel = static_cast<int>(at.round) * across;
    constexpr int weights_at = K * 16 * (P + 2);
    const A* const sums = tiles(at) + (slot * K * P + row) * sums_stride;
    ABAWKIT_LOOP
    for (int c = split * 4; c < across; c += splits * 4) {
      const int channel = first_channel + c;
      if (channel >= a.size.channels) break;  // the last tile is filled up with zeros
      const A* const weights = a.folded + channel / 16 * a.first_block + weights_at + (k * 16 + channel % 16) * M + m;
      Vector<A> w[4];
      ABAWKIT_UNROLL
      for (int i = 0; i < 4; ++i) w[i] = load_weights(weights + i * M, a.aligned);
      ABAWKIT_UNROLL
      for (int p = 0; p < H; ++p) {
        const Vector<A> values = load_vector(sums + p * sums_stride + c);
        ABAWKIT_UNROLL
        for (int i = 0; i < 4; ++i) {
          ABAWKIT_UNROLL
          for (int j = 0; j < 4; ++j) thread.products[p][j] += values.values[i] * w[i].values[j];
        }
      }
    }
  }

  // `weights` are those of the pooling, at the channel.
  template <class Tile>
  ABAWKIT_DEVICE static void attend(const Arguments& a, const Spot& here, const A* weights, Registers<A, K * P>& gates,
                                    const Tile& x) {
    A pooled = weights[area * 16];
    ABAWKIT_UNROLL
    for (int h = 0; h < H; ++h) {
      keep_order();
      ABAWKIT_UNROLL
      for (int w = 0; w < W; ++w) {
        const int i = h * W + w;
        pooled += weights[i * 16] * (x(i) * strongest_at(a.size, gates, h, w));
      }
    }
    a.embedding[here.image * a.size.channels + here.channel] = narrow<T>(pooled);
    if (!a.rows) return;
    ABAWKIT_UNROLL
    for (int i = 0; i < K * P; ++i) x.base[i * x.stride] = gates[i];
  }
};

}  // namespace abawkit::cuda
