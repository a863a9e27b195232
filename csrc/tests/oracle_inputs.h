// Cases that implementations of dda.h are tested with: sizes, types, layouts, and the inputs that belong to them.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "dda.h"

namespace abawkit::oracle {

using Values = std::vector<double>;
using Bytes = std::vector<unsigned char>;

struct Case {
  Sizes sizes{3, 16, 7, 7, 2, 16};
  Type type = Type::float32;
  bool channels_last = false;
  bool gates = true;              // whether inference and forward write rows and columns
  bool grad_rows = true;          // whether backward is given each
  bool grad_columns = true;       //
  bool given = false;             // forward normalises with given statistics, which backward sends no gradient through
  bool constant = false;          // every third channel is constant, with a large mean
  bool ties = false;              // all heads are the same
  bool misaligned = false;        // features and their gradient start one entry behind an aligned address
  bool aligned_gradient = false;  // the gradient does not, even so
  unsigned seed = 1;
  double eps = 1e-5;
};

struct Inputs {
  Values features;  // (N, C, H, W) whatever the layout
  Values parameters[parameter_count];
  Values given;  // (2, norms)
  Values grad_embedding, grad_rows, grad_columns;
};

inline Type compute_type(Type type) { return type == Type::float64 ? Type::float64 : Type::float32; }

// Shape of a parameter as (heads or 1, what is left).
inline std::int64_t parameter_size(const Sizes& s, int parameter) {
  const std::int64_t kc = s.heads * s.channels, km = s.heads * s.squeezed;
  const std::int64_t all[parameter_count] = {kc * s.width,
                                             kc * s.height,
                                             kc,
                                             kc,
                                             kc,
                                             kc,
                                             km * s.channels,
                                             km,
                                             km,
                                             km,
                                             kc * s.squeezed,
                                             kc,
                                             kc * s.squeezed,
                                             kc,
                                             s.channels * s.area(),
                                             s.channels,
                                             s.channels};
  return all[parameter];
}

inline const char* parameter_name(int parameter) {
  static const char* const names[] = {
      "row_weight",         "column_weight",    "row_scale",     "row_shift",     "column_scale",    "column_shift",
      "squeeze_weight",     "squeeze_bias",     "squeeze_scale", "squeeze_shift", "row_gate_weight", "row_gate_bias",
      "column_gate_weight", "column_gate_bias", "pool_weight",   "pool_scale",    "pool_shift"};
  return names[parameter];
}

// One value in its storage type, and back.
inline void store(double value, Type type, unsigned char* to) {
  const float single = static_cast<float>(value);
  std::uint32_t bits;
  std::memcpy(&bits, &single, 4);
  if (type == Type::float64) {
    std::memcpy(to, &value, 8);
  } else if (type == Type::float32) {
    std::memcpy(to, &single, 4);
  } else if (type == Type::bfloat16) {
    const std::uint16_t half = static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
    std::memcpy(to, &half, 2);
  } else {
    int exponent = -14;
    if (std::fabs(value) >= std::ldexp(1.0, -14)) exponent = std::ilogb(value);
    double units = std::nearbyint(std::ldexp(std::fabs(value), 10 - exponent));  // 1024..2048, less if subnormal
    const std::uint16_t sign = value < 0 ? 0x8000 : 0;
    const std::uint16_t half = static_cast<std::uint16_t>(sign + ((exponent + 14) << 10) + static_cast<int>(units));
    std::memcpy(to, &half, 2);
  }
}

inline double load(const unsigned char* from, Type type) {
  double value = 0;
  if (type == Type::float64) {
    std::memcpy(&value, from, 8);
  } else if (type == Type::float32) {
    float single;
    std::memcpy(&single, from, 4);
    value = single;
  } else {
    std::uint16_t half;
    std::memcpy(&half, from, 2);
    if (type == Type::bfloat16) {
      const std::uint32_t bits = static_cast<std::uint32_t>(half) << 16;
      float single;
      std::memcpy(&single, &bits, 4);
      value = single;
    } else {
      const int exponent = (half >> 10) & 31, fraction = half & 1023;
      value = exponent == 31 ? (fraction ? NAN : INFINITY)
              : exponent     ? std::ldexp(1024.0 + fraction, exponent - 25)
                             : std::ldexp(fraction, -24);
      if (half & 0x8000) value = -value;
    }
  }
  return value;
}

inline Bytes pack(const Values& values, Type type) {
  Bytes bytes(values.size() * size_of(type));
  for (std::size_t i = 0; i < values.size(); ++i) store(values[i], type, &bytes[i * size_of(type)]);
  return bytes;
}

inline Values unpack(const Bytes& bytes, Type type) {
  Values values(bytes.size() / size_of(type));
  for (std::size_t i = 0; i < values.size(); ++i) values[i] = load(&bytes[i * size_of(type)], type);
  return values;
}

// (N, C, H, W) to (N, H, W, C), or back.
inline Values permuted(const Values& values, const Sizes& s, bool back) {
  Values result(values.size());
  for (std::int64_t n = 0; n < s.images; ++n)
    for (std::int64_t c = 0; c < s.channels; ++c)
      for (std::int64_t i = 0; i < s.area(); ++i) {
        const std::size_t first = (n * s.channels + c) * s.area() + i, last = (n * s.area() + i) * s.channels + c;
        result[back ? first : last] = values[back ? last : first];
      }
  return result;
}

class Random {
 public:
  explicit Random(unsigned seed) : engine_(seed) {}
  double uniform() { return (static_cast<double>(engine_() >> 11) + 0.5) / 9007199254740992.0; }
  double normal() { return std::sqrt(-2 * std::log(uniform())) * std::cos(6.283185307179586 * uniform()); }
  Values normals(std::int64_t count, double deviation, double mean = 0) {
    Values values(count);
    for (double& v : values) v = mean + deviation * normal();
    return values;
  }

