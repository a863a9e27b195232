// Training's forward pass: x is read twice, as the statistics of its directional sums must be known before the squeeze,
// and those of the squeeze before the gates.
#pragma once

#include "group.h"

namespace abawkit::ABAWKIT_ISA {

// Scratch memory of one group.
template <class A>
struct ForwardScratch {
  A *tile, *rows, *gates;
  A *row_weight, *column_weight, *squeeze;                              // of one tile
  A *row_gate, *row_gate_bias, *column_gate, *column_gate_bias, *pool;  // of all tiles of the group
  A* sums;                                                              // (N, tiles, K, H + W, 16)
  double *origin, *total, *squares;                                     // (tiles, K, 2, 16)
  TileNorms<A> norms;
  template <class S>
  ForwardScratch(const Sizes& z, const S& s, Arena& a)
      : tile(a.take<A>(s.area * tile_width)),
        rows(a.take<A>(s.area * tile_width)),
        gates(a.take<A>(s.gates * tile_width)),
        row_weight(a.take<A>(group_tiles * s.heads * s.width * tile_width)),
        column_weight(a.take<A>(group_tiles * s.heads * s.height * tile_width)),
        squeeze(a.take<A>(group_tiles * s.heads * s.padded * tile_width)),
        row_gate(a.take<A>(group_tiles * s.heads * s.padded * tile_width)),
        row_gate_bias(a.take<A>(group_tiles * s.heads * tile_width)),
        column_gate(a.take<A>(group_tiles * s.heads * s.padded * tile_width)),
        column_gate_bias(a.take<A>(group_tiles * s.heads * tile_width)),
        pool(a.take<A>(group_tiles * s.area * tile_width)),
        sums(a.take<A>(z.images * group_tiles * s.gates * tile_width)),
        origin(a.take<double>(group_tiles * s.heads * 2 * tile_width)),
        total(a.take<double>(group_tiles * s.heads * 2 * tile_width)),
        squares(a.take<double>(group_tiles * s.heads * 2 * tile_width)),
        norms(s, a) {}
};

template <class A>
struct ForwardWorkspace {
  A* partial;  // (groups, N, K, H + W, Mp)
  A* hidden;   // (N, K, H + W, Mp)
  SqueezeNorm<A> norm;
  ForwardScratch<A>* scratch;
  template <class S>
  ForwardWorkspace(const Sizes& z, const S& s, Arena& a)
      : partial(a.take<A>(groups(z) * z.images * s.gates * s.padded)),
        hidden(a.take<A>(z.images * s.gates * s.padded)),
        norm(z, a),
        scratch(a.take<ForwardScratch<A>>(groups(z))) {
    for (std::int64_t g = 0; g < groups(z); ++g) {
      const ForwardScratch<A> one(z, s, a);
      if (scratch != nullptr) scratch[g] = one;
    }
  }
};

template <class A, class X, class S>
class ForwardPass {
 public:
  ForwardPass(const Forward& call, const Pool& pool, Arena& arena)
      : call_(call),
        z_(call.sizes),
        s_(z_),
        pool_(pool),
        w_(z_, s_, arena),
        x_(call.features.data, z_, s_, call.features.channels_last),
        statistics_(static_cast<A*>(call.statistics)) {}

  void run() {
    if (call_.given != nullptr) std::memcpy(statistics_, call_.given, 2 * z_.norms() * sizeof(A));
    parallel(pool_, groups(z_), [this](std::int64_t g) { squeeze(g, w_.scratch[g]); });
    parallel_images(pool_, z_.images, [this](std::int64_t n) { join(n); });
    if (call_.given == nullptr) squeeze_statistics();
    w_.norm.read(z_, call_.parameters, statistics_, call_.eps);
    const A* squeezed = static_cast<const A*>(call_.squeezed);
    parallel_images(pool_, z_.images, [&](std::int64_t n) {
      w_.norm.hidden(s_, squeezed + n * s_.gates * s_.squeezed, w_.hidden + n * s_.gates * s_.padded);
    });
    parallel(pool_, groups(z_), [this](std::int64_t g) { finish(g, w_.scratch[g]); });
  }

