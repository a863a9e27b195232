// Training's backward pass: x is read three times. The first sweep goes from the embedding's gradient to the hidden
// values', the second gathers what the norms of the directional sums need of the batch, the third writes the features'
// gradient. Gates are made again from the hidden values, not saved.
#pragma once

#include "attend_backward.h"
#include "backward_norms.h"

namespace abawkit::ABAWKIT_ISA {

template <class A, class X, class S>
class BackwardPass {
 public:
  BackwardPass(const Backward& call, const Pool& pool, Arena& arena)
      : call_(call),
        z_(call.sizes),
        s_(z_),
        pool_(pool),
        w_(call, s_, pool.threads, arena),
        x_(call.features.data, z_, s_, call.features.channels_last),
        dx_(call.grad_features, z_, s_, call.features.channels_last),
        statistics_(static_cast<const A*>(call.statistics)) {}

  void run() {
    w_.norm.read(z_, call_.parameters, statistics_, call_.eps);
    const A* saved = static_cast<const A*>(call_.squeezed);
    parallel_images(pool_, z_.images, [&](std::int64_t n) {
      fill_up(s_, s_.gates, saved + n * s_.gates * s_.squeezed, w_.squeezed + n * per_image());
      std::memcpy(w_.hidden + n * per_image(), w_.squeezed + n * per_image(), per_image() * sizeof(A));
      w_.norm.hidden(s_, w_.hidden + n * per_image());
    });
    each_tile([this](std::int64_t g, std::int64_t tile, std::int64_t i, BackwardScratch<A>&) {
      sum_pooled<A, X>(call_, tile, w_.numbers, dz(g, 0, i));
    });
    images_ = call_.processes.add(w_.numbers, 2 * z_.channels, z_.images);
    parallel_groups(pool_, call_, w_.scratch, [this](std::int64_t g, BackwardScratch<A>& t) { to_hidden(g, t); });
    parallel_images(pool_, z_.images, [this](std::int64_t n) { join(n); });
    differentiate_squeeze(call_, s_, w_);
    if (call_.processes.several()) {
      each_tile(
          [this](std::int64_t, std::int64_t tile, std::int64_t i, BackwardScratch<A>& t) { sum_features(tile, i, t); });
      synchronise_norms();
      each_tile([this](std::int64_t g, std::int64_t tile, std::int64_t i, BackwardScratch<A>& t) {
        t.norms.read(z_, call_.parameters, statistics_, call_.eps, tile);
        to_features(g, tile, i, t);
      });
    } else {
      each_tile([this](std::int64_t g, std::int64_t tile, std::int64_t i, BackwardScratch<A>& t) {
        sum_features(tile, i, t);
        to_features(g, tile, i, t);
      });
    }
  }

 private:
  std::int64_t per_image() const { return s_.gates * s_.padded; }
  std::int64_t gate_size() const { return s_.heads * s_.padded * tile_width; }
  std::int64_t side_size() const { return s_.heads * 2 * tile_width; }
  std::int64_t gates_size() const { return s_.gates * tile_width; }
  // Of one image and one tile of a group.
  A* gates(std::int64_t group, std::int64_t n, std::int64_t i) const {
    return w_.gates + ((group * z_.images + n) * group_tiles + i) * gates_size();
  }
  A* dz(std::int64_t group, std::int64_t n, std::int64_t i) const {
    return w_.dz + ((group * z_.images + n) * group_tiles + i) * tile_width;
  }
  const void* parameter(Parameter p) const { return call_.parameters[p]; }
  void* gradient(Parameter p) const { return call_.gradients[p]; }
  // Of one image and one tile of a group: directional sums, which stay for all tiles where other processes are waited
  // for.
  A* sums(std::int64_t n, std::int64_t i, BackwardScratch<A>& t) const {
    return t.sums + ((call_.processes.several() ? i * z_.images : 0) + n) * gates_size();
  }
  // Calls f(group, tile, place in the group, scratch) for all tiles.
  template <class F>
  void each_tile(const F& f) {
    parallel_groups(pool_, call_, w_.scratch, [&](std::int64_t g, BackwardScratch<A>& t) {
      const TileRange range(z_, g);
      for (std::int64_t tile = range.from; tile < range.to; ++tile) f(g, tile, tile - range.from, t);
    });
  }

