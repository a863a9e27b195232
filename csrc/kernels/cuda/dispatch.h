// From a call's sizes and type to the instances that serve it.
#pragma once

#include "backward.h"
#include "inference.h"

namespace abawkit::cuda {

using Usual = Fixed<7, 7, 2, 16>;

// What the body of the functions below is called with.
template <class S, class T>
struct Tag {
  using Size = S;
  using Storage = T;
};

template <class T, class Body>
auto with_size(const Sizes& s, bool general, const Body& body) {
  if constexpr (!std::is_same_v<T, double>)
    if (!general && Usual::fits(s)) return body(Tag<Usual, T>());
  return body(Tag<Any, T>());
}

// `general` asks for the instance of any sizes where there is another.
template <class Body>
auto with_instance(const Sizes& s, Type type, bool general, const Body& body) {
  switch (type) {
    case Type::float64:
      return with_size<double>(s, general, body);
    case Type::bfloat16:
      return with_size<BFloat16>(s, general, body);
    case Type::float16:
      return with_size<Float16>(s, general, body);
    default:
      return with_size<float>(s, general, body);
  }
}

inline std::size_t forward_bytes(const Sizes& s, Type type) {
  return type == Type::float64 ? forward_bytes<double>(s) : forward_bytes<float>(s);
}

inline std::size_t inference_bytes(const Sizes& s, Type type, bool general = false) {
  return with_instance(s, type, general, [&](auto tag) {
    return inference_bytes<typename decltype(tag)::Size, Compute<typename decltype(tag)::Storage>>(s);
  });
}

inline std::size_t backward_bytes(const Sizes& s, Type type, bool general = false) {
  return with_instance(s, type, general, [&](auto tag) {
    return backward_bytes<typename decltype(tag)::Size, Compute<typename decltype(tag)::Storage>>(s);
  });
}

template <class Launcher>
void run_inference(const Inference& f, Launcher& launcher, bool general = false) {
  with_instance(f.sizes, f.features.type, general, [&](auto tag) {
    inference<typename decltype(tag)::Size, typename decltype(tag)::Storage>(f, launcher);
  });
}

template <class Launcher>
void run_forward(const Forward& f, Launcher& launcher, bool general = false) {
  with_instance(f.sizes, f.features.type, general,
                [&](auto tag) { forward<typename decltype(tag)::Size, typename decltype(tag)::Storage>(f, launcher); });
}

template <class Launcher>
void run_backward(const Backward& b, Launcher& launcher, bool general = false) {
  with_instance(b.sizes, b.features.type, general, [&](auto tag) {
    backward<typename decltype(tag)::Size, typename decltype(tag)::Storage>(b, launcher);
  });
}

}  // namespace abawkit::cuda
