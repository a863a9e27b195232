// Evaluation in one kernel, for fixed sizes and folded weights.
//
// A block takes `images` images and goes over their channels twice, in chunks: first for the sums of rows and columns
// and their product with the squeeze's weights, then, backwards, for gates, maximum and pooling. The features stay in
// shared memory in between, as many chunks of them as fit; those that don't are copied once more. Both products are
// done by tensor cores, several images sharing what is read of the weights. What is computed for an image depends
// neither on `images` nor on what fits: the same bits for any number of images, and on all cards whose tensor cores add
// alike.
#pragma once

#include "copies.h"
#include "gates.h"
#include "mma.h"

namespace abawkit::cuda {

template <class Size, class T, int images>
struct Fused {
  using A = Compute<T>;
  using Split = std::conditional_t<std::is_same_v<T, float>, SplitTF32, SplitBF16>;
  static constexpr int before = 0, during = 3, after = 3, last = 3, most_threads = 256,
                       least_blocks = images == 1 ? 2 : 1;
  static constexpr int across = most_threads / images;  // channels of a chunk
  static constexpr int H = Size::height(), W = Size::width(), K = Size::heads(), M = Size::squeezed(), P = H + W;
  static constexpr int area = H * W, outputs = K * P * M;
  static constexpr int ahead = 3;  // chunks that are copied before their turn

  static constexpr int parts = 4, warps = most_threads / 32;
  static constexpr int steps = 16 / Fragment::inner;  // of 16 channels, and of the M
  static constexpr int m_tiles = M / Fragment::columns;
  static_assert(tile_channels == 16 && M == 16 && K * parts == warps && K * 2 * 2 == warps, "what a warp does");
  static_assert(H == W && P <= Fragment::rows && H <= Fragment::columns, "the products' tiles");

  // Of a channel's sums, then of its gates, then of the next channel's: 4g + t and 8t + g are in different banks.
  static constexpr int stride = across + 4;
  static constexpr int sums_bytes = images * K * P * stride * static_cast<int>(sizeof(A));
  static constexpr int chunk_entries = images * across * area;
  static constexpr int chunk_bytes = chunk_entries * static_cast<int>(sizeof(T));
  static_assert(parts * images * outputs * static_cast<int>(sizeof(A)) <= sums_bytes, "parts take the sums' space");
  static_assert(sums_bytes % 16 == 0 && chunk_bytes % (16 * images) == 0, "vectors are aligned");
  static constexpr int chunks_of(int channels) { return (channels + across - 1) / across; }
  static int shared_bytes(int buffers) { return sums_bytes + buffers * chunk_bytes; }

  struct Arguments {
    Size size;
    View<const T> features;
    const A* folded;
    std::int64_t first_block, second_block, second_at, shift_at;  // where dda.h puts what, in entries
    T *embedding, *rows, *columns;
    int chunks, buffers;
  };
  struct Thread {
    A products[images][m_tiles][Fragment::c_count] = {};
    RightMatrix<Split> squeezed[images][steps];
  };

  ABAWKIT_DEVICE static std::int64_t rounds(const Arguments& a, const Where&) { return a.chunks; }

  ABAWKIT_DEVICE static void phase(Phase<0>, const Arguments& a, const Where& at, Thread&) {
    const int round = static_cast<int>(at.round);
    ABAWKIT_LOOP
    for (int chunk = round ? round + ahead : 0; chunk <= round + ahead; ++chunk) {
      if (chunk < a.buffers) copy(a, at, chunk);
      close_copies();
    }
    if (round < a.buffers) {
      wait_copies<ahead>();
    } else {
      copy(a, at, round);
      close_copies();
      wait_copies<0>();
    }
  }
  ABAWKIT_DEVICE static void phase(Phase<1>, const Arguments& a, const Where& at, Thread&) {
    const Spot here = spot(a, at, static_cast<int>(at.round));
    A sums[K * P] = {};
    if (here.valid) with_features(a, at, here, [&](const auto& x) { sum(a, here, x, sums); });
    A* const to = sums_of(at) + here.slot * K * P * stride + here.lane;
    ABAWKIT_UNROLL
    for (int i = 0; i < K * P; ++i) to[i * stride] = sums[i];
  }
  // A warp has one head and every fourth 16 channels, of all images.
  ABAWKIT_DEVICE static void phase(Phase<2>, const Arguments& a, const Where& at, Thread& thread) {
    const int lane = at.thread % 32, head = at.thread / 32 / parts, part = at.thread / 32 % parts;
    ABAWKIT_LOOP
    for (int tile = part; tile < across / 16; tile += parts) {
      const int channel = static_cast<int>(at.round) * across + tile * 16;
      if (channel >= a.size.channels) break;
      const A* const weights = a.folded + channel / 16 * a.first_block + K * 16 * (P + 2) + head * 16 * M;
      RightMatrix<Split> right[steps][m_tiles];
      ABAWKIT_UNROLL
      for (int i = 0; i < steps * m_tiles; ++i)
        right[i / m_tiles][i % m_tiles].load(lane, [&](std::int64_t inner, std::int64_t column) {
          return weights[i / m_tiles * Fragment::inner * M + i % m_tiles * Fragment::columns + inner * M + column];
        });
      ABAWKIT_UNROLL
      for (int image = 0; image < images; ++image) {
        const A* const from = sums_of(at) + (image * K + head) * P * stride + tile * 16;
        ABAWKIT_UNROLL
        for (int step = 0; step < steps; ++step) {
          LeftMatrix<Split> left;
          left.load(lane, [&](std::int64_t row, std::int64_t inner) {
            return row < P ? from[row * stride + step * Fragment::inner + inner] : A(0);
          });
          ABAWKIT_UNROLL
          for (int m = 0; m < m_tiles; ++m) multiply_add(lane, thread.products[image][m], left, right[step][m]);
        }
      }
    }
  }

