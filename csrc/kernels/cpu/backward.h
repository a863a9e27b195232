// Training's backward pass: x is read three times. The first sweep goes from the embedding's gradient to the hidden
// values', the second gathers what the norms of the directional sums need of the batch, the third writes the features'
// gradient. Gates are made again from the hidden values, not saved.
#pragma once

#include "attend_backward.h"
#include "group.h"

namespace abawkit::ABAWKIT_ISA {

// Scratch memory of one group; sizes that begin with "tiles" are group_tiles.
template <class A>
struct BackwardScratch {
  A *tile, *rows, *out, *gradients;
  A *row_weight, *column_weight;                                    // (tiles, K, W | H, 16)
  A* squeeze;                                                       // (tiles, K, Mp, 16)
  A *row_gate, *row_gate_bias, *column_gate, *column_gate_bias;     // (tiles, K, Mp | 1, 16)
  A *row_gate_turned, *column_gate_turned;                          // (tiles, K, 16, Mp)
  A* pool;                                                          // (tiles, H W, 16)
  A *row_weight_gradient, *column_weight_gradient, *pool_gradient;  // like the weights
  A *row_gate_gradient, *column_gate_gradient, *bias_gradient;      // (tiles, K, Mp, 16), and (tiles, K, 2, 16)
  A *row_moment, *column_moment;                                    // (tiles, K, Mp, 16)
  A *mean, *product;                                                // (tiles, K, 2, 16)
  A* dz;                                                            // (N, tiles, 16)
  A *gates, *sums;                                                  // (N, tiles, K, H + W, 16)
  TileNorms<A> norms;

  template <class S>
  BackwardScratch(const Sizes& z, const S& s, Arena& a) : norms(s, a) {
    const std::int64_t t = group_tiles * tile_width, gate = t * s.heads * s.padded, side = t * s.heads * 2;
    tile = a.take<A>(s.area * tile_width);
    rows = a.take<A>(s.area * tile_width);
    out = a.take<A>(s.area * tile_width);
    gradients = a.take<A>(s.gates * tile_width);
    for (A** p : {&row_weight, &row_weight_gradient}) *p = a.take<A>(t * s.heads * s.width);
    for (A** p : {&column_weight, &column_weight_gradient}) *p = a.take<A>(t * s.heads * s.height);
    for (A** p : {&squeeze, &row_gate, &column_gate, &row_gate_turned, &column_gate_turned, &row_gate_gradient,
                  &column_gate_gradient, &row_moment, &column_moment})
      *p = a.take<A>(gate);
    for (A** p : {&row_gate_bias, &column_gate_bias, &bias_gradient, &mean, &product}) *p = a.take<A>(side);
    for (A** p : {&pool, &pool_gradient}) *p = a.take<A>(t * s.area);
    dz = a.take<A>(z.images * t);
    gates = a.take<A>(z.images * group_tiles * s.gates * tile_width);
    sums = a.take<A>(z.images * group_tiles * s.gates * tile_width);
  }
};

template <class A>
struct BackwardWorkspace {
  A* partial;    // (groups, N, K, H + W, Mp): shares of the hidden values' gradient
  A* hidden;     // (N, K, H + W, Mp): the hidden values, then the gradient of what comes before the squeeze's norm
  double* sums;  // (K, 2, M): of that gradient, over rows and over columns
  SqueezeNorm<A> norm;
  BackwardScratch<A>* scratch;
  template <class S>
  BackwardWorkspace(const Sizes& z, const S& s, Arena& a)
      : partial(a.take<A>(groups(z) * z.images * s.gates * s.padded)),
        hidden(a.take<A>(z.images * s.gates * s.padded)),
        sums(a.take<double>(s.heads * 2 * s.squeezed)),
        norm(z, a),
        scratch(a.take<BackwardScratch<A>>(groups(z))) {
    for (std::int64_t g = 0; g < groups(z); ++g) {
      const BackwardScratch<A> one(z, s, a);
      if (scratch != nullptr) scratch[g] = one;
    }
  }
};

template <class A, class X, class S>
class BackwardPass {
 public:
  BackwardPass(const Backward& call, const Pool& pool, Arena& arena)
      : call_(call),
        z_(call.sizes),
        s_(z_),
        pool_(pool),
        w_(z_, s_, arena),
        x_(call.features.data, z_, s_, call.features.channels_last),
        dx_(call.grad_features, z_, s_, call.features.channels_last),
        statistics_(static_cast<const A*>(call.statistics)) {}

