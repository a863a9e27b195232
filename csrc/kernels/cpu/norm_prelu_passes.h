// Batch norm over the batch and PReLU, forward and backward: two passes over the pixels each, the first for sums.
//
// Pixels go in slices of a number that depends on the channels alone; the sums of a slice are taken by one thread, in
// float over a short run and then in double, and those of all slices are added in their order.
#pragma once

#include <algorithm>
#include <cstring>

#include "mixed_norms.h"
#include "norm_prelu.h"
#include "pool.h"

namespace abawkit::ABAWKIT_ISA {

// Memory of both passes, and how the pixels are cut. Of 1, 2, 4 or 8 channels, several pixels make one row of 16: each
// of its numbers is then a channel of its own until the sums are added up.
struct NormPreluMemory {
  std::int64_t channels, copies, width, padded, rows, slice, slices;
  float *mean, *scale, *shift, *slope;  // of the numbers of a row; scale is multiplied by the reciprocal deviation
  float *factor, *offset;               // of the gradient: scale g + factor (x - mean) + offset
  float* origins;                       // of the sums of each slice: (slices, padded)
  double *totals, *products, *slopes;   // likewise
  double* numbers;                      // that processes add up: (3, channels in blocks), and one more
  NormPreluMemory(const NormPrelu& call, Arena& arena)
      : channels(call.channels),
        copies(count_copies(call)),
        width(channels * copies),
        padded(count_blocks(width) * block_channels),
        rows(call.pixels / copies),
        slice(std::max(norm_run, 32768 / padded / norm_run * norm_run)),
        slices((rows + slice - 1) / slice),
        mean(arena.take<float>(padded)),
        scale(arena.take<float>(padded)),
        shift(arena.take<float>(padded)),
        slope(arena.take<float>(padded)),
        factor(arena.take<float>(padded)),
        offset(arena.take<float>(padded)),
        origins(arena.take<float>(slices * padded)),
        totals(arena.take<double>(slices * padded)),
        products(arena.take<double>(slices * padded)),
        slopes(arena.take<double>(slices * padded)),
        numbers(arena.take<double>(3 * blocks() + 1)) {}
  static std::int64_t count_copies(const NormPrelu& call) {
    const std::int64_t copies = block_channels / call.channels;
    return copies * call.channels == block_channels && call.pixels % copies == 0 ? copies : 1;
  }
  std::int64_t blocks() const { return count_blocks(channels) * block_channels; }
  std::int64_t end(std::int64_t i) const { return std::min((i + 1) * slice, rows); }
};

class NormPreluPass {
 public:
  NormPreluPass(const NormPrelu& call, const Pool& pool, const NormPreluMemory& memory)
      : c_(call), pool_(pool), m_(memory) {}

  void forward(float* out, float* statistics) const {
    parallel(pool_, m_.slices, [&](std::int64_t i) { measure(i); });
    combine(statistics);
    prepare(statistics);
    parallel(pool_, m_.slices, [&](std::int64_t i) {
      for_each_run(i, [&]<bool All>(std::int64_t first, std::int64_t end, std::int64_t c) {
        const Channels at(m_, c);
        for (std::int64_t p = first; p < end; ++p) {
          const Vector<float> pre = at.normalise(at.centre(read<All>(c_.x, p, c)));
          write<All>(out, p, c, pre > 0.0f ? pre : pre * at.slope);
        }
      });
    });
  }

  void backward(const NormPreluBackward& call) const {
    prepare(call.statistics);
    parallel(pool_, m_.slices, [&](std::int64_t i) { sum_gradients(i, call.grad_out); });
    finish_gradients(call);
    parallel(pool_, m_.slices, [&](std::int64_t i) {
      for_each_run(i, [&]<bool All>(std::int64_t first, std::int64_t end, std::int64_t c) {
        const Channels at(m_, c);
        const Vector<float> factor = load(m_.factor + c), offset = load(m_.offset + c);
        for (std::int64_t p = first; p < end; ++p) {
          const Vector<float> centred = at.centre(read<All>(c_.x, p, c)), gradient = read<All>(call.grad_out, p, c);
          const Vector<float> own = at.normalise(centred) > 0.0f ? gradient : gradient * at.slope;
          write<All>(call.grad_x, p, c, own * at.scale + (centred * factor + offset));
        }
      });
    });
  }

