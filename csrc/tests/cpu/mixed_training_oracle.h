// A mixed block's training in numbers of type A, sums in the plainest order.
#pragma once

#include <cmath>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include "bfloat16.h"

namespace {

using Int = std::int64_t;
using Floats = std::vector<float>;

struct Shape {
  Int images, inputs, height, width;
  std::vector<Int> kernels, channels;
  Int outputs, squeezed, stride;
  bool residual;
  Int expanded() const {
    Int total = 0;
    for (const Int c : channels) total += c;
    return total;
  }
  Int out_height() const { return (height + stride - 1) / stride; }
  Int out_width() const { return (width + stride - 1) / stride; }
};

// x (N, H, W, I), then the parameters in the order of MixedParameters; depthwise kernels one after another.
enum : int {
  input,
  expand_w,
  expand_scale_,
  expand_shift_,
  slope_,
  squeeze_w,
  squeeze_b,
  squeeze_scale_,
  squeeze_shift_,
  row_w,
  row_b,
  column_w,
  column_b,
  project_w,
  project_scale_,
  project_shift_,
  depthwise,
  tensor_count
};
using Tensors = std::vector<Floats>;

inline std::string describe(const Shape& s) {
  std::string name = std::to_string(s.images) + "x" + std::to_string(s.inputs) + "x" + std::to_string(s.height) + "x" +
                     std::to_string(s.width) + " to " + std::to_string(s.outputs) + " stride " +
                     std::to_string(s.stride) + (s.residual ? " residual" : "") + " kernels";
  for (std::size_t i = 0; i < s.kernels.size(); ++i)
    name += " " + std::to_string(s.kernels[i]) + ":" + std::to_string(s.channels[i]);
  return name;
}

inline Floats make_numbers(std::mt19937& random, Int count, double deviation, double mean = 0) {
  std::normal_distribution<float> normal;
  Floats values(count);
  for (float& value : values) value = static_cast<float>(mean + deviation * normal(random));
  return values;
}

inline Tensors make_tensors(const Shape& s, unsigned seed) {
  std::mt19937 random(seed);
  const Int e = s.expanded(), m = s.squeezed, o = s.outputs;
  Int taps = 0;
  for (std::size_t i = 0; i < s.kernels.size(); ++i) taps += s.channels[i] * s.kernels[i] * s.kernels[i];
  const double by_e = 1 / std::sqrt(double(e)), by_m = 1 / std::sqrt(double(m));
  const auto make = [&](Int count, double deviation, double mean = 0) {
    return make_numbers(random, count, deviation, mean);
  };
  return {make(s.images * s.height * s.width * s.inputs, 1, 0.5),
          make(e * s.inputs, 1 / std::sqrt(double(s.inputs))),
          make(e, 0.2, 1),
          make(e, 0.3),
          make(e, 0.3, 0.25),
          make(m * e, 2 * by_e),
          make(m, 1),
          make(m, 0.2, 1),
          make(m, 0.3),
          make(e * m, by_m),
          make(e, 0.5),
          make(e * m, by_m),
          make(e, 0.5),
          make(o * e, 2 * by_e),
          make(o, 0.2, 1),
          make(o, 0.3),
          make(taps, 0.3)};
}

inline Floats make_gradient(const Shape& s, unsigned seed) {
  std::mt19937 random(seed + 1000);
  return make_numbers(random, s.images * s.out_height() * s.out_width() * s.outputs, 1);
}

// Batch norm of values (N, C, P), and its gradient.
template <class A>
struct Norm {
  Int images, channels, pixels;
  std::vector<A> mean, variance, centred;
  Norm(Int n, Int c, Int p, const std::vector<A>& values)
      : images(n), channels(c), pixels(p), mean(c), variance(c), centred(values) {
    each([&](Int at, Int k) { mean[k] += values[at]; });
    for (A& value : mean) value /= A(n * p);
    each([&](Int at, Int k) { centred[at] -= mean[k]; });
    each([&](Int at, Int k) { variance[k] += centred[at] * centred[at]; });
    for (A& value : variance) value /= A(n * p);
  }
  A reciprocal(Int k) const { return 1 / std::sqrt(variance[k] + A(1e-5)); }
  std::vector<A> apply(const Floats& scale, const Floats& shift) const {
    std::vector<A> out(centred.size());
    each([&](Int at, Int k) { out[at] = centred[at] * reciprocal(k) * A(scale[k]) + A(shift[k]); });
    return out;
  }
  // The gradient of the values from that of the results; those of scale and shift are added to.
  std::vector<A> differentiate(const std::vector<A>& gradient, const Floats& scale, std::vector<A>& scales,
                               std::vector<A>& shifts) const {
    each([&](Int at, Int k) {
      scales[k] += gradient[at] * centred[at] * reciprocal(k);
      shifts[k] += gradient[at];
    });
    std::vector<A> out(gradient.size());
    each([&](Int at, Int k) {
      const A count = A(images * pixels), by = reciprocal(k);
      out[at] = A(scale[k]) * by * (gradient[at] - shifts[k] / count - centred[at] * by * scales[k] / count);
    });
    return out;
  }
  template <class F>
  void each(const F& f) const {
    for (Int n = 0; n < images; ++n)
      for (Int k = 0; k < channels; ++k)
        for (Int p = 0; p < pixels; ++p) f((n * channels + k) * pixels + p, k);
  }
};

template <class A>
class Oracle {
  using Values = std::vector<A>;

