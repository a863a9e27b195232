// The norm of what the global depthwise convolution gives, (N, C), and its gradient.
#pragma once

#include "numbers.h"
#include "sizes.h"

namespace abawkit::cuda {

struct ByChannel {
  static constexpr int columns = 8, lanes = 32;  // 8 of 4 bytes are what memory is read in; 512 channels are 64 blocks
  static constexpr int during = 0, after = 0, last = 0, most_threads = columns * lanes, least_blocks = 1;
  static constexpr int shared_bytes = 2 * most_threads * 8;
  template <class Arguments>
  ABAWKIT_DEVICE static std::int64_t rounds(const Arguments&, const Where&) {
    return 0;
  }
  struct Thread {};
  ABAWKIT_DEVICE static std::int64_t channel(const Where& at) { return at.block * columns + at.thread % columns; }
  ABAWKIT_DEVICE static double total(const Where& at, int which) {
    const double* const parts = reinterpret_cast<const double*>(at.shared) + which * most_threads + at.thread % columns;
    double sum = 0;
    for (int lane = 0; lane < lanes; ++lane) sum += parts[lane * columns];
    return sum;
  }
  ABAWKIT_DEVICE static double& part(const Where& at, int which) {
    return reinterpret_cast<double*>(at.shared)[which * most_threads + at.thread];
  }
};

template <class T>
struct PoolNorm : ByChannel {
  using A = Compute<T>;
  static constexpr int before = 3;
  struct Arguments {
    std::int64_t images, channels;
    const A *pooled, *given_mean, *given_variance, *scale, *shift;
    double eps;
    A *mean, *variance;
    T* embedding;
  };
  ABAWKIT_DEVICE static void phase(Phase<0>, const Arguments& a, const Where& at, Thread&) {
    double sum = 0;
    if (channel(at) < a.channels && !a.given_mean)
      for (std::int64_t n = at.thread / columns; n < a.images; n += lanes)
        sum += double(a.pooled[n * a.channels + channel(at)]);
    part(at, 0) = sum;
  }
  ABAWKIT_DEVICE static void phase(Phase<1>, const Arguments& a, const Where& at, Thread&) {
    const double mean = total(at, 0) / double(a.images);
    double sum = 0;
    if (channel(at) < a.channels && !a.given_mean)
      for (std::int64_t n = at.thread / columns; n < a.images; n += lanes) {
        const double off = double(a.pooled[n * a.channels + channel(at)]) - mean;
        sum += off * off;
      }
    part(at, 1) = sum;
  }
  ABAWKIT_DEVICE static void phase(Phase<2>, const Arguments& a, const Where& at, Thread&) {
    const std::int64_t c = channel(at);
    if (c >= a.channels) return;
    const A mean = a.given_mean ? a.given_mean[c] : A(total(at, 0) / double(a.images));
    const A variance = a.given_mean ? a.given_variance[c] : A(total(at, 1) / double(a.images));
    if (at.thread < columns) {
      a.mean[c] = mean;
      a.variance[c] = variance;
    }
    const A factor = A(1 / root(double(variance) + a.eps)) * a.scale[c];
    for (std::int64_t n = at.thread / columns; n < a.images; n += lanes)
      a.embedding[n * a.channels + c] = narrow<T>((a.pooled[n * a.channels + c] - mean) * factor + a.shift[c]);
  }
};

template <class T>
struct PoolNormBackward : ByChannel {
  using A = Compute<T>;
  static constexpr int before = 2;
  struct Arguments {
    std::int64_t images, channels;
    bool batch_statistics;
    const T* gradient;  // of the embedding
    const A *pooled, *mean, *reciprocal, *scale;
    A *pooled_gradient, *scale_gradient, *shift_gradient;
  };
  ABAWKIT_DEVICE static void phase(Phase<0>, const Arguments& a, const Where& at, Thread&) {
    const std::int64_t c = channel(at);
    double sum = 0, product = 0;
    if (c < a.channels)
      for (std::int64_t n = at.thread / columns; n < a.images; n += lanes) {
        const A gradient = widen(a.gradient[n * a.channels + c]);
        sum += double(gradient);
        product += double(gradient * ((a.pooled[n * a.channels + c] - a.mean[c]) * a.reciprocal[c]));
      }
    part(at, 0) = sum;
    part(at, 1) = product;
  }
  ABAWKIT_DEVICE static void phase(Phase<1>, const Arguments& a, const Where& at, Thread&) {
    const std::int64_t c = channel(at);
    if (c >= a.channels) return;
    const double sum = total(at, 0), product = total(at, 1);
    if (at.thread < columns) {
      a.shift_gradient[c] = A(sum);
      a.scale_gradient[c] = A(product);
    }
    const double share = a.batch_statistics && a.images ? 1 / double(a.images) : 0;
    const A mean = A(sum * share), slope = A(product * share), factor = a.scale[c] * a.reciprocal[c];
    for (std::int64_t n = at.thread / columns; n < a.images; n += lanes) {
      const A hat = (a.pooled[n * a.channels + c] - a.mean[c]) * a.reciprocal[c];
      a.pooled_gradient[n * a.channels + c] = factor * (widen(a.gradient[n * a.channels + c]) - mean - hat * slope);
    }
  }
};

}  // namespace abawkit::cuda
