// The mixed block's backward pass, from the last norm to the input:
//   sum_outputs      for each image: the sums that the last norm's gradient needs
//   project          for each share of the images: gated values once more, the projection's gradients, those of the
//                    gates, and the sums that the squeeze's norm needs
//   squeeze          for each share: the squeeze's gradients and those of the means
//   convolve         for each share and each block of 16 channels: y once more and the gradient of t, in planes that
//                    stay in the cache; the depthwise convolution's gradients, PReLU's, and the first norm's sums
//   expand           for each share: the expansion's gradients and that of the input
//   write_gradients  for each block: sums of the shares
#pragma once

#include "mixed_backward_memory.h"
#include "mixed_gradients.h"

namespace abawkit::ABAWKIT_ISA {

class MixedBackwardPass {
 public:
  using Scratch = BackwardMemory::Scratch;
  MixedBackwardPass(const MixedBackward& call, const Pool& pool, const BackwardMemory& memory)
      : c_(call), pool_(pool), m_(memory), s_(memory.sizes) {}

  void run() const {
    const MixedParameters<float>& g = c_.gradients;
    prepare();
    each(c_.images, [&](std::int64_t n, std::int64_t) { sum_outputs(n); });
    m_.project_norm.finish_gradients(c_.images, s_.area, c_.processes, g.project_scale, g.project_shift);
    each(m_.sums.shares, [&](std::int64_t i, std::int64_t thread) { project(i, m_.scratch[thread]); });
    m_.squeeze_norm.finish_gradients(c_.images, s_.positions, c_.processes, g.squeeze_scale, g.squeeze_shift);
    each(m_.sums.shares, [&](std::int64_t i, std::int64_t thread) { squeeze(i, m_.scratch[thread]); });
    each(m_.sums.shares * s_.blocks,
         [&](std::int64_t i, std::int64_t thread) { convolve(i / s_.blocks, i % s_.blocks, m_.scratch[thread]); });
    m_.expand_norm.finish_gradients(c_.images, s_.in_area, c_.processes, g.expand_scale, g.expand_shift);
    each(m_.sums.shares, [&](std::int64_t i, std::int64_t thread) { expand(i, m_.scratch[thread]); });
    each(s_.blocks, [&](std::int64_t b, std::int64_t) { write_gradients(b); });
  }

 private:
  template <class F>
  void each(std::int64_t pieces, const F& f) const {
    share(pool_, m_.taken, pieces, f);
  }
  template <class F>
  void each_image(std::int64_t i, const F& f) const {
    for (std::int64_t n = m_.sums.first(i, c_.images); n < m_.sums.first(i + 1, c_.images); ++n) f(n);
  }
  static void clear(float* at, std::int64_t count) { std::memset(at, 0, count * sizeof(float)); }

  void prepare() const {
    const MixedParameters<const float>& p = c_.parameters;
    each(s_.blocks, [&](std::int64_t b, std::int64_t) {
      m_.squeeze.pack_transposed(b, p.squeeze_weight, s_.channels);
      m_.project.pack_transposed(b, p.project_weight, s_.channels);
      m_.gate_panels.pack(b, s_, c_, p);
      float *kernel = m_.depthwise.block(b), *turned = m_.turned + m_.depthwise.places[b];
      clear(kernel, m_.depthwise.block(b + 1) - kernel);
      for_each_tap(c_.splits, b, [&](std::int64_t part, std::int64_t from, std::int64_t to) {
        kernel[to] = p.depthwise[part][from];
      });
      const std::int64_t size = c_.splits.kernel_of_block(b);
      c_.stride == 1 ? turn_kernel<1>(kernel, size, turned) : turn_kernel<2>(kernel, size, turned);
    });
    if (c_.grad_x != nullptr)
      each(m_.expand.blocks,
           [&](std::int64_t b, std::int64_t) { m_.expand.pack_transposed(b, p.expand_weight, c_.inputs); });
    for (std::int64_t b = 0; b < m_.row.blocks; ++b) {
      m_.row.pack_transposed(b, p.row_gate_weight, c_.squeezed);
      m_.column.pack_transposed(b, p.column_gate_weight, c_.squeezed);
    }
    clear(m_.slopes, s_.padded);
    std::memcpy(m_.slopes, p.slope, s_.channels * sizeof(float));
    const float* statistics = c_.saved.statistics;
    m_.expand_norm.read(statistics, p.expand_scale, p.expand_shift, c_.eps);
    statistics += 2 * s_.padded;
    m_.squeeze_norm.read(statistics, p.squeeze_scale, p.squeeze_shift, c_.eps);
    statistics += 2 * s_.bottleneck;
    m_.project_norm.read(statistics, p.project_scale, p.project_shift, c_.eps);
  }