  void run() {
    w_.norm.read(z_, call_.parameters, statistics_, call_.eps);
    const A* squeezed = static_cast<const A*>(call_.squeezed);
    parallel_images(pool_, z_.images, [&](std::int64_t n) {
      w_.norm.hidden(s_, squeezed + n * s_.gates * s_.squeezed, w_.hidden + n * per_image());
    });
    parallel(pool_, groups(z_), [this](std::int64_t g) { to_hidden(g, w_.scratch[g]); });
    parallel_images(pool_, z_.images, [this](std::int64_t n) { join(n); });
    squeeze_norm();
    parallel(pool_, groups(z_), [this](std::int64_t g) { to_features(g, w_.scratch[g]); });
  }

 private:
  std::int64_t per_image() const { return s_.gates * s_.padded; }
  std::int64_t gate_size() const { return s_.heads * s_.padded * tile_width; }
  std::int64_t side_size() const { return s_.heads * 2 * tile_width; }
  std::int64_t gates_size() const { return s_.gates * tile_width; }
  const void* parameter(Parameter p) const { return call_.parameters[p]; }
  void* gradient(Parameter p) const { return call_.gradients[p]; }

  void to_hidden(std::int64_t group, BackwardScratch<A>& t) {
    const TileRange range(z_, group);
    for (std::int64_t tile = range.from; tile < range.to; ++tile) {
      const std::int64_t i = tile - range.from, at = i * gate_size(), bias = i * side_size();
      pack(z_, s_.heads, s_.squeezed, parameter(row_gate_weight), tile, t.row_gate + at, s_.padded);
      pack(z_, s_.heads, s_.squeezed, parameter(column_gate_weight), tile, t.column_gate + at, s_.padded);
      pack(z_, s_.heads, 1, parameter(row_gate_bias), tile, t.row_gate_bias + bias, 1);
      pack(z_, s_.heads, 1, parameter(column_gate_bias), tile, t.column_gate_bias + bias, 1);
      pack_transposed(z_, parameter(row_gate_weight), tile, t.row_gate_turned + at);
      pack_transposed(z_, parameter(column_gate_weight), tile, t.column_gate_turned + at);
      pack(z_, 1, s_.area, parameter(pool_weight), tile, t.pool + i * s_.area * tile_width, s_.area);
      for (int c = 0; c < tile_width; ++c) pool_norm(tile, c, t.dz + i * tile_width + c);
    }
    std::memset(t.row_gate_gradient, 0, group_tiles * gate_size() * sizeof(A));
    std::memset(t.column_gate_gradient, 0, group_tiles * gate_size() * sizeof(A));
    std::memset(t.bias_gradient, 0, group_tiles * side_size() * sizeof(A));
    std::memset(t.pool_gradient, 0, group_tiles * s_.area * tile_width * sizeof(A));
    A* partial = w_.partial + group * z_.images * per_image();
    std::memset(partial, 0, z_.images * per_image() * sizeof(A));
    image_by_image(s_, x_, range.from, range.to, 0, z_.images,
                   [&](std::int64_t n, std::int64_t tile, TileAhead& ahead) {
                     tile_to_hidden(n, tile, ahead, tile - range.from, t, partial + n * per_image());
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

  // The gradient of the pooled values of one channel, from that of the embedding: `to` at a distance of a group's
  // width.
  void pool_norm(std::int64_t tile, int c, A* to) {
    const std::int64_t distance = group_tiles * tile_width, channel = tile * tile_width + c;
    if (channel >= z_.channels) {
      for (std::int64_t n = 0; n < z_.images; ++n) to[n * distance] = 0;
      return;
    }
    const X* from = static_cast<const X*>(call_.grad_embedding) + channel;
    const A* pooled = static_cast<const A*>(call_.pooled) + channel;
    const A* at = statistics_ + NormOffsets(z_).pool + channel;
    const A mean = at[0], reciprocal = static_cast<A>(1 / __builtin_sqrt(double(at[z_.norms()]) + call_.eps));
    double total = 0, product = 0;
    for (std::int64_t n = 0; n < z_.images; ++n) {
      const double g = widen(from[n * z_.channels]);
      total += g;
      product += g * double((pooled[n * z_.channels] - mean) * reciprocal);
    }
    static_cast<A*>(gradient(pool_scale))[channel] = static_cast<A>(product);
    static_cast<A*>(gradient(pool_shift))[channel] = static_cast<A>(total);
    const bool batch = call_.batch_statistics;
    const double count = double(z_.images);
    const A a = batch ? static_cast<A>(total / count) : 0, b = batch ? static_cast<A>(product / count) : 0;
    const A factor = static_cast<const A*>(parameter(pool_scale))[channel] * reciprocal;
    for (std::int64_t n = 0; n < z_.images; ++n) {
      const A normal = (pooled[n * z_.channels] - mean) * reciprocal;
      to[n * distance] = factor * (widen(from[n * z_.channels]) - a - normal * b);
    }
  }

  void tile_to_hidden(std::int64_t n, std::int64_t tile, TileAhead& ahead, std::int64_t i, BackwardScratch<A>& t,
                      A* partial) {
    const std::int64_t at = i * gate_size();
    const GateWeights<A> weights{t.row_gate + at, t.row_gate_bias + i * side_size(), t.column_gate + at,
                                 t.column_gate_bias + i * side_size()};
    const A* hidden = w_.hidden + n * per_image();
    A* gates = t.gates + (n * group_tiles + i) * gates_size();
    load_tile(s_, x_, n, tile, t.tile, t.rows);
    make_gates(s_, hidden, weights, gates);
    const std::int64_t map = i * s_.area * tile_width;
    attend_backward(s_, t.tile, gates, t.pool + map, t.dz + (n * group_tiles + i) * tile_width, t.pool_gradient + map,
                    t.gradients);
    add_gate_gradients(s_, z_.channels, n, tile, static_cast<const X*>(call_.grad_rows),
                       static_cast<const X*>(call_.grad_columns), t.gradients);
    for (int k = 0; k < 3; ++k) ahead();
    sigmoid_backward(s_, gates, t.gradients);
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

  // Through the hardswish of one image: the gradient of what the squeeze's norm returns, in place of the first share.
  void join(std::int64_t n) {
    const A* squeezed = static_cast<const A*>(call_.squeezed) + n * s_.gates * s_.squeezed;
    const std::int64_t distance = z_.images * per_image();
    A* to = w_.partial + n * per_image();
    for (std::int64_t i = 0; i < s_.gates; ++i)
      for (std::int64_t m = 0; m < s_.squeezed; ++m) {
        const std::int64_t km = i / s_.positions * s_.squeezed + m, at = i * s_.padded + m;
        A sum = to[at];
        for (std::int64_t g = 1; g < groups(z_); ++g) sum += to[g * distance + at];
        const A normal = (squeezed[i * s_.squeezed + m] - w_.norm.mean[km]) * w_.norm.reciprocal[km];
        to[at] = sum * hardswish_slope(normal * w_.norm.scale[km] + w_.norm.shift[km]);
      }
  }

  // Through the squeeze's norm; leaves the gradient of its input in `hidden`, whose values are no longer needed.
  void squeeze_norm() {
    const A* squeezed = static_cast<const A*>(call_.squeezed);
    const double count = double(z_.images) * double(s_.positions);
    for (std::int64_t k = 0; k < s_.heads; ++k)
      for (std::int64_t m = 0; m < s_.squeezed; ++m) {
        const std::int64_t km = k * s_.squeezed + m;
        const A mean = w_.norm.mean[km], reciprocal = w_.norm.reciprocal[km];
        double total = 0, product = 0;
        for_each_position(k, m, [&](std::int64_t from, std::int64_t at, std::int64_t) {
          total += w_.partial[at];
          product += double(w_.partial[at]) * double((squeezed[from] - mean) * reciprocal);
        });
        static_cast<A*>(gradient(squeeze_scale))[km] = static_cast<A>(product);
        static_cast<A*>(gradient(squeeze_shift))[km] = static_cast<A>(total);
        const bool batch = call_.batch_statistics;
        const A a = batch ? static_cast<A>(total / count) : 0, b = batch ? static_cast<A>(product / count) : 0;
        const A factor = reciprocal * w_.norm.scale[km];
        double sums[2] = {0, 0};
        for_each_position(k, m, [&](std::int64_t from, std::int64_t at, std::int64_t i) {
          const A value = factor * (w_.partial[at] - a - (squeezed[from] - mean) * reciprocal * b);
          w_.hidden[at] = value;
          sums[i >= s_.height] += value;
        });
        w_.sums[(k * 2) * s_.squeezed + m] = sums[0];
        w_.sums[(k * 2 + 1) * s_.squeezed + m] = sums[1];
        static_cast<A*>(gradient(squeeze_bias))[km] = static_cast<A>(sums[0] + sums[1]);
      }
  }

  template <class F>
  void for_each_position(std::int64_t k, std::int64_t m, F f) {
    for (std::int64_t n = 0; n < z_.images; ++n)
      for (std::int64_t i = 0; i < s_.positions; ++i) {
        const std::int64_t row = (n * s_.heads + k) * s_.positions + i;
        f(row * s_.squeezed + m, row * s_.padded + m, i);
      }
  }

  void to_features(std::int64_t group, BackwardScratch<A>& t) {
    const TileRange range(z_, group);
    const std::int64_t row_size = s_.heads * s_.width * tile_width, column_size = s_.heads * s_.height * tile_width;
    std::memset(t.row_moment, 0, group_tiles * gate_size() * sizeof(A));
    std::memset(t.column_moment, 0, group_tiles * gate_size() * sizeof(A));
    std::memset(t.row_weight_gradient, 0, group_tiles * row_size * sizeof(A));
    std::memset(t.column_weight_gradient, 0, group_tiles * column_size * sizeof(A));
    for (std::int64_t tile = range.from; tile < range.to; ++tile) {
      const std::int64_t i = tile - range.from;
      A *rows = t.row_weight + i * row_size, *columns = t.column_weight + i * column_size;
      pack(z_, s_.heads, s_.width, parameter(row_weight), tile, rows, s_.width);
      pack(z_, s_.heads, s_.height, parameter(column_weight), tile, columns, s_.height);
      pack_squeeze(z_, parameter(squeeze_weight), tile, t.squeeze + i * gate_size(), false);
      t.norms.read(z_, call_.parameters, statistics_, call_.eps, tile);
      const auto each_image = [&](auto f) { tile_by_tile(s_, x_, tile, tile + 1, 0, z_.images, f); };
      each_image([&](std::int64_t n, std::int64_t, TileAhead& ahead) { moments(n, tile, ahead, i, t, rows, columns); });
      sum_norms(tile, i, t);
      each_image([&](std::int64_t n, std::int64_t, TileAhead& ahead) {
        const A* dz = t.dz + (n * group_tiles + i) * tile_width;
        A* sums = t.sums + (n * group_tiles + i) * gates_size();
        sums_gradient(n, i, t, sums);
        load_tile(s_, x_, n, tile, t.tile, t.rows);
        for (int k = 0; k < 3; ++k) ahead();
        sums_backward(s_, t.tile, t.gradients, rows, columns, t.gates + (n * group_tiles + i) * gates_size(),
                      t.pool + i * s_.area * tile_width, dz, t.row_weight_gradient + i * row_size,
                      t.column_weight_gradient + i * column_size, t.out);
        for (int k = 0; k < 3; ++k) ahead();
        store_tile(s_, dx_, n, tile, t.out, t.rows);
      });
      unpack(z_, s_.heads, s_.width, t.row_weight_gradient + i * row_size, s_.width, tile, gradient(row_weight));
      unpack(z_, s_.heads, s_.height, t.column_weight_gradient + i * column_size, s_.height, tile,
             gradient(column_weight));
    }
  }

  // Normalised sums of one image and tile, and their moments with the squeeze's gradient: sum over positions of ds x^.
  void moments(std::int64_t n, std::int64_t tile, TileAhead& ahead, std::int64_t i, BackwardScratch<A>& t,
               const A* rows, const A* columns) {
    A* sums = t.sums + (n * group_tiles + i) * gates_size();
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
        ahead();
        A* moment = (side == 0 ? t.row_moment : t.column_moment) + i * gate_size() + k * s_.padded * tile_width;
        multiply(s_.squeezed, moment, tile_width,
                 {w_.hidden + n * per_image() + first * s_.padded, 1, s_.padded, sums + first * tile_width, tile_width,
                  side == 0 ? s_.height : s_.width});
      }
  }

  // What follows from the moments: gradients of the squeeze's weights and of the norms of the directional sums.
  void sum_norms(std::int64_t tile, std::int64_t i, BackwardScratch<A>& t) {
    const bool batch = call_.batch_statistics;
    for (std::int64_t k = 0; k < s_.heads; ++k)
      for (int c = 0; c < tile_width; ++c) {
        const bool real = c < channels_in_tile(z_.channels, tile);
        const std::int64_t channel = k * z_.channels + tile * tile_width + c;
        for (int side = 0; side < 2; ++side) {
          const A* moment = (side == 0 ? t.row_moment : t.column_moment) + i * gate_size();
          double total = 0, product = 0;
          for (std::int64_t m = 0; m < s_.squeezed; ++m) {
            const std::int64_t at = (k * s_.padded + m) * tile_width + c;
            const double weight = t.squeeze[i * gate_size() + at];
            total += weight * w_.sums[(k * 2 + side) * s_.squeezed + m];
            product += weight * double(moment[at]);
          }
          const std::int64_t to = i * side_size() + (k * 2 + side) * tile_width + c;
          const std::int64_t norm = (k * 2 + side) * tile_width + c;
          const double count = double(z_.images) * double(side == 0 ? s_.height : s_.width);
          const double scale = t.norms.scale[norm];
          t.mean[to] = batch ? static_cast<A>(scale * total / count) : 0;
          t.product[to] = batch ? static_cast<A>(scale * product / count) : 0;
          if (!real) continue;
          static_cast<A*>(gradient(side == 0 ? row_scale : column_scale))[channel] = static_cast<A>(product);
          static_cast<A*>(gradient(side == 0 ? row_shift : column_shift))[channel] = static_cast<A>(total);
        }
        if (!real) continue;
        for (std::int64_t m = 0; m < s_.squeezed; ++m) {
          const std::int64_t at = i * gate_size() + (k * s_.padded + m) * tile_width + c, norm = k * 2 * tile_width + c;
          const A *scale = t.norms.scale + norm, *shift = t.norms.shift + norm;
          const double* sums = w_.sums + k * 2 * s_.squeezed + m;
          static_cast<A*>(gradient(squeeze_weight))[(k * s_.squeezed + m) * z_.channels + tile * tile_width + c] =
              static_cast<A>(double(scale[0]) * t.row_moment[at] + shift[0] * sums[0] +
                             double(scale[tile_width]) * t.column_moment[at] + shift[tile_width] * sums[s_.squeezed]);
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
};

template <class A, class X, class S>
void run_backward(const Backward& call, const Pool& pool) {
  Arena arena(call.workspace);
  BackwardPass<A, X, S>(call, pool, arena).run();
}

template <class A>
std::size_t count_backward(const Sizes& sizes) {
  Arena arena(nullptr);
  BackwardWorkspace<A>(sizes, Any(sizes), arena);
  return arena.bytes();
}

}  // namespace abawkit::ABAWKIT_ISA
