// What partial results over rows of images become in the end; in double precision, in a fixed order.
#pragma once

#include "walk.h"

namespace abawkit::cuda {

inline constexpr int reduce_columns = 32, reduce_lanes = 8;

struct Reduction {
  static constexpr int before = 2, during = 0, after = 0, last = 0;
  static constexpr int most_threads = reduce_columns * reduce_lanes, least_blocks = 1;
  template <class Arguments>
  ABAWKIT_DEVICE static std::int64_t rounds(const Arguments&, const Where&) {
    return 0;
  }
  // The job that a block belongs to; makes `block` count from that job's first.
  template <class Arguments>
  ABAWKIT_DEVICE static int job_of(const Arguments& a, std::int64_t& block) {
    int job = 0;
    while (block >= ceil_divide(a.jobs[job].columns, reduce_columns))
      block -= ceil_divide(a.jobs[job++].columns, reduce_columns);
    return job;
  }
  template <class Arguments>
  static std::int64_t blocks(const Arguments& a) {
    std::int64_t sum = 0;
    for (const auto& job : a.jobs) sum += ceil_divide(job.columns, reduce_columns);
    return sum;
  }
};

// Sums (rows, columns) over the rows; columns (outer, inner, C) are written as (outer, C, inner).
template <class A>
struct AddRows : Reduction {
  struct Job {
    const A* from;
    std::int64_t rows, row_stride, columns;
    A* to;
    std::int64_t inner, channels;
  };
  struct Arguments {
    static constexpr int most = 6;
    Job jobs[most];
  };
  struct Thread {};
  static constexpr int shared_bytes = most_threads * 8;

  ABAWKIT_DEVICE static void phase(Phase<0>, const Arguments& a, const Where& at, Thread&) {
    std::int64_t block = at.block;
    const Job& job = a.jobs[job_of(a, block)];
    const std::int64_t column = block * reduce_columns + at.thread % reduce_columns;
    double sum = 0;
    if (column < job.columns)
      for (std::int64_t row = at.thread / reduce_columns; row < job.rows; row += reduce_lanes)
        sum += double(job.from[row * job.row_stride + column]);
    reinterpret_cast<double*>(at.shared)[at.thread] = sum;
  }
  ABAWKIT_DEVICE static void phase(Phase<1>, const Arguments& a, const Where& at, Thread&) {
    std::int64_t block = at.block;
    const Job& job = a.jobs[job_of(a, block)];
    const std::int64_t column = block * reduce_columns + at.thread;
    if (at.thread >= reduce_columns || column >= job.columns) return;
    double sum = 0;
    for (int lane = 0; lane < reduce_lanes; ++lane)
      sum += reinterpret_cast<const double*>(at.shared)[lane * reduce_columns + at.thread];
    const std::int64_t c = column % job.channels, i = column / job.channels % job.inner;
    job.to[(column / job.channels / job.inner * job.channels + c) * job.inner + i] = A(sum);
  }
};

// Means and variances from those of rows (Chan et al.), or given ones; and 1 / sqrt(variance + eps).
template <class A>
struct Statistics : Reduction {
  struct Job {
    const A *given_mean, *given_variance;  // null where rows are merged
    const A *means, *squares;
    std::int64_t rows, row_stride, columns;
    std::int64_t row_slots, group_images;  // which images a row has: see Walk
    int positions;                         // of an image
    A *mean, *variance, *reciprocal;       // the first two may be null
  };
  struct Arguments {
    static constexpr int most = 3;
    Job jobs[most];
    std::int64_t images;
    double eps;
  };
  struct Thread {};
  struct Merged {
    double count, mean, squares;
    ABAWKIT_DEVICE void add(double n, double m, double s) {
      if (n == 0) return;
      const double off = m - mean, sum = count + n;
      mean += off * (n / sum);
      squares += s + off * off * (count * (n / sum));
      count = sum;
    }
  };
  static constexpr int shared_bytes = most_threads * static_cast<int>(sizeof(Merged));

  ABAWKIT_DEVICE static void phase(Phase<0>, const Arguments& a, const Where& at, Thread&) {
    std::int64_t block = at.block;
    const Job& job = a.jobs[job_of(a, block)];
    const std::int64_t column = block * reduce_columns + at.thread % reduce_columns;
    Merged merged{0, 0, 0};
    if (column < job.columns && !job.given_mean)
      for (std::int64_t row = at.thread / reduce_columns; row < job.rows; row += reduce_lanes) {
        const std::int64_t first = row / job.row_slots * job.group_images;
        const std::int64_t left = smaller(job.group_images, a.images - first) - row % job.row_slots;
        if (left <= 0) continue;
        const std::int64_t from = row * job.row_stride + column;
        merged.add(double(ceil_divide(left, job.row_slots) * job.positions), double(job.means[from]),
                   double(job.squares[from]));
      }
    reinterpret_cast<Merged*>(at.shared)[at.thread] = merged;
  }
  ABAWKIT_DEVICE static void phase(Phase<1>, const Arguments& a, const Where& at, Thread&) {
    std::int64_t block = at.block;
    const Job& job = a.jobs[job_of(a, block)];
    const std::int64_t column = block * reduce_columns + at.thread;
    if (at.thread >= reduce_columns || column >= job.columns) return;
    Merged merged{0, 0, 0};
    for (int lane = 0; lane < reduce_lanes; ++lane) {
      const Merged& other = reinterpret_cast<const Merged*>(at.shared)[lane * reduce_columns + at.thread];
      merged.add(other.count, other.mean, other.squares);
    }
    const A mean = job.given_mean ? job.given_mean[column] : A(merged.mean);
    const A variance = job.given_mean ? job.given_variance[column] : A(merged.squares / merged.count);
    if (job.mean) {
      job.mean[column] = mean;
      job.variance[column] = variance;
    }
    job.reciprocal[column] = A(1 / root(double(variance) + a.eps));
  }
};

}  // namespace abawkit::cuda