  void to_hidden(std::int64_t group, BackwardScratch<A>& t) {
    const TileRange range(z_, group);
    for (std::int64_t tile = range.from; tile < range.to; ++tile) {
      const std::int64_t i = tile - range.from, at = i * gate_size(), bias = i * side_size();
      pack(z_, s_.heads, s_.squeezed, parameter(row_gate_weight), tile, t.row_gate + at, s_.padded);
      pack(z_, s_.heads, s_.squeezed, parameter(column_gate_weight), tile, t.column_gate + at, s_.padded);
      pack(z_, s_.heads, 1, parameter(row_gate_bias), tile, t.row_gate_bias + bias, 1);
      pack(z_, s_.heads, 1, parameter(column_gate_bias), tile, t.column_gate_bias + bias, 1);
      pack_rows(z_, parameter(row_gate_weight), tile, t.row_gate_turned + at);
      pack_rows(z_, parameter(column_gate_weight), tile, t.column_gate_turned + at);
      pack(z_, 1, s_.area, parameter(pool_weight), tile, t.pool + i * s_.area * tile_width, s_.area);
      differentiate_pooled<A, X>(call_, tile, w_.numbers, images_, dz(group, 0, i));
    }
    std::memset(t.row_gate_gradient, 0, group_tiles * gate_size() * sizeof(A));
    std::memset(t.column_gate_gradient, 0, group_tiles * gate_size() * sizeof(A));
    std::memset(t.bias_gradient, 0, group_tiles * side_size() * sizeof(A));
    std::memset(t.pool_gradient, 0, group_tiles * s_.area * tile_width * sizeof(A));
    for_each_tile(s_, x_, range.from, range.to, z_.images, [&](std::int64_t n, std::int64_t tile, Ahead& ahead) {
      A* partial = w_.partial + (group * z_.images + n) * per_image();
      if (tile == range.from) std::memset(partial, 0, per_image() * sizeof(A));
      tile_to_hidden(group, n, tile, ahead, t, partial);
    });
    for (std::int64_t tile = range.from; tile < range.to; ++tile) {
      const std::int64_t i = tile - range.from, at = i * gate_size();
      unpack(z_, s_.heads, s_.squeezed, t.row_gate_gradient + at, s_.padded, tile, gradient(row_gate_weight));
      unpack(z_, s_.heads, s_.squeezed, t.column_gate_gradient + at, s_.padded, tile, gradient(column_gate_weight));
      unpack(z_, s_.heads, 1, t.bias_gradient + i * side_size(), 2, tile, gradient(row_gate_bias));
      unpack(z_, s_.heads, 1, t.bias_gradient + i * side_size() + tile_width, 2, tile, gradient(column_gate_bias));
      unpack(z_, 1, s_.area, t.pool_gradient + i * s_.area * tile_width, s_.area, tile, gradient(pool_weight));
    }
  }

  void tile_to_hidden(std::int64_t group, std::int64_t n, std::int64_t tile, Ahead& ahead, BackwardScratch<A>& t,
                      A* partial) {
    const std::int64_t i = tile - group * group_tiles, at = i * gate_size();
    const GateWeights<A> weights{t.row_gate + at, t.row_gate_bias + i * side_size(), t.column_gate + at,
                                 t.column_gate_bias + i * side_size()};
    const A* hidden = w_.hidden + n * per_image();
    A* gates = this->gates(group, n, i);
    const X *rows = static_cast<const X*>(call_.grad_rows), *columns = static_cast<const X*>(call_.grad_columns);
    load_tile(s_, x_, n, tile, t.tile, t.rows);
    ask_for_gates<false>(s_, z_.channels, n, tile, rows, columns);
    ahead();
    make_gates(s_, hidden, weights, gates);
    ahead();
    const std::int64_t map = i * s_.area * tile_width;
    attend_backward(s_, t.tile, gates, t.pool + map, dz(group, n, i), t.pool_gradient + map, t.gradients);
    ahead();
    add_gate_gradients(s_, z_.channels, n, tile, rows, columns, t.gradients, t.spare);
    sigmoid_backward(s_, gates, t.gradients);
    ahead();
    for (std::int64_t k = 0; k < s_.heads; ++k)
      for (int side = 0; side < 2; ++side) {
        const std::int64_t count = side == 0 ? s_.height : s_.width;
        const std::int64_t first = k * s_.positions + (side == 0 ? 0 : s_.height);
        const A* from = t.gradients + first * tile_width;
        A* bias = t.bias_gradient + i * side_size() + (k * 2 + side) * tile_width;
        for (int j = 0; j < tile_width; j += lanes<A>) {
          Vector<A> sum = load(bias + j);
          for (std::int64_t p = 0; p < count; ++p) sum += load(from + p * tile_width + j);
          store(bias + j, sum);
        }
        A* weight = (side == 0 ? t.row_gate_gradient : t.column_gate_gradient) + at + k * s_.padded * tile_width;
        multiply(s_.squeezed, weight, tile_width, {hidden + first * s_.padded, 1, s_.padded, from, tile_width, count});
        const A* turned = (side == 0 ? t.row_gate_turned : t.column_gate_turned) + at + k * s_.padded * tile_width;
        for (std::int64_t m = 0; m < s_.padded; m += 16)
          multiply(count, partial + first * s_.padded + m, s_.padded,
                   {from, tile_width, 1, turned + m, s_.padded, tile_width});
      }
  }

