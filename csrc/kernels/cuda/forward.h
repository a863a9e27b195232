// The programs of the forward pass, in order. A Launcher has launch<Program>(blocks, threads, bytes of shared memory,
// arguments), processors() and shared_memory(), the bytes that a block may have; no bit of a result follows from these.
#pragma once

#include "attend.h"
#include "contract_fixed.h"
#include "pool.h"
#include "reduce.h"
#include "squeeze.h"
#include "sums.h"
#include "workspace.h"

namespace abawkit::cuda {

// A launch of one thread for each of `count` entries.
template <class Program, class Launcher>
void launch_each(Launcher& launcher, std::int64_t count, const typename Program::Arguments& arguments) {
  launcher.template launch<Program>(ceil_divide(count, Program::most_threads), Program::most_threads, 0, arguments);
}

template <class Program, class Launcher>
void launch_reduction(Launcher& launcher, const typename Program::Arguments& arguments) {
  launcher.template launch<Program>(Program::blocks(arguments), Program::most_threads, Program::shared_bytes,
                                    arguments);
}

// Where in the means, and in the variances, the norms are.
struct Norms {
  std::int64_t row, column, squeeze, pool, count;
  explicit Norms(const Sizes& s)
      : row(0),
        column(s.heads * s.channels),
        squeeze(2 * s.heads * s.channels),
        pool(squeeze + s.heads * s.squeezed),
        count(s.norms()) {}
};

template <class A>
struct TransposedWeights {
  A *row, *column, *gate[2], *pool;
  TransposedWeights(Workspace& workspace, const Sizes& s) {
    row = workspace.take<A>(s.heads * s.width * s.channels);
    column = workspace.take<A>(s.heads * s.height * s.channels);
    for (A*& each : gate) each = workspace.take<A>(s.heads * s.squeezed * s.channels);
    pool = workspace.take<A>(s.area() * s.channels);
  }
};

template <class A>
Weights<A> weights_of(const void* const* p, const TransposedWeights<A>& t) {
  const auto at = [&](int parameter) { return static_cast<const A*>(p[parameter]); };
  Weights<A> w;
  w.row = t.row;
  w.column = t.column;
  w.scale[0] = at(row_scale), w.scale[1] = at(column_scale);
  w.shift[0] = at(row_shift), w.shift[1] = at(column_shift);
  w.squeeze = at(squeeze_weight);
  w.squeeze_bias = at(squeeze_bias);
  w.squeeze_scale = at(squeeze_scale);
  w.squeeze_shift = at(squeeze_shift);
  w.gate[0] = t.gate[0], w.gate[1] = t.gate[1];
  w.gate_bias[0] = at(row_gate_bias), w.gate_bias[1] = at(column_gate_bias);
  w.pool = t.pool;
  w.pool_scale = at(pool_scale);
  w.pool_shift = at(pool_shift);
  return w;
}

template <class A, class Launcher>
Weights<A> transpose(const Sizes& s, const void* const* p, const TransposedWeights<A>& t, Launcher& launcher) {
  const std::int64_t kc = s.heads * s.channels;
  const auto at = [&](int parameter) { return static_cast<const A*>(p[parameter]); };
  typename Transpose<A>::Arguments a{{{at(row_weight), t.row, s.width, kc * s.width},
                                      {at(column_weight), t.column, s.height, kc * s.height},
                                      {at(row_gate_weight), t.gate[0], s.squeezed, kc * s.squeezed},
                                      {at(column_gate_weight), t.gate[1], s.squeezed, kc * s.squeezed},
                                      {at(pool_weight), t.pool, s.area(), s.channels * s.area()}},
                                     s.channels};
  std::int64_t count = 0;
  for (const auto& job : a.jobs) count += job.count;
  launch_each<Transpose<A>>(launcher, count, a);
  return weights_of(p, t);
}

template <class T>
View<const T> view_of(const Features& features) {
  return {static_cast<const T*>(features.data), features.channels_last};
}

template <class Size, class A>
SqueezeArguments<Size, A> squeeze_of(const Sizes& s, const Weights<A>& w, const A* mean, const A* reciprocal,
                                     const void* squeezed) {
  const std::int64_t at = Norms(s).squeeze;
  return {Size(s), {mean + at, reciprocal + at, w.squeeze_scale, w.squeeze_shift}, static_cast<const A*>(squeezed)};
}

template <class A>
struct ForwardMemory {
  A *sums, *activated, *reciprocal;
  A *sum_means, *sum_squares;  // of rows of the walk
  std::int64_t squeeze_groups, squeeze_images;
  A *squeezed_means, *squeezed_squares;  // of groups of images
  ForwardMemory(Workspace& workspace, const Sizes& s) {
    const std::int64_t sums_row = 2 * s.heads * s.channels, squeezed_row = s.heads * s.squeezed;
    sums = workspace.take<A>(s.images * s.heads * s.positions() * s.channels);
    activated = workspace.take<A>(s.images * s.positions() * squeezed_row);
    reciprocal = workspace.take<A>(s.norms());
    sum_means = workspace.take<A>(Walk(s).rows() * sums_row);
    sum_squares = workspace.take<A>(Walk(s).rows() * sums_row);
    squeeze_images = ceil_divide(s.images, most_squeeze_groups);
    squeeze_groups = squeeze_images ? ceil_divide(s.images, squeeze_images) : 0;
    squeezed_means = workspace.take<A>(squeeze_groups * squeezed_row);
    squeezed_squares = workspace.take<A>(squeeze_groups * squeezed_row);
  }
};

// Sums of rows and columns. Walks over the features, like the two programs that end forward and backward.
template <class Size, class T, class Launcher>
void launch_sums(const Sizes& s, const Features& features, const Weights<Compute<T>>& w, Compute<T>* sums,
                 Compute<T>* means, Compute<T>* squares, Launcher& launcher) {
  using Program = Sums<Size, T>;
  const Walk walk(s);
  const int buffers = buffers_of(Program::buffer_bytes, launcher.shared_memory());
  launcher.template launch<Program>(
      walk.blocks(), Program::most_threads, buffers * Program::buffer_bytes,
      typename Program::Arguments{Size(s), walk, buffers, view_of<T>(features), w.row, w.column, sums, means, squares});
}

template <class Size, class T, class Launcher>
void forward_steps(const Forward& f, const Weights<Compute<T>>& w, const ForwardMemory<Compute<T>>& memory,
                   Launcher& launcher) {
  using A = Compute<T>;
  const Sizes& s = f.sizes;
  const Norms at(s);
  const Walk walk(s);
  const A* const given = static_cast<const A*>(f.given);
  const auto given_mean = [&](std::int64_t i) { return given ? given + i : nullptr; };
  const auto given_variance = [&](std::int64_t i) { return given ? given + at.count + i : nullptr; };
  A* const mean = static_cast<A*>(f.statistics);
  A* const variance = mean + at.count;
  const std::int64_t kc = s.heads * s.channels, km = s.heads * s.squeezed;

  launch_sums<Size, T>(s, f.features, w, memory.sums, given ? nullptr : memory.sum_means, memory.sum_squares, launcher);
  typename Statistics<A>::Arguments sums{{}, s.images, f.eps};
  for (int d = 0; d < 2; ++d) {
    const std::int64_t i = d ? at.column : at.row;
    sums.jobs[d] = {given_mean(i),
                    given_variance(i),
                    memory.sum_means + d * kc,
                    memory.sum_squares + d * kc,
                    walk.rows(),
                    2 * kc,
                    kc,
                    slots,
                    walk.group_images,
                    static_cast<int>(d ? s.width : s.height),
                    mean + i,
                    variance + i,
                    memory.reciprocal + i};
  }
  launch_reduction<Statistics<A>>(launcher, sums);

  using Squeeze = typename ContractOf<Size, A, true>::type;
  typename Squeeze::Arguments squeeze{
      Size(s), memory.sums, {}, {}, {}, {}, {}, w.squeeze_bias, static_cast<A*>(f.squeezed)};
  for (int d = 0; d < 2; ++d) {
    const std::int64_t i = d ? at.column : at.row;
    squeeze.mean[d] = mean + i;
    squeeze.reciprocal[d] = memory.reciprocal + i;
    squeeze.scale[d] = w.scale[d];
    squeeze.shift[d] = w.shift[d];
    squeeze.weight[d] = w.squeeze;
  }
  launcher.template launch<Squeeze>(s.images * s.heads, Squeeze::most_threads, Squeeze::shared_bytes, squeeze);

  const auto squeezed = squeeze_of<Size, A>(s, w, mean, memory.reciprocal, f.squeezed);
  if (!given)
    launch_each<SqueezeMoments<Size, A>>(
        launcher, memory.squeeze_groups * km,
        {squeezed, memory.squeeze_groups, memory.squeeze_images, memory.squeezed_means, memory.squeezed_squares});
  typename Statistics<A>::Arguments norm{{}, s.images, f.eps};
  norm.jobs[0] = {given_mean(at.squeeze),
                  given_variance(at.squeeze),
                  memory.squeezed_means,
                  memory.squeezed_squares,
                  memory.squeeze_groups,
                  km,
                  km,
                  1,
                  memory.squeeze_images,
                  static_cast<int>(s.positions()),
                  mean + at.squeeze,
                  variance + at.squeeze,
                  memory.reciprocal + at.squeeze};
  launch_reduction<Statistics<A>>(launcher, norm);
  launch_each<Activate<Size, A>>(launcher, s.images * km * s.positions(), {squeezed, memory.activated});

  using Gates = Attend<Size, T>;
  const int buffers = buffers_of(Gates::buffer_bytes, launcher.shared_memory());
  launcher.template launch<Gates>(
      walk.blocks(), Gates::most_threads, buffers * Gates::buffer_bytes,
      typename Gates::Arguments{Size(s), walk, buffers, view_of<T>(f.features), w, memory.activated, memory.sums,
                                static_cast<A*>(f.pooled), static_cast<T*>(f.rows), static_cast<T*>(f.columns)});
  using Pool = PoolNorm<T>;
  launcher.template launch<Pool>(
      ceil_divide(s.channels, Pool::columns), Pool::most_threads, Pool::shared_bytes,
      typename Pool::Arguments{s.images, s.channels, static_cast<const A*>(f.pooled), given_mean(at.pool),
                               given_variance(at.pool), w.pool_scale, w.pool_shift, f.eps, mean + at.pool,
                               variance + at.pool, static_cast<T*>(f.embedding)});
}

template <class A>
std::size_t forward_bytes(const Sizes& s) {
  Workspace workspace(nullptr);
  TransposedWeights<A> weights(workspace, s);
  ForwardMemory<A> memory(workspace, s);
  return workspace.bytes();
}

template <class Size, class T, class Launcher>
void forward(const Forward& f, Launcher& launcher) {
  using A = Compute<T>;
  Workspace workspace(f.workspace);
  const TransposedWeights<A> transposed(workspace, f.sizes);
  const ForwardMemory<A> memory(workspace, f.sizes);
  forward_steps<Size, T>(f, transpose<A>(f.sizes, f.parameters, transposed, launcher), memory, launcher);
}

}  // namespace abawkit::cuda
