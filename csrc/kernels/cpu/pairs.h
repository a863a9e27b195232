// Values rounded to bfloat16 for products, in pairs of neighbouring channels or of neighbouring pixels. Where there is
// no second one, that half is zero.
#pragma once

#include "product_tile.h"

namespace abawkit::ABAWKIT_ISA {

// (pixels, (channels + 1) / 2), a pixel at a stride.
inline void pair_channels(const PixelValues& from, std::int64_t pixels, Pair* to, std::int64_t stride) {
  for (std::int64_t p = 0; p < pixels; ++p) {
    const float* in = from.at + p * from.pixel_stride;
    auto* out = reinterpret_cast<bfloat16*>(to + p * stride);
    std::int64_t c = 0;
    for (; c + lanes<float> <= from.channels; c += lanes<float>) store_narrow(out + c, load(in + c));
    for (; c < from.channels; ++c) out[c] = narrow<bfloat16>(in[c]);
    if (from.channels % 2 == 1) out[c] = {};
  }
}

// ((pixels + 1) / 2, channels).
inline void pair_pixels(const PixelValues& from, std::int64_t pixels, Pair* to) {
  for (std::int64_t p = 0; p < pixels; p += 2, to += from.channels)
    for (std::int64_t c = 0; c < from.channels; c += lanes<float>) {
      const float* in = from.at + p * from.pixel_stride + c;
      const std::int64_t left = from.channels - c;
      const Vector<float> second = p + 1 < pixels ? load_some(in + from.pixel_stride, left) : Vector<float>{};
      store_some(reinterpret_cast<float*>(to + c), left, make_pairs(load_some(in, left), second));
    }
}

}  // namespace abawkit::ABAWKIT_ISA