 private:
  // A vector of a row's numbers.
  struct Channels {
    Vector<float> mean, scale, shift, slope;
    Channels(const NormPreluMemory& m, std::int64_t c)
        : mean(load(m.mean + c)), scale(load(m.scale + c)), shift(load(m.shift + c)), slope(load(m.slope + c)) {}
    Vector<float> centre(Vector<float> x) const { return x - mean; }
    Vector<float> normalise(Vector<float> centred) const { return centred * scale + shift; }
  };

  template <bool All>
  Vector<float> read(const float* from, std::int64_t row, std::int64_t c) const {
    if constexpr (All) return load(from + row * m_.width + c);
    return load_some(from + row * m_.width + c, m_.width - c);
  }
  template <bool All>
  void write(float* to, std::int64_t row, std::int64_t c, Vector<float> value) const {
    if constexpr (All) return store(to + row * m_.width + c, value);
    store_some(to + row * m_.width + c, m_.width - c, value);
  }

  // Calls f.template operator()<All>(first row, end, first number) for the runs of a slice and the vectors of a row.
  template <class F>
  void for_each_run(std::int64_t i, const F& f) const {
    for (std::int64_t first = i * m_.slice; first < m_.end(i); first += norm_run) {
      const std::int64_t end = std::min(first + norm_run, m_.end(i));
      for_each_vector([&]<bool All>(std::int64_t c) { f.template operator()<All>(first, end, c); });
    }
  }
  template <class F>
  void for_each_vector(const F& f) const {
    std::int64_t c = 0;
    for (; c + lanes<float> <= m_.width; c += lanes<float>) f.template operator()<true>(c);
    if (c < m_.width) f.template operator()<false>(c);
  }
  // Calls f(slice or part of it, channel's entry in its sums) for each sum of a channel.
  template <class F>
  void for_each_sum(std::int64_t channel, const F& f) const {
    for (std::int64_t i = 0; i < m_.slices; ++i)
      for (std::int64_t at = channel; at < m_.width; at += m_.channels)
        f(i * m_.padded + at, static_cast<double>(m_.end(i) - i * m_.slice));
  }
  void clear(double* sums, std::int64_t i) const { std::memset(sums + i * m_.padded, 0, m_.padded * sizeof(double)); }

  // Means of a slice and squared differences from them, from sums about the mean of its first run.
  void measure(std::int64_t i) const {
    clear(m_.totals, i);
    clear(m_.products, i);
    const std::int64_t begin = i * m_.slice, some = std::min(begin + norm_run, m_.end(i));
    float* origin = m_.origins + i * m_.padded;
    for_each_vector([&]<bool All>(std::int64_t c) {
      Vector<float> sum = {};
      for (std::int64_t p = begin; p < some; ++p) sum += read<All>(c_.x, p, c);
      store(origin + c, sum * (1.0f / static_cast<float>(some - begin)));
    });
    double *total = m_.totals + i * m_.padded, *square = m_.products + i * m_.padded;
    for_each_run(i, [&]<bool All>(std::int64_t first, std::int64_t end, std::int64_t c) {
      const Vector<float> from = load(origin + c);
      Vector<float> sum = {}, squares = {};
      for (std::int64_t p = first; p < end; ++p) {
        const Vector<float> value = read<All>(c_.x, p, c) - from;
        sum += value;
        squares += value * value;
      }
      add_to(total + c, sum);
      add_to(square + c, squares);
    });
    const double count = static_cast<double>(m_.end(i) - begin);
    for (std::int64_t c = 0; c < m_.width; ++c) {
      const double mean = total[c] / count;
      square[c] -= total[c] * mean;
      total[c] = double(origin[c]) + mean;
    }
  }

