// The mixed block in evaluation. An image goes through three phases:
//   channels   for each block of 16 channels: expansion of the whole image into a plane, PReLU, depthwise convolution
//              and its sums over rows and columns. The plane, 16 channels wide, is in the first or second-level cache
//              when the convolution reads it, and its rows lie one after another, whatever the number of channels.
//   positions  for each row and column of the image: squeeze, hardswish, gates
//   pixels     for some pixels at a time: values times gates into a buffer, which the projection reads
// With products in bfloat16, an image's input is rounded before, and values times gates are as they go into the buffer.
// Blocks, positions and pixels need nothing of each other, so the threads share images, or one image, in any way, and
// each sum is still taken by one thread in one order.
#pragma once

#include <algorithm>
#include <type_traits>

#include "mixed_depthwise.h"
#include "pairs.h"
#include "pool.h"
#include "product_tile.h"
#include "sizes.h"

namespace abawkit::ABAWKIT_ISA {

// Sizes of a call and where its packed weights begin.
struct MixedSizes {
  std::int64_t expanded, squeezed, outputs;  // blocks
  std::int64_t height, width, area, positions;
  std::int64_t margin, plane, pixels;  // pixels: at a time, as many as leave their buffer in the cache
  std::int64_t* expand;                // of each block, and the end
  std::int64_t inputs, gated;          // rows of the weights of expansion and projection
  std::int64_t squeeze, gates, project;
  std::int32_t* places;  // of each pixel of the input in a plane

  MixedSizes(const MixedBlock& call, Arena& arena)
      : expanded(count_blocks(call.splits.expanded())),
        squeezed(count_blocks(call.squeezed)),
        outputs(count_blocks(call.outputs)),
        height(call.out_height()),
        width(call.out_width()),
        area(height * width),
        positions(height + width),
        margin(call.splits.largest(0, call.splits.expanded()) / 2),
        plane(call.height * (call.width + 2 * margin) * block_channels),
        pixels(expanded * block_channels <= 256 ? 2 * 14 : 4 * 14),
        expand(arena.take<std::int64_t>(expanded + 1)),
        inputs(call.rows(call.inputs)),
        gated(call.rows(expanded * block_channels)),
        places(arena.take<std::int32_t>(call.height * call.width)) {
    if (pixels > area) pixels = area;
    std::int64_t at = 0;
    for (std::int64_t b = 0; b <= expanded; ++b) {
      if (expand != nullptr) expand[b] = at;
      if (b == expanded) break;
      const std::int64_t kernel = call.splits.kernel_of_block(b);
      at += (inputs + 2 + kernel * kernel) * block_channels;
    }
    squeeze = at;
    gates = squeeze + squeezed * squeeze_stride();
    project = gates + expanded * gate_stride();
    if (places == nullptr) return;
    for (std::int64_t y = 0; y < call.height; ++y)
      for (std::int64_t x = 0; x < call.width; ++x)
        places[y * call.width + x] =
            static_cast<std::int32_t>((y * (call.width + 2 * margin) + margin + x) * block_channels);
  }
  std::int64_t squeeze_stride() const { return (expanded * block_channels + 1) * block_channels; }
  std::int64_t project_stride() const { return (gated + 1) * block_channels; }
  // Pixels at a distance of a power of two would share few places of the first-level cache.
  std::int64_t gated_stride() const { return gated + block_channels; }
  std::int64_t gate_side() const { return (squeezed * block_channels + 1) * block_channels; }
  std::int64_t gate_stride() const { return 2 * gate_side(); }
};

// What is kept of an image between the phases.
struct MixedImage {
  Pair* inputs;   // (H W, (I + 1) / 2), where products are in bfloat16
  float* values;  // (Eb, H' W', 16)
  float* means;   // (H' + W', 16 Eb)
  float* hidden;  // (H' + W', 16 Mb)
  float* gates;   // (Eb, H' + W', 16)
  MixedImage(const MixedBlock& call, const MixedSizes& s, Arena& arena)
      : inputs(arena.take<Pair>(call.bfloat16 ? call.height * call.width * s.inputs : 0)),
        values(arena.take<float>(s.expanded * s.area * block_channels)),
        means(arena.take<float>(s.expanded * s.positions * block_channels)),
        hidden(arena.take<float>(s.squeezed * s.positions * block_channels)),
        gates(arena.take<float>(s.expanded * s.positions * block_channels)) {}
};

// Scratch memory of a thread.
struct MixedScratch {
  float* planes;  // (product_blocks, H, W + 2 margin, 16)
  float* sums;    // (H' + W', 16)
  float* gated;   // (pixels, 16 Eb), a pixel at a stride; in bfloat16 pairs
  MixedScratch(const MixedSizes& s, Arena& arena)
      : planes(arena.take<float>(product_blocks * s.plane)),
        sums(arena.take<float>(s.positions * block_channels)),
        gated(arena.take<float>(s.pixels * s.gated_stride())) {}
};

struct MixedWorkspace {
  MixedSizes sizes;
  std::int64_t shared_images;  // those at the end, which all threads work on together
  MixedImage* images;          // one for each thread, or one alone where no image is a thread's own
  MixedScratch* scratch;
  std::int64_t* taken;  // pieces of work that threads have begun
  MixedWorkspace(const MixedBlock& call, int threads, Arena& arena)
      : sizes(call, arena),
        shared_images(threads == 1 ? 0 : call.images % threads),
        images(arena.make<MixedImage>(shared_images < call.images ? threads : 1, call, sizes)),
        scratch(arena.make<MixedScratch>(threads, sizes)),
        taken(arena.take<std::int64_t>(1)) {}
};

// X is float, or bfloat16 for the products of expansion and projection.
template <class X>
class MixedPass {
 public:
  MixedPass(const MixedBlock& call, const Pool& pool, const MixedWorkspace& workspace)
      : call_(call), pool_(pool), w_(workspace), s_(workspace.sizes) {}

