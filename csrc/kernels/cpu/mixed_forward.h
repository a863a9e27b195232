// The mixed block's forward pass in training:
//   expand     for each image and each tile of blocks of 16 channels: z, and its moments
//   convolve   for each image and each block: norm and PReLU into a plane that stays in the cache, the depthwise
//              convolution, and its means over rows and columns
//   squeeze    for each image: the squeeze, and its moments
//   project    for each image: gates; values times gates into a buffer, which the projection reads; its moments
//   normalise  for each image: the last norm, and the residual
// Between them the moments of all images are combined, in the order of the images, and then those of all processes.
#pragma once

#include "mixed_images.h"

namespace abawkit::ABAWKIT_ISA {

struct ForwardMemory {
  TrainingSizes sizes;
  Panels expand, squeeze, project;
  DepthwisePanels depthwise;
  GatePanels gates;
  BatchNorm expand_norm, squeeze_norm, project_norm;
  float* slopes;  // (16 Eb)
  Pair* inputs;   // (N, H W, (I + 1) / 2), in bfloat16
  struct Scratch {
    float *plane, *sums, *hidden, *gates, *gated;
    PairScratch pairs;
    Scratch(const MixedForward& call, const TrainingSizes& z, Arena& arena)
        : plane(arena.take<float>(z.plane)),
          sums(arena.take<float>(z.positions * block_channels)),
          hidden(arena.take<float>(z.positions * z.bottleneck)),
          gates(arena.take<float>(z.positions * z.padded)),
          gated(arena.take<float>(z.pixels * z.row_stride())),
          pairs(call.bfloat16 ? z.pixels : 0, z.padded, 0, 0, arena) {}
  };
  Scratch* scratch;
  std::int64_t* taken;
  ForwardMemory(const MixedForward& call, int threads, Arena& arena)
      : sizes(call),
        expand(sizes.channels, call.inputs, arena, call.bfloat16),
        squeeze(call.squeezed, sizes.padded, arena),
        project(call.outputs, sizes.padded, arena, call.bfloat16),
        depthwise(call, sizes, arena),
        gates(call, sizes, arena),
        expand_norm(sizes.channels, call.images, arena),
        squeeze_norm(call.squeezed, call.images, arena),
        project_norm(call.outputs, call.images, arena),
        slopes(arena.take<float>(sizes.padded)),
        inputs(arena.take<Pair>(call.bfloat16 ? call.images * sizes.in_area * expand.rows : 0)),
        scratch(arena.make<Scratch>(threads, call, sizes)),
        taken(arena.take<std::int64_t>(1)) {}
};

class MixedForwardPass {
 public:
  MixedForwardPass(const MixedForward& call, const Pool& pool, const ForwardMemory& memory)
      : c_(call), pool_(pool), m_(memory), s_(memory.sizes) {}

  void run() const {
    const MixedParameters<const float>& p = c_.parameters;
    pack();
    if (c_.bfloat16)
      each(c_.images, [&](std::int64_t n, std::int64_t) {
        pair_channels(inputs(n), s_.in_area, m_.inputs + n * s_.in_area * m_.expand.rows, m_.expand.rows);
      });
    const std::int64_t tiles = (s_.blocks + product_blocks - 1) / product_blocks;
    each(c_.images * tiles, [&](std::int64_t i, std::int64_t) { expand(i / tiles, i % tiles * product_blocks); });
    float* statistics = c_.saved.statistics;
    combine(m_.expand_norm, s_.in_area, statistics, p.expand_scale, p.expand_shift);
    each(c_.images * s_.blocks,
         [&](std::int64_t i, std::int64_t thread) { convolve(i / s_.blocks, i % s_.blocks, m_.scratch[thread]); });
    each(c_.images, [&](std::int64_t n, std::int64_t) { squeeze(n); });
    statistics += 2 * s_.padded;
    combine(m_.squeeze_norm, s_.positions, statistics, p.squeeze_scale, p.squeeze_shift);
    each(c_.images, [&](std::int64_t n, std::int64_t thread) { project(n, m_.scratch[thread]); });
    statistics += 2 * s_.bottleneck;
    combine(m_.project_norm, s_.area, statistics, p.project_scale, p.project_shift);
    each(c_.images, [&](std::int64_t n, std::int64_t) { normalise(n); });
  }

 private:
  template <class F>
  void each(std::int64_t pieces, const F& f) const {
    share(pool_, m_.taken, pieces, f);
  }

  void combine(const BatchNorm& norm, std::int64_t pixels, float* statistics, const float* scale,
               const float* shift) const {
    norm.combine(c_.images, pixels, c_.processes, statistics);
    norm.read(statistics, scale, shift, c_.eps);
  }

  void pack() const {
    const MixedParameters<const float>& p = c_.parameters;
    each(s_.blocks, [&](std::int64_t b, std::int64_t) {
      m_.expand.pack(b, p.expand_weight, s_.channels, c_.inputs, nullptr);
      m_.gates.pack(b, s_, c_, p);
      float* kernel = m_.depthwise.block(b);
      std::memset(kernel, 0, (m_.depthwise.block(b + 1) - kernel) * sizeof(float));
      for_each_tap(c_.splits, b, [&](std::int64_t part, std::int64_t from, std::int64_t to) {
        kernel[to] = p.depthwise[part][from];
      });
    });
    each(m_.squeeze.blocks, [&](std::int64_t b, std::int64_t) {
      m_.squeeze.pack(b, p.squeeze_weight, c_.squeezed, s_.channels, p.squeeze_bias);
    });
    each(m_.project.blocks,
         [&](std::int64_t b, std::int64_t) { m_.project.pack(b, p.project_weight, c_.outputs, s_.channels, nullptr); });
    std::memset(m_.slopes, 0, s_.padded * sizeof(float));
    std::memcpy(m_.slopes, p.slope, s_.channels * sizeof(float));
  }