  void combine(float* statistics) const {
    const std::int64_t padded = m_.blocks();
    std::memset(statistics, 0, 2 * padded * sizeof(float));
    const double pixels = static_cast<double>(c_.pixels);
    for (std::int64_t c = 0; c < m_.channels; ++c) {
      double mean = 0, square = 0;
      for_each_sum(c, [&](std::int64_t at, double count) { mean += m_.totals[at] * count; });
      mean /= pixels;
      for_each_sum(c, [&](std::int64_t at, double count) {
        const double difference = m_.totals[at] - mean;
        square += m_.products[at] + count * difference * difference;
      });
      square /= pixels;
      statistics[c] = static_cast<float>(mean);
      statistics[padded + c] = static_cast<float>(square > 0 ? square : square == square ? 0 : square);
    }
    c_.processes.join(statistics, statistics + padded, padded, c_.pixels, m_.numbers);
  }

  void prepare(const float* statistics) const {
    const float* variance = statistics + m_.blocks();
    for (std::int64_t at = 0; at < m_.padded; ++at) {
      const std::int64_t c = at % m_.channels;
      const bool real = at < m_.width;
      m_.mean[at] = real ? statistics[c] : 0;
      m_.scale[at] = real ? c_.scale[c] * reciprocal_deviation(variance[c], c_.eps) : 0;
      m_.shift[at] = real ? c_.shift[c] : 0;
      m_.slope[at] = real ? c_.slope[c] : 0;
    }
  }

  // Of a slice: the sums of the gradient before PReLU, of its products with x - mean, and of the slope's gradient.
  void sum_gradients(std::int64_t i, const float* grad_out) const {
    for (double* sums : {m_.totals, m_.products, m_.slopes}) clear(sums, i);
    const std::int64_t place = i * m_.padded;
    for_each_run(i, [&]<bool All>(std::int64_t first, std::int64_t end, std::int64_t c) {
      const Channels at(m_, c);
      const Vector<float> none = {};
      Vector<float> sum = {}, products = {}, slopes = {};
      for (std::int64_t p = first; p < end; ++p) {
        const Vector<float> centred = at.centre(read<All>(c_.x, p, c)), gradient = read<All>(grad_out, p, c);
        const Vector<float> pre = at.normalise(centred);
        const Vector<float> own = pre > 0.0f ? gradient : gradient * at.slope;
        slopes += pre > 0.0f ? none : gradient * pre;
        sum += own;
        products += own * centred;
      }
      add_to(m_.totals + place + c, sum);
      add_to(m_.products + place + c, products);
      add_to(m_.slopes + place + c, slopes);
    });
  }

  void finish_gradients(const NormPreluBackward& call) const {
    const float* variance = call.statistics + m_.blocks();
    double *totals = m_.numbers, *products = m_.numbers + m_.channels;
    std::memset(m_.factor, 0, m_.padded * sizeof(float));
    std::memset(m_.offset, 0, m_.padded * sizeof(float));
    for (std::int64_t c = 0; c < m_.channels; ++c) {
      double total = 0, product = 0, slope = 0;
      for_each_sum(c, [&](std::int64_t at, double) {
        total += m_.totals[at];
        product += m_.products[at];
        slope += m_.slopes[at];
      });
      totals[c] = total;
      products[c] = product;
      const double by = reciprocal_deviation(variance[c], c_.eps);
      call.grad_scale[c] = static_cast<float>(product * by);
      call.grad_shift[c] = static_cast<float>(total);
      call.grad_slope[c] = static_cast<float>(slope);
    }
    const double pixels = c_.processes.add(m_.numbers, 2 * m_.channels, c_.pixels);
    for (std::int64_t c = 0; c < m_.channels; ++c) {
      const double by = reciprocal_deviation(variance[c], c_.eps);
      for (std::int64_t at = c; at < m_.width; at += m_.channels) {
        m_.factor[at] = static_cast<float>(-double(m_.scale[at]) * by * by * products[c] / pixels);
        m_.offset[at] = static_cast<float>(-double(m_.scale[at]) * totals[c] / pixels);
      }
    }
  }

  const NormPrelu& c_;
  const Pool& pool_;
  const NormPreluMemory& m_;
};

}  // namespace abawkit::ABAWKIT_ISA
