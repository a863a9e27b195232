// Products of small matrices by a warp, on tensor cores where there are any, in (almost) the precision of float32.
//
// A warp computes C (16 rows, 8 columns) += A (16 rows, 8 inner) B (8 inner, 8 columns). Each number of A and of B is
// split into a high and a low part that the cores can hold, and the products of the parts are added up, but for that of
// the two low ones where it does not count. On the host, where no two threads run at once, a thread holds all of A and
// B and computes its own numbers of C.
#pragma once

#include "numbers.h"

namespace abawkit::cuda {

// Which number each register of a lane holds. Source: PTX ISA, "Matrix Fragments for mma.m16n8k8" for .tf32: with
// groupID = lane / 4 and threadID_in_group = lane % 4,
//   A: row groupID for a0, a2, groupID + 8 for a1, a3; inner threadID_in_group for a0, a1, + 4 for a2, a3
//   B: inner threadID_in_group for b0, + 4 for b1; column groupID
//   C: row groupID for c0, c1, groupID + 8 for c2, c3; column threadID_in_group * 2 + (i & 1)
// "Matrix Fragments for mma.m16n8k16" for .bf16 has the same with two neighbouring inner numbers in each register of A
// and B: here the two parts of one number, so that 16 inner numbers are 8.
//
// In 64 bits, so that what a lane adds to an address is computed once and the rest is part of the instruction.
struct Fragment {
  static constexpr int lanes = 32, rows = 16, inner = 8, columns = 8, a_count = 4, b_count = 2, c_count = 4;
  using Index = std::int64_t;
  ABAWKIT_DEVICE static constexpr Index a_row(Index lane, int i) { return lane / 4 + i % 2 * 8; }
  ABAWKIT_DEVICE static constexpr Index a_inner(Index lane, int i) { return lane % 4 + i / 2 * 4; }
  ABAWKIT_DEVICE static constexpr Index b_inner(Index lane, int i) { return lane % 4 + i * 4; }
  ABAWKIT_DEVICE static constexpr Index b_column(Index lane) { return lane / 4; }
  ABAWKIT_DEVICE static constexpr Index c_row(Index lane, int i) { return lane / 4 + i / 2 * 8; }
  ABAWKIT_DEVICE static constexpr Index c_column(Index lane, int i) { return lane % 4 * 2 + i % 2; }
};

struct Words {
  std::uint32_t values[Fragment::a_count];
};

// Parts of TF32, 11 significant bits each, the high one rounded to nearest: 22 bits.
struct SplitTF32 {
  struct Left {
    std::uint32_t high, low;
  };
  using Right = Left;
  ABAWKIT_DEVICE static Left left(float value) {
    const std::uint32_t high = (same_bits<std::uint32_t>(value) + 0x1000u) & 0xffffe000u;
    const std::uint32_t low = same_bits<std::uint32_t>(value - same_bits<float>(high));
#if defined(__CUDA_ARCH__)
    return {high, low};  // the cores don't read the lower 13 bits
#else
    return {high, low & 0xffffe000u};
#endif
  }
  ABAWKIT_DEVICE static Right right(float value) { return left(value); }
  static float product(const Left& a, const Right& b) {
    const float high = same_bits<float>(a.high), low = same_bits<float>(a.low);
    const float right_high = same_bits<float>(b.high), right_low = same_bits<float>(b.low);
    return high * right_high + (low * right_high + high * right_low);
  }
  // issue(a, b0, b1) adds a product of the cores to the lane's numbers of C.
  template <class Issue>
  ABAWKIT_DEVICE static void multiply_add(const Left (&a)[4], const Right (&b)[2], const Issue& issue) {
    issue(Words{a[0].low, a[1].low, a[2].low, a[3].low}, b[0].high, b[1].high);
    issue(Words{a[0].high, a[1].high, a[2].high, a[3].high}, b[0].low, b[1].low);
    issue(Words{a[0].high, a[1].high, a[2].high, a[3].high}, b[0].high, b[1].high);
  }
#if defined(__CUDACC__)
  static __device__ __forceinline__ void issue(float (&c)[4], const Words& a, std::uint32_t b0, std::uint32_t b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a.values[0]), "r"(a.values[1]), "r"(a.values[2]), "r"(a.values[3]), "r"(b0), "r"(b1));
  }
#endif
};

