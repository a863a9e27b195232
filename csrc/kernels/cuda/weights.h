// Learned tensors with the channels last, so that neighbouring threads read neighbouring addresses.
#pragma once

#include "numbers.h"
#include "sizes.h"

namespace abawkit::cuda {

template <class A>
struct Weights {
  const A *row, *column;                                  // (K, W, C), (K, H, C)
  const A *scale[2], *shift[2];                           // of the norms of rows and of columns, (K, C)
  const A* squeeze;                                       // (K, M, C)
  const A *squeeze_bias, *squeeze_scale, *squeeze_shift;  // (K, M)
  const A *gate[2], *gate_bias[2];                        // (K, M, C), (K, C)
  const A* pool;                                          // (H * W, C)
  const A *pool_scale, *pool_shift;                       // (C)
};

// Copies (outer, C, inner) to (outer, inner, C), several tensors in one launch.
template <class A>
struct Transpose : Independent {
  struct Job {
    const A* from;
    A* to;
    std::int64_t inner, count;
  };
  struct Arguments {
    static constexpr int most = 5;
    Job jobs[most];
    std::int64_t channels;
  };
  ABAWKIT_DEVICE static void phase(Phase<0>, const Arguments& a, const Where& at, Thread&) {
    std::int64_t i = index(at);
    for (const Job& job : a.jobs) {
      if (i >= 0 && i < job.count) {
        const std::int64_t c = i % a.channels, inner = i / a.channels % job.inner, outer = i / a.channels / job.inner;
        job.to[i] = job.from[(outer * a.channels + c) * job.inner + inner];
      }
      i -= job.count;
    }
  }
};

// From the folded tiles of dda.h to tensors as above.
template <class A>
struct Unfold : Independent {
  struct Job {
    A* to;
    std::int64_t from, tile_stride, stride, padded_inner, inner, outer_stride, count, channels;
    A value;  // for all entries, where `from` is negative
  };
  struct Arguments {
    static constexpr int most = 16;
    Job jobs[most];
    const A* folded;
  };
  ABAWKIT_DEVICE static void phase(Phase<0>, const Arguments& a, const Where& at, Thread&) {
    std::int64_t i = index(at);
    for (const Job& job : a.jobs) {
      if (i >= 0 && i < job.count) {
        const std::int64_t c = i % job.channels, o = i / job.channels;
        const std::int64_t from = job.from + c / tile_channels * job.tile_stride + c % tile_channels * job.stride +
                                  o / job.inner * job.padded_inner + o % job.inner * job.outer_stride;
        job.to[i] = job.from < 0 ? job.value : a.folded[from];
      }
      i -= job.count;
    }
  }
};

}  // namespace abawkit::cuda
