// What lies between the two products over the channels: norm and hardswish on (N, K, H + W, M), and their gradients.
#pragma once

#include "weights.h"

namespace abawkit::cuda {

template <class A>
struct SqueezeNorm {
  const A *mean, *reciprocal, *scale, *shift;  // (K, M)
};

template <class Size, class A>
struct SqueezeArguments {
  Size size;
  SqueezeNorm<A> norm;
  const A* squeezed;  // (N, K, H + W, M)
  ABAWKIT_DEVICE std::int64_t columns() const { return static_cast<std::int64_t>(size.heads()) * size.squeezed(); }
  ABAWKIT_DEVICE std::int64_t entries() const { return size.images * columns() * size.positions(); }
  // The column (k, m) of an entry.
  ABAWKIT_DEVICE std::int64_t column(std::int64_t entry) const {
    const std::int64_t M = size.squeezed();
    return entry / (M * size.positions()) % size.heads() * M + entry % M;
  }
  // The first of the entries of column i % columns in image i / columns; they are M apart.
  ABAWKIT_DEVICE std::int64_t first_entry(std::int64_t i) const {
    const std::int64_t M = size.squeezed();
    return i / M * M * size.positions() + i % M;
  }
};

inline constexpr int most_squeeze_groups = 128;

// Mean and sum of squares about it of each column in each group of images.
template <class Size, class A>
struct SqueezeMoments : Independent {
  struct Arguments : SqueezeArguments<Size, A> {
    std::int64_t groups, group_images;
    A *means, *squares;  // (groups, K, M)
  };
  ABAWKIT_DEVICE static void phase(Phase<0>, const Arguments& a, const Where& at, Thread&) {
    const std::int64_t i = index(at), columns = a.columns(), group = i / columns, column = i % columns;
    if (group >= a.groups) return;
    const std::int64_t begin = group * a.group_images, end = smaller(begin + a.group_images, a.size.images);
    const int P = a.size.positions(), M = a.size.squeezed();
    const A first = a.squeezed[a.first_entry(begin * columns + column)];
    A sum = A(0), squares = A(0);
    ABAWKIT_LOOP
    for (std::int64_t image = begin; image < end; ++image) {
      const A* const from = a.squeezed + a.first_entry(image * columns + column);
      ABAWKIT_UNROLL
      for (int p = 0; p < P; ++p) sum += from[p * M] - first;
    }
    const A mean = first + sum / A((end - begin) * P);
    ABAWKIT_LOOP
    for (std::int64_t image = begin; image < end; ++image) {
      const A* const from = a.squeezed + a.first_entry(image * columns + column);
      ABAWKIT_UNROLL
      for (int p = 0; p < P; ++p) squares += (from[p * M] - mean) * (from[p * M] - mean);
    }
    a.means[i] = mean;
    a.squares[i] = squares;
  }
};

template <class Size, class A>
struct Activate : Independent {
  struct Arguments : SqueezeArguments<Size, A> {
    A* activated;
  };
  ABAWKIT_DEVICE static void phase(Phase<0>, const Arguments& a, const Where& at, Thread&) {
    const std::int64_t i = index(at);
    if (i >= a.entries()) return;
    const std::int64_t j = a.column(i);
    const A hat = (a.squeezed[i] - a.norm.mean[j]) * a.norm.reciprocal[j];
    a.activated[i] = hardswish(hat * a.norm.scale[j] + a.norm.shift[j]);
  }
};

// The gradient through hardswish, in place, and the sums of an image that the norm's gradient needs.
template <class Size, class A>
struct ActivateBackward : Independent {
  struct Arguments : SqueezeArguments<Size, A> {
    A* gradient;  // (N, K, H + W, M)
    A* sums;      // (N, 3, 2, K, M): of the gradient, of it times x hat, of x hat; over rows, over columns
  };
  ABAWKIT_DEVICE static void phase(Phase<0>, const Arguments& a, const Where& at, Thread&) {
    const std::int64_t i = index(at), columns = a.columns();
    if (i >= a.size.images * columns) return;
    const std::int64_t j = i % columns, first = a.first_entry(i);
    const int M = a.size.squeezed(), H = a.size.height();
    const A mean = a.norm.mean[j], reciprocal = a.norm.reciprocal[j], scale = a.norm.scale[j], shift = a.norm.shift[j];
    ABAWKIT_UNROLL
    for (int d = 0; d < 2; ++d) {
      A sum = A(0), product = A(0), hats = A(0);
      ABAWKIT_UNROLL
      for (int p = d ? H : 0; p < (d ? a.size.positions() : H); ++p) {
        const std::int64_t entry = first + static_cast<std::int64_t>(p) * M;
        const A hat = (a.squeezed[entry] - mean) * reciprocal;
        const A gradient = a.gradient[entry] * hardswish_slope(hat * scale + shift);
        a.gradient[entry] = gradient;
        sum += gradient;
        product += gradient * hat;
        hats += hat;
      }
      A* const to = a.sums + (i / columns * 6 + d) * columns + j;
      to[0] = sum;
      to[2 * columns] = product;
      to[4 * columns] = hats;
    }
  }
};

// The gradient through the norm, in place, and what follows from the sums of all images.
template <class Size, class A>
struct SqueezeNormBackward : Independent {
  struct Arguments : SqueezeArguments<Size, A> {
    bool batch_statistics;
    A* gradient;
    const A* totals;  // (3, 2, K, M)
    A *scale_gradient, *shift_gradient, *bias_gradient;
    A* sums;  // (2, K, M): of what `gradient` becomes, over rows and over columns
  };
  ABAWKIT_DEVICE static void phase(Phase<0>, const Arguments& a, const Where& at, Thread&) {
    const std::int64_t i = index(at), columns = a.columns();
    if (i < a.entries()) {
      const std::int64_t j = a.column(i);
      const A hat = (a.squeezed[i] - a.norm.mean[j]) * a.norm.reciprocal[j];
      const Means means = means_of(a, j);
      a.gradient[i] = a.norm.scale[j] * a.norm.reciprocal[j] * (a.gradient[i] - means.gradient - hat * means.product);
    }
    if (i < columns) {
      const Means means = means_of(a, i);
      A all = A(0);
      for (int d = 0; d < 2; ++d) {
        const A* const totals = a.totals + d * columns + i;
        const A count = A(a.size.images * (d ? a.size.width() : a.size.height()));
        const A sum = totals[0] - count * means.gradient - totals[4 * columns] * means.product;
        a.sums[d * columns + i] = a.norm.scale[i] * a.norm.reciprocal[i] * sum;
        all += a.sums[d * columns + i];
      }
      a.shift_gradient[i] = a.totals[i] + a.totals[columns + i];
      a.scale_gradient[i] = a.totals[2 * columns + i] + a.totals[3 * columns + i];
      a.bias_gradient[i] = all;
    }
  }

