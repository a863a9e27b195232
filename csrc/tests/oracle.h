// Runs an implementation of dda.h on a case and compares all that it wrote with double precision.
#pragma once

#include <cstdio>
#include <functional>
#include <map>
#include <string>

#include "oracle_inputs.h"
#include "oracle_reference.h"

namespace abawkit::oracle {

struct Implementation {
  std::function<std::size_t(const Sizes&, Type)> inference_workspace, forward_workspace, backward_workspace;
  std::function<void(const Inference&)> inference;
  std::function<void(const Forward&)> forward;
  std::function<void(const Backward&)> backward;
};

using Outputs = std::map<std::string, Bytes>;

// Weights with their norms folded in, as dda.h lays them out.
inline Values fold(const Case& config, const Inputs& in) {
  const Sizes& s = config.sizes;
  const std::int64_t C = s.channels, H = s.height, W = s.width, K = s.heads, M = s.squeezed, Mp = padded(s);
  const Values* p = in.parameters;
  const double* mean = in.given.data();
  const double* var = mean + s.norms();
  const std::int64_t squeeze_at = 2 * K * C, pool_at = squeeze_at + K * M;
  const auto factor = [&](int scale, std::int64_t i, std::int64_t norms_at) {
    return p[scale][i] / std::sqrt(var[norms_at + i] + config.eps);
  };
  const auto shift = [&](int scale, std::int64_t i, std::int64_t norms_at, double bias) {
    return p[scale + 1][i] + (bias - mean[norms_at + i]) * factor(scale, i, norms_at);
  };
  Values out;
  const auto each = [&](std::int64_t tile, std::int64_t outer, std::int64_t inner, const auto& value) {
    for (std::int64_t k = 0; k < outer; ++k)
      for (std::int64_t i = 0; i < inner; ++i)
        for (std::int64_t c = tile * 16; c < tile * 16 + 16; ++c)
          out.push_back(c < C ? value(k * C + c, k, i, c) : 0.0);
  };
  using I = std::int64_t;
  for (I tile = 0; tile < tiles(s); ++tile) {
    each(tile, K, W, [&](I kc, I, I i, I) { return p[row_weight][kc * W + i] * factor(row_scale, kc, 0); });
    each(tile, K, H, [&](I kc, I, I i, I) { return p[column_weight][kc * H + i] * factor(column_scale, kc, K * C); });
    each(tile, K, 1, [&](I kc, I, I, I) { return shift(row_scale, kc, 0, 0); });
    each(tile, K, 1, [&](I kc, I, I, I) { return shift(column_scale, kc, K * C, 0); });
    for (I k = 0; k < K; ++k)
      for (I c = tile * 16; c < tile * 16 + 16; ++c)
        for (I m = 0; m < Mp; ++m)
          out.push_back(c < C && m < M
                            ? p[squeeze_weight][(k * M + m) * C + c] * factor(squeeze_scale, k * M + m, squeeze_at)
                            : 0.0);
  }
  for (I tile = 0; tile < tiles(s); ++tile) {
    for (const int gate : {row_gate_weight, column_gate_weight}) {
      each(tile, K, Mp, [&](I kc, I, I m, I) { return m < M ? p[gate][kc * M + m] : 0.0; });
      each(tile, K, 1, [&](I kc, I, I, I) { return p[gate + 1][kc]; });
    }
    each(tile, 1, s.area(),
         [&](I, I, I i, I c) { return p[pool_weight][c * s.area() + i] * factor(pool_scale, c, pool_at); });
    each(tile, 1, 1, [&](I, I, I, I c) { return shift(pool_scale, c, pool_at, 0); });
  }
  for (I k = 0; k < K; ++k)
    for (I m = 0; m < Mp; ++m)
      out.push_back(m < M ? shift(squeeze_scale, k * M + m, squeeze_at, p[squeeze_bias][k * M + m]) : 0.0);
  return out;
}

// Memory with a margin that nobody may write to, filled with bytes that are NaN in every type.
class Buffer {
 public:
  Buffer(std::size_t size, std::size_t offset) : bytes_(size + offset + margin, 0xff), size_(size), offset_(offset) {}
  Buffer(const Bytes& from, std::size_t offset) : Buffer(from.size(), offset) {
    std::copy(from.begin(), from.end(), bytes_.begin() + offset);
  }
  void* data() { return bytes_.data() + offset_; }
  Bytes contents() const { return Bytes(bytes_.begin() + offset_, bytes_.end() - margin); }
  bool intact() const {
    return std::all_of(bytes_.end() - margin, bytes_.end(), [](unsigned char b) { return b == 0xff; });
  }

