// What partial results over rows of images become in the end; in double precision, in a fixed order.
#pragma once

#include "walk.h"

namespace abawkit::cuda {

inline constexpr int reduce_columns = 32, reduce_lanes = 8;

struct Reduction {
  static constexpr int during = 0, after = 0, last = 0;
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
  static constexpr int before = 2;
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

// Means and variances from those of rows, or given ones; and 1 / sqrt(variance + eps). The mean comes first, as sums
// about it need no division for each row: sum of (x - mean)^2 = sum over rows of squares + count (row's mean - mean)^2.
template <class A>
struct Statistics : Reduction {
  static constexpr int before = 3;
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
  static constexpr int shared_bytes = 2 * most_threads * static_cast<int>(sizeof(double));

  ABAWKIT_DEVICE static void phase(Phase<0>, const Arguments& a, const Where& at, Thread&) {
    std::int64_t block = at.block;
    const Job& job = a.jobs[job_of(a, block)];
    double sum = 0;
    each_row(a, job, block, at, [&](double count, std::int64_t from) { sum += count * double(job.means[from]); });
    parts(at, 0)[at.thread] = sum;
  }
  ABAWKIT_DEVICE static void phase(Phase<1>, const Arguments& a, const Where& at, Thread&) {
    std::int64_t block = at.block;
    const Job& job = a.jobs[job_of(a, block)];
    const double mean = total(at, 0) / (double(a.images) * job.positions);
    double sum = 0;
    each_row(a, job, block, at, [&](double count, std::int64_t from) {
      const double off = double(job.means[from]) - mean;
      sum += double(job.squares[from]) + count * off * off;
    });
    parts(at, 1)[at.thread] = sum;
  }
  ABAWKIT_DEVICE static void phase(Phase<2>, const Arguments& a, const Where& at, Thread&) {
    std::int64_t block = at.block;
    const Job& job = a.jobs[job_of(a, block)];
    const std::int64_t column = block * reduce_columns + at.thread;
    if (at.thread >= reduce_columns || column >= job.columns) return;
    const double count = double(a.images) * job.positions;
    const A mean = job.given_mean ? job.given_mean[column] : A(total(at, 0) / count);
    const A variance = job.given_mean ? job.given_variance[column] : A(total(at, 1) / count);
    if (job.mean) {
      job.mean[column] = mean;
      job.variance[column] = variance;
    }
    job.reciprocal[column] = A(1 / root(double(variance) + a.eps));
  }

 private:
  ABAWKIT_DEVICE static double* parts(const Where& at, int which) {
    return reinterpret_cast<double*>(at.shared) + which * most_threads;
  }
  // Of the thread's column.
  ABAWKIT_DEVICE static double total(const Where& at, int which) {
    double sum = 0;
    ABAWKIT_UNROLL
    for (int lane = 0; lane < reduce_lanes; ++lane)
      sum += parts(at, which)[lane * reduce_columns + at.thread % reduce_columns];
    return sum;
  }
  // Calls body(numbers in the row, index of its mean and squares) for the thread's rows.
  template <class Body>
  ABAWKIT_DEVICE static void each_row(const Arguments& a, const Job& job, std::int64_t block, const Where& at,
                                      const Body& body) {
    const std::int64_t column = block * reduce_columns + at.thread % reduce_columns;
    if (column >= job.columns || job.given_mean) return;
    ABAWKIT_UNROLL_4
    for (std::int64_t row = at.thread / reduce_columns; row < job.rows; row += reduce_lanes) {
      const std::int64_t first = row / job.row_slots * job.group_images;
      const std::int64_t left = smaller(job.group_images, a.images - first) - row % job.row_slots;
      if (left > 0) body(double(ceil_divide(left, job.row_slots) * job.positions), row * job.row_stride + column);
    }
  }
};

}  // namespace abawkit::cuda
