// What both passes of a mixed block's training share: sizes, packed weights, norms, and the work on one image.
#pragma once

#include <algorithm>
#include <cstring>

#include "mixed_depthwise.h"
#include "mixed_norms.h"
#include "mixed_products.h"
#include "mixed_training.h"
#include "pool.h"

namespace abawkit::ABAWKIT_ISA {

struct TrainingSizes {
  std::int64_t channels, blocks, padded;  // E, Eb, 16 Eb
  std::int64_t bottleneck, outputs;       // 16 Mb, 16 Ob
  std::int64_t height, width, area, positions, in_area;
  std::int64_t margin, plane, gradient_plane;
  std::int64_t pixels;  // at a time, as many as leave what is computed of them in the cache
  std::int64_t taps;    // of all blocks' kernels, times 16

  explicit TrainingSizes(const MixedShape& s)
      : channels(s.splits.expanded()),
        blocks(count_blocks(channels)),
        padded(blocks * block_channels),
        bottleneck(count_blocks(s.squeezed) * block_channels),
        outputs(count_blocks(s.outputs) * block_channels),
        height(s.out_height()),
        width(s.out_width()),
        area(height * width),
        positions(height + width),
        in_area(s.height * s.width),
        margin(s.splits.largest(0, channels) / 2),
        plane(s.height * (s.width + 2 * margin) * block_channels),
        gradient_plane(height * (width + 2 * margin) * block_channels),
        pixels(std::clamp<std::int64_t>(32768 / padded, 16, 128)),
        taps(0) {
    for (std::int64_t b = 0; b < blocks; ++b) {
      const std::int64_t kernel = s.splits.kernel_of_block(b);
      taps += kernel * kernel * block_channels;
    }
  }
  // Pixels at a distance of a power of two would share few places of the first-level cache.
  std::int64_t row_stride() const { return padded + block_channels; }
  std::int64_t output_stride() const { return outputs + block_channels; }
};

// Kernels of the depthwise convolution in blocks: (kernel, kernel, 16), smaller ones in the centre.
struct DepthwisePanels {
  float* data;
  std::int64_t* places;  // of each block, and the end
  DepthwisePanels(const MixedShape& s, const TrainingSizes& z, Arena& arena)
      : data(arena.take<float>(z.taps)), places(arena.take<std::int64_t>(z.blocks + 1)) {
    if (places == nullptr) return;
    places[0] = 0;
    for (std::int64_t b = 0; b < z.blocks; ++b) {
      const std::int64_t kernel = s.splits.kernel_of_block(b);
      places[b + 1] = places[b] + kernel * kernel * block_channels;
    }
  }
  float* block(std::int64_t b) const { return data + places[b]; }
};

// Calls f(part, entry of its weights, entry of the block's kernel) for each weight of the channels of a block.
template <class F>
inline void for_each_tap(const Splits& splits, std::int64_t block, const F& f) {
  const std::int64_t size = splits.kernel_of_block(block), from = block * block_channels;
  for (std::int64_t part = 0, first = 0; part < splits.parts; first += splits.channels[part++]) {
    const std::int64_t own = splits.kernels[part], edge = (size - own) / 2;
    const std::int64_t begin = std::max(first, from);
    const std::int64_t end = std::min(first + splits.channels[part], from + block_channels);
    for (std::int64_t c = begin; c < end; ++c)
      for (std::int64_t i = 0; i < own * own; ++i)
        f(part, (c - first) * own * own + i, ((i / own + edge) * size + i % own + edge) * block_channels + c - from);
  }
}

// Calls f(i, thread) for each piece of work; whichever thread is free takes the next one.
template <class F>
inline void share(const Pool& pool, std::int64_t* taken, std::int64_t pieces, const F& f) {
  *taken = 0;
  parallel(pool, pieces < pool.threads ? pieces : pool.threads, [&](std::int64_t thread) {
    for (;;) {
      const std::int64_t i = __atomic_fetch_add(taken, 1, __ATOMIC_RELAXED);
      if (i >= pieces) return;
      f(i, thread);
    }
  });
}

// y = prelu(BN(z)) of one block of an image, in a plane whose margins are zeros.
inline void activate(const MixedShape& s, const BatchNorm& norm, const float* slopes, std::int64_t block,
                     const float* expanded, const Plane& to, float* plane) {
  const std::int64_t side = to.margin * block_channels, first = block * block_channels;
  for (std::int64_t y = 0; y < s.height; ++y, plane += to.row_stride()) {
    std::memset(plane, 0, side * sizeof(float));
    std::memset(plane + side + s.width * block_channels, 0, side * sizeof(float));
    for (int j = 0; j < block_channels; j += lanes<float>) {
      const Vector<float> slope = load(slopes + first + j);
      const float* from = expanded + y * s.width * block_channels + j;
      float* at = plane + side + j;
      for (std::int64_t x = 0; x < s.width * block_channels; x += block_channels) {
        const Vector<float> pre = norm.apply(norm.centre(load(from + x), first + j), first + j);
        store(at + x, pre > 0.0f ? pre : pre * slope);
      }
    }
  }
}

// The weights, norms and scratch memory of a gate: of one image.
struct GatePanels {
  Panels row, column;
  GatePanels(const MixedShape& s, const TrainingSizes& z, Arena& arena)
      : row(z.channels, s.squeezed, arena), column(z.channels, s.squeezed, arena) {}
  void pack(std::int64_t b, const TrainingSizes& z, const MixedShape& s, const MixedParameters<const float>& p) const {
    row.pack(b, p.row_gate_weight, z.channels, s.squeezed, p.row_gate_bias);
    column.pack(b, p.column_gate_weight, z.channels, s.squeezed, p.column_gate_bias);
  }
};

// hidden (positions, 16 Mb) and gates (Eb, positions, 16) of one image.
inline void compute_gates(const TrainingSizes& z, const MixedShape& s, const BatchNorm& norm, const GatePanels& panels,
                          const float* squeezed, float* hidden, float* gates) {
  for (std::int64_t m = 0; m < z.bottleneck; m += lanes<float>)
    for (std::int64_t p = m; p < z.positions * z.bottleneck; p += z.bottleneck)
      store(hidden + p, hardswish(norm.apply(norm.centre(load(squeezed + p), m), m)));
  const std::int64_t block = z.positions * block_channels;
  const PixelValues rows{hidden, z.bottleneck, s.squeezed};
  multiply(rows, z.height, panels.row, 0, z.blocks, {gates, block_channels, block});
  const PixelValues columns{hidden + z.height * z.bottleneck, z.bottleneck, s.squeezed};
  multiply(columns, z.width, panels.column, 0, z.blocks, {gates + z.height * block_channels, block_channels, block});
  sigmoid(gates, z.blocks * block);
}

// The values (Eb, area, 16) of the pixels from..to times their gates, a pixel at a `row_stride`.
inline void apply_gates(const TrainingSizes& z, const float* values, const float* gates, std::int64_t from,
                        std::int64_t to, float* out) {
  for (std::int64_t b = 0; b < z.blocks; ++b) {
    const float* value = values + (b * z.area + from) * block_channels;
    const float* rows = gates + b * z.positions * block_channels;
    const float* columns = rows + z.height * block_channels;
    float* at = out + b * block_channels;
    for (std::int64_t p = from; p < to;) {
      const std::int64_t y = p / z.width, end = std::min(to, (y + 1) * z.width);
      const float* row = rows + y * block_channels;
      const float* column = columns + (p - y * z.width) * block_channels;
      for (; p < end; ++p, value += block_channels, column += block_channels, at += z.row_stride())
        for (int j = 0; j < block_channels; j += lanes<float>)
          store(at + j, load(value + j) * (load(row + j) * load(column + j)));
    }
  }
}

}  // namespace abawkit::ABAWKIT_ISA