  // Through the hardswish of one image: the gradient of what the squeeze's norm returns, in place of the first share;
  // and normalised values in place of those before the norm.
  void join(std::int64_t n) {
    A *to = w_.partial + n * per_image(), *squeezed = w_.squeezed + n * per_image();
    for (std::int64_t i = 0; i < s_.gates; ++i)
      for (std::int64_t m = 0; m < s_.padded; m += lanes<A>) {
        const std::int64_t km = i / s_.positions * s_.padded + m, at = i * s_.padded + m;
        const Vector<A> normal = (load(squeezed + at) - load(w_.norm.mean + km)) * load(w_.norm.reciprocal + km);
        const Vector<A> value = normal * load(w_.norm.scale + km) + load(w_.norm.shift + km);
        store(squeezed + at, normal);
        store(to + at, sum_of_groups(z_, to + at, z_.images * per_image()) * hardswish_slope(value));
      }
  }

  // Of one tile: the directional sums of all images, and the sums that their norms' gradients need.
  void sum_features(std::int64_t tile, std::int64_t i, BackwardScratch<A>& t) {
    const std::int64_t row_size = s_.heads * s_.width * tile_width, column_size = s_.heads * s_.height * tile_width;
    std::memset(t.row_moment + i * gate_size(), 0, gate_size() * sizeof(A));
    std::memset(t.column_moment + i * gate_size(), 0, gate_size() * sizeof(A));
    std::memset(t.row_weight_gradient + i * row_size, 0, row_size * sizeof(A));
    std::memset(t.column_weight_gradient + i * column_size, 0, column_size * sizeof(A));
    A *rows = t.row_weight + i * row_size, *columns = t.column_weight + i * column_size;
    pack(z_, s_.heads, s_.width, parameter(row_weight), tile, rows, s_.width);
    pack(z_, s_.heads, s_.height, parameter(column_weight), tile, columns, s_.height);
    pack_squeeze(z_, parameter(squeeze_weight), tile, t.squeeze + i * gate_size());
    pack(z_, 1, s_.area, parameter(pool_weight), tile, t.pool + i * s_.area * tile_width, s_.area);
    t.norms.read(z_, call_.parameters, statistics_, call_.eps, tile);
    each_image(tile, [&](std::int64_t n, Ahead& ahead) { moments(n, tile, ahead, i, t, rows, columns); });
    sum_norms(tile, i, t);
  }

  // The gradient of the features of one tile, and of the weights of its directional sums.
  void to_features(std::int64_t group, std::int64_t tile, std::int64_t i, BackwardScratch<A>& t) {
    const std::int64_t row_size = s_.heads * s_.width * tile_width, column_size = s_.heads * s_.height * tile_width;
    const A *rows = t.row_weight + i * row_size, *columns = t.column_weight + i * column_size;
    finish_norms(i, t);
    each_image(tile, [&](std::int64_t n, Ahead& ahead) {
      auto written = ahead_of<true>(s_, dx_, n, tile, tile + 1, 2);
      written();
      ahead();
      sums_gradient(n, i, t, sums(n, i, t));
      ahead();
      load_tile(s_, x_, n, tile, t.tile, t.rows);
      ahead();
      written();
      sums_backward(s_, t.tile, t.gradients, rows, columns, gates(group, n, i), t.pool + i * s_.area * tile_width,
                    dz(group, n, i), t.row_weight_gradient + i * row_size, t.column_weight_gradient + i * column_size,
                    t.out);
      ahead();
      store_tile(s_, dx_, n, tile, t.out, t.rows);
    });
    unpack(z_, s_.heads, s_.width, t.row_weight_gradient + i * row_size, s_.width, tile, gradient(row_weight));
    unpack(z_, s_.heads, s_.height, t.column_weight_gradient + i * column_size, s_.height, tile,
           gradient(column_weight));
  }
  template <class F>
  void each_image(std::int64_t tile, const F& f) {
    for_each_tile(s_, x_, tile, tile + 1, z_.images, [&](std::int64_t n, std::int64_t, Ahead& ahead) { f(n, ahead); });
  }