  void run() const {
    const std::int64_t own = call_.images - w_.shared_images;
    share(own, [&](std::int64_t n, std::int64_t thread) {
      const MixedImage& image = w_.images[thread];
      round_inputs(n, 0, call_.height * call_.width, image);
      for (std::int64_t i = 0; i < channel_pieces(); ++i) channels(n, i, image, w_.scratch[thread]);
      positions(0, s_.positions, image);
      const std::int64_t pieces = pixel_pieces();
      for (std::int64_t i = 0; i < pieces; ++i) pixels(n, i, pieces, image, w_.scratch[thread]);
    });
    for (std::int64_t n = own; n < call_.images; ++n) {
      const MixedImage& image = w_.images[0];
      if (pairs)
        share(call_.height,
              [&](std::int64_t y, std::int64_t) { round_inputs(n, y * call_.width, (y + 1) * call_.width, image); });
      share(channel_pieces(), [&](std::int64_t i, std::int64_t thread) { channels(n, i, image, w_.scratch[thread]); });
      const std::int64_t parts = (s_.positions + product_pixels - 1) / product_pixels;
      share(parts, [&](std::int64_t i, std::int64_t) {
        positions(s_.positions * i / parts, s_.positions * (i + 1) / parts, image);
      });
      // As many for each thread, where there are enough pixels.
      const std::int64_t threads = pool_.threads, rounds = (pixel_pieces() + threads - 1) / threads;
      const std::int64_t pieces = std::min(rounds * threads, s_.area);
      share(pieces, [&](std::int64_t i, std::int64_t thread) { pixels(n, i, pieces, image, w_.scratch[thread]); });
    }
  }

 private:
  static constexpr bool pairs = sizeof(X) < sizeof(float);
  std::int64_t channel_pieces() const { return (s_.expanded + product_blocks - 1) / product_blocks; }
  std::int64_t pixel_pieces() const { return (s_.area + s_.pixels - 1) / s_.pixels; }

  // Calls f(i, thread) for each piece of work; whichever thread is free takes the next one.
  template <class F>
  void share(std::int64_t pieces, const F& f) const {
    *w_.taken = 0;
    parallel(pool_, pieces < pool_.threads ? pieces : pool_.threads, [&](std::int64_t thread) {
      for (;;) {
        const std::int64_t i = __atomic_fetch_add(w_.taken, 1, __ATOMIC_RELAXED);
        if (i >= pieces) return;
        f(i, thread);
      }
    });
  }

  // Calls f with one block or, where the tile is as wide as that, two: f.template operator()<B>(first, blocks).
  template <class F>
  static void some_blocks(std::int64_t first, std::int64_t end, const F& f) {
    if (product_blocks == 2 && first + 2 <= end)
      f.template operator()<product_blocks>();
    else
      f.template operator()<1>();
  }