  const float* projected(std::int64_t n) const { return c_.saved.projected + n * s_.area * s_.outputs; }
  const float* grad_out(std::int64_t n) const { return c_.grad_out + n * s_.area * c_.outputs; }
  const float* squeezed(std::int64_t n) const { return c_.saved.squeezed + n * s_.positions * s_.bottleneck; }
  float* gates(std::int64_t n) const { return m_.gates + n * s_.positions * s_.padded; }

  // Of one image and a vector of channels: sums of the gradients g(p), and of their products with h(p).
  template <class G, class H>
  static void sum_gradients(const BatchNorm& norm, std::int64_t n, std::int64_t c, std::int64_t pixels, const G& g,
                            const H& h) {
    double *total = norm.means + n * norm.padded + c, *product = norm.squares + n * norm.padded + c;
    std::memset(total, 0, lanes<float> * sizeof(double));
    std::memset(product, 0, lanes<float> * sizeof(double));
    Vector<float> sum = {}, products = {};
    for_runs(
        pixels,
        [&](std::int64_t p) {
          const Vector<float> gradient = g(p);
          sum += gradient;
          products += gradient * h(p);
        },
        [&] {
          add_to(total, sum);
          add_to(product, products);
          sum = products = Vector<float>{};
        });
  }

  void sum_outputs(std::int64_t n) const {
    const BatchNorm& norm = m_.project_norm;
    const float *gradient = grad_out(n), *value = projected(n);
    for (std::int64_t c = 0; c < s_.outputs; c += lanes<float>)
      sum_gradients(
          norm, n, c, s_.area, [&](std::int64_t p) { return load_some(gradient + p * c_.outputs + c, c_.outputs - c); },
          [&](std::int64_t p) { return norm.centre(load(value + p * s_.outputs + c), c); });
  }

  void project(std::int64_t share, const Scratch& t) const {
    float* sums = m_.sums.of(share);
    clear(sums + m_.sums.project, c_.outputs * s_.padded);
    for (const std::int64_t at : {m_.sums.row, m_.sums.column}) clear(sums + at, c_.squeezed * s_.padded);
    for (const std::int64_t at : {m_.sums.row_bias, m_.sums.column_bias}) clear(sums + at, s_.padded);
    each_image(share, [&](std::int64_t n) {
      const float* values = c_.saved.values + n * s_.area * s_.padded;
      float* gated = m_.gated + n * s_.area * s_.padded;
      compute_gates(s_, c_, m_.squeeze_norm, m_.gate_panels, squeezed(n), t.hidden, gates(n));
      for (std::int64_t from = 0; from < s_.area; from += s_.pixels) {
        const std::int64_t to = std::min(from + s_.pixels, s_.area), count = to - from;
        apply_gates(s_, values, gates(n), from, to, t.values);
        differentiate_outputs(n, from, to, t.outputs);
        const PixelValues outputs{t.outputs, s_.output_stride(), c_.outputs};
        add_outer_products(outputs, {t.values, s_.row_stride(), s_.padded}, count, sums + m_.sums.project, t.pairs);
        multiply(outputs, count, m_.project, {gated + from * block_channels, block_channels, s_.area * block_channels},
                 t.pairs);
      }
      for (std::int64_t b = 0; b < s_.blocks; ++b) differentiate_gates(n, b, t);
      differentiate_hidden(n, sums, t);
    });
  }

  // The gradient of the projection's results, a pixel at a stride.
  void differentiate_outputs(std::int64_t n, std::int64_t from, std::int64_t to, float* out) const {
    const float *gradient = grad_out(n), *value = projected(n);
    for (std::int64_t p = from; p < to; ++p, out += s_.output_stride())
      for (std::int64_t c = 0; c < s_.outputs; c += lanes<float>) {
        const Vector<float> centred = m_.project_norm.centre(load(value + p * s_.outputs + c), c);
        const Vector<float> g = load_some(gradient + p * c_.outputs + c, c_.outputs - c);
        store(out + c, m_.project_norm.differentiate(g, centred, c));
      }
  }

