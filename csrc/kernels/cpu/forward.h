// Training's forward pass: x is read twice, as the statistics of its directional sums must be known before the squeeze,
// and those of the squeeze before the gates.
#pragma once

#include "group.h"

namespace abawkit::ABAWKIT_ISA {

// Scratch memory of one thread, for a group.
template <class A>
struct ForwardScratch {
  A *tile, *rows, *gates;
  A *row_weight, *column_weight, *squeeze;                              // (tiles, K, W | H | 16, 16 | Mp)
  A *row_gate, *row_gate_bias, *column_gate, *column_gate_bias, *pool;  // (tiles, ...), as `GateWeights` says
  A* sums;                                                              // (N, tiles, K, H + W, 16)
  Moments<A> moments;                                                   // (tiles, K, 2, 16)
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
        moments(group_tiles * s.heads * 2 * tile_width, a),
        norms(TileNorms<A>::take(s, group_tiles, a)) {}
};

template <class A>
struct ForwardWorkspace {
  A* partial;       // (groups, N, K, H + W, Mp)
  A* hidden;        // (N, K, H + W, Mp): what comes before the squeeze's norm, then the hidden values
  A* bias;          // (K, Mp)
  A* pooled;        // (N, all tiles, 16)
  double* numbers;  // that processes add up: three of each channel of some norms, and one more
  Moments<A> moments;
  SqueezeNorm<A> norm;
  ForwardScratch<A>* scratch;
  template <class S>
  ForwardWorkspace(const Forward& call, const S& s, int threads, Arena& a)
      : ForwardWorkspace(call.sizes, s, group_pieces(call.sizes, call.processes, threads), a) {}
  template <class S>
  ForwardWorkspace(const Sizes& z, const S& s, std::int64_t pieces, Arena& a)
      : partial(a.take<A>(groups(z) * z.images * s.gates * s.padded)),
        hidden(a.take<A>(z.images * s.gates * s.padded)),
        bias(a.take<A>(s.heads * s.padded)),
        pooled(a.take<A>(z.images * tiles(z) * tile_width)),
        numbers(a.take<double>(3 * z.norms() + 1)),
        moments(s.heads * s.padded, a),
        norm(s, a),
        scratch(a.make<ForwardScratch<A>>(pieces, z, s)) {}
};

template <class A, class X, class S>
class ForwardPass {
 public:
  ForwardPass(const Forward& call, const Pool& pool, Arena& arena)
      : call_(call),
        z_(call.sizes),
        s_(z_),
        pool_(pool),
        w_(call, s_, pool.threads, arena),
        x_(call.features.data, z_, s_, call.features.channels_last),
        statistics_(static_cast<A*>(call.statistics)) {}

  void run() {
    if (!batch()) std::memcpy(statistics_, call_.given, 2 * z_.norms() * sizeof(A));
    fill_up(s_, s_.heads, static_cast<const A*>(call_.parameters[squeeze_bias]), w_.bias);
    const NormOffsets offsets(z_);
    if (call_.processes.several()) {
      each_group([this](std::int64_t g, ForwardScratch<A>& t) { sum(g, t); });
      synchronise(offsets.row, offsets.squeeze);
      each_group([this](std::int64_t g, ForwardScratch<A>& t) { squeeze(g, t); });
    } else {
      each_group([this](std::int64_t g, ForwardScratch<A>& t) {
        sum(g, t);
        squeeze(g, t);
      });
    }
    parallel_images(pool_, z_.images, [this](std::int64_t n) { join(n); });
    if (batch()) squeeze_statistics();
    synchronise(offsets.squeeze, offsets.pool);
    w_.norm.read(z_, call_.parameters, statistics_, call_.eps);
    parallel_images(pool_, z_.images, [this](std::int64_t n) { w_.norm.hidden(s_, w_.hidden + n * per_image()); });
    each_group([this](std::int64_t g, ForwardScratch<A>& t) { finish(g, t); });
    synchronise(offsets.pool, z_.norms());
    each_group([this](std::int64_t g, ForwardScratch<A>&) {
      const TileRange range(z_, g);
      for (std::int64_t tile = range.from; tile < range.to; ++tile) embed(tile);
    });
  }

 private:
  bool batch() const { return call_.given == nullptr; }
  std::int64_t per_image() const { return s_.gates * s_.padded; }
  const void* parameter(Parameter p) const { return call_.parameters[p]; }
  template <class F>
  void each_group(const F& f) {
    parallel_groups(pool_, call_, w_.scratch, f);
  }
  // The means and variances from..to become those of all processes.
  void synchronise(std::int64_t from, std::int64_t to) {
    A* means = statistics_ + from;
    call_.processes.join(means, means + z_.norms(), to - from, z_.images, w_.numbers);
  }

