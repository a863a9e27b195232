// The mixed block of the instruction set that ABAWKIT_CPU names, against the same sums in double precision.
#include "mixed_block.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "bfloat16.h"
#include "pools.h"

using namespace abawkit;

namespace {

using Int = std::int64_t;
using Floats = std::vector<float>;

struct Shape {
  Int images, inputs, height, width;
  std::vector<Int> kernels, channels;
  Int outputs, squeezed, stride;
  bool residual;
};

// A block's tensors, batch norms folded: (E, I), (E), (E), (M, E), (M), (E, M), (E), (E, M), (E), (O, E), (O), and
// (c, k, k) of each part one after another.
struct Block {
  Floats x, expand, expand_bias, slope, squeeze, squeeze_bias, row, row_bias, column, column_bias, project,
      project_bias, depthwise;
};

Int sum(const std::vector<Int>& values) {
  Int total = 0;
  for (const Int value : values) total += value;
  return total;
}

Block make_block(const Shape& s, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  const auto make = [&](Int count, double deviation, double mean = 0) {
    Floats values(count);
    for (float& value : values) value = static_cast<float>(mean + deviation * normal(random));
    return values;
  };
  const Int e = sum(s.channels), m = s.squeezed;
  Int taps = 0;
  for (std::size_t i = 0; i < s.kernels.size(); ++i) taps += s.channels[i] * s.kernels[i] * s.kernels[i];
  return {make(s.images * s.height * s.width * s.inputs, 1),
          make(e * s.inputs, 1 / std::sqrt(double(s.inputs))),
          make(e, 0.3),
          make(e, 0.3, 0.25),
          make(m * e, 2 / std::sqrt(double(e))),
          make(m, 1),
          make(e * m, 1 / std::sqrt(double(m))),
          make(e, 0.5),
          make(e * m, 1 / std::sqrt(double(m))),
          make(e, 0.5),
          make(s.outputs * e, 2 / std::sqrt(double(e))),
          make(s.outputs, 0.3),
          make(taps, 0.3)};
}

// The block in numbers of type A, sums in the plainest order.
template <class A>
std::vector<A> evaluate(const Shape& s, const Block& b, bool bfloat16) {
  const auto factor = [=](auto value) { return bfloat16 ? round_to_bfloat16(A(value)) : A(value); };
  const Int e = sum(s.channels), m = s.squeezed, area = s.height * s.width;
  const Int height = (s.height + s.stride - 1) / s.stride, width = (s.width + s.stride - 1) / s.stride;
  std::vector<A> out(s.images * height * width * s.outputs);
  for (Int n = 0; n < s.images; ++n) {
    const float* x = b.x.data() + n * area * s.inputs;
    std::vector<A> z(e * area), t(e * height * width), means(e * (height + width)), hidden(m * (height + width)),
        gates(e * (height + width));
    for (Int c = 0; c < e; ++c)
      for (Int p = 0; p < area; ++p) {
        A value = 0;
        for (Int i = 0; i < s.inputs; ++i) value += factor(b.expand[c * s.inputs + i]) * factor(x[p * s.inputs + i]);
        value += A(b.expand_bias[c]);
        z[c * area + p] = value < 0 ? value * A(b.slope[c]) : value;
      }
    const float* weight = b.depthwise.data();
    for (Int part = 0, c = 0; part < Int(s.kernels.size()); ++part)
      for (Int last = c + s.channels[part], k = s.kernels[part]; c < last; ++c, weight += k * k)
        for (Int oy = 0; oy < height; ++oy)
          for (Int ox = 0; ox < width; ++ox) {
            A value = 0;
            for (Int dy = 0; dy < k; ++dy)
              for (Int dx = 0; dx < k; ++dx) {
                const Int y = oy * s.stride + dy - k / 2, xx = ox * s.stride + dx - k / 2;
                if (y >= 0 && y < s.height && xx >= 0 && xx < s.width)
                  value += A(weight[dy * k + dx]) * z[c * area + y * s.width + xx];
              }
            t[(c * height + oy) * width + ox] = value;
            means[c * (height + width) + oy] += value;
            means[c * (height + width) + height + ox] += value;
          }
    for (Int p = 0; p < height + width; ++p) {
      for (Int i = 0; i < m; ++i) {
        A value = 0;
        for (Int c = 0; c < e; ++c)
          value += A(b.squeeze[i * e + c]) * (means[c * (height + width) + p] / A(p < height ? width : height));
        value += A(b.squeeze_bias[i]);
        hidden[i * (height + width) + p] = value <= -3 ? A(0) : value >= 3 ? value : value * (value + 3) / 6;
      }
      for (Int c = 0; c < e; ++c) {
        A value = 0;
        for (Int i = 0; i < m; ++i)
          value += A((p < height ? b.row : b.column)[c * m + i]) * hidden[i * (height + width) + p];
        value += A((p < height ? b.row_bias : b.column_bias)[c]);
        gates[c * (height + width) + p] = 1 / (1 + std::exp(-value));
      }
    }
    for (Int oy = 0; oy < height; ++oy)
      for (Int ox = 0; ox < width; ++ox)
        for (Int o = 0; o < s.outputs; ++o) {
          A value = 0;
          for (Int c = 0; c < e; ++c) {
            const A* gate = gates.data() + c * (height + width);
            value +=
                factor(b.project[o * e + c]) * factor(t[(c * height + oy) * width + ox] * gate[oy] * gate[height + ox]);
          }
          value += A(b.project_bias[o]);
          if (s.residual) value += A(x[(oy * s.width + ox) * s.inputs + o]);
          out[((n * height + oy) * width + ox) * s.outputs + o] = value;
        }
  }
  return out;
}

// The packed weights as mixed_block.h describes them.
Floats pack(const Shape& s, const Splits& splits, const Block& b, bool bfloat16) {
  const Int e = splits.expanded(), eb = count_blocks(e), mb = count_blocks(s.squeezed), ob = count_blocks(s.outputs);
  Floats packed;
  // Rows `count` of 16: the entry of channel c and row r is `at(c, r)`, zero where there is none.
  const auto put = [&](Int block, Int channels, Int count, const auto& at) {
    for (Int r = 0; r < count; ++r)
      for (Int c = block * 16; c < block * 16 + 16; ++c) packed.push_back(c < channels ? at(c, r) : 0.0f);
  };
  // The rows of a product's weights: in bfloat16 pairs of them, in the halves of one number.
  const auto put_product = [&](Int block, Int channels, Int count, const auto& at) {
    if (!bfloat16) return put(block, channels, count, at);
    put(block, channels, (count + 1) / 2, [&](Int c, Int r) {
      std::uint32_t bits[2] = {};
      for (int half = 0; half < 2; ++half) {
        const float rounded = 2 * r + half < count ? round_to_bfloat16(at(c, 2 * r + half)) : 0.0f;
        std::memcpy(bits + half, &rounded, sizeof rounded);
      }
      const std::uint32_t both = bits[0] >> 16 | bits[1];
      float pair;
      std::memcpy(&pair, &both, sizeof pair);
      return pair;
    });
  };
  const auto matrix = [](const Floats& values, Int columns) {
    return [&values, columns](Int c, Int r) { return r < columns ? values[c * columns + r] : 0.0f; };
  };
  for (Int i = 0; i < eb; ++i) {
    put_product(i, e, s.inputs, matrix(b.expand, s.inputs));
    put(i, e, 1, matrix(b.expand_bias, 1));
    put(i, e, 1, matrix(b.slope, 1));
    const Int kernel = splits.kernel_of_block(i);
    put(i, e, kernel * kernel, [&](Int c, Int r) {
      Int part = 0, first = 0, before = 0;
      for (; c >= first + s.channels[part]; first += s.channels[part++])
        before += s.channels[part] * s.kernels[part] * s.kernels[part];
      const Int own = s.kernels[part], edge = (kernel - own) / 2, y = r / kernel - edge, x = r % kernel - edge;
      if (y < 0 || x < 0 || y >= own || x >= own) return 0.0f;
      return b.depthwise[before + (c - first) * own * own + y * own + x];
    });
  }
  for (Int i = 0; i < mb; ++i) {
    put(i, s.squeezed, 16 * eb, matrix(b.squeeze, e));
    put(i, s.squeezed, 1, matrix(b.squeeze_bias, 1));
  }
  for (Int i = 0; i < eb; ++i) {
    put(i, e, 16 * mb, matrix(b.row, s.squeezed));
    put(i, e, 1, matrix(b.row_bias, 1));
    put(i, e, 16 * mb, matrix(b.column, s.squeezed));
    put(i, e, 1, matrix(b.column_bias, 1));
  }
  for (Int i = 0; i < ob; ++i) {
    put_product(i, s.outputs, 16 * eb, matrix(b.project, e));
    put(i, s.outputs, 1, matrix(b.project_bias, 1));
  }
  return packed;
}

int failures = 0, cases = 0;

void fail(const std::string& name, const char* what, double found = 0, double allowed = 0) {
  ++failures;
  std::printf("%s: %s: %g, allowed %g\n", name.c_str(), what, found, allowed);
}

void test(const Shape& s, bool bfloat16) {
  std::string name = std::to_string(s.images) + "x" + std::to_string(s.inputs) + "x" + std::to_string(s.height) + "x" +
                     std::to_string(s.width) + " to " + std::to_string(s.outputs) + " stride " +
                     std::to_string(s.stride) + (s.residual ? " residual" : "") + (bfloat16 ? " bfloat16" : "") +
                     " kernels";
  for (std::size_t i = 0; i < s.kernels.size(); ++i)
    name += " " + std::to_string(s.kernels[i]) + ":" + std::to_string(s.channels[i]);
  ++cases;
  const Block block = make_block(s, static_cast<unsigned>(cases));
  const Splits splits{s.kernels.data(), s.channels.data(), static_cast<Int>(s.kernels.size())};
  const Floats packed = pack(s, splits, block, bfloat16);
  const auto right = evaluate<double>(s, block, bfloat16);
  const auto naive = evaluate<float>(s, block, bfloat16);
  MixedBlock call{s.images,   s.inputs, s.height, s.width,       s.outputs, s.squeezed, s.stride,
                  s.residual, splits,   nullptr,  packed.data(), nullptr,   nullptr,    bfloat16};
  if (packed_size(call) != static_cast<Int>(packed.size())) return fail(name, "size of the packed weights");
  // Each exactly as large as it has to be, and not aligned, so that the sanitizer sees whatever goes beyond.
  Floats first;
  for (const auto& [run, threads] :
       {std::pair<Run, int>{all_at_once, 1}, {backwards, 3}, {own_threads, 2}, {own_threads, 3}}) {
    const std::size_t bytes = cpu::mixed_block_workspace(call, threads);
    const std::unique_ptr<char[]> workspace(new char[bytes]);
    std::memset(workspace.get(), 0xff, bytes);  // NaN
    Floats x(block.x.size() + 1), out(right.size() + 1, NAN);
    std::copy(block.x.begin(), block.x.end(), x.begin() + 1);
    call.x = x.data() + 1;
    call.out = out.data() + 1;
    call.workspace = workspace.get();
    cpu::mixed_block(call, {run, threads});
    out.erase(out.begin());
    if (threads == 1)
      first = out;
    else if (!out.empty() && std::memcmp(out.data(), first.data(), out.size() * sizeof(float)) != 0)
      fail(name, "differs with the threads", threads);
  }
  double largest = 0, error = 0, usual = 0, squares = 0;
  for (std::size_t i = 0; i < right.size(); ++i) {
    if (!std::isfinite(first[i])) return fail(name, "not written");
    largest = std::max(largest, std::fabs(right[i]));
    error = std::max(error, std::fabs(first[i] - right[i]));
    usual = std::max(usual, std::fabs(naive[i] - right[i]));
    squares += (first[i] - right[i]) * (first[i] - right[i]);
  }
  // Of few outputs, the plain sums may be exact by luck: eight roundings are always allowed. A value that lies between
  // two numbers of bfloat16 may be rounded to the other one; that is rare.
  const double allowed = 2 * usual + (bfloat16 ? 8e-3 : 5e-7) * largest;
  if (error > allowed) fail(name, "error", error, allowed);
  const double mean = right.empty() ? 0 : std::sqrt(squares / static_cast<double>(right.size()));
  if (bfloat16 && mean > allowed / 20 && right.size() > 100) fail(name, "mean error", mean, allowed / 20);
  if (std::getenv("ABAWKIT_VERBOSE")) std::printf("%s: error %.2g, naive %.2g\n", name.c_str(), error, usual);
}

void test_all(bool bfloat16) {
  // Blocks of the published network, a few images.
  test({2, 64, 28, 28, {3, 5}, {96, 32}, 64, 8, 1, true}, bfloat16);
  test({1, 64, 56, 56, {3, 5, 7}, {64, 32, 32}, 64, 8, 2, false}, bfloat16);
  test({3, 128, 14, 14, {3, 5}, {192, 64}, 128, 8, 1, true}, bfloat16);
  test({1, 128, 14, 14, {3, 5, 7, 9}, {256, 256, 256, 256}, 256, 32, 2, false}, bfloat16);
  test({3, 256, 7, 7, {3, 5, 7}, {172, 170, 170}, 256, 16, 1, true}, bfloat16);
  // Awkward sizes.
  for (const Int stride : {1, 2})
    for (const bool residual : {false, true}) {
      if (residual && stride == 2) continue;
      for (const Int images : {0, 1, 3})
        for (const auto& [height, width] : {std::pair<Int, Int>{1, 1}, {1, 5}, {6, 1}, {3, 4}, {9, 13}, {8, 17}}) {
          test({images, 1, height, width, {1}, {1}, 1, 1, stride, residual}, bfloat16);
          test({images, 3, height, width, {3, 9}, {1, 3}, residual ? 3 : 5, 8, stride, residual}, bfloat16);
          test({images, 17, height, width, {9, 1, 5}, {17, 3, 14}, residual ? 17 : 40, 17, stride, residual}, bfloat16);
        }
    }
  test({2, 5, 12, 11, {31, 3, 7}, {4, 20, 16}, 37, 33, 1, false}, bfloat16);
  test({2, 5, 40, 35, {31, 11}, {20, 20}, 16, 8, 2, false}, bfloat16);
}

}  // namespace

int main() {
  const char* wanted = std::getenv("ABAWKIT_CPU");
  if (wanted != nullptr && std::string(wanted) != cpu::instruction_set()) {
    std::printf("this processor has no %s\n", wanted);
    return 77;  // skipped
  }
  for (const bool bfloat16 : {false, true}) test_all(bfloat16);
  std::printf("%s: %d cases, %d failures\n", cpu::instruction_set(), cases, failures);
  return failures != 0;
}