  // The gradient before the sigmoid of the gates of one block.
  void differentiate_gates(std::int64_t n, std::int64_t b, const Scratch& t) const {
    constexpr int L = lanes<float>;
    const std::int64_t at = (n * s_.blocks + b) * s_.area * block_channels;
    const float *value = c_.saved.values + at, *gradient = m_.gated + at;
    const float* rows = gates(n) + b * s_.positions * block_channels;
    const float* columns = rows + s_.height * block_channels;
    float *row_sums = t.sides, *column_sums = t.sides + s_.height * block_channels;
    clear(column_sums, s_.width * block_channels);
    for (std::int64_t y = 0; y < s_.height; ++y) {
      Vector<float> row[block_vectors], sum[block_vectors] = {};
      for (int j = 0; j < block_vectors; ++j) row[j] = load(rows + y * block_channels + j * L);
      for (std::int64_t x = 0; x < s_.width * block_channels; x += block_channels)
#pragma GCC unroll 4
        for (int j = 0; j < block_vectors; ++j) {
          const Vector<float> product = load(value + x + j * L) * load(gradient + x + j * L);
          sum[j] += product * load(columns + x + j * L);
          store(column_sums + x + j * L, load(column_sums + x + j * L) + product * row[j]);
        }
      for (int j = 0; j < block_vectors; ++j) store(row_sums + y * block_channels + j * L, sum[j]);
      value += s_.width * block_channels;
      gradient += s_.width * block_channels;
    }
    for (std::int64_t p = 0; p < s_.positions; ++p)
      for (int j = 0; j < block_channels; j += L) {
        const Vector<float> gate = load(rows + p * block_channels + j);
        store(t.gates + p * s_.row_stride() + b * block_channels + j,
              load(t.sides + p * block_channels + j) * (gate * (1.0f - gate)));
      }
  }

  // The gates' weights, and the gradient after the squeeze's norm.
  void differentiate_hidden(std::int64_t n, float* sums, const Scratch& t) const {
    const auto side = [&](std::int64_t from, std::int64_t count, const Panels& panels, std::int64_t weight,
                          std::int64_t bias) {
      const float* gates = t.gates + from * s_.row_stride();
      for (std::int64_t p = 0; p < count; ++p)
        for (std::int64_t c = 0; c < s_.padded; c += lanes<float>)
          store(sums + bias + c, load(sums + bias + c) + load(gates + p * s_.row_stride() + c));
      add_outer_products(PixelValues{t.hidden + from * s_.bottleneck, s_.bottleneck, c_.squeezed},
                         PixelValues{gates, s_.row_stride(), s_.padded}, count, sums + weight);
      multiply(PixelValues{gates, s_.row_stride(), s_.channels}, count, panels, 0, panels.blocks,
               {t.bottleneck + from * s_.bottleneck, s_.bottleneck, block_channels});
    };
    side(0, s_.height, m_.row, m_.sums.row, m_.sums.row_bias);
    side(s_.height, s_.width, m_.column, m_.sums.column, m_.sums.column_bias);
    const BatchNorm& norm = m_.squeeze_norm;
    const float* value = squeezed(n);
    float* hidden = m_.hidden + n * s_.positions * s_.bottleneck;
    for (std::int64_t c = 0; c < s_.bottleneck; c += lanes<float>)
      sum_gradients(
          norm, n, c, s_.positions,
          [&](std::int64_t p) {
            const std::int64_t at = p * s_.bottleneck + c;
            const Vector<float> pre = norm.apply(norm.centre(load(value + at), c), c);
            const Vector<float> gradient = load(t.bottleneck + at) * hardswish_slope(pre);
            store(hidden + at, gradient);
            return gradient;
          },
          [&](std::int64_t p) { return norm.centre(load(value + p * s_.bottleneck + c), c); });
  }

  void squeeze(std::int64_t share, const Scratch& t) const {
    float *sums = m_.sums.of(share), *bias = sums + m_.sums.squeeze_bias;
    clear(sums + m_.sums.squeeze, c_.squeezed * s_.padded);
    clear(bias, s_.bottleneck);
    each_image(share, [&](std::int64_t n) {
      const float *value = squeezed(n), *hidden = m_.hidden + n * s_.positions * s_.bottleneck;
      for (std::int64_t c = 0; c < s_.bottleneck; c += lanes<float>) {
        Vector<float> sum = {};
        for (std::int64_t p = c; p < s_.positions * s_.bottleneck; p += s_.bottleneck) {
          const Vector<float> centred = m_.squeeze_norm.centre(load(value + p), c);
          const Vector<float> gradient = m_.squeeze_norm.differentiate(load(hidden + p), centred, c);
          store(t.bottleneck + p, gradient);
          sum += gradient;
        }
        store(bias + c, load(bias + c) + sum);
      }
      const PixelValues gradients{t.bottleneck, s_.bottleneck, c_.squeezed};
      const float* means = c_.saved.means + n * s_.positions * s_.padded;
      add_outer_products(gradients, PixelValues{means, s_.padded, s_.padded}, s_.positions, sums + m_.sums.squeeze);
      multiply(gradients, s_.positions, m_.squeeze, 0, s_.blocks,
               {m_.means + n * s_.positions * s_.padded, block_channels, s_.positions * block_channels});
    });
  }