  // Normalised sums of one image and tile, and their moments with the squeeze's gradient: sum over positions of ds x^.
  void moments(std::int64_t n, std::int64_t tile, Ahead& ahead, std::int64_t i, BackwardScratch<A>& t, const A* rows,
               const A* columns) {
    A* sums = this->sums(n, i, t);
    load_tile(s_, x_, n, tile, t.tile, t.rows);
    ahead();
    directional_sums(s_, t.tile, rows, columns, sums);
    ahead();
    for_each_sum(s_, sums, [&](A* at, std::int64_t count, std::int64_t norm, int j) {
      const Vector<A> mean = load(t.norms.mean + norm * tile_width + j);
      const Vector<A> reciprocal = load(t.norms.reciprocal + norm * tile_width + j);
      for (std::int64_t p = 0; p < count; ++p)
        store(at + p * tile_width, (load(at + p * tile_width) - mean) * reciprocal);
    });
    for (std::int64_t k = 0; k < s_.heads; ++k)
      for (int side = 0; side < 2; ++side) {
        const std::int64_t first = k * s_.positions + (side == 0 ? 0 : s_.height);
        if (side == 0) ahead();
        A* moment = (side == 0 ? t.row_moment : t.column_moment) + i * gate_size() + k * s_.padded * tile_width;
        multiply(s_.squeezed, moment, tile_width,
                 {w_.hidden + n * per_image() + first * s_.padded, 1, s_.padded, sums + first * tile_width, tile_width,
                  side == 0 ? s_.height : s_.width});
      }
  }

  // What follows from the moments: gradients of the squeeze's weights and of the norms of the directional sums.
  void sum_norms(std::int64_t tile, std::int64_t i, BackwardScratch<A>& t) {
    const std::size_t bytes = channels_in_tile(z_.channels, tile) * sizeof(A);
    for (std::int64_t k = 0; k < s_.heads; ++k) {
      const std::int64_t first = i * gate_size() + k * s_.padded * tile_width,
                         channel = k * z_.channels + tile * tile_width;
      for (int side = 0; side < 2; ++side) {
        const A* moment = (side == 0 ? t.row_moment : t.column_moment) + first;
        const double* sums = w_.sums + (k * 2 + side) * s_.padded;
        A totals[tile_width], products[tile_width];
        for (int j = 0; j < tile_width; j += lanes<A>) {
          Vector<A> total = {}, product = {};
          for (std::int64_t m = 0; m < s_.squeezed; ++m) {
            const Vector<A> weight = load(t.squeeze + first + m * tile_width + j);
            total += weight * static_cast<A>(sums[m]);
            product += weight * load(moment + m * tile_width + j);
          }
          const std::int64_t norm = (k * 2 + side) * tile_width + j, to = i * side_size() + norm;
          store(t.mean + to, total);
          store(t.product + to, product);
          store(totals + j, total);
          store(products + j, product);
        }
        std::memcpy(static_cast<A*>(gradient(side == 0 ? row_shift : column_shift)) + channel, totals, bytes);
        std::memcpy(static_cast<A*>(gradient(side == 0 ? row_scale : column_scale)) + channel, products, bytes);
      }
      for (std::int64_t m = 0; m < s_.squeezed; ++m) {
        const double* sums = w_.sums + k * 2 * s_.padded + m;
        const A of_rows = static_cast<A>(sums[0]), of_columns = static_cast<A>(sums[s_.padded]);
        A values[tile_width];
        for (int j = 0; j < tile_width; j += lanes<A>) {
          const std::int64_t at = first + m * tile_width + j, row = k * 2 * tile_width + j, column = row + tile_width;
          store(values + j, load(t.norms.scale + row) * load(t.row_moment + at) + load(t.norms.shift + row) * of_rows +
                                load(t.norms.scale + column) * load(t.column_moment + at) +
                                load(t.norms.shift + column) * of_columns);
        }
        std::memcpy(static_cast<A*>(gradient(squeeze_weight)) + (k * s_.squeezed + m) * z_.channels + tile * tile_width,
                    values, bytes);
      }
    }
  }

