// The product of contract.h that sums over the channels, on tensor cores, for fixed sizes.
#pragma once

#include "contract.h"
#include "mma.h"

namespace abawkit::cuda {

// With `norm`, the squeeze: there is one, and both directions have the same weights. Without, the way back: neither.
//
// A block has one head of one image. A warp has every eighth 16 channels; its matrices are M by channels, and channels
// by the positions of a direction. The warps' sums meet in shared memory.
template <class Size, class A, bool norm>
struct ContractFixed {
  static constexpr int warps = 8, before = 2, during = 0, after = 0, last = 0, most_threads = 32 * warps,
                       least_blocks = 2;
  static constexpr int H = Size::height(), W = Size::width(), P = H + W, M = Size::squeezed(), outputs = P * M;
  static constexpr int shared_bytes = warps * outputs * static_cast<int>(sizeof(A));
  static_assert(H <= Fragment::columns && W <= Fragment::columns && M == Fragment::rows, "the matrices' sizes");
  static_assert(outputs <= most_threads, "a thread has one output");

  using Arguments = ContractArguments<Size, A>;
  struct Thread {};
  ABAWKIT_DEVICE static std::int64_t rounds(const Arguments&, const Where&) { return 0; }

  ABAWKIT_DEVICE static void phase(Phase<0>, const Arguments& a, const Where& at, Thread&) {
    const int lane = at.thread % 32, warp = at.thread / 32;
    const std::int64_t C = a.size.channels, k = at.block % a.size.heads();
    A sums[2][Fragment::c_count] = {};
    ABAWKIT_LOOP
    for (std::int64_t first = warp * 16; first < C; first += warps * 16) {
      ABAWKIT_UNROLL
      for (int step = 0; step < 16 / Fragment::inner; ++step) {
        const std::int64_t channel = first + step * Fragment::inner;
        LeftMatrix<SplitTF32> weight;
        ABAWKIT_UNROLL
        for (int d = 0; d < 2; ++d) {
          const A* const weights = a.weight[d] + k * M * C + channel;
          if (d == 0 || !norm)
            weight.load(lane, [&](std::int64_t m, std::int64_t inner) {
              return channel + inner < C ? weights[m * C + inner] : A(0);
            });
          const A* const from = a.from + (at.block * P + d * H) * C + channel;
          RightMatrix<SplitTF32> values;
          values.load(lane, [&](std::int64_t inner, std::int64_t p) {
            if (channel + inner >= C || p >= (d ? W : H)) return A(0);
            const A value = from[p * C + inner];
            if constexpr (!norm) return value;
            const std::int64_t kc = k * C + channel + inner;
            return (value - a.mean[d][kc]) * (a.scale[d][kc] * a.reciprocal[d][kc]) + a.shift[d][kc];
          });
          multiply_add(lane, sums[d], weight, values);
        }
      }
    }
    A* const to = reinterpret_cast<A*>(at.shared) + warp * outputs;
    ABAWKIT_UNROLL
    for (int i = 0; i < 2 * Fragment::c_count; ++i) {
      const int d = i / Fragment::c_count, c = i % Fragment::c_count;
      if (Fragment::c_column(lane, c) < (d ? W : H))
        to[(d * H + Fragment::c_column(lane, c)) * M + Fragment::c_row(lane, c)] = sums[d][c];
    }
  }
  ABAWKIT_DEVICE static void phase(Phase<1>, const Arguments& a, const Where& at, Thread&) {
    if (at.thread >= outputs) return;
    A sum = a.bias ? a.bias[at.block % a.size.heads() * M + at.thread % M] : A(0);
    ABAWKIT_UNROLL
    for (int warp = 0; warp < warps; ++warp) sum += reinterpret_cast<const A*>(at.shared)[warp * outputs + at.thread];
    a.to[at.block * outputs + at.thread] = sum;
  }
};

// The program that serves.
template <class Size, class A, bool norm>
struct ContractOf {
  using type = Contract<Size, A>;
};
template <int H, int W, int K, int M, class A, bool norm>
struct ContractOf<Fixed<H, W, K, M>, A, norm> {
  using type = ContractFixed<Fixed<H, W, K, M>, A, norm>;
};

}  // namespace abawkit::cuda