  void convolve(std::int64_t share, std::int64_t b, const Scratch& t) const {
    const std::int64_t kernel = c_.splits.kernel_of_block(b), place = m_.depthwise.places[b];
    const Plane plane{t.plane, c_.height, c_.width, kernel / 2};
    const Plane gradient{t.gradient, s_.height, s_.width, kernel / 2};
    float* weight = m_.sums.of(share) + m_.sums.depthwise + place;
    clear(weight, kernel * kernel * block_channels);
    each_image(share, [&](std::int64_t n) {
      const float* expanded = c_.saved.expanded + (n * s_.blocks + b) * s_.in_area * block_channels;
      activate(c_, m_.expand_norm, m_.slopes, b, expanded, plane, t.plane);
      differentiate_values(n, b, gradient, t.gradient);
      if (c_.stride == 1) {
        depthwise_weights<1>(plane, gradient, kernel, weight);
        depthwise_inputs<1>(gradient, m_.turned + place, kernel, c_.height, c_.width, t.before);
      } else {
        depthwise_weights<2>(plane, gradient, kernel, weight);
        depthwise_inputs<2>(gradient, m_.turned + place, kernel, c_.height, c_.width, t.before);
      }
      differentiate_activation(n, b, expanded, t.before);
    });
  }

  // The gradient of t: of what the gates were applied to, and of the means.
  void differentiate_values(std::int64_t n, std::int64_t b, const Plane& to, float* plane) const {
    const float* from = m_.gated + (n * s_.blocks + b) * s_.area * block_channels;
    const std::int64_t at = (n * s_.blocks + b) * s_.positions * block_channels, side = to.margin * block_channels;
    const std::int64_t row_size = s_.width * block_channels;
    const float *rows = m_.gates + at, *row_means = m_.means + at;
    const float *columns = rows + s_.height * block_channels, *column_means = row_means + s_.height * block_channels;
    const float by_width = 1.0f / static_cast<float>(s_.width), by_height = 1.0f / static_cast<float>(s_.height);
    for (std::int64_t y = 0; y < s_.height; ++y, from += row_size, plane += to.row_stride()) {
      clear(plane, side);
      clear(plane + side + row_size, side);
      for (int j = 0; j < block_channels; j += lanes<float>) {
        const Vector<float> row = load(rows + y * block_channels + j);
        const Vector<float> mean = load(row_means + y * block_channels + j) * by_width;
        for (std::int64_t x = j; x < row_size; x += block_channels)
          store(plane + side + x,
                load(from + x) * (row * load(columns + x)) + (load(column_means + x) * by_height + mean));
      }
    }
  }

  // The gradient before PReLU, from that after it, and the sums over one image.
  void differentiate_activation(std::int64_t n, std::int64_t b, const float* expanded, const float* after) const {
    const BatchNorm& norm = m_.expand_norm;
    float* out = m_.activated + (n * s_.blocks + b) * s_.in_area * block_channels;
    for (int j = 0; j < block_channels; j += lanes<float>) {
      const std::int64_t c = b * block_channels + j;
      const Vector<float> slope = load(m_.slopes + c), none = {};
      double* slopes = m_.slope_sums + n * s_.padded + c;
      std::memset(slopes, 0, lanes<float> * sizeof(double));
      double *total = norm.means + n * s_.padded + c, *product = norm.squares + n * s_.padded + c;
      std::memset(total, 0, lanes<float> * sizeof(double));
      std::memset(product, 0, lanes<float> * sizeof(double));
      Vector<float> sum = {}, products = {}, slope_sum = {};
      for_runs(
          s_.in_area,
          [&](std::int64_t p) {
            const std::int64_t at = p * block_channels + j;
            const Vector<float> centred = norm.centre(load(expanded + at), c), pre = norm.apply(centred, c);
            Vector<float> gradient = load(after + at);
            slope_sum += pre > 0.0f ? none : gradient * pre;
            gradient = pre > 0.0f ? gradient : gradient * slope;
            store(out + at, gradient);
            sum += gradient;
            products += gradient * centred;
          },
          [&] {
            add_to(slopes, slope_sum);
            add_to(total, sum);
            add_to(product, products);
            sum = products = slope_sum = none;
          });
    }
  }