 public:
  // `rounded`: to bfloat16, the factors of the products with the weights of expansion and projection.
  Oracle(const Shape& shape, const Tensors& tensors, bool rounded)
      : s(shape),
        t(tensors),
        bfloat16(rounded),
        e(s.expanded()),
        m(s.squeezed),
        o(s.outputs),
        area(s.height * s.width),
        height(s.out_height()),
        width(s.out_width()),
        out_area(height * width),
        positions(height + width) {}

  // The result, means and variances of the three norms, and the gradients of all tensors.
  std::vector<Values> results(const Floats& grad_out) {
    const Int n = s.images;
    Values x(n * s.inputs * area);
    for (Int i = 0; i < n * area; ++i)
      for (Int c = 0; c < s.inputs; ++c) x[(i / area * s.inputs + c) * area + i % area] = t[input][i * s.inputs + c];
    const Norm<A> first(n, e, area, multiply(x, expand_w, s.inputs, e, area));
    const Values pre = first.apply(t[expand_scale_], t[expand_shift_]);
    Values y = pre;
    first.each([&](Int at, Int k) { y[at] = pre[at] > 0 ? pre[at] : pre[at] * A(t[slope_][k]); });
    Values v(n * e * out_area), means(n * e * positions);
    each_tap([&](Int from, Int to, Int tap) { v[to] += A(t[depthwise][tap]) * y[from]; });
    each_pixel([&](Int at, Int row, Int column) {
      means[row] += v[at] / A(width);
      means[column] += v[at] / A(height);
    });
    Values squeezed = multiply(means, squeeze_w, e, m, positions);
    for (Int i = 0; i < n * m * positions; ++i) squeezed[i] += A(t[squeeze_b][i / positions % m]);
    const Norm<A> second(n, m, positions, squeezed);
    const Values bottleneck = second.apply(t[squeeze_scale_], t[squeeze_shift_]);
    Values hidden = bottleneck, gates(n * e * positions);
    for (A& value : hidden) value = value <= -3 ? A(0) : value >= 3 ? value : value * (value + 3) / 6;
    each_gate([&](Int at, Int k, int weight, int bias, Int first_hidden) {
      A value = A(t[bias][k]);
      for (Int i = 0; i < m; ++i) value += A(t[weight][k * m + i]) * hidden[first_hidden + i * positions];
      gates[at] = 1 / (1 + std::exp(-value));
    });
    Values u(n * e * out_area);
    each_pixel([&](Int at, Int row, Int column) { u[at] = v[at] * gates[row] * gates[column]; });
    const Norm<A> third(n, o, out_area, multiply(u, project_w, e, o, out_area));
    Values result = third.apply(t[project_scale_], t[project_shift_]), gradient(result.size());
    Values out(result.size());
    std::vector<Values> g(tensor_count);
    for (int i = 0; i < tensor_count; ++i) g[i].assign(t[i].size(), A(0));
    Values dx(x.size());
    third.each([&](Int at, Int k) {
      const Int to = (at / (o * out_area) * out_area + at % out_area) * o + k;
      gradient[at] = grad_out[to];
      out[to] = result[at] + (s.residual ? x[at] : A(0));
      if (s.residual) dx[at] = gradient[at];
    });
    const Values dq = third.differentiate(gradient, t[project_scale_], g[project_scale_], g[project_shift_]);
    const Values du = back(dq, u, project_w, e, o, out_area, g);
    Values dv(v.size()), dgates(gates.size()), dhidden(hidden.size());
    each_pixel([&](Int at, Int row, Int column) {
      dv[at] = du[at] * gates[row] * gates[column];
      dgates[row] += du[at] * v[at] * gates[column];
      dgates[column] += du[at] * v[at] * gates[row];
    });
    each_gate([&](Int at, Int k, int weight, int bias, Int first_hidden) {
      const A d = dgates[at] * gates[at] * (1 - gates[at]);
      g[bias][k] += d;
      for (Int i = 0; i < m; ++i) {
        g[weight][k * m + i] += d * hidden[first_hidden + i * positions];
        dhidden[first_hidden + i * positions] += d * A(t[weight][k * m + i]);
      }
    });
    for (std::size_t i = 0; i < dhidden.size(); ++i) {
      const A value = bottleneck[i];
      dhidden[i] *= value <= -3 ? A(0) : value >= 3 ? A(1) : value / 3 + A(1) / 2;
    }
    const Values ds = second.differentiate(dhidden, t[squeeze_scale_], g[squeeze_scale_], g[squeeze_shift_]);
    for (Int i = 0; i < n * m * positions; ++i) g[squeeze_b][i / positions % m] += ds[i];
    const Values dmeans = back(ds, means, squeeze_w, e, m, positions, g);
    each_pixel([&](Int at, Int row, Int column) { dv[at] += dmeans[row] / A(width) + dmeans[column] / A(height); });
    Values dy(y.size());
    each_tap([&](Int from, Int to, Int tap) {
      g[depthwise][tap] += dv[to] * y[from];
      dy[from] += dv[to] * A(t[depthwise][tap]);
    });
    first.each([&](Int at, Int k) {
      if (pre[at] > 0) return;
      g[slope_][k] += dy[at] * pre[at];
      dy[at] *= A(t[slope_][k]);
    });
    const Values dz = first.differentiate(dy, t[expand_scale_], g[expand_scale_], g[expand_shift_]);
    const Values own = back(dz, x, expand_w, s.inputs, e, area, g);
    for (Int i = 0; i < n * area; ++i)
      for (Int c = 0; c < s.inputs; ++c) {
        const Int at = (i / area * s.inputs + c) * area + i % area;
        g[input][i * s.inputs + c] = dx[at] + own[at];
      }
    std::vector<Values> found{out,        first.mean,    first.variance, second.mean, second.variance,
                              third.mean, third.variance};
    found.insert(found.end(), g.begin(), g.end());
    return found;
  }