 private:
  // Directional sums of a group's channels, their statistics, and the group's share of the squeeze.
  void squeeze(std::int64_t group, ForwardScratch<A>& t) {
    const TileRange range(z_, group);
    const std::int64_t per_tile = s_.gates * tile_width, sides = s_.heads * 2 * tile_width;
    const std::int64_t row_size = s_.heads * s_.width * tile_width, column_size = s_.heads * s_.height * tile_width;
    const std::int64_t squeeze_size = s_.heads * s_.padded * tile_width;
    for (std::int64_t tile = range.from; tile < range.to; ++tile) {
      const std::int64_t i = tile - range.from;
      pack(z_, s_.heads, s_.width, call_.parameters[row_weight], tile, t.row_weight + i * row_size, s_.width);
      pack(z_, s_.heads, s_.height, call_.parameters[column_weight], tile, t.column_weight + i * column_size,
           s_.height);
      pack_squeeze(z_, call_.parameters[squeeze_weight], tile, t.squeeze + i * squeeze_size, true);
    }
    std::memset(t.total, 0, group_tiles * sides * sizeof(double));
    std::memset(t.squares, 0, group_tiles * sides * sizeof(double));
    image_by_image(s_, x_, range.from, range.to, 0, z_.images,
                   [&](std::int64_t n, std::int64_t tile, TileAhead& ahead) {
                     const std::int64_t i = tile - range.from;
                     A* sums = t.sums + (n * group_tiles + i) * per_tile;
                     load_tile(s_, x_, n, tile, t.tile, t.rows);
                     ahead();
                     directional_sums(s_, t.tile, t.row_weight + i * row_size, t.column_weight + i * column_size, sums);
                     for (int i = 0; i < 3; ++i) ahead();
                     if (call_.given == nullptr)
                       accumulate(sums, n == 0, t.origin + i * sides, t.total + i * sides, t.squares + i * sides);
                   });
    A* partial = w_.partial + group * z_.images * s_.gates * s_.padded;
    std::memset(partial, 0, z_.images * s_.gates * s_.padded * sizeof(A));
    for (std::int64_t tile = range.from; tile < range.to; ++tile) {
      const std::int64_t i = tile - range.from;
      if (call_.given == nullptr)
        write_statistics(tile, t.origin + i * sides, t.total + i * sides, t.squares + i * sides);
      t.norms.read(z_, call_.parameters, statistics_, call_.eps, tile);
      for (std::int64_t n = 0; n < z_.images; ++n) {
        A* sums = t.sums + (n * group_tiles + i) * per_tile;
        normalise(sums, t.norms);
        A* out = partial + n * s_.gates * s_.padded;
        for (std::int64_t k = 0; k < s_.heads; ++k)
          for (std::int64_t m = 0; m < s_.padded; m += 16)
            multiply(s_.positions, out + k * s_.positions * s_.padded + m, s_.padded,
                     {sums + k * s_.positions * tile_width, tile_width, 1,
                      t.squeeze + i * squeeze_size + k * tile_width * s_.padded + m, s_.padded, tile_width});
      }
    }
  }

  // In double, from the first value on: a constant channel has variance zero, whatever its mean.
  void accumulate(A* sums, bool first, double* origin, double* total, double* squares) {
    for_each_sum(s_, sums, [&](A* at, std::int64_t count, std::int64_t norm, int j) {
      for (int c = 0; c < lanes<A>; ++c) {
        const std::int64_t to = norm * tile_width + j + c;
        if (first) origin[to] = at[c];
        double a = 0, b = 0;
        for (std::int64_t i = 0; i < count; ++i) {
          const double value = double(at[i * tile_width + c]) - origin[to];
          a += value;
          b += value * value;
        }
        total[to] += a;
        squares[to] += b;
      }
    });
  }

  void write_statistics(std::int64_t tile, const double* origin, const double* total, const double* squares) {
    const NormOffsets offsets(z_);
    for (std::int64_t k = 0; k < s_.heads; ++k)
      for (int side = 0; side < 2; ++side)
        for (int c = 0; c < channels_in_tile(z_.channels, tile); ++c) {
          const std::int64_t from = (k * 2 + side) * tile_width + c;
          const double count = double(z_.images) * double(side == 0 ? s_.height : s_.width);
          A* to = statistics_ + (side == 0 ? offsets.row : offsets.column) + k * z_.channels + tile * tile_width + c;
          write_moments(origin[from], total[from], squares[from], count, to);
        }
  }

  void write_moments(double origin, double total, double squares, double count, A* to) {
    const double mean = total / count, variance = squares / count - mean * mean;
    to[0] = static_cast<A>(origin + mean);
    to[z_.norms()] = static_cast<A>(variance > 0 ? variance : variance == variance ? 0 : variance);
  }

  void normalise(A* sums, const TileNorms<A>& norms) {
    for_each_sum(s_, sums, [&](A* at, std::int64_t count, std::int64_t norm, int j) {
      const std::int64_t from = norm * tile_width + j;
      const Vector<A> mean = load(norms.mean + from), shift = load(norms.shift + from);
      const Vector<A> factor = load(norms.reciprocal + from) * load(norms.scale + from);
      for (std::int64_t i = 0; i < count; ++i) {
        A* value = at + i * tile_width;
        store(value, (load(value) - mean) * factor + shift);
      }
    });
  }

  // The squeeze of one image: the bias, and the groups' shares in their order.
  void join(std::int64_t n) {
    const std::int64_t per_image = s_.gates * s_.padded;
    const A* bias = static_cast<const A*>(call_.parameters[squeeze_bias]);
    A* out = static_cast<A*>(call_.squeezed) + n * s_.gates * s_.squeezed;
    for (std::int64_t i = 0; i < s_.gates; ++i)
      for (std::int64_t m = 0; m < s_.squeezed; ++m) {
        A sum = bias[i / s_.positions * s_.squeezed + m];
        for (std::int64_t g = 0; g < groups(z_); ++g)
          sum += w_.partial[(g * z_.images + n) * per_image + i * s_.padded + m];
        out[i * s_.squeezed + m] = sum;
      }
  }