  void expand(std::int64_t share, const Scratch& t) const {
    float* sums = m_.sums.of(share) + m_.sums.expand;
    clear(sums, c_.inputs * s_.padded);
    each_image(share, [&](std::int64_t n) {
      for (std::int64_t from = 0; from < s_.in_area; from += s_.pixels) {
        const std::int64_t to = std::min(from + s_.pixels, s_.in_area);
        differentiate_expanded(n, from, to, t.values);
        const float* x = c_.x + (n * s_.in_area + from) * c_.inputs;
        add_outer_products({x, c_.inputs, c_.inputs}, {t.values, s_.row_stride(), s_.padded}, to - from, sums, t.pairs);
        if (c_.grad_x == nullptr) continue;
        const std::int64_t stride = m_.expand.blocks * block_channels;
        multiply({t.values, s_.row_stride(), s_.channels}, to - from, m_.expand, {t.inputs, stride, block_channels},
                 t.pairs);
        write_inputs(n, from, to, t.inputs, stride);
      }
    });
  }

  // The gradient before the first norm, a pixel at a stride.
  void differentiate_expanded(std::int64_t n, std::int64_t from, std::int64_t to, float* out) const {
    for (std::int64_t b = 0; b < s_.blocks; ++b) {
      const std::int64_t at = ((n * s_.blocks + b) * s_.in_area + from) * block_channels;
      const float *gradient = m_.activated + at, *value = c_.saved.expanded + at;
      for (int j = 0; j < block_channels; j += lanes<float>) {
        const std::int64_t c = b * block_channels + j;
        for (std::int64_t p = 0; p < to - from; ++p) {
          const Vector<float> centred = m_.expand_norm.centre(load(value + p * block_channels + j), c);
          store(out + p * s_.row_stride() + c,
                m_.expand_norm.differentiate(load(gradient + p * block_channels + j), centred, c));
        }
      }
    }
  }

  void write_inputs(std::int64_t n, std::int64_t from, std::int64_t to, const float* found, std::int64_t stride) const {
    for (std::int64_t p = from; p < to; ++p, found += stride)
      for (std::int64_t c = 0; c < c_.inputs; c += lanes<float>) {
        const std::int64_t at = (n * s_.in_area + p) * c_.inputs + c, left = c_.inputs - c;
        Vector<float> value = load(found + c);
        if (c_.residual) value += load_some(c_.grad_out + at, left);
        store_some(c_.grad_x + at, left, value);
      }
  }

  void write_gradients(std::int64_t b) const {
    const MixedParameters<float>& g = c_.gradients;
    const GradientSums& sums = m_.sums;
    sums.write_rows(sums.expand, c_.inputs, s_, b, true, g.expand_weight);
    sums.write_rows(sums.row, c_.squeezed, s_, b, true, g.row_gate_weight);
    sums.write_rows(sums.column, c_.squeezed, s_, b, true, g.column_gate_weight);
    sums.write_rows(sums.squeeze, c_.squeezed, s_, b, false, g.squeeze_weight);
    sums.write_rows(sums.project, c_.outputs, s_, b, false, g.project_weight);
    sums.write_rows(sums.row_bias, 1, s_, b, false, g.row_gate_bias);
    sums.write_rows(sums.column_bias, 1, s_, b, false, g.column_gate_bias);
    const std::int64_t place = m_.depthwise.places[b];
    float* kernel = m_.turned + place;  // which is no longer needed
    for (std::int64_t i = 0; i < m_.depthwise.places[b + 1] - place; i += lanes<float>)
      store(kernel + i, sums.sum(sums.depthwise + place + i));
    for_each_tap(c_.splits, b,
                 [&](std::int64_t part, std::int64_t to, std::int64_t from) { g.depthwise[part][to] = kernel[from]; });
    for (std::int64_t c = b * block_channels; c < std::min((b + 1) * block_channels, s_.channels); ++c) {
      double total = 0;
      for (std::int64_t n = 0; n < c_.images; ++n) total += m_.slope_sums[n * s_.padded + c];
      g.slope[c] = static_cast<float>(total);
    }
    if (b > 0) return;
    for (std::int64_t m = 0; m < s_.bottleneck; m += lanes<float>)
      store_some(g.squeeze_bias + m, std::max<std::int64_t>(c_.squeezed - m, 0), sums.sum(sums.squeeze_bias + m));
  }

  const MixedBackward& c_;
  const Pool& pool_;
  const BackwardMemory& m_;
  const TrainingSizes& s_;
};

}  // namespace abawkit::ABAWKIT_ISA
