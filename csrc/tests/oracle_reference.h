// Dual-direction attention in double precision, straight from the formulas of dda.h: what implementations are compared
// with.
#pragma once

#include "oracle_inputs.h"

namespace abawkit::oracle {

// All results, in the order in which dda.h names them, each with the magnitude that its error is measured against.
struct Results {
  Values embedding, rows, columns, squeezed, pooled, statistics, grad_features, gradients[parameter_count];
  double magnitudes[parameter_count] = {};  // of gradients: the largest sum of absolute terms, as some sums cancel
};

// Norm over entries i of group i / inner % groups; fills mean and variance unless they are given, gives x hat.
inline Values normalised(const Values& x, std::int64_t groups, std::int64_t inner, bool given, double eps, double* mean,
                         double* variance) {
  const std::int64_t size = static_cast<std::int64_t>(x.size());
  const double count = groups ? static_cast<double>(size / groups) : 0;
  if (!given) {
    // About the first value of each group, so that constant values have no variance at all.
    std::fill(mean, mean + groups, 0.0);
    std::fill(variance, variance + groups, 0.0);
    for (std::int64_t i = 0; i < size; ++i) mean[i / inner % groups] += (x[i] - x[i / inner % groups * inner]) / count;
    for (std::int64_t g = 0; g < groups; ++g) mean[g] += x[g * inner];
    for (std::int64_t i = 0; i < size; ++i)
      variance[i / inner % groups] += std::pow(x[i] - mean[i / inner % groups], 2) / count;
  }
  Values hat(x.size());
  for (std::int64_t i = 0; i < size; ++i)
    hat[i] = (x[i] - mean[i / inner % groups]) / std::sqrt(variance[i / inner % groups] + eps);
  return hat;
}

// From the gradient of scale * hat + shift to that of x; adds up the gradients of scale and shift.
inline Values norm_gradient(const Values& dy, const Values& hat, std::int64_t groups, std::int64_t inner, bool batch,
                            double eps, const double* variance, const Values& scale, Values& dscale, Values& dshift) {
  const double count = groups ? static_cast<double>(dy.size() / groups) : 0;
  dscale.assign(groups, 0);
  dshift.assign(groups, 0);
  for (std::size_t i = 0; i < dy.size(); ++i) {
    dscale[i / inner % groups] += dy[i] * hat[i];
    dshift[i / inner % groups] += dy[i];
  }
  Values dx(dy.size());
  for (std::size_t i = 0; i < dy.size(); ++i) {
    const std::int64_t g = i / inner % groups;
    const double centred = batch ? dy[i] - dshift[g] / count - hat[i] * dscale[g] / count : dy[i];
    dx[i] = scale[g] / std::sqrt(variance[g] + eps) * centred;
  }
  return dx;
}

// Forward, and backward with it. `statistics` is `given` or null for those of the batch.
inline Results reference(const Case& config, const Inputs& in, bool given) {
  const Sizes& size = config.sizes;
  const std::int64_t N = size.images, C = size.channels, H = size.height, W = size.width, K = size.heads;
  const std::int64_t M = size.squeezed;
  const std::int64_t norms = config.sizes.norms(), P = H + W, A = H * W;
  const Values* p = in.parameters;
  const Values& x = in.features;
  Results r;
  r.statistics = in.given;
  double* const mean = r.statistics.data();
  double* const var = mean + norms;
  const std::int64_t at[4] = {0, K * C, 2 * K * C, 2 * K * C + K * M};
  const double eps = config.eps;

  Values u(N * K * C * H), v(N * K * C * W);
  for (std::int64_t i = 0; i < N * K * C; ++i) {
    const std::int64_t n = i / (K * C), kc = i % (K * C);
    const double* image = &x[(n * C + kc % C) * A];
    for (std::int64_t h = 0; h < H; ++h)
      for (std::int64_t w = 0; w < W; ++w) {
        u[i * H + h] += image[h * W + w] * p[row_weight][kc * W + w];
        v[i * W + w] += image[h * W + w] * p[column_weight][kc * H + h];
      }
  }
  const Values uhat = normalised(u, K * C, H, given, eps, mean + at[0], var + at[0]);
  const Values vhat = normalised(v, K * C, W, given, eps, mean + at[1], var + at[1]);
  const auto hat = [&](std::int64_t nkc, std::int64_t j) { return j < H ? uhat[nkc * H + j] : vhat[nkc * W + j - H]; };
  const auto normed = [&](std::int64_t nkc, std::int64_t j) {
    const std::int64_t kc = nkc % (K * C);
    return hat(nkc, j) * p[j < H ? row_scale : column_scale][kc] + p[j < H ? row_shift : column_shift][kc];
  };
  r.squeezed.assign(N * K * P * M, 0);
  Values by_map(N * K * M * P);  // the same as (N, K, M, P), so that groups are outermost
  for (std::int64_t n = 0; n < N * K; ++n)
    for (std::int64_t m = 0; m < M; ++m)
      for (std::int64_t j = 0; j < P; ++j) {
        double sum = p[squeeze_bias][n % K * M + m];
        for (std::int64_t c = 0; c < C; ++c) sum += p[squeeze_weight][(n % K * M + m) * C + c] * normed(n * C + c, j);
        r.squeezed[(n * P + j) * M + m] = by_map[(n * M + m) * P + j] = sum;
      }
  const Values shat = normalised(by_map, K * M, P, given, eps, mean + at[2], var + at[2]);
  Values z(shat.size()), t(shat.size());
  for (std::size_t i = 0; i < z.size(); ++i) {
    z[i] = shat[i] * p[squeeze_scale][i / P % (K * M)] + p[squeeze_shift][i / P % (K * M)];
    t[i] = z[i] * std::min(std::max(z[i] + 3, 0.0), 6.0) / 6;
  }
  r.rows.resize(u.size());
  r.columns.resize(v.size());
  const auto gate = [&](std::int64_t nkc, std::int64_t j) -> double& {
    return j < H ? r.rows[nkc * H + j] : r.columns[nkc * W + j - H];
  };
  for (std::int64_t i = 0; i < N * K * C; ++i)
    for (std::int64_t j = 0; j < P; ++j) {
      const std::int64_t kc = i % (K * C);
      double sum = p[j < H ? row_gate_bias : column_gate_bias][kc];
      for (std::int64_t m = 0; m < M; ++m)
        sum += p[j < H ? row_gate_weight : column_gate_weight][kc * M + m] * t[(i / C * M + m) * P + j];
      gate(i, j) = 1 / (1 + std::exp(-sum));
    }
  const auto map = [&](std::int64_t n, std::int64_t k, std::int64_t c, std::int64_t i) {
    return gate((n * K + k) * C + c, i / W) * gate((n * K + k) * C + c, H + i % W);
  };
  Values strongest(N * C * A);
  r.pooled.assign(N * C, 0);
  for (std::int64_t i = 0; i < N * C * A; ++i) {
    for (std::int64_t k = 0; k < K; ++k) strongest[i] = std::max(strongest[i], map(i / A / C, k, i / A % C, i % A));
    r.pooled[i / A] += p[pool_weight][i % (C * A)] * x[i] * strongest[i];
  }
  const Values phat = normalised(r.pooled, C, 1, given, eps, mean + at[3], var + at[3]);
  for (std::int64_t i = 0; i < N * C; ++i) r.embedding.push_back(phat[i] * p[pool_scale][i % C] + p[pool_shift][i % C]);

  Values* const d = r.gradients;
  for (int i = 0; i < parameter_count; ++i) d[i].assign(p[i].size(), 0);
  const auto norm_back = [&](const Values& dy, const Values& xhat, std::int64_t inner, int norm, int scale) {
    const std::int64_t groups = norm == 3 ? C : norm == 2 ? K * M : K * C;
    return norm_gradient(dy, xhat, groups, inner, !given, eps, var + at[norm], p[scale], d[scale], d[scale + 1]);
  };
  const Values dpooled = norm_back(in.grad_embedding, phat, 1, 3, pool_scale);
  Values dgate(N * K * C * P), sizes[parameter_count];
  for (int i = 0; i < parameter_count; ++i) sizes[i].assign(p[i].size(), 0);
  r.grad_features.assign(x.size(), 0);
  for (std::int64_t i = 0; i < N * K * C; ++i)
    for (std::int64_t j = 0; j < P; ++j)
      if (j < H ? config.grad_rows : config.grad_columns)
        dgate[i * P + j] = j < H ? in.grad_rows[i * H + j] : in.grad_columns[i * W + j - H];
  for (std::int64_t i = 0; i < N * C * A; ++i) {
    const std::int64_t n = i / A / C, c = i / A % C;
    const double weight = p[pool_weight][i % (C * A)], dy = dpooled[i / A];
    d[pool_weight][i % (C * A)] += dy * x[i] * strongest[i];
    sizes[pool_weight][i % (C * A)] += std::fabs(dy * x[i] * strongest[i]);
    r.grad_features[i] = dy * weight * strongest[i];
    double left = dy * weight * x[i];
    for (std::int64_t k = K; k-- > 0 && left != 0;) {
      double earlier = -1;
      for (std::int64_t l = 0; l < k; ++l) earlier = std::max(earlier, map(n, l, c, i % A));
      const double own = map(n, k, c, i % A), share = own > earlier ? left : own == earlier ? left / 2 : 0;
      const std::int64_t at_head = (n * K + k) * C + c, h = i % A / W, w = i % A % W;
      dgate[at_head * P + h] += share * gate(at_head, H + w);
      dgate[at_head * P + H + w] += share * gate(at_head, h);
      left -= share;
    }
  }
  Values dt(t.size()), dz(t.size());
  for (std::int64_t i = 0; i < N * K * C * P; ++i) {
    const std::int64_t j = i % P, kc = i / P % (K * C);
    const double g = gate(i / P, j), da = dgate[i] * g * (1 - g);
    d[j < H ? row_gate_bias : column_gate_bias][kc] += da;
    for (std::int64_t m = 0; m < M; ++m) {
      const std::int64_t at_t = (i / P / C * M + m) * P + j;
      d[j < H ? row_gate_weight : column_gate_weight][kc * M + m] += da * t[at_t];
      dt[at_t] += da * p[j < H ? row_gate_weight : column_gate_weight][kc * M + m];
    }
  }
  for (std::size_t i = 0; i < t.size(); ++i) dz[i] = z[i] < -3 ? 0 : z[i] > 3 ? dt[i] : dt[i] * (z[i] / 3 + 0.5);
  const Values ds = norm_back(dz, shat, P, 2, squeeze_scale);
  Values dyu(u.size()), dyv(v.size());
  for (std::int64_t i = 0; i < N * K * M * P; ++i) {
    d[squeeze_bias][i / P % (K * M)] += ds[i];
    sizes[squeeze_bias][i / P % (K * M)] += std::fabs(ds[i]);
    for (std::int64_t c = 0, j = i % P; c < C; ++c) {
      const std::int64_t nkc = i / P / M * C + c, weight = i / P % (K * M) * C + c;
      d[squeeze_weight][weight] += ds[i] * normed(nkc, j);
      sizes[squeeze_weight][weight] += std::fabs(ds[i] * normed(nkc, j));
      (j < H ? dyu[nkc * H + j] : dyv[nkc * W + j - H]) += ds[i] * p[squeeze_weight][weight];
    }
  }
  const Values du = norm_back(dyu, uhat, H, 0, row_scale), dv = norm_back(dyv, vhat, W, 1, column_scale);
  for (std::int64_t i = 0; i < N * K * C; ++i)
    for (std::int64_t a = 0; a < A; ++a) {
      const std::int64_t kc = i % (K * C), at_x = (i / (K * C) * C + kc % C) * A + a, h = a / W, w = a % W;
      d[row_weight][kc * W + w] += du[i * H + h] * x[at_x];
      d[column_weight][kc * H + h] += dv[i * W + w] * x[at_x];
      sizes[row_weight][kc * W + w] += std::fabs(du[i * H + h] * x[at_x]);
      sizes[column_weight][kc * H + h] += std::fabs(dv[i * W + w] * x[at_x]);
      r.grad_features[at_x] += du[i * H + h] * p[row_weight][kc * W + w] + dv[i * W + w] * p[column_weight][kc * H + h];
    }
  for (int i = 0; i < parameter_count; ++i)
    for (const Values* values : {&d[i], &sizes[i]})
      for (const double value : *values) r.magnitudes[i] = std::max(r.magnitudes[i], std::fabs(value));
  return r;
}

}  // namespace abawkit::oracle
