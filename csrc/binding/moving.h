// Running statistics of any type, moved towards those of a batch.
#pragma once

#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <cstdint>
#include <type_traits>

namespace abawkit {

// Shares of what is there and of the batch. The sum is taken in the wider of both types.
template <class Running, class Batch>
void move(Running* running, int64_t stride, const Batch* batch, int64_t entries, double keep, double take) {
  using Wide = std::common_type_t<std::conditional_t<std::is_same_v<Running, double>, double, float>, Batch>;
  const Wide kept = static_cast<Wide>(keep), taken = static_cast<Wide>(take);
  for (int64_t i = 0; i < entries; ++i) {
    Running& r = running[i * stride];
    r = static_cast<Running>(kept * static_cast<Wide>(r) + taken * static_cast<Wide>(batch[i]));
  }
}

inline bool moves(torch::headeronly::ScalarType type) {
  using torch::headeronly::ScalarType;
  return type == ScalarType::Float || type == ScalarType::Double || type == ScalarType::BFloat16 ||
         type == ScalarType::Half;
}

template <class Batch>
void move(const torch::stable::Tensor& running, const Batch* batch, double keep, double take) {
  using torch::headeronly::ScalarType;
  const auto as = [&](auto* data) { move(data, running.stride(0), batch, running.numel(), keep, take); };
  void* data = running.data_ptr();
  switch (running.scalar_type()) {
    case ScalarType::Float:
      return as(static_cast<float*>(data));
    case ScalarType::Double:
      return as(static_cast<double*>(data));
    case ScalarType::BFloat16:
      return as(static_cast<torch::headeronly::BFloat16*>(data));
    default:  // `moves` lets no other pass
      return as(static_cast<torch::headeronly::Half*>(data));
  }
}

}  // namespace abawkit