  // Directional sums of a group's channels, and their statistics.
  void sum(std::int64_t group, ForwardScratch<A>& t) {
    const TileRange range(z_, group);
    const std::int64_t per_tile = s_.gates * tile_width, sides = s_.heads * 2 * tile_width;
    const std::int64_t row_size = s_.heads * s_.width * tile_width, column_size = s_.heads * s_.height * tile_width;
    const std::int64_t squeeze_size = s_.heads * s_.padded * tile_width;
    for (std::int64_t tile = range.from; tile < range.to; ++tile) {
      const std::int64_t i = tile - range.from;
      pack(z_, s_.heads, s_.width, parameter(row_weight), tile, t.row_weight + i * row_size, s_.width);
      pack(z_, s_.heads, s_.height, parameter(column_weight), tile, t.column_weight + i * column_size, s_.height);
      pack_squeeze_transposed(z_, parameter(squeeze_weight), tile, t.squeeze + i * squeeze_size);
    }
    t.moments.clear(group_tiles * sides);
    for_each_tile(s_, x_, range.from, range.to, z_.images, [&](std::int64_t n, std::int64_t tile, Ahead& ahead) {
      const std::int64_t i = tile - range.from;
      A* sums = t.sums + (n * group_tiles + i) * per_tile;
      load_tile(s_, x_, n, tile, t.tile, t.rows);
      ahead();
      ahead();
      directional_sums(s_, t.tile, t.row_weight + i * row_size, t.column_weight + i * column_size, sums);
      ahead();
      ahead();
      if (batch())
        for_each_sum(s_, sums, [&](const A* at, std::int64_t count, std::int64_t norm, int j) {
          t.moments.add(i * sides + norm * tile_width + j, at, count, tile_width, n == 0);
        });
    });
    if (batch())
      for (std::int64_t tile = range.from; tile < range.to; ++tile)
        write_statistics(tile, t.moments, (tile - range.from) * sides);
  }

  // The group's share of the squeeze, from its directional sums.
  void squeeze(std::int64_t group, ForwardScratch<A>& t) {
    const TileRange range(z_, group);
    const std::int64_t per_tile = s_.gates * tile_width, squeeze_size = s_.heads * s_.padded * tile_width;
    for (std::int64_t tile = range.from; tile < range.to; ++tile)
      t.norms[tile - range.from].read(z_, call_.parameters, statistics_, call_.eps, tile);
    // From the last image on, whose sums are still in the cache.
    for (std::int64_t n = z_.images - 1; n >= 0; --n) {
      A* out = w_.partial + (group * z_.images + n) * per_image();
      std::memset(out, 0, per_image() * sizeof(A));
      for (std::int64_t i = 0; i < range.to - range.from; ++i) {
        A* sums = t.sums + (n * group_tiles + i) * per_tile;
        normalise(sums, t.norms[i]);
        for (std::int64_t k = 0; k < s_.heads; ++k)
          for (std::int64_t m = 0; m < s_.padded; m += 16)
            multiply(s_.positions, out + k * s_.positions * s_.padded + m, s_.padded,
                     {sums + k * s_.positions * tile_width, tile_width, 1,
                      t.squeeze + i * squeeze_size + k * tile_width * s_.padded + m, s_.padded, tile_width});
      }
    }
  }