  ABAWKIT_DEVICE static void phase(Phase<3>, const Arguments&, const Where& at, Thread& thread) {
    const int lane = at.thread % 32, head = at.thread / 32 / parts, part = at.thread / 32 % parts;
    A* const to = sums_of(at) + part * images * outputs + head * P * M;
    ABAWKIT_UNROLL
    for (int i = 0; i < images * m_tiles * Fragment::c_count; ++i) {
      const int c = i % Fragment::c_count, m = i / Fragment::c_count % m_tiles, image = i / Fragment::c_count / m_tiles;
      const std::int64_t row = Fragment::c_row(lane, c), column = m * Fragment::columns + Fragment::c_column(lane, c);
      if (row < P) to[image * outputs + row * M + column] = thread.products[image][m][c];
    }
  }
  // Scaled, so that a gate is the reciprocal of 1 and a power of 2.
  ABAWKIT_DEVICE static void phase(Phase<4>, const Arguments& a, const Where& at, Thread&) {
    A* const all = sums_of(at);
    ABAWKIT_LOOP
    for (int i = at.thread; i < images * outputs; i += most_threads) {
      A sum = all[i];
      ABAWKIT_UNROLL
      for (int part = 1; part < parts; ++part) sum += all[part * images * outputs + i];
      all[i] = hardswish(sum + a.folded[a.shift_at + i / (P * M) % K * M + i % M]) * scale;
    }
  }
  // A warp makes the gates of one head and direction, of all images.
  ABAWKIT_DEVICE static void phase(Phase<5>, const Arguments&, const Where& at, Thread& thread) {
    const A* const from = sums_of(at) + at.thread / 32 % (K * 2) * H * M;
    ABAWKIT_UNROLL
    for (int i = 0; i < images * steps; ++i)
      thread.squeezed[i / steps][i % steps].load(at.thread % 32, [&](std::int64_t inner, std::int64_t column) {
        return column < H ? from[i / steps * outputs + column * M + i % steps * Fragment::inner + inner] : A(0);
      });
  }

  ABAWKIT_DEVICE static void phase(Phase<6>, const Arguments& a, const Where& at, Thread& thread) {
    const int chunk = a.chunks - 1 - static_cast<int>(at.round);
    if (at.round && chunk >= a.buffers - 1) copy(a, at, chunk);
    close_copies();
    const int lane = at.thread % 32, vector = at.thread / 32 % (K * 2), half = at.thread / 32 / (K * 2);
    ABAWKIT_LOOP
    for (int tile = half; tile < across / 16; tile += 2) {
      const int channel = chunk * across + tile * 16;
      if (channel >= a.size.channels) break;
      const A* const weights =
          a.folded + a.second_at + channel / 16 * a.second_block + vector % 2 * gates_entries + vector / 2 * M * 16;
      LeftMatrix<Split> left[steps];
      ABAWKIT_UNROLL
      for (int step = 0; step < steps; ++step)
        left[step].load(lane, [&](std::int64_t row, std::int64_t inner) {
          return weights[step * Fragment::inner * 16 + inner * 16 + row];
        });
      ABAWKIT_UNROLL
      for (int image = 0; image < images; ++image) {
        A gates[Fragment::c_count] = {};
        ABAWKIT_UNROLL
        for (int step = 0; step < steps; ++step) multiply_add(lane, gates, left[step], thread.squeezed[image][step]);
        A* const to = sums_of(at) + (image * K * 2 + vector) * H * stride + tile * 16;
        ABAWKIT_UNROLL
        for (int i = 0; i < Fragment::c_count; ++i)
          if (Fragment::c_column(lane, i) < H)
            to[Fragment::c_column(lane, i) * stride + Fragment::c_row(lane, i)] = gates[i];
      }
    }
    wait_copies<0>();
  }
  ABAWKIT_DEVICE static void phase(Phase<7>, const Arguments& a, const Where& at, Thread&) {
    const Spot here = spot(a, at, a.chunks - 1 - static_cast<int>(at.round));
    if (!here.valid) return;
    const A* const weights = a.folded + a.second_at + here.channel / 16 * a.second_block + here.channel % 16;
    A* const from = sums_of(at) + here.slot * K * P * stride + here.lane;
    Registers<A, K * P> gates;
    ABAWKIT_UNROLL
    for (int i = 0; i < K * 2; ++i) {
      const A bias = weights[i % 2 * gates_entries + (K * M + i / 2) * 16];
      ABAWKIT_UNROLL
      for (int p = i * H; p < i * H + H; ++p)
        gates[p] = reciprocal_of_power(fused_multiply_add(bias, scale, from[p * stride]));
    }
    with_features(a, at, here, [&](const auto& x) { pool(a, here, weights + 2 * gates_entries, gates, x); });
    if (!a.rows) return;
    ABAWKIT_UNROLL
    for (int p = 0; p < K * P; ++p) from[p * stride] = gates[p];
  }
  ABAWKIT_DEVICE static void phase(Phase<8>, const Arguments& a, const Where& at, Thread&) {
    const Spot here = spot(a, at, a.chunks - 1 - static_cast<int>(at.round));
    if (!a.rows || !here.has_image) return;
    const int channels = static_cast<int>(smaller(across, a.size.channels - here.first_channel));
    ABAWKIT_LOOP
    for (int vector = 0; vector < K * 2; ++vector) {
      const std::int64_t first = (here.image * K + vector / 2) * a.size.channels + here.first_channel;
      copy_gates<across, H>(sums_of(at) + (here.slot * K * P + vector * H) * stride, 1, stride,
                            (vector % 2 ? a.columns : a.rows) + first * H, here.lane, channels);
    }
  }

