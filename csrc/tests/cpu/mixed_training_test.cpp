// Training of the mixed block, of the instruction set that ABAWKIT_CPU names, against the same formulas in double
// precision; the formulas' gradients against differences of their results.
#include "mixed_training.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "mixed_training_oracle.h"
#include "pools.h"
#include "twins.h"

using namespace abawkit;

namespace {

int failures = 0, cases = 0;

void fail(const std::string& name, const std::string& what, double found = 0, double allowed = 0) {
  ++failures;
  std::printf("%s: %s: %g, allowed %g\n", name.c_str(), what.c_str(), found, allowed);
}

// Names of what a call computes, in the order of `run` and `Oracle`.
const char* const names[] = {"out",
                             "mean of z",
                             "variance of z",
                             "mean of s",
                             "variance of s",
                             "mean of q",
                             "variance of q",
                             "x",
                             "expand_weight",
                             "expand_scale",
                             "expand_shift",
                             "slope",
                             "squeeze_weight",
                             "squeeze_bias",
                             "squeeze_scale",
                             "squeeze_shift",
                             "row_gate_weight",
                             "row_gate_bias",
                             "column_gate_weight",
                             "column_gate_bias",
                             "project_weight",
                             "project_scale",
                             "project_shift",
                             "depthwise"};

// Both passes of the kernels: each tensor exactly as large as it has to be, so that a sanitizer sees what goes beyond.
std::vector<Floats> run(const Shape& s, const Tensors& t, const Floats& grad_out, const Pool& pool, bool grad_x,
                        bool bfloat16, const Processes& processes = {}) {
  const Splits splits{s.kernels.data(), s.channels.data(), static_cast<Int>(s.kernels.size())};
  MixedForward call{};
  static_cast<MixedShape&>(call) = {s.images,   s.inputs, s.height,   s.width, s.outputs,
                                    s.squeezed, s.stride, s.residual, splits};
  const Int blocks = count_blocks(splits.expanded()), area = call.out_height() * call.out_width();
  const Int e = 16 * blocks, m = 16 * count_blocks(s.squeezed), o = 16 * count_blocks(s.outputs);
  const Int positions = call.out_height() + call.out_width();
  std::vector<const float*> kernels;
  Int at = 0;
  for (std::size_t i = 0; i < s.kernels.size(); ++i) {
    kernels.push_back(t[depthwise].data() + at);
    at += s.channels[i] * s.kernels[i] * s.kernels[i];
  }
  const auto point = [](auto& all, auto* parts) {
    return MixedParameters<std::remove_pointer_t<decltype(all[1].data())>>{
        all[1].data(),  all[2].data(),  all[3].data(),  all[4].data(),  all[5].data(),  all[6].data(),
        all[7].data(),  all[8].data(),  all[9].data(),  all[10].data(), all[11].data(), all[12].data(),
        all[13].data(), all[14].data(), all[15].data(), parts};
  };
  call.parameters = point(t, kernels.data());
  call.eps = 1e-5;
  call.bfloat16 = bfloat16;
  call.processes = processes;
  const Floats x = t[0];
  std::vector<Floats> found(1, Floats(s.images * area * s.outputs, NAN));
  Floats expanded(s.images * e * s.height * s.width, NAN), values(s.images * e * area, NAN);
  Floats means(s.images * e * positions, NAN), squeezed(s.images * m * positions, NAN);
  Floats projected(s.images * o * area, NAN), statistics(2 * (e + m + o), NAN);
  call.x = x.data();
  call.out = found[0].data();
  call.saved = {expanded.data(), values.data(), means.data(), squeezed.data(), projected.data(), statistics.data()};
  const auto memory = [](std::size_t bytes) {
    std::unique_ptr<char[]> workspace(new char[bytes]);
    std::memset(workspace.get(), 0xff, bytes);  // NaN
    return workspace;
  };
  const auto first = memory(cpu::mixed_forward_workspace(call, pool.threads));
  call.workspace = first.get();
  cpu::mixed_forward(call, pool);
  const float* statistic = statistics.data();
  for (const auto& [real, padded] : {std::pair{splits.expanded(), e}, {s.squeezed, m}, {s.outputs, o}})
    for (int i = 0; i < 2; ++i, statistic += padded) found.emplace_back(statistic, statistic + real);
  const std::size_t begin = found.size();
  for (const Floats& each : t) found.emplace_back(each.size(), NAN);
  std::vector<float*> parts;
  at = 0;
  for (std::size_t i = 0; i < s.kernels.size(); ++i) {
    parts.push_back(found[begin + depthwise].data() + at);
    at += s.channels[i] * s.kernels[i] * s.kernels[i];
  }
  MixedBackward back{};
  static_cast<MixedShape&>(back) = call;
  back.parameters = call.parameters;
  back.eps = call.eps;
  back.bfloat16 = bfloat16;
  back.processes = processes;
  back.x = call.x;
  back.grad_out = grad_out.data();
  back.saved = {expanded.data(), values.data(), means.data(), squeezed.data(), projected.data(), statistics.data()};
  back.grad_x = grad_x ? found[begin].data() : nullptr;
  const std::vector<Floats>::iterator gradients = found.begin() + static_cast<std::ptrdiff_t>(begin);
  back.gradients = point(gradients, parts.data());
  const auto second = memory(cpu::mixed_backward_workspace(back, pool.threads));
  back.workspace = second.get();
  cpu::mixed_backward(back, pool);
  return found;
}

void test(const Shape& s, bool bfloat16) {
  const std::string name = describe(s) + (bfloat16 ? ", bfloat16" : "");
  ++cases;
  const Tensors tensors = make_tensors(s, static_cast<unsigned>(cases));
  const Floats gradient = make_gradient(s, static_cast<unsigned>(cases));
  const auto right = Oracle<double>(s, tensors, bfloat16).results(gradient);
  const auto naive = Oracle<float>(s, tensors, bfloat16).results(gradient);
  std::vector<Floats> first;
  for (const auto& [pool, threads] : {std::pair<Run, int>{all_at_once, 1}, {backwards, 3}, {own_threads, 2}}) {
    auto found = run(s, tensors, gradient, {pool, threads}, true, bfloat16);
    if (threads == 1) {
      first = std::move(found);
      continue;
    }
    for (std::size_t i = 0; i < found.size(); ++i)
      if (std::memcmp(found[i].data(), first[i].data(), found[i].size() * sizeof(float)) != 0)
        fail(name, std::string(names[i]) + " differs with the threads", threads);
  }
  const auto without = run(s, tensors, gradient, {all_at_once, 1}, false, bfloat16);
  const auto twin = run(s, tensors, gradient, {all_at_once, 1}, true, bfloat16, twins);
  if (!throws([&] { run(s, tensors, gradient, {all_at_once, 1}, true, bfloat16, lost); }))
    fail(name, "goes on without the other process");
  for (std::size_t i = 0; i < right.size(); ++i) {
    double largest = 0, error = 0, usual = 0;
    for (std::size_t k = 0; k < right[i].size(); ++k) {
      if (!std::isfinite(first[i][k])) return fail(name, std::string(names[i]) + " is not written");
      largest = std::max(largest, std::fabs(right[i][k]));
      error = std::max({error, std::fabs(first[i][k] - right[i][k]), std::fabs(twin[i][k] - right[i][k])});
      usual = std::max(usual, std::fabs(naive[i][k] - right[i][k]));
    }
    if (i != 7 && without[i] != first[i]) fail(name, std::string(names[i]) + " differs without the input's gradient");
    if (i == 13) continue;  // the squeeze's bias, before a norm: its gradient is zero, and all of it rounding
    // Where a norm cancels what a weight changes, its gradient is small, and the rounding of its terms, about 1, is
    // not.
    // A value that lies between two numbers of bfloat16 may be rounded to the other one.
    const double allowed = 3 * usual + (bfloat16 ? 1e-2 : 4e-6) * largest + 1e-6;
    if (error > allowed) fail(name, names[i], error, allowed);
    if (std::getenv("ABAWKIT_VERBOSE"))
      std::printf("%s: %s: error %.2g, naive %.2g, of %.2g\n", name.c_str(), names[i], error, usual, largest);
  }
}

// The oracle's own gradients against central differences, one entry of each tensor.
void test_oracle(const Shape& s) {
  ++cases;
  Tensors tensors = make_tensors(s, 1);
  const Floats gradient = make_gradient(s, 1);
  const auto right = Oracle<double>(s, tensors, false).results(gradient);
  for (std::size_t i = 0; i < tensors.size(); ++i)
    for (const std::size_t k : {std::size_t(0), tensors[i].size() / 2, tensors[i].size() - 1}) {
      const double step = 1.0 / 4096;
      double sides[2];
      const float before = tensors[i][k];
      for (int side = 0; side < 2; ++side) {
        tensors[i][k] = before + static_cast<float>(side == 0 ? step : -step);
        const auto out = Oracle<double>(s, tensors, false).results(gradient)[0];
        double loss = 0;
        for (std::size_t j = 0; j < out.size(); ++j) loss += out[j] * gradient[j];
        sides[side] = loss;
      }
      tensors[i][k] = before;
      const double found = right[7 + i][k], expected = (sides[0] - sides[1]) / (2 * step);
      if (std::fabs(found - expected) > 1e-2 * std::max(1.0, std::fabs(expected)))
        fail("oracle", names[7 + i], found, expected);
    }
}

void test_all(bool bfloat16) {
  // Blocks of the published network, but small.
  test({2, 64, 14, 14, {3, 5}, {96, 32}, 64, 8, 1, true}, bfloat16);
  test({3, 32, 14, 14, {3, 5, 7, 9}, {16, 16, 16, 16}, 48, 8, 2, false}, bfloat16);
  test({9, 48, 7, 7, {3, 5, 7}, {44, 42, 42}, 48, 16, 1, true}, bfloat16);
  // Awkward sizes.
  for (const Int stride : {1, 2})
    for (const auto& [height, width] : {std::pair<Int, Int>{1, 1}, {1, 5}, {6, 1}, {9, 13}}) {
      const Int images = height * width == 1 ? 6 : 3;
      test({images, 2, height, width, {1}, {2}, 3, 1, stride, false}, bfloat16);
      test({images, 3, height, width, {3, 9}, {1, 3}, 3, 8, stride, stride == 1}, bfloat16);
      test({images, 17, height, width, {9, 1, 5}, {17, 3, 14}, 17, 17, stride, stride == 1}, bfloat16);
    }
  test({2, 5, 12, 11, {31, 3, 7}, {4, 20, 16}, 37, 33, 1, false}, bfloat16);
  test({2, 5, 9, 10, {31, 11}, {20, 20}, 16, 8, 2, false}, bfloat16);
}

}  // namespace

int main() {
  const char* wanted = std::getenv("ABAWKIT_CPU");
  if (wanted != nullptr && std::string(wanted) != cpu::instruction_set()) {
    std::printf("this processor has no %s\n", wanted);
    return 77;  // skipped
  }
  test_oracle({3, 2, 4, 5, {3, 1}, {2, 2}, 2, 2, 1, true});
  test_oracle({3, 2, 5, 4, {3, 5}, {1, 3}, 3, 2, 2, false});
  for (const bool bfloat16 : {false, true}) test_all(bfloat16);
  std::printf("%s: %d cases, %d failures\n", cpu::instruction_set(), cases, failures);
  return failures != 0;
}
