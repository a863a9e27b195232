// Batch norm with PReLU, of the instruction set that ABAWKIT_CPU names, against the same formulas in double precision.
#include "norm_prelu.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
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

struct Given {
  Int pixels, channels;
  Floats x, gradient, scale, shift, slope;  // (P, C), (P, C), (C) each
  Given(Int p, Int c, double mean) : pixels(p), channels(c) {
    std::mt19937 random(static_cast<unsigned>(1000 * p + c));
    x = make_numbers(random, p * c, 1, mean);
    gradient = make_numbers(random, p * c, 1);
    scale = make_numbers(random, c, 0.3, 1);
    shift = make_numbers(random, c, 0.5);
    slope = make_numbers(random, c, 0.3, 0.25);
  }
};

const char* const names[] = {"out", "mean", "variance", "x", "scale", "shift", "slope"};

// Result, statistics and gradients; the memory of each exactly as large as it has to be, and not aligned.
std::vector<Floats> run(const Given& g, const Pool& pool, const Processes& processes = {}) {
  const Int size = g.pixels * g.channels, padded = 16 * count_blocks(g.channels);
  Floats x(size + 1), gradient(size + 1), out(size + 1, NAN), statistics(2 * padded, NAN), own(size + 1, NAN);
  std::copy(g.x.begin(), g.x.end(), x.begin() + 1);
  std::copy(g.gradient.begin(), g.gradient.end(), gradient.begin() + 1);
  std::vector<Floats> weights(3, Floats(g.channels, NAN));
  const NormPrelu both{g.pixels,       g.channels,   1e-5, g.scale.data(), g.shift.data(),
                       g.slope.data(), x.data() + 1, {},   processes};
  NormPreluForward forward{both, out.data() + 1, statistics.data()};
  NormPreluBackward backward{both,
                             statistics.data(),
                             gradient.data() + 1,
                             own.data() + 1,
                             weights[0].data(),
                             weights[1].data(),
                             weights[2].data()};
  const std::size_t bytes = cpu::norm_prelu_workspace(both);
  const std::unique_ptr<char[]> workspace(new char[bytes]);
  std::memset(workspace.get(), 0xff, bytes);  // NaN
  forward.workspace = backward.workspace = workspace.get();
  cpu::norm_prelu_forward(forward, pool);
  std::memset(workspace.get(), 0xff, bytes);
  cpu::norm_prelu_backward(backward, pool);
  const float* mean = statistics.data();
  return {{out.begin() + 1, out.end()},
          {mean, mean + g.channels},
          {mean + padded, mean + padded + g.channels},
          {own.begin() + 1, own.end()},
          weights[0],
          weights[1],
          weights[2]};
}

template <class A>
std::vector<std::vector<A>> compute(const Given& g) {
  const Int p = g.pixels, c = g.channels;
  std::vector<A> values(p * c), gradient(p * c), scales(c), shifts(c), slopes(c);
  const auto turn = [&](const auto& from, auto& to, bool back) {
    for (Int i = 0; i < p * c; ++i) back ? to[i] = from[i % c * p + i / c] : to[i % c * p + i / c] = from[i];
  };
  turn(g.x, values, false);
  turn(g.gradient, gradient, false);
  const Norm<A> norm(1, c, p, values);
  const std::vector<A> pre = norm.apply(g.scale, g.shift);
  std::vector<A> out = pre;
  norm.each([&](Int at, Int k) {
    if (pre[at] > 0) return;
    out[at] *= A(g.slope[k]);
    slopes[k] += gradient[at] * pre[at];
    gradient[at] *= A(g.slope[k]);
  });
  const std::vector<A> own = norm.differentiate(gradient, g.scale, scales, shifts);
  std::vector<std::vector<A>> found{out, norm.mean, norm.variance, own, scales, shifts, slopes};
  turn(out, found[0], true);
  turn(own, found[3], true);
  return found;
}

void test(Int pixels, Int channels, double mean = 0.5) {
  const std::string name = std::to_string(pixels) + " pixels of " + std::to_string(channels) + " channels";
  ++cases;
  const Given given(pixels, channels, mean);
  const auto right = compute<double>(given);
  const auto naive = compute<float>(given);
  const auto first = run(given, {all_at_once, 1});
  for (const auto& [pool, threads] : {std::pair<Run, int>{backwards, 3}, {own_threads, 2}}) {
    const auto found = run(given, {pool, threads});
    for (std::size_t i = 0; i < found.size(); ++i)
      if (std::memcmp(found[i].data(), first[i].data(), found[i].size() * sizeof(float)) != 0)
        fail(name, std::string(names[i]) + " differs with the threads", threads);
  }
  const auto twin = run(given, {all_at_once, 1}, twins);
  if (!throws([&] { run(given, {all_at_once, 1}, lost); })) fail(name, "goes on without the other process");
  for (std::size_t i = 0; i < right.size(); ++i) {
    double largest = 0, error = 0, usual = 0;
    for (std::size_t k = 0; k < right[i].size(); ++k) {
      if (!std::isfinite(first[i][k])) return fail(name, std::string(names[i]) + " is not written");
      largest = std::max(largest, std::fabs(right[i][k]));
      error = std::max({error, std::fabs(first[i][k] - right[i][k]), std::fabs(twin[i][k] - right[i][k])});
      usual = std::max(usual, std::fabs(naive[i][k] - right[i][k]));
    }
    // Of two pixels, a norm makes -1 and 1: their gradient is what eps and rounding leave.
    const double allowed = 2 * usual + 1e-6 * largest + (pixels < 4 ? 1e-4 : 1e-7);
    if (error > allowed) fail(name, names[i], error, allowed);
    if (std::getenv("ABAWKIT_VERBOSE"))
      std::printf("%s: %s: error %.2g, naive %.2g, of %.2g\n", name.c_str(), names[i], error, usual, largest);
  }
}

// A channel that is constant has variance zero whatever its mean, and a number that is not finite stays one.
void test_special_values() {
  for (const Int channels : {1, 8, 16, 19}) {
    ++cases;
    Given given(100, channels, 0);
    for (Int p = 0; p < 100; ++p) given.x[p * channels] = 1000.1f;
    auto found = run(given, {all_at_once, 1});
    if (found[1][0] != 1000.1f || found[2][0] > 1e-9) fail("constant", "variance", found[2][0]);
    for (const float value : {NAN, INFINITY}) {
      given.x[50 * channels] = value;
      found = run(given, {all_at_once, 1});
      if (std::isfinite(found[0][50 * channels]) || std::isfinite(found[4][0])) fail("not finite", "is lost", value);
      for (std::size_t i = 1; i < found.size(); ++i)
        if (channels > 1 && i != 3 && !std::isfinite(found[i][1])) fail("not finite", names[i], value);
    }
  }
}

}  // namespace

int main() {
  const char* wanted = std::getenv("ABAWKIT_CPU");
  if (wanted != nullptr && std::string(wanted) != cpu::instruction_set()) {
    std::printf("this processor has no %s\n", wanted);
    return 77;  // skipped
  }
  for (const Int channels : {1, 2, 3, 4, 7, 8, 15, 16, 17, 24, 31, 32, 33, 64, 129})
    for (const Int pixels : {2, 3, 4, 31, 33, 64, 1000}) test(pixels, channels);
  test(20000, 8);
  test(20001, 8);
  test(5000, 64);
  test(500, 512);
  test(3000, 40, 100);  // a mean far from zero
  test_special_values();
  std::printf("%s: %d cases, %d failures\n", cpu::instruction_set(), cases, failures);
  return failures != 0;
}
