// How programs that read the features walk over them: a block takes `chunk` channels of a group of images, `slots`
// images at once, and a thread one channel. Sums over images are cut by groups and slots, never by what runs when.
#pragma once

#include <type_traits>

#include "copies.h"
#include "numbers.h"
#include "sizes.h"

namespace abawkit::cuda {

inline constexpr int chunk = 64;        // channels of a block
inline constexpr int slots = 2;         // images that a block works on at once
inline constexpr int most_groups = 64;  // more give more partial sums, and 512 blocks at 512 channels occupy any device

// Where a thread stands in the walk.
struct Spot {
  int lane, slot, first_channel, channel;
  std::int64_t row, image;  // `row` numbers the groups' slots
  bool has_image, valid;
};

struct Walk {
  std::int64_t groups, group_images, chunks;

  Walk() = default;
  explicit Walk(const Sizes& s) {
    const std::int64_t wanted = smaller(most_groups, ceil_divide(s.images, slots));
    group_images = wanted ? ceil_divide(ceil_divide(s.images, wanted), slots) * slots : slots;
    groups = ceil_divide(s.images, group_images);
    chunks = ceil_divide(s.channels, chunk);
  }
  std::int64_t rows() const { return groups * slots; }
  std::int64_t blocks() const { return groups * chunks; }
  // Partial sums of weights' gradients: one for each group where slots are added up first, else one for each slot.
  std::int64_t partials(bool fixed) const { return fixed ? groups : rows(); }
  template <class Size>
  ABAWKIT_DEVICE std::int64_t partial(const Spot& spot) const {
    return Size::fixed ? spot.row / slots : spot.row;
  }
  ABAWKIT_DEVICE std::int64_t steps(std::int64_t block, std::int64_t images) const {
    const std::int64_t first = block / chunks * group_images;
    return ceil_divide(smaller(group_images, images - first), slots);
  }
};

template <class Size>
ABAWKIT_DEVICE Spot spot_of(const Walk& walk, const Size& size, const Where& at, std::int64_t step) {
  Spot spot;
  spot.lane = at.thread % chunk;
  spot.slot = at.thread / chunk;
  spot.first_channel = static_cast<int>(at.block % walk.chunks) * chunk;
  spot.channel = opaque(spot.first_channel + spot.lane);
  const std::int64_t group = at.block / walk.chunks;
  spot.row = group * slots + spot.slot;
  spot.image = group * walk.group_images + step * slots + spot.slot;
  spot.has_image = spot.image < smaller((group + 1) * walk.group_images, size.images);
  spot.valid = spot.has_image && spot.channel < size.channels;
  return spot;
}

template <int n>
struct Constant {
  ABAWKIT_DEVICE constexpr operator int() const { return n; }
};

// One channel of one image, `stride` entries apart: in shared memory for fixed sizes, else in global memory.
template <class Stored, class Stride>
struct Tile {
  Stored* base;
  Stride stride;
  ABAWKIT_DEVICE auto operator()(int i) const { return widen(base[i * stride]); }
};

template <class T>
struct View {
  T* data;
  bool channels_last;
};

// Calls body(tile) for the thread's channel. The two layouts are two instances, so that addresses are constants.
template <class Size, class T, class Body>
ABAWKIT_DEVICE void with_tile(const View<const T>& view, const Size& size, const Spot& spot, T* shared,
                              const Body& body) {
  if constexpr (Size::fixed) {
    T* const image = shared + spot.slot * chunk * Size::area();
    if (view.channels_last) {
      body(Tile<T, Constant<chunk>>{image + spot.lane, {}});
    } else {
      body(Tile<T, Constant<1>>{image + spot.lane * Size::area(), {}});
    }
  } else {
    const std::int64_t area = size.area(), channels = size.channels;
    const bool last = view.channels_last;
    const T* const image = view.data + spot.image * area * channels;
    body(Tile<const T, std::int64_t>{image + spot.channel * (last ? 1 : area), last ? channels : 1});
  }
}

// Bytes of shared memory that the tiles of a block take, in one of two buffers.
template <class Size, class T>
ABAWKIT_DEVICE constexpr int tile_bytes() {
  return Size::fixed ? slots * chunk * Size::area_count * static_cast<int>(sizeof(T)) : 0;
}

// How many buffers of `bytes` a block has: two, where that leaves room for several blocks on an SM; the copies of a
// round then run beside what is computed of the one before. No bit of a result follows from it.
inline int buffers_of(int bytes, int shared_memory) { return shared_memory >= 5 * bytes ? 2 : 1; }

// Calls start(round, buffer) for the round after this one, and in the first for both, then waits for what this one
// needs: where sizes are fixed, as there is nothing to copy for others.
template <class Size, class Start>
ABAWKIT_DEVICE void copy_ahead(std::int64_t round, std::int64_t rounds, int buffers, const Start& start) {
  if constexpr (Size::fixed) {
    const int ahead = buffers - 1;
    ABAWKIT_LOOP
    for (std::int64_t next = round ? round + ahead : 0; next <= round + ahead; ++next) {
      if (next < rounds) start(next, ahead ? static_cast<int>(next % 2) : 0);
      close_copies();
    }
    if (ahead) {
      wait_copies<1>();
    } else {
      wait_copies<0>();
    }
  }
}

// Calls one(global index, shared index) or many(the same, for Vector<T>::size entries) for `across` channels of an
// image, the threads of a slot sharing the work; shared memory has the order of the layout.
template <int across, class T, class Size, class One, class Many>
ABAWKIT_DEVICE void each_entry(const View<T>& view, const Size& size, const Spot& spot, const One& one,
                               const Many& many) {
  constexpr int width = Vector<std::remove_const_t<T>>::size, area = Size::area();
  constexpr int turns = (area + width - 1) / width;  // in which a thread has a vector
  const int channels = static_cast<int>(smaller(across, size.channels - spot.first_channel));
  if (view.channels_last) {
    const std::int64_t first = spot.image * area * size.channels + spot.first_channel;
    if (is_aligned(view.data) && size.channels % width == 0) {
      static_assert(across % width == 0, "a thread's vectors are of the same channels");
      const std::int64_t own = spot.lane / (across / width), c = spot.lane % (across / width) * width;
      if (c >= channels) return;
      std::int64_t from = first + own * size.channels + c;
      ABAWKIT_UNROLL
      for (int turn = 0; turn < turns; ++turn, from += width * size.channels)
        if (own + turn * width < area) many(from, own * across + c + turn * width * across);
    } else if (spot.lane < channels) {
      ABAWKIT_LOOP
      for (int entry = 0; entry < area; ++entry)
        one(first + static_cast<std::int64_t>(entry) * size.channels + spot.lane, entry * across + spot.lane);
    }
  } else {
    const std::int64_t first = (spot.image * size.channels + spot.first_channel) * area;
    const int count = channels * area;
    const bool aligned = is_aligned(view.data + first);
    const std::int64_t own = spot.lane * width;
    int done = 0;
    if (aligned && channels == across) {
      ABAWKIT_UNROLL
      for (int turn = 0; turn < turns; ++turn)
        if ((turn + 1) * width <= area || spot.lane < (area - turn * width) * across / width)
          many(first + own + turn * across * width, own + turn * across * width);
      return;
    }
    if (aligned) {
      ABAWKIT_LOOP
      for (int part = spot.lane * width; part + width <= count; part += across * width) many(first + part, part);
      done = count / width * width;
    }
    ABAWKIT_LOOP
    for (int rest = done + spot.lane; rest < count; rest += across) one(first + rest, rest);
  }
}

// Starts to copy a spot's image to shared memory.
template <class Size, class T>
ABAWKIT_DEVICE void stage(const View<const T>& view, const Size& size, const Spot& spot, T* shared) {
  if constexpr (Size::fixed) {
    if (!spot.has_image) return;
    T* const to = shared + spot.slot * chunk * Size::area();
    each_entry<chunk>(
        view, size, spot, [&](std::int64_t from, std::int64_t i) { to[i] = view.data[from]; },
        [&](std::int64_t from, std::int64_t i) { start_copy(view.data + from, to + i); });
  }
}

// Copies a spot's image from shared memory.
template <class Size, class T>
ABAWKIT_DEVICE void unstage(const View<T>& view, const Size& size, const Spot& spot, const T* shared) {
  if constexpr (Size::fixed) {
    if (!spot.has_image) return;
    const T* const from = shared + spot.slot * chunk * Size::area();
    each_entry<chunk>(
        view, size, spot, [&](std::int64_t to, std::int64_t i) { view.data[to] = from[i]; },
        [&](std::int64_t to, std::int64_t i) {
          *reinterpret_cast<Vector<T>*>(view.data + to) = load_vector(from + i);
        });
  }
}

// Adds what the slots of a block hold of the same channel, `count` numbers each, in shared memory: all but the first
// slot's go there, and, behind a barrier, the first slot's thread has the sum.
template <int count, class A, class Numbers>
ABAWKIT_DEVICE void hand_over(const Spot& spot, const Numbers& numbers, A* shared) {
  if (spot.slot == 0) return;
  ABAWKIT_UNROLL
  for (int i = 0; i < count; ++i) shared[((spot.slot - 1) * count + i) * chunk + spot.lane] = numbers.values[i];
}
template <int count, class A, class Numbers>
ABAWKIT_DEVICE void take_over(const Spot& spot, Numbers& numbers, const A* shared) {
  ABAWKIT_LOOP
  for (int slot = 0; slot < slots - 1; ++slot) {
    ABAWKIT_UNROLL
    for (int i = 0; i < count; ++i) numbers.values[i] += shared[(slot * count + i) * chunk + spot.lane];
  }
}

}  // namespace abawkit::cuda
