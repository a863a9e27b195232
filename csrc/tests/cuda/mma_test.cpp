// The layout of fragments, by a warp that the host plays: what lanes load, what tensor cores make of it as the PTX ISA
// says, and where lanes expect the results.
#include "cuda/mma.h"

#include <cmath>
#include <cstdio>
#include <random>

using namespace abawkit::cuda;

namespace {

float second(std::uint32_t word) { return same_bits<float>(word & 0xffff0000u); }
float first(std::uint32_t word) { return same_bits<float>(word << 16); }

// The operands of all lanes in one product of the cores, and the numbers of C before and after it.
struct Warp {
  Words a[32];
  std::uint32_t b[32][2];
  float c[32][4];
};

// "Matrix Fragments for mma.m16n8k8", .tf32: a register is a number, of which the lower 13 bits are not read.
struct TF32 : SplitTF32 {
  static void execute(Warp& warp) {
    double a[16][8], b[8][8];
    const auto number = [](std::uint32_t word) { return double(same_bits<float>(word & 0xffffe000u)); };
    for (int lane = 0; lane < 32; ++lane) {
      const int group = lane >> 2, in_group = lane & 3;
      a[group][in_group] = number(warp.a[lane].values[0]);
      a[group + 8][in_group] = number(warp.a[lane].values[1]);
      a[group][in_group + 4] = number(warp.a[lane].values[2]);
      a[group + 8][in_group + 4] = number(warp.a[lane].values[3]);
      b[in_group][group] = number(warp.b[lane][0]);
      b[in_group + 4][group] = number(warp.b[lane][1]);
    }
    finish(warp, [&](int row, int column) {
      double sum = 0;
      for (int k = 0; k < 8; ++k) sum += a[row][k] * b[k][column];
      return sum;
    });
  }
  // The same for all shapes: "(row, column) of c0..c3".
  template <class Sum>
  static void finish(Warp& warp, const Sum& sum) {
    for (int lane = 0; lane < 32; ++lane) {
      const int group = lane >> 2, in_group = lane & 3;
      warp.c[lane][0] += float(sum(group, in_group * 2));
      warp.c[lane][1] += float(sum(group, in_group * 2 + 1));
      warp.c[lane][2] += float(sum(group + 8, in_group * 2));
      warp.c[lane][3] += float(sum(group + 8, in_group * 2 + 1));
    }
  }
};

// "Matrix Fragments for mma.m16n8k16", .bf16: a register has two numbers, the first in its lower half.
struct BF16 : SplitBF16 {
  static void execute(Warp& warp) {
    double a[16][16], b[16][8];
    for (int lane = 0; lane < 32; ++lane) {
      const int group = lane >> 2, in_group = lane & 3;
      for (int i = 0; i < 8; ++i) {  // a0..a7
        const std::uint32_t word = warp.a[lane].values[i / 2];
        const int row = i < 2 || (i >= 4 && i < 6) ? group : group + 8;
        const int k = i < 4 ? in_group * 2 + (i & 1) : in_group * 2 + (i & 1) + 8;
        a[row][k] = i & 1 ? second(word) : first(word);
      }
      for (int i = 0; i < 4; ++i) {  // b0..b3
        const std::uint32_t word = warp.b[lane][i / 2];
        const int k = i < 2 ? in_group * 2 + (i & 1) : in_group * 2 + (i & 1) + 8;
        b[k][group] = i & 1 ? second(word) : first(word);
      }
    }
    TF32::finish(warp, [&](int row, int column) {
      double sum = 0;
      for (int k = 0; k < 16; ++k) sum += a[row][k] * b[k][column];
      return sum;
    });
  }
};

// The largest error of C, by the cores and as the host computes it, relative to the sum of magnitudes.
template <class Cores>
int check(const char* name, double allowed) {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  float a[16][8], b[8][8], c[16][8];
  for (auto& row : a)
    for (float& value : row) value = normal(random);
  for (auto& row : b)
    for (float& value : row) value = normal(random);
  for (auto& row : c)
    for (float& value : row) value = normal(random);
  const auto left = [&](int row, int inner) { return a[row][inner]; };
  const auto right = [&](int inner, int column) { return b[inner][column]; };

  LaneLeft<Cores> lefts[32];
  LaneRight<Cores> rights[32];
  Warp warp;
  int products = 0;
  for (int lane = 0; lane < 32; ++lane) {
    lefts[lane].load(lane, left);
    rights[lane].load(lane, right);
    for (int i = 0; i < 4; ++i) warp.c[lane][i] = c[Fragment::c_row(lane, i)][Fragment::c_column(lane, i)];
    products = 0;
    Cores::multiply_add(lefts[lane].values, rights[lane].values, [&](const Words&, auto, auto) { ++products; });
  }
  for (int product = 0; product < products; ++product) {  // all lanes issue one, then all the next
    for (int lane = 0; lane < 32; ++lane) {
      int number = 0;
      Cores::multiply_add(lefts[lane].values, rights[lane].values,
                          [&](const Words& words, std::uint32_t b0, std::uint32_t b1) {
                            if (number++ != product) return;
                            warp.a[lane] = words;
                            warp.b[lane][0] = b0;
                            warp.b[lane][1] = b1;
                          });
    }
    Cores::execute(warp);
  }

  WholeLeft<Cores> whole_left;
  WholeRight<Cores> whole_right;
  whole_left.load(0, left);
  whole_right.load(0, right);
  double error = 0;
  for (int lane = 0; lane < 32; ++lane) {
    float host[4];
    for (int i = 0; i < 4; ++i) host[i] = c[Fragment::c_row(lane, i)][Fragment::c_column(lane, i)];
    multiply_add(lane, host, whole_left, whole_right);
    for (int i = 0; i < 4; ++i) {
      const int row = Fragment::c_row(lane, i), column = Fragment::c_column(lane, i);
      double sum = c[row][column], magnitude = std::fabs(c[row][column]);
      for (int k = 0; k < 8; ++k) {
        sum += double(a[row][k]) * b[k][column];
        magnitude += std::fabs(double(a[row][k]) * b[k][column]);
      }
      for (const float found : {warp.c[lane][i], host[i]}) error = std::fmax(error, std::fabs(found - sum) / magnitude);
    }
  }
  std::printf("%s: relative error %.2g, allowed %.2g\n", name, error, allowed);
  return !(error <= allowed);
}

}  // namespace

int main() {
  // Of each product what is below the last bit of the low parts, and the rounding of a few sums.
  return check<TF32>("float32 by TF32", std::ldexp(1.0, -21)) + check<BF16>("by bfloat16", std::ldexp(1.0, -16));
}