  void channels(std::int64_t n, std::int64_t piece, const MixedImage& image, const MixedScratch& t) const {
    const std::int64_t first = piece * product_blocks, end = std::min(first + product_blocks, s_.expanded);
    clear_margins(t);
    some_blocks(first, end, [&]<int B>() {
      if constexpr (pairs)
        expand<B>(PixelPairs{image.inputs, s_.inputs, s_.inputs}, first, t.planes);
      else
        expand<B>(PixelValues{call_.x + n * input_size(), call_.inputs, call_.inputs}, first, t.planes);
    });
    for (std::int64_t b = first; b < end; ++b) {
      const Plane plane{t.planes + (b - first) * s_.plane, call_.height, call_.width, s_.margin};
      float* columns = t.sums + s_.height * block_channels;
      const DepthwiseOutput to{image.values + b * s_.area * block_channels, t.sums, columns, s_.height, s_.width};
      const float* weight = call_.weights + s_.expand[b] + (s_.inputs + 2) * block_channels;
      const std::int64_t kernel = call_.splits.kernel_of_block(b);
      call_.stride == 1 ? depthwise<1>(plane, weight, kernel, to) : depthwise<2>(plane, weight, kernel, to);
      means(b, 0, s_.height, 1.0f / static_cast<float>(s_.width), image, t);
      means(b, s_.height, s_.positions, 1.0f / static_cast<float>(s_.height), image, t);
    }
  }

  std::int64_t input_size() const { return call_.height * call_.width * call_.inputs; }

  // The input of the pixels from..to in pairs.
  void round_inputs(std::int64_t n, std::int64_t from, std::int64_t to, const MixedImage& image) const {
    if constexpr (pairs)
      pair_channels({call_.x + n * input_size() + from * call_.inputs, call_.inputs, call_.inputs}, to - from,
                    image.inputs + from * s_.inputs, s_.inputs);
  }

  void clear_margins(const MixedScratch& t) const {
    const std::int64_t stride = (call_.width + 2 * s_.margin) * block_channels, side = s_.margin * block_channels;
    for (float* row = t.planes; row < t.planes + product_blocks * s_.plane; row += stride) {
      std::memset(row, 0, side * sizeof(float));
      std::memset(row + stride - side, 0, side * sizeof(float));
    }
  }

  // Means of the positions from..to of one block, from their sums.
  void means(std::int64_t block, std::int64_t from, std::int64_t to, float factor, const MixedImage& image,
             const MixedScratch& t) const {
    for (std::int64_t p = from; p < to; ++p)
      for (int j = 0; j < block_channels; j += lanes<float>)
        store(image.means + (p * s_.expanded + block) * block_channels + j,
              load(t.sums + p * block_channels + j) * factor);
  }

  template <int B, class Values>
  void expand(const Values& x, std::int64_t first, float* planes) const {
    const float* weight = call_.weights + s_.expand[first];
    const PanelWeights weights{weight, weight + s_.inputs * block_channels, s_.expand[first + 1] - s_.expand[first]};
    const float* slopes = weights.bias + block_channels;
    const std::int64_t plane = s_.plane, stride = weights.block_stride;
    const std::int32_t* places = s_.places;
    product<B>(x, 0, call_.height * call_.width, weights, [=](std::int64_t p, int j, Vector<float> sum) {
      const int block = j / block_vectors, lane = j % block_vectors * lanes<float>;
      const Vector<float> scaled = sum * load(slopes + block * stride + lane);
      store(planes + block * plane + places[p] + lane, sum < 0.0f ? scaled : sum);
    });
  }

  void positions(std::int64_t from, std::int64_t to, const MixedImage& image) const {
    const std::int64_t part = s_.positions * block_channels;
    const float* squeeze = call_.weights + s_.squeeze;
    const std::int64_t expanded = s_.expanded * block_channels, squeezed = s_.squeezed * block_channels;
    for (std::int64_t m = 0; m < s_.squeezed; ++m, squeeze += s_.squeeze_stride()) {
      float* hidden = image.hidden + m * block_channels;
      product<1>({image.means, expanded, expanded}, from, to,
                 {squeeze, squeeze + s_.squeeze_stride() - block_channels, 0},
                 [=](std::int64_t p, int j, Vector<float> sum) {
                   store(hidden + p * squeezed + j * lanes<float>, hardswish(sum));
                 });
    }
    const PixelValues hidden{image.hidden, squeezed, call_.squeezed};
    const std::int64_t middle = std::max(from, std::min(to, s_.height));
    for (std::int64_t b = 0; b < s_.expanded; ++b) {
      const float* row = call_.weights + s_.gates + b * s_.gate_stride();
      const float* column = row + s_.gate_side();
      const std::int64_t bias = s_.gate_side() - block_channels;
      float* gates = image.gates + b * part;
      const auto finish = [=](std::int64_t p, int j, Vector<float> sum) {
        store(gates + p * block_channels + j * lanes<float>, sum);
      };
      product<1>(hidden, from, middle, {row, row + bias, 0}, finish);
      product<1>(hidden, middle, to, {column, column + bias, 0}, finish);
      sigmoid(gates + from * block_channels, (to - from) * block_channels);
    }
  }