  // The same sums over all processes.
  void synchronise_norms() {
    double *totals = w_.numbers, *products = w_.numbers + 2 * s_.heads * z_.channels;
    const auto each_number = [&](const auto& f) {
      each_tile([&](std::int64_t, std::int64_t tile, std::int64_t i, BackwardScratch<A>& t) {
        for (std::int64_t norm = 0; norm < 2 * s_.heads; ++norm)
          for (int c = 0; c < channels_in_tile(z_.channels, tile); ++c)
            f(norm * z_.channels + tile * tile_width + c, i * side_size() + norm * tile_width + c, t);
      });
    };
    each_number([&](std::int64_t at, std::int64_t from, const BackwardScratch<A>& t) {
      totals[at] = t.mean[from];
      products[at] = t.product[from];
    });
    call_.processes.add(w_.numbers, 4 * s_.heads * z_.channels, z_.images);
    each_number([&](std::int64_t at, std::int64_t to, BackwardScratch<A>& t) {
      t.mean[to] = static_cast<A>(totals[at]);
      t.product[to] = static_cast<A>(products[at]);
    });
  }

  // What the sums over a batch add to the gradient of each directional sum of one tile.
  void finish_norms(std::int64_t i, BackwardScratch<A>& t) {
    for (std::int64_t norm = 0; norm < 2 * s_.heads; ++norm) {
      const double count = images_ * double(norm % 2 == 0 ? s_.height : s_.width);
      const A share = call_.batch_statistics ? static_cast<A>(1 / count) : 0;
      for (int j = 0; j < tile_width; j += lanes<A>) {
        const std::int64_t from = norm * tile_width + j, at = i * side_size() + from;
        const Vector<A> factor = load(t.norms.scale + from) * share;
        store(t.mean + at, factor * load(t.mean + at));
        store(t.product + at, factor * load(t.product + at));
      }
    }
  }

  // The gradient of the directional sums of one image and tile, in `gradients`; `sums` are normalised.
  void sums_gradient(std::int64_t n, std::int64_t i, BackwardScratch<A>& t, const A* sums) {
    const A none[tile_width] = {};
    for (std::int64_t k = 0; k < s_.heads; ++k)
      multiply(s_.positions, t.gradients + k * s_.positions * tile_width, tile_width,
               {w_.hidden + n * per_image() + k * s_.positions * s_.padded, s_.padded, 1,
                t.squeeze + i * gate_size() + k * s_.padded * tile_width, tile_width, s_.squeezed},
               none);
    for_each_sum(s_, t.gradients, [&](A* at, std::int64_t count, std::int64_t norm, int j) {
      const std::int64_t from = norm * tile_width + j;
      const Vector<A> scale = load(t.norms.scale + from), reciprocal = load(t.norms.reciprocal + from);
      const Vector<A> mean = load(t.mean + i * side_size() + from), product = load(t.product + i * side_size() + from);
      const A* normal = sums + (at - t.gradients);
      for (std::int64_t p = 0; p < count * tile_width; p += tile_width)
        store(at + p, reciprocal * (scale * load(at + p) - mean - load(normal + p) * product));
    });
  }

  const Backward& call_;
  const Sizes& z_;
  const S s_;
  const Pool& pool_;
  BackwardWorkspace<A> w_;
  const Images<const X> x_;
  const Images<X> dx_;
  const A* statistics_;
  double images_ = 0;  // of all processes
};

template <class A, class X, class S>
void run_backward(const Backward& call, const Pool& pool) {
  Arena arena(call.workspace);
  BackwardPass<A, X, S>(call, pool, arena).run();
}

template <class A>
std::size_t count_backward(const Backward& call, int threads) {
  Arena arena(nullptr);
  BackwardWorkspace<A>(call, Any(call.sizes), threads, arena);
  return arena.bytes();
}

}  // namespace abawkit::ABAWKIT_ISA
