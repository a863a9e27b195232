// Batch norms over the rows of several processes, of which each makes the same calls on rows of its own. Between the
// passes of a call they add up their sums. No torch, no Python, no allocation here.
#pragma once

#include <cstdint>
#include <stdexcept>

namespace abawkit {

struct Processes {
  // Adds numbers up over all processes, in place; returns 0, or anything else where that failed. Null for one process.
  int (*sum)(double* numbers, std::int64_t count);

  bool several() const { return sum != nullptr; }

  // Adds up `count` numbers, with room for one more behind them: the rows. Returns the rows of all processes.
  double add(double* numbers, std::int64_t count, std::int64_t rows) const {
    if (!several()) return static_cast<double>(rows);
    numbers[count] = static_cast<double>(rows);
    if (sum(numbers, count + 1) != 0) throw std::runtime_error("abawkit: the sums of the other processes are missing");
    return numbers[count];
  }

  // Means and biased variances of this process's rows become those of all rows; `numbers` has 3 entries + 1. The
  // variance is the mean one within the processes, and that between their means, of which rounding alone is no part: a
  // channel that is constant has variance zero, whatever its mean.
  template <class A>
  void join(A* means, A* variances, std::int64_t entries, std::int64_t rows, double* numbers) const {
    if (!several()) return;
    double *sums = numbers, *within = numbers + entries, *squares = numbers + 2 * entries;
    for (std::int64_t i = 0; i < entries; ++i) {
      sums[i] = double(rows) * double(means[i]);
      within[i] = double(rows) * double(variances[i]);
      squares[i] = sums[i] * double(means[i]);
    }
    const double all = add(numbers, 3 * entries, rows);
    for (std::int64_t i = 0; i < entries; ++i) {
      const double mean = sums[i] / all, square = squares[i] / all, between = square - mean * mean;
      means[i] = static_cast<A>(mean);
      variances[i] = static_cast<A>(within[i] / all + (between <= 1e-14 * square ? 0 : between));
    }
  }
};

}  // namespace abawkit