  void pixels(std::int64_t n, std::int64_t piece, std::int64_t pieces, const MixedImage& image,
              const MixedScratch& t) const {
    const std::int64_t from = s_.area * piece / pieces, to = s_.area * (piece + 1) / pieces;
    gate(from, to, image, reinterpret_cast<X*>(t.gated));
    const std::int64_t at = (n * s_.area + from) * call_.outputs;
    const float* residual = call_.residual ? call_.x + at : nullptr;
    for (std::int64_t b = 0; b < s_.outputs; b += product_blocks)
      some_blocks(b, s_.outputs, [&]<int B>() {
        const std::int64_t first = b * block_channels, count = call_.outputs - first;
        const float* add = residual == nullptr ? nullptr : residual + first;
        if (count >= B * block_channels)
          add == nullptr ? project<B, false, false>(b, to - from, t.gated, add, call_.out + at + first)
                         : project<B, true, false>(b, to - from, t.gated, add, call_.out + at + first);
        else
          add == nullptr ? project<B, false, true>(b, to - from, t.gated, add, call_.out + at + first)
                         : project<B, true, true>(b, to - from, t.gated, add, call_.out + at + first);
      });
  }

  // The values of the pixels from..to times their gates.
  void gate(std::int64_t from, std::int64_t to, const MixedImage& image, X* gated) const {
    const std::int64_t stride = s_.gated_stride() * static_cast<std::int64_t>(sizeof(float) / sizeof(X));
    for (std::int64_t b = 0; b < s_.expanded; ++b) {
      const float* value = image.values + (b * s_.area + from) * block_channels;
      const float* rows = image.gates + b * s_.positions * block_channels;
      const float* columns = rows + s_.height * block_channels;
      X* out = gated + b * block_channels;
      for (std::int64_t p = from; p < to;) {
        const std::int64_t y = p / s_.width, end = std::min(to, (y + 1) * s_.width);
        const float* row = rows + y * block_channels;
        const float* column = columns + (p - y * s_.width) * block_channels;
        for (; p < end; ++p, value += block_channels, column += block_channels, out += stride)
          for (int j = 0; j < block_channels; j += lanes<float>) {
            const Vector<float> gated_value = load(value + j) * (load(row + j) * load(column + j));
            if constexpr (pairs)
              store_narrow(out + j, gated_value);
            else
              store(out + j, gated_value);
          }
      }
    }
  }

  // Outputs of B blocks for some pixels; with `Partly`, the last block has less than 16.
  template <int B, bool Residual, bool Partly>
  void project(std::int64_t block, std::int64_t count, const float* gated, const float* residual, float* out) const {
    const float* weight = call_.weights + s_.project + block * s_.project_stride();
    const std::int64_t outputs = call_.outputs, left = outputs - block * block_channels;
    using Values = std::conditional_t<pairs, PixelPairs, PixelValues>;
    const auto* at = reinterpret_cast<const std::conditional_t<pairs, Pair, float>*>(gated);
    product<B>(Values{at, s_.gated_stride(), s_.gated}, 0, count,
               {weight, weight + s_.project_stride() - block_channels, s_.project_stride()},
               [=](std::int64_t p, int j, Vector<float> sum) {
                 const std::int64_t to = p * outputs + j * lanes<float>;
                 if (!Partly || (j + 1) * lanes<float> <= left) {
                   store(out + to, Residual ? sum + load(residual + to) : sum);
                 } else {
                   for (int i = 0; i < lanes<float> && j * lanes<float> + i < left; ++i)
                     out[to + i] = Residual ? sum[i] + residual[to + i] : sum[i];
                 }
               });
  }

  const MixedBlock& call_;
  const Pool& pool_;
  const MixedWorkspace& w_;
  const MixedSizes& s_;
};

}  // namespace abawkit::ABAWKIT_ISA
