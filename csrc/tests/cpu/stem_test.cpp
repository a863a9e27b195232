// The stem of the instruction set that ABAWKIT_CPU names, against the same sums in double precision.
#include "stem.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "pools.h"

using namespace abawkit;

namespace {

using Int = std::int64_t;
using Floats = std::vector<float>;

int failures = 0, cases = 0;

void fail(const std::string& name, const char* what, double found = 0, double allowed = 0) {
  ++failures;
  std::printf("%s: %s: %g, allowed %g\n", name.c_str(), what, found, allowed);
}

struct Shape {
  Int images, inputs, height, width, channels, kernel, stride, depthwise;
};

// (N, H, W, I), and norms folded: (C, k, k, I), (C), (C), (C, K, K), (C), (C).
struct Given {
  Floats x, weight, bias, slope, depthwise, depthwise_bias, depthwise_slope;
  Given(const Shape& s, unsigned seed) {
    std::mt19937 random(seed);
    std::normal_distribution<float> normal;
    const auto make = [&](Int count, double deviation, double mean = 0) {
      Floats values(count);
      for (float& value : values) value = static_cast<float>(mean + deviation * normal(random));
      return values;
    };
    const Int c = s.channels, taps = s.kernel * s.kernel * s.inputs;
    x = make(s.images * s.height * s.width * s.inputs, 1);
    weight = make(c * taps, 1 / std::sqrt(double(taps)));
    bias = make(c, 0.3);
    slope = make(c, 0.3, 0.25);
    depthwise = make(c * s.depthwise * s.depthwise, 1.0 / s.depthwise);
    depthwise_bias = make(c, 0.3);
    depthwise_slope = make(c, 0.3, 0.25);
  }
};

// A convolution and its PReLU in numbers of type A, (N, H, W, C), sums in the plainest order; `inputs` is 1 for a
// depthwise one, whose channel c is of input c.
template <class A>
std::vector<A> convolve(const std::vector<A>& x, Int images, Int height, Int width, Int own, const Floats& weight,
                        Int inputs, Int kernel, Int stride, const Floats& bias, const Floats& slope) {
  const Int channels = Int(bias.size()), rows = (height + stride - 1) / stride, columns = (width + stride - 1) / stride;
  std::vector<A> out;
  for (Int n = 0; n < images; ++n)
    for (Int oy = 0; oy < rows; ++oy)
      for (Int ox = 0; ox < columns; ++ox)
        for (Int c = 0; c < channels; ++c) {
          A value = A(bias[c]);
          for (Int dy = 0; dy < kernel; ++dy)
            for (Int dx = 0; dx < kernel; ++dx) {
              const Int y = oy * stride + dy - kernel / 2, xx = ox * stride + dx - kernel / 2;
              if (y < 0 || xx < 0 || y >= height || xx >= width) continue;
              for (Int i = 0; i < inputs; ++i)
                value += A(weight[((c * kernel + dy) * kernel + dx) * inputs + i]) *
                         x[((n * height + y) * width + xx) * own + (own == inputs ? i : c)];
            }
          out.push_back(value < 0 ? value * A(slope[c]) : value);
        }
  return out;
}

template <class A>
std::vector<A> evaluate(const Shape& s, const Given& g) {
  const std::vector<A> x(g.x.begin(), g.x.end());
  const auto z =
      convolve<A>(x, s.images, s.height, s.width, s.inputs, g.weight, s.inputs, s.kernel, s.stride, g.bias, g.slope);
  const Int rows = (s.height + s.stride - 1) / s.stride, columns = (s.width + s.stride - 1) / s.stride;
  return convolve<A>(z, s.images, rows, columns, s.channels, g.depthwise, 1, s.depthwise, 1, g.depthwise_bias,
                     g.depthwise_slope);
}

// The packed weights as stem.h describes them.
Floats pack(const Shape& s, const Given& g) {
  Floats packed;
  const auto put = [&](Int block, const Floats& values) {
    const Int rows = Int(values.size()) / s.channels;
    for (Int r = 0; r < rows; ++r)
      for (Int c = block * 16; c < block * 16 + 16; ++c) packed.push_back(c < s.channels ? values[c * rows + r] : 0.0f);
  };
  for (Int b = 0; b < count_blocks(s.channels); ++b)
    for (const Floats* each : {&g.weight, &g.bias, &g.slope, &g.depthwise, &g.depthwise_bias, &g.depthwise_slope})
      put(b, *each);
  return packed;
}

void test(const Shape& s) {
  std::string name;
  for (const Int size : {s.images, s.inputs, s.height, s.width, s.channels, s.kernel, s.stride, s.depthwise})
    name += std::to_string(size) + " ";
  ++cases;
  const Given given(s, static_cast<unsigned>(cases));
  const Floats packed = pack(s, given);
  const auto right = evaluate<double>(s, given);
  const auto naive = evaluate<float>(s, given);
  Stem call{s.images, s.inputs,    s.height, s.width,       s.channels, s.kernel,
            s.stride, s.depthwise, nullptr,  packed.data(), nullptr,    nullptr};
  if (count_blocks(s.channels) * call.block_size() != Int(packed.size())) return fail(name, "size of the weights");
  // Each exactly as large as it has to be, and not aligned, so that the sanitizer sees whatever goes beyond.
  Floats first;
  for (const auto& [run, threads] :
       {std::pair<Run, int>{all_at_once, 1}, {backwards, 3}, {own_threads, 2}, {own_threads, 5}}) {
    const std::size_t bytes = cpu::stem_workspace(call, threads);
    const std::unique_ptr<char[]> workspace(new char[bytes]);
    std::memset(workspace.get(), 0xff, bytes);  // NaN
    Floats x(given.x.size() + 1), out(right.size() + 1, NAN);
    std::copy(given.x.begin(), given.x.end(), x.begin() + 1);
    call.x = x.data() + 1;
    call.out = out.data() + 1;
    call.workspace = workspace.get();
    cpu::stem(call, {run, threads});
    out.erase(out.begin());
    if (threads == 1)
      first = out;
    else if (!out.empty() && std::memcmp(out.data(), first.data(), out.size() * sizeof(float)) != 0)
      fail(name, "differs with the threads", threads);
  }
  double largest = 0, error = 0, usual = 0;
  for (std::size_t i = 0; i < right.size(); ++i) {
    if (!std::isfinite(first[i])) return fail(name, "not written");
    largest = std::max(largest, std::fabs(right[i]));
    error = std::max(error, std::fabs(first[i] - right[i]));
    usual = std::max(usual, std::fabs(naive[i] - right[i]));
  }
  // Of few outputs, the plain sums may be exact by luck: eight roundings are always allowed.
  const double allowed = 2 * usual + 5e-7 * largest;
  if (error > allowed) fail(name, "error", error, allowed);
  if (std::getenv("ABAWKIT_VERBOSE")) std::printf("%s: error %.2g, naive %.2g\n", name.c_str(), error, usual);
}

}  // namespace

int main() {
  const char* wanted = std::getenv("ABAWKIT_CPU");
  if (wanted != nullptr && std::string(wanted) != cpu::instruction_set()) {
    std::printf("this processor has no %s\n", wanted);
    return 77;  // skipped
  }
  // Stems of the networks, a few images.
  test({1, 3, 112, 112, 64, 3, 2, 3});
  test({3, 3, 112, 112, 8, 3, 2, 3});
  // Awkward sizes: of no multiple of a block or a tile, less than a kernel, and other kernels.
  for (const Int stride : {1, 2})
    for (const Int images : {0, 1, 3})
      for (const auto& [height, width] : {std::pair<Int, Int>{1, 1}, {1, 5}, {6, 1}, {3, 4}, {9, 13}, {28, 33}}) {
        test({images, 1, height, width, 1, 1, stride, 1});
        test({images, 3, height, width, 17, 3, stride, 3});
        test({images, 2, height, width, 40, 5, stride, 7});
        test({images, 5, height, width, 31, 7, stride, 1});
      }
  test({2, 64, 12, 11, 48, 3, 1, 9});
  std::printf("%s: %d cases, %d failures\n", cpu::instruction_set(), cases, failures);
  return failures != 0;
}