// Parts of bfloat16, 8 significant bits each, both rounded to nearest: 16 bits. A register of A has both parts, one of
// B the same part twice, so that two products of 16 inner numbers are all four products of parts.
struct SplitBF16 {
  struct Left {
    std::uint32_t both;
  };
  struct Right {
    std::uint32_t high, low;
  };
  ABAWKIT_DEVICE static Left left(float value) { return {pair(value, value - rounded(value))}; }
  ABAWKIT_DEVICE static Right right(float value) {
    const float low = value - rounded(value);
    return {pair(value, value), pair(low, low)};
  }
  static float product(const Left& a, const Right& b) {
    const float sum = upper(a.both) + lower(a.both);
    return sum * upper(b.high) + sum * upper(b.low);
  }
  template <class Issue>
  ABAWKIT_DEVICE static void multiply_add(const Left (&a)[4], const Right (&b)[2], const Issue& issue) {
    const Words both{a[0].both, a[1].both, a[2].both, a[3].both};
    issue(both, b[0].low, b[1].low);
    issue(both, b[0].high, b[1].high);
  }
#if defined(__CUDACC__)
  static __device__ __forceinline__ void issue(float (&c)[4], const Words& a, std::uint32_t b0, std::uint32_t b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a.values[0]), "r"(a.values[1]), "r"(a.values[2]), "r"(a.values[3]), "r"(b0), "r"(b1));
  }
#endif

 private:
  // Both rounded to bfloat16, the first to the upper half.
  ABAWKIT_DEVICE static std::uint32_t pair(float first, float second) {
#if defined(__CUDA_ARCH__)
    std::uint32_t word;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(word) : "f"(first), "f"(second));
    return word;
#else
    return static_cast<std::uint32_t>(narrow<BFloat16>(first).bits) << 16 | narrow<BFloat16>(second).bits;
#endif
  }
  ABAWKIT_DEVICE static float rounded(float value) { return same_bits<float>(pair(value, 0.0f)); }
  static float upper(std::uint32_t word) { return same_bits<float>(word & 0xffff0000u); }
  static float lower(std::uint32_t word) { return same_bits<float>(word << 16); }
};

// A lane's part of A and of B. `load` calls element(row, inner) and element(inner, column).
template <class Split>
struct LaneLeft {
  typename Split::Left values[Fragment::a_count];
  template <class Element>
  ABAWKIT_DEVICE void load(int lane, const Element& element) {
    ABAWKIT_UNROLL
    for (int i = 0; i < Fragment::a_count; ++i)
      values[i] = Split::left(element(Fragment::a_row(lane, i), Fragment::a_inner(lane, i)));
  }
};

template <class Split>
struct LaneRight {
  typename Split::Right values[Fragment::b_count];
  template <class Element>
  ABAWKIT_DEVICE void load(int lane, const Element& element) {
    ABAWKIT_UNROLL
    for (int i = 0; i < Fragment::b_count; ++i)
      values[i] = Split::right(element(Fragment::b_inner(lane, i), Fragment::b_column(lane)));
  }
};

// All of A and of B.
template <class Split>
struct WholeLeft {
  typename Split::Left values[Fragment::rows][Fragment::inner];
  template <class Element>
  void load(int, const Element& element) {
    for (int row = 0; row < Fragment::rows; ++row)
      for (int inner = 0; inner < Fragment::inner; ++inner) values[row][inner] = Split::left(element(row, inner));
  }
};

template <class Split>
struct WholeRight {
  typename Split::Right values[Fragment::inner][Fragment::columns];
  template <class Element>
  void load(int, const Element& element) {
    for (int inner = 0; inner < Fragment::inner; ++inner)
      for (int column = 0; column < Fragment::columns; ++column)
        values[inner][column] = Split::right(element(inner, column));
  }
};

// Adds to the lane's numbers of C; all lanes of a warp call it together.
#if defined(__CUDACC__)
template <class Split>
using LeftMatrix = LaneLeft<Split>;
template <class Split>
using RightMatrix = LaneRight<Split>;

template <class Split>
ABAWKIT_DEVICE void multiply_add(int, [[maybe_unused]] float (&c)[Fragment::c_count],
                                 [[maybe_unused]] const LaneLeft<Split>& a,
                                 [[maybe_unused]] const LaneRight<Split>& b) {
#if defined(__CUDA_ARCH__)
  Split::multiply_add(a.values, b.values,
                      [&](const Words& words, std::uint32_t b0, std::uint32_t b1) { Split::issue(c, words, b0, b1); });
#endif
}
#else
template <class Split>
using LeftMatrix = WholeLeft<Split>;
template <class Split>
using RightMatrix = WholeRight<Split>;

template <class Split>
void multiply_add(int lane, float (&c)[Fragment::c_count], const WholeLeft<Split>& a, const WholeRight<Split>& b) {
  for (int i = 0; i < Fragment::c_count; ++i)
    for (int inner = 0; inner < Fragment::inner; ++inner)
      c[i] += Split::product(a.values[Fragment::c_row(lane, i)][inner], b.values[inner][Fragment::c_column(lane, i)]);
}
#endif

}  // namespace abawkit::cuda
