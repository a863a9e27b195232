// The programs of the backward pass, in order.
#pragma once

#include "attend_backward.h"
#include "features_backward.h"
#include "forward.h"

namespace abawkit::cuda {

template <class A>
struct BackwardMemory {
  std::int64_t outer_groups, outer_images;
  A *sums, *activated, *reciprocal, *pooled_gradient;
  A* gates;                               // where sizes aren't fixed
  A* gate_gradient;                       // (N, K, H + W, C)
  A* squeeze_gradient;                    // (N, K, H + W, M)
  A *pool_rows, *row_rows, *column_rows;  // partial sums, as many as the walk has
  A *outer_rows, *bias_rows;              // partial sums of Outer
  A* activate_rows;                       // partial sums, one for each image
  A *activate_totals, *squeeze_sums, *products;
  BackwardMemory(Workspace& workspace, const Sizes& s, bool fixed) {
    const std::int64_t kc = s.heads * s.channels, km = s.heads * s.squeezed, rows = Walk(s).partials(fixed);
    outer_images = ceil_divide(s.images, most_groups);
    outer_groups = outer_images ? ceil_divide(s.images, outer_images) : 0;
    sums = workspace.take<A>(s.images * kc * s.positions());
    activated = workspace.take<A>(s.images * km * s.positions());
    reciprocal = workspace.take<A>(s.norms());
    pooled_gradient = workspace.take<A>(s.images * s.channels);
    gates = workspace.take<A>(fixed ? 0 : s.images * kc * s.positions());
    gate_gradient = workspace.take<A>(s.images * kc * s.positions());
    squeeze_gradient = workspace.take<A>(s.images * km * s.positions());
    pool_rows = workspace.take<A>(rows * s.area() * s.channels);
    row_rows = workspace.take<A>(rows * kc * s.width);
    column_rows = workspace.take<A>(rows * kc * s.height);
    outer_rows = workspace.take<A>(outer_groups * 2 * km * s.channels);
    bias_rows = workspace.take<A>(outer_groups * 2 * kc);
    activate_rows = workspace.take<A>(s.images * 6 * km);
    activate_totals = workspace.take<A>(6 * km);
    squeeze_sums = workspace.take<A>(2 * km);
    products = workspace.take<A>(2 * km * s.channels);
  }
};

template <class Size, class A>
std::size_t backward_bytes(const Sizes& s) {
  Workspace workspace(nullptr);
  TransposedWeights<A> weights(workspace, s);
  BackwardMemory<A> memory(workspace, s, Size::fixed);
  return workspace.bytes();
}

// Everything that is computed anew from the statistics, and the gradient up to the pooled values.
template <class Size, class T, class Launcher>
void restore(const Backward& b, const Weights<Compute<T>>& w, const BackwardMemory<Compute<T>>& memory,
             Launcher& launcher) {
  using A = Compute<T>;
  const Sizes& s = b.sizes;
  const Norms at(s);
  const A* const mean = static_cast<const A*>(b.statistics);
  typename Statistics<A>::Arguments norms{{}, s.images, b.eps};
  norms.jobs[0].given_mean = mean;
  norms.jobs[0].given_variance = mean + at.count;
  norms.jobs[0].columns = at.count;
  norms.jobs[0].reciprocal = memory.reciprocal;
  launch_reduction<Statistics<A>>(launcher, norms);
  launch_sums<Size, T>(s, b.features, w, memory.sums, nullptr, nullptr, launcher);
  launch_each<Activate<Size, A>>(launcher, s.images * s.heads * s.squeezed * s.positions(),
                                 {squeeze_of<Size, A>(s, w, mean, memory.reciprocal, b.squeezed), memory.activated});
  using Pool = PoolNormBackward<T>;
  launcher.template launch<Pool>(
      ceil_divide(s.channels, Pool::columns), Pool::most_threads, Pool::shared_bytes,
      typename Pool::Arguments{s.images, s.channels, b.batch_statistics, static_cast<const T*>(b.grad_embedding),
                               static_cast<const A*>(b.pooled), mean + at.pool, memory.reciprocal + at.pool,
                               w.pool_scale, memory.pooled_gradient, static_cast<A*>(b.gradients[pool_scale]),
                               static_cast<A*>(b.gradients[pool_shift])});
}

// From the gates to the squeeze, before its norm.
template <class Size, class T, class Launcher>
void gates_backward(const Backward& b, const Weights<Compute<T>>& w, const BackwardMemory<Compute<T>>& memory,
                    Launcher& launcher) {
  using A = Compute<T>;
  const Sizes& s = b.sizes;
  const Walk walk(s);
  const std::int64_t kc = s.heads * s.channels, km = s.heads * s.squeezed;
  const auto gradient = [&](int parameter) { return static_cast<A*>(b.gradients[parameter]); };
  using Gates = AttendBackward<Size, T>;
  const int buffers = buffers_of(Gates::buffer_bytes, launcher.shared_memory());
  launcher.template launch<Gates>(
      walk.blocks(), Gates::most_threads, buffers * Gates::buffer_bytes,
      typename Gates::Arguments{Size(s), walk, buffers, view_of<T>(b.features), w, memory.activated,
                                memory.pooled_gradient, static_cast<const T*>(b.grad_rows),
                                static_cast<const T*>(b.grad_columns), memory.gates, memory.gate_gradient,
                                memory.pool_rows});
  using Products = Outer<Size, A>;
  const typename Products::Arguments outer{Size(s),           memory.outer_groups,  memory.outer_images,
                                           memory.activated,  memory.gate_gradient, {},
                                           memory.outer_rows, memory.bias_rows};
  launcher.template launch<Products>(Products::blocks(outer), Products::most_threads, 0, outer);
  using Back = typename ContractOf<Size, A, false>::type;
  typename Back::Arguments back{Size(s), memory.gate_gradient,   {}, {}, {}, {}, {w.gate[0], w.gate[1]},
                                nullptr, memory.squeeze_gradient};
  launcher.template launch<Back>(s.images * s.heads, Back::most_threads, Back::shared_bytes, back);

  const A* const mean = static_cast<const A*>(b.statistics);
  const auto squeezed = squeeze_of<Size, A>(s, w, mean, memory.reciprocal, b.squeezed);
  launch_each<ActivateBackward<Size, A>>(launcher, s.images * km,
                                         {squeezed, memory.squeeze_gradient, memory.activate_rows});
  typename AddRows<A>::Arguments add{};
  const std::int64_t C = s.channels, groups = memory.outer_groups;
  for (int d = 0; d < 2; ++d) {
    const int weight = d ? column_gate_weight : row_gate_weight;
    add.jobs[d] = {memory.outer_rows + d * km * C, groups, 2 * km * C, km * C, gradient(weight), s.squeezed, C};
    add.jobs[2 + d] = {memory.bias_rows + d * kc, groups, 2 * kc, kc, gradient(weight + 1), 1, kc};
  }
  add.jobs[4] = {memory.activate_rows, s.images, 6 * km, 6 * km, memory.activate_totals, 1, 6 * km};
  add.jobs[5] = {
      memory.pool_rows, walk.partials(Size::fixed), C * s.area(), C * s.area(), gradient(pool_weight), s.area(), C};
  launch_reduction<AddRows<A>>(launcher, add);
  launch_each<SqueezeNormBackward<Size, A>>(
      launcher, s.images ? s.images * km * s.positions() : km,
      {squeezed, b.batch_statistics, memory.squeeze_gradient, memory.activate_totals, gradient(squeeze_scale),
       gradient(squeeze_shift), gradient(squeeze_bias), memory.squeeze_sums});
}

// From the squeeze to the features.
template <class Size, class T, class Launcher>
void squeeze_backward(const Backward& b, const Weights<Compute<T>>& w, const BackwardMemory<Compute<T>>& memory,
                      Launcher& launcher) {
  using A = Compute<T>;
  const Sizes& s = b.sizes;
  const Norms at(s);
  const Walk walk(s);
  const std::int64_t C = s.channels, km = s.heads * s.squeezed;
  const auto gradient = [&](int parameter) { return static_cast<A*>(b.gradients[parameter]); };
  const A* const mean = static_cast<const A*>(b.statistics);
  const A* const means[2] = {mean + at.row, mean + at.column};
  const A* const reciprocals[2] = {memory.reciprocal + at.row, memory.reciprocal + at.column};

  using Products = Outer<Size, A>;
  const typename Products::Arguments outer{
      Size(s),     memory.outer_groups,  memory.outer_images, memory.squeeze_gradient,
      memory.sums, {means[0], means[1]}, memory.outer_rows,   nullptr};
  launcher.template launch<Products>(Products::blocks(outer), Products::most_threads, 0, outer);
  typename AddRows<A>::Arguments add{};
  add.jobs[0] = {memory.outer_rows, memory.outer_groups, 2 * km * C, 2 * km * C, memory.products, 1, C};
  launch_reduction<AddRows<A>>(launcher, add);
  launch_each<SqueezeWeightBackward<Size, A>>(launcher, s.heads * C,
                                              {Size(s),
                                               w.squeeze,
                                               memory.products,
                                               memory.squeeze_sums,
                                               {w.scale[0], w.scale[1]},
                                               {w.shift[0], w.shift[1]},
                                               {reciprocals[0], reciprocals[1]},
                                               gradient(squeeze_weight),
                                               {gradient(row_scale), gradient(column_scale)},
                                               {gradient(row_shift), gradient(column_shift)}});

  using Last = FeaturesBackward<Size, T>;
  const int buffers = buffers_of(Last::buffer_bytes, launcher.shared_memory());
  launcher.template launch<Last>(walk.blocks(), Last::most_threads, buffers * Last::buffer_bytes,
                                 typename Last::Arguments{Size(s),
                                                          walk,
                                                          buffers,
                                                          view_of<T>(b.features),
                                                          {static_cast<T*>(b.grad_features), b.features.channels_last},
                                                          w,
                                                          b.batch_statistics,
                                                          {means[0], means[1]},
                                                          {reciprocals[0], reciprocals[1]},
                                                          {gradient(row_scale), gradient(column_scale)},
                                                          {gradient(row_shift), gradient(column_shift)},
                                                          memory.activated,
                                                          memory.squeeze_gradient,
                                                          memory.pooled_gradient,
                                                          memory.gates,
                                                          memory.sums,
                                                          memory.row_rows,
                                                          memory.column_rows});
  typename AddRows<A>::Arguments last{};
  last.jobs[0] = {memory.row_rows,
                  walk.partials(Size::fixed),
                  s.heads * s.width * C,
                  s.heads * s.width * C,
                  gradient(row_weight),
                  s.width,
                  C};
  last.jobs[1] = {memory.column_rows,
                  walk.partials(Size::fixed),
                  s.heads * s.height * C,
                  s.heads * s.height * C,
                  gradient(column_weight),
                  s.height,
                  C};
  launch_reduction<AddRows<A>>(launcher, last);
}

template <class Size, class T, class Launcher>
void backward(const Backward& b, Launcher& launcher) {
  using A = Compute<T>;
  Workspace workspace(b.workspace);
  const TransposedWeights<A> transposed(workspace, b.sizes);
  const BackwardMemory<A> memory(workspace, b.sizes, Size::fixed);
  const Weights<A> w = transpose<A>(b.sizes, b.parameters, transposed, launcher);
  restore<Size, T>(b, w, memory, launcher);
  gates_backward<Size, T>(b, w, memory, launcher);
  squeeze_backward<Size, T>(b, w, memory, launcher);
}

}  // namespace abawkit::cuda
