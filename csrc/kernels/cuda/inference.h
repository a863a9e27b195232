// Evaluation with folded weights: one kernel for fixed sizes, the forward pass with norms that do nothing for any.
#pragma once

#include "forward.h"
#include "fused.h"

namespace abawkit::cuda {

template <class A>
struct InferenceMemory {
  TransposedWeights<A> weights;
  A *squeeze, *row_shift, *column_shift, *row_gate_bias, *column_gate_bias, *pool_shift, *squeeze_bias;
  A *ones, *given, *statistics, *squeezed, *pooled;
  ForwardMemory<A> forward;
  InferenceMemory(Workspace& workspace, const Sizes& s) : weights(workspace, s), forward(workspace, s) {
    const std::int64_t kc = s.heads * s.channels, km = s.heads * s.squeezed;
    squeeze = workspace.take<A>(km * s.channels);
    for (A** each : {&row_shift, &column_shift, &row_gate_bias, &column_gate_bias}) *each = workspace.take<A>(kc);
    pool_shift = workspace.take<A>(s.channels);
    squeeze_bias = workspace.take<A>(km);
    given = workspace.take<A>(2 * s.norms());
    ones = given + s.norms();
    statistics = workspace.take<A>(2 * s.norms());
    squeezed = workspace.take<A>(s.images * km * s.positions());
    pooled = workspace.take<A>(s.images * s.channels);
  }
};

template <class Size, class A>
std::size_t inference_bytes(const Sizes& s) {
  Workspace workspace(nullptr);
  if (!Size::fixed) InferenceMemory<A> memory(workspace, s);
  return workspace.bytes();
}

template <class A, class Launcher>
void unfold(const Inference& f, const InferenceMemory<A>& to, Launcher& launcher) {
  const Sizes& s = f.sizes;
  const std::int64_t C = s.channels, H = s.height, W = s.width, K = s.heads, M = s.squeezed, Mp = padded(s);
  typename Unfold<A>::Arguments a{};
  a.folded = static_cast<const A*>(f.folded);
  int jobs = 0;
  std::int64_t at = 0, tile_stride = first_block(s), count = 0;
  // (outer, inner) of 16 channels each, where memory has `padded_inner` in place of `inner`
  const auto tiled = [&](A* out, std::int64_t outer, std::int64_t inner, std::int64_t padded_inner) {
    a.jobs[jobs++] = {out, at, tile_stride, 1, padded_inner * 16, inner, 16, outer * inner * C, C, A(0)};
    at += outer * padded_inner * 16;
    count += outer * inner * C;
  };
  tiled(to.weights.row, K, W, W);
  tiled(to.weights.column, K, H, H);
  tiled(to.row_shift, K, 1, 1);
  tiled(to.column_shift, K, 1, 1);
  a.jobs[jobs++] = {to.squeeze, at, tile_stride, Mp, 16 * Mp, M, 1, K * M * C, C, A(0)};
  count += K * M * C;
  at = tiles(s) * first_block(s);
  tile_stride = second_block(s);
  tiled(to.weights.gate[0], K, M, Mp);
  tiled(to.row_gate_bias, K, 1, 1);
  tiled(to.weights.gate[1], K, M, Mp);
  tiled(to.column_gate_bias, K, 1, 1);
  tiled(to.weights.pool, 1, s.area(), s.area());
  tiled(to.pool_shift, 1, 1, 1);
  at = tiles(s) * (first_block(s) + second_block(s));
  a.jobs[jobs++] = {to.squeeze_bias, at, 0, 0, Mp, M, 1, K * M, 1, A(0)};
  a.jobs[jobs++] = {to.given, -1, 0, 0, 0, 1, 0, s.norms(), 1, A(0)};
  a.jobs[jobs++] = {to.ones, -1, 0, 0, 0, 1, 0, s.norms(), 1, A(1)};
  launch_each<Unfold<A>>(launcher, count + K * M + 2 * s.norms(), a);
}

template <class T, class Launcher>
void general_inference(const Inference& f, Launcher& launcher) {
  using A = Compute<T>;
  if (f.sizes.images == 0) return;
  Workspace workspace(f.workspace);
  const InferenceMemory<A> m(workspace, f.sizes);
  unfold(f, m, launcher);
  const A* const zeros = m.given;
  const Weights<A> w{m.weights.row,
                     m.weights.column,
                     {m.ones, m.ones},
                     {m.row_shift, m.column_shift},
                     m.squeeze,
                     m.squeeze_bias,
                     m.ones,
                     zeros,
                     {m.weights.gate[0], m.weights.gate[1]},
                     {m.row_gate_bias, m.column_gate_bias},
                     m.weights.pool,
                     m.ones,
                     m.pool_shift};
  Forward forward{};
  forward.sizes = f.sizes;
  forward.features = f.features;
  forward.given = m.given;
  forward.embedding = f.embedding;
  forward.rows = f.rows;
  forward.columns = f.columns;
  forward.squeezed = m.squeezed;
  forward.pooled = m.pooled;
  forward.statistics = m.statistics;
  forward_steps<Any, T>(forward, w, m.forward, launcher);
}

template <class Size, class T, int images, class Launcher>
void fused_inference(const Inference& f, Launcher& launcher) {
  using Program = Fused<Size, T, images>;
  const Sizes& s = f.sizes;
  const std::int64_t second_at = tiles(s) * first_block(s);
  const int chunks = Program::chunks_of(static_cast<int>(s.channels));
  // Where there are more blocks than SMs, several share one's memory; a block takes up 1 KiB beside what it asks for.
  const bool alone = ceil_divide(s.images, images) <= launcher.processors();
  const int memory = alone ? launcher.shared_memory() : launcher.shared_memory() / Program::least_blocks;
  const int fitting =
      (memory - (alone ? 0 : 1024) * (Program::least_blocks - 1) - Program::sums_bytes) / Program::chunk_bytes;
  const int buffers = fitting < 1 ? 1 : fitting < chunks ? fitting : chunks;
  launcher.template launch<Program>(
      ceil_divide(s.images, images), Program::most_threads, Program::shared_bytes(buffers),
      typename Program::Arguments{Size(s), view_of<T>(f.features), static_cast<const Compute<T>*>(f.folded),
                                  first_block(s), second_block(s), second_at, second_at + tiles(s) * second_block(s),
                                  static_cast<T*>(f.embedding), static_cast<T*>(f.rows), static_cast<T*>(f.columns),
                                  chunks, buffers});
}

// More images to a block read less of the weights, where there are enough of them to occupy the device; as many as the
// memory of an SM holds the features of. Which it is changes no bit.
template <class Size, class T, class Launcher>
void inference(const Inference& f, Launcher& launcher) {
  if constexpr (Size::fixed) {
    const std::int64_t each = f.sizes.images / launcher.processors();
    if constexpr (sizeof(T) == 2)
      if (each >= 4) return fused_inference<Size, T, 4>(f, launcher);
    if (each >= 2) return fused_inference<Size, T, 2>(f, launcher);
    fused_inference<Size, T, 1>(f, launcher);
  } else {
    general_inference<T>(f, launcher);
  }
}

}  // namespace abawkit::cuda