 private:
  static constexpr int gates_entries = K * (M + 1) * 16;  // of one direction's folded weights
  static constexpr A scale = A(-1.4426950408889634);      // of 2^(scale x) = e^-x

  ABAWKIT_DEVICE static A* sums_of(const Where& at) { return reinterpret_cast<A*>(at.shared); }
  ABAWKIT_DEVICE static T* chunk_of(const Arguments& a, const Where& at, int chunk) {
    return reinterpret_cast<T*>(at.shared + sums_bytes) + (chunk < a.buffers ? chunk : a.buffers - 1) * chunk_entries;
  }
  ABAWKIT_DEVICE static Spot spot(const Arguments& a, const Where& at, int chunk) {
    Spot here;
    const int thread = opaque(at.thread);
    here.lane = thread % across;
    here.slot = thread / across;
    here.first_channel = chunk * across;
    here.channel = here.first_channel + here.lane;
    here.row = 0;
    here.image = at.block * images + here.slot;
    here.has_image = here.image < a.size.images;
    here.valid = here.has_image && here.channel < a.size.channels;
    return here;
  }
  ABAWKIT_DEVICE static void copy(const Arguments& a, const Where& at, int chunk) {
    const Spot here = spot(a, at, chunk);
    if (!here.has_image) return;
    T* const to = chunk_of(a, at, chunk) + here.slot * across * area;
    each_entry<across>(
        a.features, a.size, here, [&](std::int64_t from, std::int64_t i) { to[i] = a.features.data[from]; },
        [&](std::int64_t from, std::int64_t i) { start_copy(a.features.data + from, to + i); });
  }
  // Calls body(features of the thread's channel). The two layouts are two instances, so that addresses are constants.
  template <class Body>
  ABAWKIT_DEVICE static void with_features(const Arguments& a, const Where& at, const Spot& here, const Body& body) {
    const T* const image = chunk_of(a, at, here.first_channel / across) + here.slot * across * area;
    if (a.features.channels_last) {
      body(Tile<const T, Constant<across>>{image + here.lane, {}});
    } else {
      body(Tile<const T, Constant<1>>{image + here.lane * area, {}});
    }
  }

  template <class X>
  ABAWKIT_DEVICE static void sum(const Arguments& a, const Spot& here, const X& x, A (&sums)[K * P]) {
    const A* const weights = a.folded + here.channel / 16 * a.first_block + here.channel % 16;
    constexpr int columns_at = K * W * 16, shifts_at = columns_at + K * H * 16;
    ABAWKIT_UNROLL
    for (int i = 0; i < K * P; ++i) sums[i] = weights[shifts_at + (i % P < H ? i / P : K + i / P) * 16];
    const Kept<A, K * W> row_weights(weights, 16);
    ABAWKIT_UNROLL
    for (int h = 0; h < H; ++h) {
      keep_order();
      ABAWKIT_UNROLL
      for (int w = 0; w < W; ++w) {
        const A value = x(h * W + w);
        ABAWKIT_UNROLL
        for (int k = 0; k < K; ++k) {
          sums[k * P + h] += value * row_weights[k * W + w];
          sums[k * P + H + w] += value * weights[columns_at + (k * H + h) * 16];
        }
      }
    }
  }

  // `weights` are those of the pooling, at the channel.
  template <class X>
  ABAWKIT_DEVICE static void pool(const Arguments& a, const Spot& here, const A* weights, Registers<A, K * P>& gates,
                                  const X& x) {
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
  }
};

}  // namespace abawkit::cuda