 private:
  static constexpr std::size_t margin = 64;
  Bytes bytes_;
  std::size_t size_, offset_;
};

// Runs all three operators. Names of results begin with the operator's; "overrun" is there if memory was overrun.
inline Outputs run(const Case& config, const Inputs& in, const Implementation& implementation) {
  const Sizes& s = config.sizes;
  const Type type = config.type, compute = compute_type(type);
  Outputs outputs;
  std::map<std::string, Buffer> buffers;
  const auto add = [&](const std::string& name, std::size_t entries, Type of, std::size_t offset = 0) {
    return buffers.emplace(name, Buffer(entries * size_of(of), offset)).first->second.data();
  };
  const auto constant = [&](const std::string& name, const Values& values, Type of, std::size_t offset = 0) {
    return buffers.emplace(name, Buffer(pack(values, of), offset)).first->second.data();
  };
  const std::size_t offset = config.misaligned ? size_of(type) : 0;
  const std::size_t N = s.images, C = s.channels, kc = s.heads * s.channels;
  const Values x = config.channels_last ? permuted(in.features, s, false) : in.features;
  const Features features{constant("features", x, type, offset), type, config.channels_last};
  void* const given = constant("given", in.given, compute);

  Inference inference{};
  inference.sizes = s;
  inference.features = features;
  inference.folded = constant("folded", fold(config, in), compute);
  inference.embedding = add("inference embedding", N * C, type);
  inference.rows = config.gates ? add("inference rows", N * kc * s.height, type) : nullptr;
  inference.columns = config.gates ? add("inference columns", N * kc * s.width, type) : nullptr;
  inference.workspace =
      add("inference workspace", implementation.inference_workspace(s, type) / 8 + 1, Type::float64, 1);
  implementation.inference(inference);

  Forward forward{};
  forward.sizes = s;
  forward.features = features;
  for (int i = 0; i < parameter_count; ++i)
    forward.parameters[i] = constant(parameter_name(i), in.parameters[i], compute);
  forward.given = config.given ? given : nullptr;
  forward.eps = config.eps;
  forward.embedding = add("forward embedding", N * C, type);
  forward.rows = config.gates ? add("forward rows", N * kc * s.height, type) : nullptr;
  forward.columns = config.gates ? add("forward columns", N * kc * s.width, type) : nullptr;
  forward.squeezed = add("forward squeezed", N * s.heads * s.positions() * s.squeezed, compute);
  forward.pooled = add("forward pooled", N * C, compute);
  forward.statistics = add("forward statistics", 2 * s.norms(), compute);
  forward.workspace = add("forward workspace", implementation.forward_workspace(s, type) / 8 + 1, Type::float64, 1);
  implementation.forward(forward);

  Backward backward{};
  backward.sizes = s;
  backward.features = features;
  for (int i = 0; i < parameter_count; ++i) backward.parameters[i] = forward.parameters[i];
  backward.squeezed = forward.squeezed;
  backward.pooled = forward.pooled;
  backward.statistics = forward.statistics;
  backward.batch_statistics = !config.given;
  backward.eps = config.eps;
  backward.grad_embedding = constant("grad_embedding", in.grad_embedding, type);
  backward.grad_rows = config.grad_rows ? constant("grad_rows", in.grad_rows, type) : nullptr;
  backward.grad_columns = config.grad_columns ? constant("grad_columns", in.grad_columns, type) : nullptr;
  backward.grad_features = add("backward features", N * C * s.area(), type, config.aligned_gradient ? 0 : offset);
  for (int i = 0; i < parameter_count; ++i)
    backward.gradients[i] = add(std::string("backward ") + parameter_name(i), in.parameters[i].size(), compute);
  backward.workspace = add("backward workspace", implementation.backward_workspace(s, type) / 8 + 1, Type::float64, 1);
  implementation.backward(backward);

  for (const auto& [name, buffer] : buffers) {
    if (!buffer.intact()) outputs["overrun"];
    const bool result = name.find(' ') != std::string::npos && name.find("workspace") == std::string::npos;
    if (result) outputs[name] = buffer.contents();
  }
  return outputs;
}

// How far results may be off, relative to the largest magnitude of their tensor.
struct Tolerance {
  double forward, backward, storage;  // `storage` is added for what has the features' type
};

inline Tolerance tolerance_of(const Case& config) {
  const double storage = config.type == Type::bfloat16 ? 1 / 256. : config.type == Type::float16 ? 1 / 2048. : 0;
  if (config.type == Type::float64) return {1e-11, 1e-10, 0};
  return {2e-5, 1e-4, storage};
}

// Compares; prints what is off, with the case's name. `worst` collects the largest error of each result, if given.
inline int compare(const std::string& name, const Case& config, const Inputs& in, const Outputs& outputs,
                   const Tolerance& tolerance, std::map<std::string, double>* worst = nullptr) {
  const Results evaluated = reference(config, in, true);
  const Results trained = config.given ? evaluated : reference(config, in, false);
  const Type compute = compute_type(config.type);
  int failures = outputs.count("overrun") ? 1 : 0;
  if (failures) std::printf("%s: memory was written to behind its end\n", name.c_str());
  const auto one = [&](const std::string& what, const Values& wanted, Type type, double allowed, double magnitude = 0) {
    const auto found = outputs.find(what);
    const Values values = found == outputs.end() ? Values() : unpack(found->second, type);
    for (const double value : wanted) magnitude = std::max(magnitude, std::fabs(value));
    if (type != compute) allowed += tolerance.storage;
    double error = values.size() == wanted.size() ? 0 : INFINITY;
    for (std::size_t i = 0; i < values.size() && i < wanted.size(); ++i) {
      const double off = std::fabs(values[i] - wanted[i]);
      error = off == 0 ? error : std::max(error, std::isfinite(off) ? off / magnitude : INFINITY);
    }
    if (worst) (*worst)[what] = std::max((*worst)[what], error);
    if (error <= allowed) return;
    ++failures;
    std::printf("%s: %s: relative error %.3g, allowed %.3g\n", name.c_str(), what.c_str(), error, allowed);
  };
  const auto forward = [&](const std::string& what, const Results& results) {
    one(what + " embedding", results.embedding, config.type, tolerance.forward);
    if (!config.gates) return;
    one(what + " rows", results.rows, config.type, tolerance.forward);
    one(what + " columns", results.columns, config.type, tolerance.forward);
  };
  forward("inference", evaluated);
  forward("forward", trained);
  one("forward squeezed", trained.squeezed, compute, tolerance.forward);
  one("forward pooled", trained.pooled, compute, tolerance.forward);
  one("forward statistics", trained.statistics, compute, tolerance.forward);
  const Values dx = config.channels_last ? permuted(trained.grad_features, config.sizes, false) : trained.grad_features;
  one("backward features", dx, config.type, tolerance.backward);
  for (int i = 0; i < parameter_count; ++i)
    one(std::string("backward ") + parameter_name(i), trained.gradients[i], compute, tolerance.backward,
        trained.magnitudes[i]);
  return failures;
}

// The number of results that are off.
inline int check(const std::string& name, const Case& config, const Implementation& implementation) {
  const Inputs in = make_inputs(config);
  return compare(name, config, in, run(config, in, implementation), tolerance_of(config));
}

}  // namespace abawkit::oracle