  void write_statistics(std::int64_t tile, const Moments<A>& moments, std::int64_t from) {
    const NormOffsets offsets(z_);
    for (std::int64_t k = 0; k < s_.heads; ++k)
      for (int side = 0; side < 2; ++side) {
        const double count = double(z_.images) * double(side == 0 ? s_.height : s_.width);
        A* to = statistics_ + (side == 0 ? offsets.row : offsets.column) + k * z_.channels + tile * tile_width;
        moments.write(from + (k * 2 + side) * tile_width, channels_in_tile(z_.channels, tile), count, to,
                      to + z_.norms());
      }
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

  // The squeeze of one image: the groups' shares in their order, and the bias.
  void join(std::int64_t n) {
    const A* partial = w_.partial + n * per_image();
    A* out = w_.hidden + n * per_image();
    for (std::int64_t i = 0; i < s_.gates; ++i)
      for (std::int64_t m = 0; m < s_.padded; m += lanes<A>) {
        const std::int64_t at = i * s_.padded + m;
        const Vector<A> sum = sum_of_groups(z_, partial + at, z_.images * per_image());
        store(out + at, sum + load(w_.bias + i / s_.positions * s_.padded + m));
      }
    cut_off(s_, s_.gates, out, static_cast<A*>(call_.squeezed) + n * s_.gates * s_.squeezed);
  }

  void squeeze_statistics() {
    w_.moments.clear(s_.heads * s_.padded);
    for (std::int64_t n = 0; n < z_.images; ++n)
      for (std::int64_t k = 0; k < s_.heads; ++k)
        for (std::int64_t m = 0; m < s_.padded; m += lanes<A>)
          w_.moments.add(k * s_.padded + m, w_.hidden + n * per_image() + k * s_.positions * s_.padded + m,
                         s_.positions, s_.padded, n == 0);
    A* to = statistics_ + NormOffsets(z_).squeeze;
    for (std::int64_t k = 0; k < s_.heads; ++k, to += s_.squeezed)
      w_.moments.write(k * s_.padded, s_.squeezed, double(z_.images) * double(s_.positions), to, to + z_.norms());
  }

  // Gates, their strongest map, and pooling with its statistics, of a group's channels.
  void finish(std::int64_t group, ForwardScratch<A>& t) {
    const TileRange range(z_, group);
    const std::int64_t gate_size = s_.heads * s_.padded * tile_width, bias_size = s_.heads * tile_width;
    for (std::int64_t tile = range.from; tile < range.to; ++tile) {
      const std::int64_t i = tile - range.from;
      pack(z_, s_.heads, s_.squeezed, parameter(row_gate_weight), tile, t.row_gate + i * gate_size, s_.padded);
      pack(z_, s_.heads, s_.squeezed, parameter(column_gate_weight), tile, t.column_gate + i * gate_size, s_.padded);
      pack(z_, s_.heads, 1, parameter(row_gate_bias), tile, t.row_gate_bias + i * bias_size, 1);
      pack(z_, s_.heads, 1, parameter(column_gate_bias), tile, t.column_gate_bias + i * bias_size, 1);
      pack(z_, 1, s_.area, parameter(pool_weight), tile, t.pool + i * s_.area * tile_width, s_.area);
    }
    for_each_tile(s_, x_, range.from, range.to, z_.images, [&](std::int64_t n, std::int64_t tile, Ahead& ahead) {
      const std::int64_t i = tile - range.from;
      const GateWeights<A> weights{t.row_gate + i * gate_size, t.row_gate_bias + i * bias_size,
                                   t.column_gate + i * gate_size, t.column_gate_bias + i * bias_size};
      X *rows = static_cast<X*>(call_.rows), *columns = static_cast<X*>(call_.columns);
      load_tile(s_, x_, n, tile, t.tile, t.rows);
      ask_for_gates<true>(s_, z_.channels, n, tile, rows, columns);
      ahead();
      make_gates(s_, w_.hidden + n * per_image(), weights, t.gates);
      ahead();
      A* pooled = w_.pooled + (n * tiles(z_) + tile) * tile_width;
      std::memset(pooled, 0, tile_width * sizeof(A));
      pool(s_, t.tile, t.gates, t.pool + i * s_.area * tile_width, pooled);
      ahead();
      std::memcpy(static_cast<A*>(call_.pooled) + n * z_.channels + tile * tile_width, pooled,
                  channels_in_tile(z_.channels, tile) * sizeof(A));
      if (rows != nullptr) store_gates(s_, z_.channels, n, tile, t.gates, rows, columns);
      ahead();
    });
    if (batch())
      for (std::int64_t tile = range.from; tile < range.to; ++tile) pool_statistics(tile, t.moments);
  }

  void pool_statistics(std::int64_t tile, Moments<A>& moments) {
    const std::int64_t first = tile * tile_width;
    A* to = statistics_ + NormOffsets(z_).pool + first;
    moments.clear(tile_width);
    for (int j = 0; j < tile_width; j += lanes<A>)
      moments.add(j, w_.pooled + first + j, z_.images, tiles(z_) * tile_width, true);
    moments.write(0, channels_in_tile(z_.channels, tile), double(z_.images), to, to + z_.norms());
  }

  // The pooled values of one tile, normalised.
  void embed(std::int64_t tile) {
    const int count = channels_in_tile(z_.channels, tile);
    const std::int64_t first = tile * tile_width;
    const A* statistics = statistics_ + NormOffsets(z_).pool + first;
    const A *scale = static_cast<const A*>(parameter(pool_scale)) + first,
            *shift = static_cast<const A*>(parameter(pool_shift)) + first;
    A factor[tile_width];
    for (int c = 0; c < count; ++c) factor[c] = scale[c] * reciprocal_deviation(statistics[z_.norms() + c], call_.eps);
    for (std::int64_t n = 0; n < z_.images; ++n) {
      const A* pooled = w_.pooled + n * tiles(z_) * tile_width + first;
      X* embedding = static_cast<X*>(call_.embedding) + n * z_.channels + first;
      for (int c = 0; c < count; ++c) embedding[c] = narrow<X>((pooled[c] - statistics[c]) * factor[c] + shift[c]);
    }
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
std::size_t count_forward(const Forward& call, int threads) {
  Arena arena(nullptr);
  ForwardWorkspace<A>(call, Any(call.sizes), threads, arena);
  return arena.bytes();
}

}  // namespace abawkit::ABAWKIT_ISA
