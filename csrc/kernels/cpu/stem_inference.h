// The stem in evaluation. A thread takes a whole image, or of the images that are left over a band of its rows:
//   pad        the rows of the input that the band needs, with zeros around the image, so that no tile is at a border
//   convolve   some blocks of 16 channels: the convolution and its PReLU into planes, 16 channels wide
//   depthwise  the same blocks: from their planes to the result
// Rows of the planes that two bands need are computed in both: bands need nothing of each other.
#pragma once

#include <algorithm>

#include "mixed_depthwise.h"
#include "pool.h"
#include "product_tile.h"
#include "sizes.h"
#include "stem.h"

namespace abawkit::ABAWKIT_ISA {

struct StemSizes {
  std::int64_t blocks, height, width;
  std::int64_t half, margin;        // half of each kernel
  std::int64_t row, pixel;          // floats of a row of the padded input, and between neighbouring outputs
  std::int64_t padded_rows, plane;  // for a whole image
  std::int64_t own, bands;          // images that a thread takes whole, and bands of each other one

  StemSizes(const Stem& call, int threads)
      : blocks(count_blocks(call.channels)),
        height(call.out_height()),
        width(call.out_width()),
        half(call.kernel / 2),
        margin(call.depthwise / 2),
        row((call.width + 2 * half) * call.inputs),
        pixel(call.stride * call.inputs),
        padded_rows(call.height + 2 * half),
        plane(height * (width + 2 * margin) * block_channels),
        own(call.images - call.images % threads),
        bands(std::max<std::int64_t>(1, std::min<std::int64_t>(threads, height / 4))) {}
};

// Scratch memory of a thread.
struct StemScratch {
  float* padded;  // (H + 2 (k / 2), W + 2 (k / 2), I)
  float* planes;  // (product_blocks, H', W' + 2 (K / 2), 16)
  StemScratch(const StemSizes& s, Arena& arena)
      : padded(arena.take<float>(s.padded_rows * s.row)), planes(arena.take<float>(product_blocks * s.plane)) {}
};

struct StemWorkspace {
  StemSizes sizes;
  StemScratch* scratch;  // one for each thread
  std::int64_t* taken;   // pieces of work that threads have begun
  StemWorkspace(const Stem& call, int threads, Arena& arena)
      : sizes(call, threads), scratch(arena.make<StemScratch>(threads, sizes)), taken(arena.take<std::int64_t>(1)) {}
};

// Neighbouring outputs of a row: the first value that the kernel meets, and the way to the others.
struct StemPixels {
  const float* at;
  std::int64_t row, pixel;      // floats to the next row of the kernel, and to the next output
  std::int64_t kernel, values;  // rows of the kernel, and values of a row of it, which lie one after another
};

// P outputs of B blocks, to planes at a distance.
template <int P, int B>
__attribute__((noinline)) void stem_tile(const StemPixels& pixels, const PanelWeights& weights, float* out,
                                         std::int64_t plane) {
  const auto place = [&](int j, std::int64_t stride) {
    return j / block_vectors * stride + j % block_vectors * lanes<float>;
  };
  ProductTile<P, B> tile;
  tile.for_each([&](int p, int j) { tile.sum[p][j] = load(weights.bias + place(j, weights.block_stride)); });
  for (std::int64_t y = 0; y < pixels.kernel; ++y)
    tile.add_products(pixels.at + y * pixels.row, pixels.pixel, pixels.values,
                      weights.weight + y * pixels.values * block_channels, weights);
  const float* slopes = weights.bias + block_channels;
  tile.for_each([&](int p, int j) {
    const Vector<float> sum = tile.sum[p][j], scaled = sum * load(slopes + place(j, weights.block_stride));
    store(out + p * block_channels + place(j, plane), sum < 0.0f ? scaled : sum);
  });
}

template <int P, int B, class... Arguments>
inline void stem_some(std::int64_t pixels, Arguments... arguments) {
  if (pixels == P)
    stem_tile<P, B>(arguments...);
  else if constexpr (P > 1)
    stem_some<P - 1, B>(pixels, arguments...);
}

// T outputs of a depthwise convolution and their PReLU: `bias` (16) and the slopes behind it; `channels` are stored.
template <int T>
__attribute__((noinline)) void stem_depthwise_tile(const float* in, std::int64_t row_stride, const float* weight,
                                                   std::int64_t rows, std::int64_t kernel, const float* bias,
                                                   float* out, std::int64_t pixel_stride, std::int64_t channels) {
  constexpr int V = block_vectors, L = lanes<float>;
  Vector<float> sum[T][V];
#pragma GCC unroll 4
  for (int j = 0; j < V; ++j) {
    const Vector<float> first = load(bias + j * L);
#pragma GCC unroll 16
    for (int i = 0; i < T; ++i) sum[i][j] = first;
  }
  depthwise_sums<T, 1>(in, row_stride, weight, rows, kernel, sum);
#pragma GCC unroll 4
  for (int j = 0; j < V; ++j) {
    const Vector<float> slope = load(bias + block_channels + j * L);
#pragma GCC unroll 16
    for (int i = 0; i < T; ++i) {
      const Vector<float> scaled = sum[i][j] * slope;
      store_some(out + i * pixel_stride + j * L, channels - j * L, sum[i][j] < 0.0f ? scaled : sum[i][j]);
    }
  }
}

template <int T, class... Arguments>
inline void stem_depthwise_some(std::int64_t outputs, Arguments... arguments) {
  if (outputs == T)
    stem_depthwise_tile<T>(arguments...);
  else if constexpr (T > 1)
    stem_depthwise_some<T - 1>(outputs, arguments...);
}

// 0..count in pieces of at most `most` and of nearly equal size: f(first, size).
template <class F>
inline void split_evenly(std::int64_t count, std::int64_t most, const F& f) {
  const std::int64_t pieces = (count + most - 1) / most;
  for (std::int64_t i = 0; i < pieces; ++i) f(count * i / pieces, count * (i + 1) / pieces - count * i / pieces);
}

class StemPass {
 public:
  StemPass(const Stem& call, const Pool& pool, const StemWorkspace& workspace)
      : call_(call), pool_(pool), w_(workspace), s_(workspace.sizes) {}

