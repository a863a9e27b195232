#include "pool.h"

__global__ void pool_all(Pooling one, int64_t count) {
  const int64_t index = int64_t{blockIdx.x} * blockDim.x + threadIdx.x;
  if (index < count) one(index);
}
Tensor pool_cuda(Tensor x, Tensor rows, Tensor columns, Tensor weight, Tensor bias) {
  const torch::stable::accelerator::DeviceGuard guard(x.get_device_index());
  Tensor embedding = torch::stable::new_empty(x, {x.size(0), x.size(1)});
  const int64_t count = embedding.numel();
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(x.get_device_index(), &stream));
  const Pooling one = Pooling::of(x, rows, columns, weight, bias, embedding);
  if (count) pool_all<<<(count + 127) / 128, 128, 0, static_cast<cudaStream_t>(stream)>>>(one, count);
  STD_TORCH_CHECK(cudaGetLastError() == cudaSuccess, "the kernel was not started");
  return embedding;
}

STABLE_TORCH_LIBRARY_IMPL(abawkit_example_cpp, CUDA, m) { m.impl("pool", TORCH_BOX(&pool_cuda)); }