  float* expanded(std::int64_t n, std::int64_t block) const {
    return c_.saved.expanded + (n * s_.blocks + block) * s_.in_area * block_channels;
  }

  PixelValues inputs(std::int64_t n) const { return {c_.x + n * s_.in_area * c_.inputs, c_.inputs, c_.inputs}; }

  void expand(std::int64_t n, std::int64_t first) const {
    const std::int64_t end = std::min(first + product_blocks, s_.blocks);
    const PixelPlaces to{expanded(n, 0), block_channels, s_.in_area * block_channels};
    if (c_.bfloat16)
      multiply(PixelPairs{m_.inputs + n * s_.in_area * m_.expand.rows, m_.expand.rows, m_.expand.rows}, s_.in_area,
               m_.expand, first, end, to);
    else
      multiply(inputs(n), s_.in_area, m_.expand, first, end, to);
    for (std::int64_t b = first; b < end; ++b) m_.expand_norm.measure(n, b, expanded(n, b), s_.in_area, block_channels);
  }

  void convolve(std::int64_t n, std::int64_t b, const ForwardMemory::Scratch& t) const {
    const std::int64_t kernel = c_.splits.kernel_of_block(b);
    const Plane plane{t.plane, c_.height, c_.width, kernel / 2};
    activate(c_, m_.expand_norm, m_.slopes, b, expanded(n, b), plane, t.plane);
    float* values = c_.saved.values + (n * s_.blocks + b) * s_.area * block_channels;
    float* columns = t.sums + s_.height * block_channels;
    const DepthwiseOutput to{values, t.sums, columns, s_.height, s_.width};
    c_.stride == 1 ? depthwise<1>(plane, m_.depthwise.block(b), kernel, to)
                   : depthwise<2>(plane, m_.depthwise.block(b), kernel, to);
    float* means = c_.saved.means + n * s_.positions * s_.padded + b * block_channels;
    for (std::int64_t p = 0; p < s_.positions; ++p) {
      const float by = 1.0f / static_cast<float>(p < s_.height ? s_.width : s_.height);
      for (int j = 0; j < block_channels; j += lanes<float>)
        store(means + p * s_.padded + j, load(t.sums + p * block_channels + j) * by);
    }
  }

  void squeeze(std::int64_t n) const {
    const PixelValues means{c_.saved.means + n * s_.positions * s_.padded, s_.padded, s_.padded};
    float* squeezed = c_.saved.squeezed + n * s_.positions * s_.bottleneck;
    multiply(means, s_.positions, m_.squeeze, 0, m_.squeeze.blocks, {squeezed, s_.bottleneck, block_channels});
    for (std::int64_t b = 0; b < m_.squeeze.blocks; ++b)
      m_.squeeze_norm.measure(n, b, squeezed + b * block_channels, s_.positions, s_.bottleneck);
  }

  void project(std::int64_t n, const ForwardMemory::Scratch& t) const {
    const float* squeezed = c_.saved.squeezed + n * s_.positions * s_.bottleneck;
    const float* values = c_.saved.values + n * s_.area * s_.padded;
    float* projected = c_.saved.projected + n * s_.area * s_.outputs;
    compute_gates(s_, c_, m_.squeeze_norm, m_.gates, squeezed, t.hidden, t.gates);
    for (std::int64_t from = 0; from < s_.area; from += s_.pixels) {
      const std::int64_t to = std::min(from + s_.pixels, s_.area);
      apply_gates(s_, values, t.gates, from, to, t.gated);
      const PixelValues gated{t.gated, s_.row_stride(), s_.padded};
      multiply(gated, to - from, m_.project, {projected + from * s_.outputs, s_.outputs, block_channels}, t.pairs);
    }
    for (std::int64_t b = 0; b < m_.project.blocks; ++b)
      m_.project_norm.measure(n, b, projected + b * block_channels, s_.area, s_.outputs);
  }

  void normalise(std::int64_t n) const {
    const float* projected = c_.saved.projected + n * s_.area * s_.outputs;
    const std::int64_t at = n * s_.area * c_.outputs;
    for (std::int64_t p = 0; p < s_.area; ++p)
      for (std::int64_t c = 0; c < c_.outputs; c += lanes<float>) {
        const std::int64_t to = at + p * c_.outputs + c, left = c_.outputs - c;
        const Vector<float> centred = m_.project_norm.centre(load(projected + p * s_.outputs + c), c);
        Vector<float> value = m_.project_norm.apply(centred, c);
        if (c_.residual) value += load_some(c_.x + to, left);
        store_some(c_.out + to, left, value);
      }
  }

  const MixedForward& c_;
  const Pool& pool_;
  const ForwardMemory& m_;
  const TrainingSizes& s_;
};

}  // namespace abawkit::ABAWKIT_ISA
