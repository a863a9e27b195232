// From torch's tensors to what the kernels take: types, shapes, layouts, and a check of each once more.
#pragma once

#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <initializer_list>
#include <vector>

#include "dda.h"

namespace abawkit {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using Shape = std::initializer_list<int64_t>;

inline Type type_of(const Tensor& t) {
  switch (t.scalar_type()) {
    case ScalarType::Float:
      return Type::float32;
    case ScalarType::Double:
      return Type::float64;
    case ScalarType::BFloat16:
      return Type::bfloat16;
    case ScalarType::Half:
      STD_TORCH_CHECK(!t.is_cpu(), "abawkit: float16 is for GPUs; use float32 or bfloat16 on a CPU");
      return Type::float16;
    default:
      STD_TORCH_CHECK(false, "abawkit: features must be float32, float64, bfloat16 or float16");
  }
}

inline ScalarType compute_of(Type type) { return type == Type::float64 ? ScalarType::Double : ScalarType::Float; }

inline Tensor empty(const Tensor& like, ScalarType type, const int64_t* sizes, const int64_t* strides, int64_t dim) {
  int32_t device = 0;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(like.get(), &device));
  AtenTensorHandle result = nullptr;
  const auto code = torch::stable::detail::to<int32_t>(torch::stable::detail::from(type));
  const auto status = aoti_torch_empty_strided(dim, sizes, strides, code, device, like.get_device_index(), &result);
  if (status != TORCH_SUCCESS) {  // torch keeps its own words to itself: there is one thing that can be the reason
    double gigabytes = static_cast<double>(type == ScalarType::Double  ? 8
                                           : type == ScalarType::Float ? 4
                                           : type == ScalarType::Byte  ? 1
                                                                       : 2) /
                       1e9;
    for (int64_t i = 0; i < dim; ++i) gigabytes *= static_cast<double>(sizes[i]);
    STD_TORCH_CHECK(false, "abawkit: ", like.is_cuda() ? "CUDA out of memory" : "can't allocate memory", ": ",
                    gigabytes, " GB for a result or a workspace");
  }
  return Tensor(result);
}

inline Tensor empty(const Tensor& like, ScalarType type, Shape shape) {
  int64_t strides[4], stride = 1;
  for (int i = static_cast<int>(shape.size()) - 1; i >= 0; --i) {
    strides[i] = stride;
    stride *= shape.begin()[i];
  }
  return empty(like, type, shape.begin(), strides, static_cast<int64_t>(shape.size()));
}

// As torch sees it: where a dimension has one entry, its stride means nothing.
inline bool is_channels_last(const Tensor& t) {
  const auto has = [&](int64_t dim, int64_t stride) { return t.size(dim) == 1 || t.stride(dim) == stride; };
  return has(1, 1) && has(3, t.size(1)) && has(2, t.size(1) * t.size(3)) && has(0, t.size(1) * t.size(2) * t.size(3));
}

inline Tensor make_channels_last(const Tensor& t) {
  return is_channels_last(t) ? t : torch::stable::contiguous(t, torch::headeronly::MemoryFormat::ChannelsLast);
}

inline Tensor empty_channels_last(const Tensor& like, int64_t n, int64_t c, int64_t h, int64_t w) {
  const int64_t sizes[] = {n, c, h, w}, strides[] = {h * w * c, 1, w * c, c};
  return empty(like, ScalarType::Float, sizes, strides, 4);
}

inline float* data(const Tensor& t) { return static_cast<float*>(t.data_ptr()); }

// Features as the kernels read them; other strides are copied.
struct Input {
  Tensor tensor;
  bool channels_last;
  explicit Input(const Tensor& t) : tensor(t), channels_last(false) {
    STD_TORCH_CHECK(t.dim() == 4, "abawkit: features must be (N, C, H, W)");
    if (t.is_contiguous()) return;
    channels_last = is_channels_last(t);
    if (!channels_last) tensor = torch::stable::contiguous(t);
  }
  Features features() const { return {tensor.data_ptr(), type_of(tensor), channels_last}; }
  Tensor empty_like() const {
    const auto sizes = tensor.sizes(), strides = tensor.strides();
    return empty(tensor, tensor.scalar_type(), sizes.data(), strides.data(), 4);
  }
};

// A contiguous tensor of a type, a number of entries and the features' device.
inline Tensor operand(const Tensor& t, ScalarType type, int64_t entries, const Tensor& features, const char* name) {
  STD_TORCH_CHECK(t.numel() == entries, "abawkit: ", name, " has ", t.numel(), " entries, expected ", entries);
  STD_TORCH_CHECK(t.scalar_type() == type, "abawkit: ", name, " has the wrong type of numbers");
  STD_TORCH_CHECK(t.is_cuda() == features.is_cuda() && t.get_device_index() == features.get_device_index(),
                  "abawkit: ", name, " is on another device than the features");
  return t.is_contiguous() ? t : torch::stable::contiguous(t);
}

inline Sizes sizes_of(const Tensor& features, int64_t heads, int64_t squeezed) {
  STD_TORCH_CHECK(heads > 0 && squeezed > 0, "abawkit: no heads");
  STD_TORCH_CHECK(features.size(1) > 0 && features.size(2) > 0 && features.size(3) > 0, "abawkit: empty features");
  return {features.size(0), features.size(1), features.size(2), features.size(3), heads, squeezed};
}

// Operands of one call: the tensors that hold them, and the pointers that the kernels take.
struct Operands {
  std::vector<Tensor> tensors;
  Sizes sizes;
  Operands(const std::vector<Tensor>& given, const Input& x) {
    STD_TORCH_CHECK(given.size() == parameter_count, "abawkit: expected ", int(parameter_count), " parameters");
    STD_TORCH_CHECK(given[row_weight].dim() == 3, "abawkit: row_weight must be (K, C, W)");
    const int64_t heads = given[row_weight].size(0);
    sizes = sizes_of(x.tensor, heads, heads > 0 ? given[squeeze_bias].numel() / heads : 0);
    const int64_t kc = heads * sizes.channels, km = heads * sizes.squeezed;
    const int64_t entries[parameter_count] = {kc * sizes.width,
                                              kc * sizes.height,
                                              kc,
                                              kc,
                                              kc,
                                              kc,
                                              km * sizes.channels,
                                              km,
                                              km,
                                              km,
                                              kc * sizes.squeezed,
                                              kc,
                                              kc * sizes.squeezed,
                                              kc,
                                              sizes.channels * sizes.area(),
                                              sizes.channels,
                                              sizes.channels};
    tensors.reserve(parameter_count);
    for (int i = 0; i < parameter_count; ++i)
      tensors.push_back(operand(given[i], compute_of(type_of(x.tensor)), entries[i], x.tensor, "a parameter"));
  }
  void point(const void* (&to)[parameter_count]) const {
    for (int i = 0; i < parameter_count; ++i) to[i] = tensors[i].data_ptr();
  }
};

}  // namespace abawkit
