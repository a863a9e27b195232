// Batch norms of a mixed block in training: statistics of a batch, and the sums that the gradients need.
//
// Images are summed one by one, each about an origin of its own, and then all of them in double, in their order.
#pragma once

#include <algorithm>
#include <cstring>

#include "norms.h"
#include "processes.h"
#include "product_tile.h"
#include "sizes.h"

namespace abawkit::ABAWKIT_ISA {

// Pixels that are summed in float before their sum is added in double.
inline constexpr std::int64_t norm_run = 32;

// Calls f(p) for the pixels, and at the end of each run g().
template <class F, class G>
inline void for_runs(std::int64_t pixels, const F& f, const G& g) {
  for (std::int64_t first = 0; first < pixels; first += norm_run) {
    const std::int64_t end = std::min(first + norm_run, pixels);
    for (std::int64_t p = first; p < end; ++p) f(p);
    g();
  }
}

// One norm over C channels, filled up to blocks of 16; channels that there are not have a scale and a shift of zero.
struct BatchNorm {
  std::int64_t channels, padded;
  float *mean, *reciprocal, *scale, *shift;  // reciprocal of the deviation; scale is multiplied by it
  float *slope, *offset;                     // of the gradient: scale g + slope (value - mean) + offset
  double *means, *squares;                   // of each image: its mean and the squared differences from it, (N, padded)
  double* numbers;                           // that processes add up: (3, padded), and one more
  BatchNorm(std::int64_t count, std::int64_t images, Arena& arena)
      : channels(count),
        padded(count_blocks(count) * block_channels),
        mean(arena.take<float>(padded)),
        reciprocal(arena.take<float>(padded)),
        scale(arena.take<float>(padded)),
        shift(arena.take<float>(padded)),
        slope(arena.take<float>(padded)),
        offset(arena.take<float>(padded)),
        means(arena.take<double>(images * padded)),
        squares(arena.take<double>(images * padded)),
        numbers(arena.take<double>(3 * padded + 1)) {}

  // The moments of one image, from its pixels (pixels, 16) of a block, at a stride.
  void measure(std::int64_t image, std::int64_t block, const float* values, std::int64_t pixels,
               std::int64_t stride) const {
    for (int j = 0; j < block_channels; j += lanes<float>) {
      constexpr int L = lanes<float>;
      double total[L] = {}, square[L] = {};
      float origin[L];
      const float* at = values + j;
      Vector<float> sum = {}, squared = {};
      for_runs(
          pixels, [&](std::int64_t p) { sum += load(at + p * stride); },
          [&] {
            add_to(total, sum);
            sum = Vector<float>{};
          });
      const double count = static_cast<double>(pixels);
      for (int i = 0; i < L; ++i) origin[i] = static_cast<float>(total[i] / count), total[i] = 0;
      const Vector<float> from = load(origin);
      for_runs(
          pixels,
          [&](std::int64_t p) {
            const Vector<float> value = load(at + p * stride) - from;
            sum += value;
            squared += value * value;
          },
          [&] {
            add_to(total, sum);
            add_to(square, squared);
            sum = squared = Vector<float>{};
          });
      double* mean_at = means + image * padded + block * block_channels + j;
      double* square_at = squares + image * padded + block * block_channels + j;
      for (int i = 0; i < L; ++i) {
        mean_at[i] = double(origin[i]) + total[i] / count;
        square_at[i] = square[i] - total[i] * total[i] / count;
      }
    }
  }

  // Mean and biased variance (2, padded) of all images, of so many pixels each, and of those of other processes.
  void combine(std::int64_t images, std::int64_t pixels, const Processes& processes, float* statistics) const {
    const double count = static_cast<double>(images) * static_cast<double>(pixels);
    for (std::int64_t c = 0; c < padded; ++c) {
      double total = 0, square = 0;
      for (std::int64_t n = 0; n < images; ++n) total += means[n * padded + c];
      total /= static_cast<double>(images);
      for (std::int64_t n = 0; n < images; ++n) {
        const double difference = means[n * padded + c] - total;
        square += squares[n * padded + c] + static_cast<double>(pixels) * difference * difference;
      }
      square /= count;
      statistics[c] = static_cast<float>(total);
      statistics[padded + c] = static_cast<float>(square > 0 ? square : square == square ? 0 : square);
    }
    processes.join(statistics, statistics + padded, padded, images, numbers);
  }

  void read(const float* statistics, const float* scales, const float* shifts, double eps) const {
    for (std::int64_t c = 0; c < padded; ++c) {
      const bool real = c < channels;
      mean[c] = statistics[c];
      reciprocal[c] = reciprocal_deviation(statistics[padded + c], eps);
      scale[c] = real ? scales[c] * reciprocal[c] : 0;
      shift[c] = real ? shifts[c] : 0;
    }
  }

  // Of the sums of the gradient and of its products with (value - mean), image by image (N, padded), in `means` and
  // `squares`: the gradients of scale and shift, and the terms of the gradient of the values.
  void finish_gradients(std::int64_t images, std::int64_t pixels, const Processes& processes, float* scales,
                        float* shifts) const {
    double *totals = numbers, *products = numbers + padded;
    for (std::int64_t c = 0; c < padded; ++c) {
      double total = 0, product = 0;
      for (std::int64_t n = 0; n < images; ++n) total += means[n * padded + c], product += squares[n * padded + c];
      totals[c] = total;
      products[c] = product;
      if (c >= channels) continue;
      scales[c] = static_cast<float>(product * reciprocal[c]);
      shifts[c] = static_cast<float>(total);
    }
    const double count = processes.add(numbers, 2 * padded, images) * static_cast<double>(pixels);
    for (std::int64_t c = 0; c < padded; ++c) {
      const double by = reciprocal[c];
      slope[c] = static_cast<float>(-double(scale[c]) * by * by * products[c] / count);
      offset[c] = static_cast<float>(-double(scale[c]) * totals[c] / count);
    }
  }

  // Value - mean of a vector of channels, what the norm makes of that, and its gradient.
  Vector<float> centre(Vector<float> value, std::int64_t c) const { return value - load(mean + c); }
  Vector<float> apply(Vector<float> centred, std::int64_t c) const {
    return centred * load(scale + c) + load(shift + c);
  }
  Vector<float> differentiate(Vector<float> gradient, Vector<float> centred, std::int64_t c) const {
    return gradient * load(scale + c) + (centred * load(slope + c) + load(offset + c));
  }
};

}  // namespace abawkit::ABAWKIT_ISA