 private:
  // A factor of a product with a weight.
  A factor(A value, int weight) const {
    return bfloat16 && (weight == expand_w || weight == project_w) ? round_to_bfloat16(value) : value;
  }
  // (N, inputs, P) times (outputs, inputs).
  Values multiply(const Values& x, int weight, Int inputs, Int outputs, Int pixels) const {
    Values out(s.images * outputs * pixels);
    for (Int i = 0; i < Int(out.size()); ++i) {
      const Int n = i / (outputs * pixels), k = i / pixels % outputs;
      for (Int c = 0; c < inputs; ++c)
        out[i] += factor(t[weight][k * inputs + c], weight) * factor(x[(n * inputs + c) * pixels + i % pixels], weight);
    }
    return out;
  }
  // Its gradients: of the weight, which is added to, and of x.
  Values back(const Values& gradient, const Values& x, int weight, Int inputs, Int outputs, Int pixels,
              std::vector<Values>& g) const {
    Values own(x.size());
    for (Int i = 0; i < Int(gradient.size()); ++i) {
      const Int n = i / (outputs * pixels), k = i / pixels % outputs;
      for (Int c = 0; c < inputs; ++c) {
        const Int at = (n * inputs + c) * pixels + i % pixels;
        g[weight][k * inputs + c] += factor(gradient[i], weight) * factor(x[at], weight);
        own[at] += factor(gradient[i], weight) * factor(t[weight][k * inputs + c], weight);
      }
    }
    return own;
  }
  // Calls f(input, output, weight) for each product of the depthwise convolution.
  template <class F>
  void each_tap(const F& f) const {
    for (Int n = 0; n < s.images; ++n)
      for (Int part = 0, c = 0, tap = 0; part < Int(s.kernels.size()); ++part)
        for (Int last = c + s.channels[part], k = s.kernels[part]; c < last; ++c, tap += k * k)
          for (Int i = 0; i < out_area * k * k; ++i) {
            const Int p = i / (k * k), w = i % (k * k);
            const Int y = p / width * s.stride + w / k - k / 2, x = p % width * s.stride + w % k - k / 2;
            if (y >= 0 && y < s.height && x >= 0 && x < s.width)
              f((n * e + c) * area + y * s.width + x, (n * e + c) * out_area + p, tap + w);
          }
  }
  // Calls f(pixel, its row, its column).
  template <class F>
  void each_pixel(const F& f) const {
    for (Int i = 0; i < s.images * e; ++i)
      for (Int p = 0; p < out_area; ++p)
        f(i * out_area + p, i * positions + p / width, i * positions + height + p % width);
  }
  // Calls f(gate, its channel, its weight and bias, the first of the hidden values that it is made of).
  template <class F>
  void each_gate(const F& f) const {
    for (Int i = 0; i < s.images * e; ++i)
      for (Int p = 0; p < positions; ++p)
        f(i * positions + p, i % e, p < height ? row_w : column_w, p < height ? row_b : column_b,
          i / e * m * positions + p);
  }

  const Shape& s;
  const Tensors& t;
  bool bfloat16;
  Int e, m, o, area, height, width, out_area, positions;
};

}  // namespace