 private:
  std::mt19937_64 engine_;
};

// Values are rounded to the types that they are stored in, so that all implementations start from the same.
inline Inputs make_inputs(const Case& c) {
  const Sizes& s = c.sizes;
  Random random(c.seed);
  Inputs in;
  const auto rounded = [](const Values& values, Type type) { return unpack(pack(values, type), type); };
  in.features = random.normals(s.images * s.channels * s.area(), 1, 0.25);
  if (c.constant)
    for (std::int64_t i = 0; i < static_cast<std::int64_t>(in.features.size()); ++i)
      if (i / s.area() % s.channels % 3 == 0) in.features[i] = 100 + 8 * (i / s.area() % s.channels % 11);
  in.features = rounded(in.features, c.type);
  const double fans[parameter_count] = {double(s.width),
                                        double(s.height),
                                        4,
                                        4,
                                        4,
                                        4,
                                        double(s.channels),
                                        4,
                                        4,
                                        4,
                                        double(s.squeezed),
                                        4,
                                        double(s.squeezed),
                                        4,
                                        double(s.area()),
                                        4,
                                        4};
  for (int p = 0; p < parameter_count; ++p) {
    const bool scale = p == row_scale || p == column_scale || p == squeeze_scale || p == pool_scale;
    Values& values = in.parameters[p];
    values = rounded(random.normals(parameter_size(s, p), std::sqrt(1 / fans[p]), scale ? 1 : 0), compute_type(c.type));
    if (c.ties && p < pool_weight)
      for (std::size_t i = 0, head = values.size() / s.heads; i < values.size(); ++i) values[i] = values[i % head];
  }
  in.given = random.normals(s.norms(), 0.2);
  for (std::int64_t i = 0; i < s.norms(); ++i) in.given.push_back(0.5 + random.uniform());
  if (c.ties)
    for (std::int64_t half = 0; half < 2; ++half) {
      double* norms = in.given.data() + half * s.norms();
      for (const std::int64_t group : {s.channels, s.channels, s.squeezed}) {
        for (std::int64_t i = 0; i < s.heads * group; ++i) norms[i] = norms[i % group];
        norms += s.heads * group;
      }
    }
  in.given = rounded(in.given, compute_type(c.type));
  in.grad_embedding = rounded(random.normals(s.images * s.channels, 1), c.type);
  in.grad_rows = rounded(random.normals(s.images * s.heads * s.channels * s.height, 0.1), c.type);
  in.grad_columns = rounded(random.normals(s.images * s.heads * s.channels * s.width, 0.1), c.type);
  return in;
}

}  // namespace abawkit::oracle