  void run() const {
    const std::int64_t pieces = s_.own + (call_.images - s_.own) * s_.bands;
    *w_.taken = 0;
    parallel(pool_, std::min<std::int64_t>(pieces, pool_.threads), [&](std::int64_t thread) {
      for (;;) {
        const std::int64_t i = __atomic_fetch_add(w_.taken, 1, __ATOMIC_RELAXED);
        if (i >= pieces) return;
        if (i < s_.own) {
          compute(i, 0, s_.height, w_.scratch[thread]);
        } else {
          const std::int64_t band = (i - s_.own) % s_.bands;
          compute(s_.own + (i - s_.own) / s_.bands, s_.height * band / s_.bands, s_.height * (band + 1) / s_.bands,
                  w_.scratch[thread]);
        }
      }
    });
  }

 private:
  // The rows from..to of the result for image n.
  void compute(std::int64_t n, std::int64_t from, std::int64_t to, const StemScratch& t) const {
    const std::int64_t first = std::max<std::int64_t>(0, from - s_.margin), end = std::min(s_.height, to + s_.margin);
    pad(n, first * call_.stride, (end - 1) * call_.stride + call_.kernel, t.padded);
    clear_margins(t, end - first);
    for (std::int64_t b = 0; b < s_.blocks;) {
      if (product_blocks == 2 && b + 2 <= s_.blocks)
        convolve<product_blocks>(b, end - first, t);
      else
        convolve<1>(b, end - first, t);
      for (const std::int64_t next = std::min(b + product_blocks, s_.blocks), start = b; b < next; ++b)
        depthwise(n, b, from, to, {t.planes + (b - start) * s_.plane, end - first, s_.width, s_.margin}, first);
    }
  }

  // The rows from..to of the padded input.
  void pad(std::int64_t n, std::int64_t from, std::int64_t to, float* padded) const {
    const std::int64_t side = s_.half * call_.inputs, inner = call_.width * call_.inputs;
    for (std::int64_t y = from - s_.half; y < to - s_.half; ++y, padded += s_.row) {
      if (y < 0 || y >= call_.height) {
        std::memset(padded, 0, s_.row * sizeof(float));
        continue;
      }
      std::memset(padded, 0, side * sizeof(float));
      std::memcpy(padded + side, call_.x + (n * call_.height + y) * inner, inner * sizeof(float));
      std::memset(padded + side + inner, 0, side * sizeof(float));
    }
  }

  std::int64_t plane_row() const { return (s_.width + 2 * s_.margin) * block_channels; }

  void clear_margins(const StemScratch& t, std::int64_t rows) const {
    const std::int64_t side = s_.margin * block_channels;
    for (int b = 0; b < product_blocks; ++b)
      for (float *row = t.planes + b * s_.plane, *end = row + rows * plane_row(); row < end; row += plane_row()) {
        std::memset(row, 0, side * sizeof(float));
        std::memset(row + plane_row() - side, 0, side * sizeof(float));
      }
  }

  // Some rows of B blocks into their planes.
  template <int B>
  void convolve(std::int64_t block, std::int64_t rows, const StemScratch& t) const {
    const float* weight = call_.weights + block * call_.block_size();
    const std::int64_t values = call_.kernel * call_.inputs;
    const PanelWeights weights{weight, weight + call_.kernel * values * block_channels, call_.block_size()};
    for (std::int64_t y = 0; y < rows; ++y)
      split_evenly(s_.width, product_pixels, [&](std::int64_t x, std::int64_t count) {
        const StemPixels pixels{t.padded + y * call_.stride * s_.row + x * s_.pixel, s_.row, s_.pixel, call_.kernel,
                                values};
        float* out = t.planes + y * plane_row() + (s_.margin + x) * block_channels;
        stem_some<product_pixels, B>(count, pixels, weights, out, s_.plane);
      });
  }

  // The rows from..to of a block of the result; `first` is the first row of the plane.
  void depthwise(std::int64_t n, std::int64_t block, std::int64_t from, std::int64_t to, const Plane& plane,
                 std::int64_t first) const {
    const std::int64_t kernel = call_.depthwise, channels = call_.channels;
    const float* weight =
        call_.weights + block * call_.block_size() + (call_.kernel * call_.kernel * call_.inputs + 2) * block_channels;
    const float* bias = weight + kernel * kernel * block_channels;
    float* out = call_.out + n * s_.height * s_.width * channels + block * block_channels;
    for (std::int64_t y = from; y < to; ++y) {
      const std::int64_t top = y - s_.margin, skip = std::max<std::int64_t>(0, -top);
      const std::int64_t rows = std::min(kernel, s_.height - top) - skip;
      const float* row = plane.data + (top + skip - first) * plane.row_stride();
      split_evenly(s_.width, depthwise_outputs, [&](std::int64_t x, std::int64_t count) {
        stem_depthwise_some<depthwise_outputs>(
            count, row + x * block_channels, plane.row_stride(), weight + skip * kernel * block_channels, rows, kernel,
            bias, out + (y * s_.width + x) * channels, channels, channels - block * block_channels);
      });
    }
  }

  const Stem& call_;
  const Pool& pool_;
  const StemWorkspace& w_;
  const StemSizes& s_;
};

}  // namespace abawkit::ABAWKIT_ISA
