// Memory of the mixed block's backward pass.
#pragma once

#include "mixed_gradient_sums.h"

namespace abawkit::ABAWKIT_ISA {

struct BackwardMemory {
  TrainingSizes sizes;
  Panels expand, squeeze, row, column, project;  // transposed
  GatePanels gate_panels;
  DepthwisePanels depthwise;
  float* turned;  // the same kernels, by `turn_kernel`
  BatchNorm expand_norm, squeeze_norm, project_norm;
  float* slopes;         // (16 Eb)
  double* slope_sums;    // (N, 16 Eb)
  float* gated;          // the gradient of t r c: (N, Eb, H' W', 16)
  float* activated;      // the gradient before PReLU, in place where it fits: (N, Eb, H W, 16)
  float *gates, *means;  // and the means' gradient: (N, Eb, H' + W', 16)
  float* hidden;         // the gradient after the squeeze's norm: (N, H' + W', 16 Mb)
  GradientSums sums;
  struct Scratch {
    float *outputs, *values, *inputs, *hidden, *bottleneck, *gates, *sides, *plane, *gradient, *before;
    PairScratch pairs;
    Scratch(const MixedBackward& call, const TrainingSizes& z, Arena& arena)
        : outputs(arena.take<float>(z.pixels * z.output_stride())),
          values(arena.take<float>(z.pixels * z.row_stride())),
          inputs(arena.take<float>(z.pixels * count_blocks(call.inputs) * block_channels)),
          hidden(arena.take<float>(z.positions * z.bottleneck)),
          bottleneck(arena.take<float>(z.positions * z.bottleneck)),
          gates(arena.take<float>(z.positions * z.row_stride())),
          sides(arena.take<float>(z.positions * block_channels)),
          plane(arena.take<float>(z.plane)),
          gradient(arena.take<float>(z.gradient_plane)),
          before(arena.take<float>(z.in_area * block_channels)),
          pairs(call.bfloat16 ? z.pixels : 0, std::max(z.padded, z.outputs), std::max(call.inputs, call.outputs),
                z.padded, arena) {}
  };
  Scratch* scratch;
  std::int64_t* taken;
  BackwardMemory(const MixedBackward& call, int threads, Arena& arena)
      : sizes(call),
        expand(call.inputs, sizes.channels, arena, call.bfloat16),
        squeeze(sizes.channels, call.squeezed, arena),
        row(call.squeezed, sizes.channels, arena),
        column(call.squeezed, sizes.channels, arena),
        project(sizes.channels, call.outputs, arena, call.bfloat16),
        gate_panels(call, sizes, arena),
        depthwise(call, sizes, arena),
        turned(arena.take<float>(sizes.taps)),
        expand_norm(sizes.channels, call.images, arena),
        squeeze_norm(call.squeezed, call.images, arena),
        project_norm(call.outputs, call.images, arena),
        slopes(arena.take<float>(sizes.padded)),
        slope_sums(arena.take<double>(call.images * sizes.padded)),
        gated(arena.take<float>(call.images * sizes.area * sizes.padded)),
        activated(call.stride == 1 ? gated : arena.take<float>(call.images * sizes.in_area * sizes.padded)),
        gates(arena.take<float>(call.images * sizes.positions * sizes.padded)),
        means(arena.take<float>(call.images * sizes.positions * sizes.padded)),
        hidden(arena.take<float>(call.images * sizes.positions * sizes.bottleneck)),
        sums(call, sizes, arena),
        scratch(arena.make<Scratch>(threads, call, sizes)),
        taken(arena.take<std::int64_t>(1)) {}
};

}  // namespace abawkit::ABAWKIT_ISA
