// Memory of training's backward pass.
#pragma once

#include "group.h"

namespace abawkit::ABAWKIT_ISA {

// Scratch memory of one thread, for a group; sizes that begin with "tiles" are group_tiles.
template <class A>
struct BackwardScratch {
  A *tile, *rows, *out, *gradients, *spare;
  A *row_weight, *column_weight;                                    // (tiles, K, W | H, 16)
  A* squeeze;                                                       // (tiles, K, Mp, 16)
  A *row_gate, *row_gate_bias, *column_gate, *column_gate_bias;     // (tiles, K, Mp | 1, 16)
  A *row_gate_turned, *column_gate_turned;                          // (tiles, K, 16, Mp)
  A* pool;                                                          // (tiles, H W, 16)
  A *row_weight_gradient, *column_weight_gradient, *pool_gradient;  // like the weights
  A *row_gate_gradient, *column_gate_gradient, *bias_gradient;      // (tiles, K, Mp, 16), and (tiles, K, 2, 16)
  A *row_moment, *column_moment;                                    // (tiles, K, Mp, 16)
  A *mean, *product;                                                // (tiles, K, 2, 16)
  A* sums;                                                          // (N, K, H + W, 16) of one tile, or (tiles, ...)
  TileNorms<A> norms;                                               // of one tile

  template <class S>
  BackwardScratch(const Backward& call, const S& s, Arena& a) : norms(TileNorms<A>::take(s, 1, a)) {
    const std::int64_t t = group_tiles * tile_width, gate = t * s.heads * s.padded, side = t * s.heads * 2;
    for (A** p : {&tile, &rows, &out}) *p = a.take<A>(s.area * tile_width);
    for (A** p : {&gradients, &spare}) *p = a.take<A>(s.gates * tile_width);
    for (A** p : {&row_weight, &row_weight_gradient}) *p = a.take<A>(t * s.heads * s.width);
    for (A** p : {&column_weight, &column_weight_gradient}) *p = a.take<A>(t * s.heads * s.height);
    for (A** p : {&squeeze, &row_gate, &column_gate, &row_gate_turned, &column_gate_turned, &row_gate_gradient,
                  &column_gate_gradient, &row_moment, &column_moment})
      *p = a.take<A>(gate);
    for (A** p : {&row_gate_bias, &column_gate_bias, &bias_gradient, &mean, &product}) *p = a.take<A>(side);
    for (A** p : {&pool, &pool_gradient}) *p = a.take<A>(t * s.area);
    const std::int64_t kept = call.processes.several() ? group_tiles : 1;
    sums = a.take<A>(kept * call.sizes.images * s.gates * tile_width);
  }
};

template <class A>
struct BackwardWorkspace {
  A* partial;   // (groups, N, K, H + W, Mp): shares of the hidden values' gradient
  A* hidden;    // (N, K, H + W, Mp): the hidden values, then the gradient of what comes before the squeeze's norm
  A* squeezed;  // (N, K, H + W, Mp): as the forward pass saved it, filled up
  A* gates;     // (groups, N, tiles, K, H + W, 16)
  A* dz;        // (groups, N, tiles, 16): the gradient of the pooled values
  double *totals, *products, *sums;  // (K, Mp) twice, and (K, 2, Mp), over rows and over columns
  double* numbers;                   // that processes add up: two of each channel of some norms, and one more
  SqueezeNorm<A> norm;
  BackwardScratch<A>* scratch;
  template <class S>
  BackwardWorkspace(const Backward& call, const S& s, int threads, Arena& a)
      : BackwardWorkspace(call, call.sizes, s, group_pieces(call.sizes, call.processes, threads), a) {}
  template <class S>
  BackwardWorkspace(const Backward& call, const Sizes& z, const S& s, std::int64_t pieces, Arena& a)
      : partial(a.take<A>(groups(z) * z.images * s.gates * s.padded)),
        hidden(a.take<A>(z.images * s.gates * s.padded)),
        squeezed(a.take<A>(z.images * s.gates * s.padded)),
        gates(a.take<A>(groups(z) * z.images * group_tiles * s.gates * tile_width)),
        dz(a.take<A>(groups(z) * z.images * group_tiles * tile_width)),
        totals(a.take<double>(s.heads * s.padded)),
        products(a.take<double>(s.heads * s.padded)),
        sums(a.take<double>(s.heads * 2 * s.padded)),
        numbers(a.take<double>(2 * z.norms() + 2 * s.heads * s.padded + 1)),
        norm(s, a),
        scratch(a.make<BackwardScratch<A>>(pieces, call, s)) {}
};

}  // namespace abawkit::ABAWKIT_ISA