  void squeeze_statistics() {
    const A* squeezed = static_cast<const A*>(call_.squeezed);
    A* to = statistics_ + NormOffsets(z_).squeeze;
    for (std::int64_t k = 0; k < s_.heads; ++k)
      for (std::int64_t m = 0; m < s_.squeezed; ++m) {
        const double origin = squeezed[k * s_.positions * s_.squeezed + m];
        double total = 0, squares = 0;
        for (std::int64_t n = 0; n < z_.images; ++n)
          for (std::int64_t i = 0; i < s_.positions; ++i) {
            const double value = squeezed[((n * s_.heads + k) * s_.positions + i) * s_.squeezed + m] - origin;
            total += value;
            squares += value * value;
          }
        write_moments(origin, total, squares, double(z_.images) * double(s_.positions), to + k * s_.squeezed + m);
      }
  }

  // Gates, their strongest map, pooling, and the norm after it, of a group's channels.
  void finish(std::int64_t group, ForwardScratch<A>& t) {
    const TileRange range(z_, group);
    const std::int64_t gate_size = s_.heads * s_.padded * tile_width, bias_size = s_.heads * tile_width;
    for (std::int64_t tile = range.from; tile < range.to; ++tile) {
      const std::int64_t i = tile - range.from;
      const void* const* p = call_.parameters;
      pack(z_, s_.heads, s_.squeezed, p[row_gate_weight], tile, t.row_gate + i * gate_size, s_.padded);
      pack(z_, s_.heads, s_.squeezed, p[column_gate_weight], tile, t.column_gate + i * gate_size, s_.padded);
      pack(z_, s_.heads, 1, p[row_gate_bias], tile, t.row_gate_bias + i * bias_size, 1);
      pack(z_, s_.heads, 1, p[column_gate_bias], tile, t.column_gate_bias + i * bias_size, 1);
      pack(z_, 1, s_.area, p[pool_weight], tile, t.pool + i * s_.area * tile_width, s_.area);
    }
    A* pooled = static_cast<A*>(call_.pooled);
    image_by_image(
        s_, x_, range.from, range.to, 0, z_.images, [&](std::int64_t n, std::int64_t tile, TileAhead& ahead) {
          const std::int64_t i = tile - range.from;
          const GateWeights<A> weights{t.row_gate + i * gate_size, t.row_gate_bias + i * bias_size,
                                       t.column_gate + i * gate_size, t.column_gate_bias + i * bias_size};
          load_tile(s_, x_, n, tile, t.tile, t.rows);
          make_gates(s_, w_.hidden + n * s_.gates * s_.padded, weights, t.gates);
          A out[tile_width] = {};
          for (int k = 0; k < 3; ++k) ahead();
          pool(s_, t.tile, t.gates, t.pool + i * s_.area * tile_width, out);
          for (int c = 0; c < channels_in_tile(z_.channels, tile); ++c)
            pooled[n * z_.channels + tile * tile_width + c] = out[c];
          if (call_.rows != nullptr)
            store_gates(s_, z_.channels, n, tile, t.gates, static_cast<X*>(call_.rows), static_cast<X*>(call_.columns));
        });
    for (std::int64_t tile = range.from; tile < range.to; ++tile)
      for (int c = 0; c < channels_in_tile(z_.channels, tile); ++c) embed(tile * tile_width + c);
  }

  void embed(std::int64_t channel) {
    const A* pooled = static_cast<const A*>(call_.pooled) + channel;
    X* embedding = static_cast<X*>(call_.embedding) + channel;
    A* statistics = statistics_ + NormOffsets(z_).pool + channel;
    if (call_.given == nullptr) {
      const double origin = pooled[0];
      double total = 0, squares = 0;
      for (std::int64_t n = 0; n < z_.images; ++n) {
        const double value = pooled[n * z_.channels] - origin;
        total += value;
        squares += value * value;
      }
      write_moments(origin, total, squares, double(z_.images), statistics);
    }
    const A mean = statistics[0], shift = static_cast<const A*>(call_.parameters[pool_shift])[channel];
    const A factor = static_cast<A>(1 / __builtin_sqrt(double(statistics[z_.norms()]) + call_.eps)) *
                     static_cast<const A*>(call_.parameters[pool_scale])[channel];
    for (std::int64_t n = 0; n < z_.images; ++n)
      embedding[n * z_.channels] = narrow<X>((pooled[n * z_.channels] - mean) * factor + shift);
  }

  const Forward& call_;
  const Sizes& z_;
  const S s_;
  const Pool& pool_;
  ForwardWorkspace<A> w_;
  const Images<const X> x_;
  A* statistics_;
};

template <class A, class X, class S>
void run_forward(const Forward& call, const Pool& pool) {
  Arena arena(call.workspace);
  ForwardPass<A, X, S>(call, pool, arena).run();
}

template <class A>
std::size_t count_forward(const Sizes& sizes) {
  Arena arena(nullptr);
  ForwardWorkspace<A>(sizes, Any(sizes), arena);
  return arena.bytes();
}

}  // namespace abawkit::ABAWKIT_ISA