 private:
  struct Means {
    A gradient, product;
  };
  ABAWKIT_DEVICE static Means means_of(const Arguments& a, std::int64_t j) {
    if (!a.batch_statistics || a.size.images == 0) return {A(0), A(0)};
    const std::int64_t columns = a.columns();
    const A count = A(a.size.images * a.size.positions());
    return {(a.totals[j] + a.totals[columns + j]) / count,
            (a.totals[2 * columns + j] + a.totals[3 * columns + j]) / count};
  }
};

// Gradients of the squeeze's weights and of the norms before it, from R[d, k, m, c] = sum of ds (u - mean).
template <class Size, class A>
struct SqueezeWeightBackward : Independent {
  struct Arguments {
    Size size;
    const A *weight, *products, *sums;             // (K, M, C), (2, K, M, C), (2, K, M)
    const A *scale[2], *shift[2], *reciprocal[2];  // (K, C)
    A *weight_gradient, *scale_gradient[2], *shift_gradient[2];
  };
  ABAWKIT_DEVICE static void phase(Phase<0>, const Arguments& a, const Where& at, Thread&) {
    const std::int64_t i = index(at), C = a.size.channels, K = a.size.heads(), M = a.size.squeezed();
    if (i >= K * C) return;
    const std::int64_t k = i / C, c = i % C;
    A scale_gradient[2] = {}, shift_gradient[2] = {};
    for (std::int64_t m = 0; m < M; ++m) {
      const A weight = a.weight[(k * M + m) * C + c];
      A gradient = A(0);
      ABAWKIT_UNROLL
      for (int d = 0; d < 2; ++d) {
        const A product = a.products[((d * K + k) * M + m) * C + c] * a.reciprocal[d][i];
        const A sum = a.sums[(d * K + k) * M + m];
        scale_gradient[d] += weight * product;
        shift_gradient[d] += weight * sum;
        gradient += a.scale[d][i] * product + a.shift[d][i] * sum;
      }
      a.weight_gradient[(k * M + m) * C + c] = gradient;
    }
    ABAWKIT_UNROLL
    for (int d = 0; d < 2; ++d) {
      a.scale_gradient[d][i] = scale_gradient[d];
      a.shift_gradient[d][i] = shift_gradient[d];
    }
  }
};

}  // namespace abawkit::cuda
