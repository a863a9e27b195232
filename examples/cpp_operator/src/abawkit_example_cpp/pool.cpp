#include "pool.h"

Tensor pool(Tensor x, Tensor rows, Tensor columns, Tensor weight, Tensor bias) {
  Tensor embedding = torch::stable::new_empty(x, {x.size(0), x.size(1)});
  const Pooling one = Pooling::of(x, rows, columns, weight, bias, embedding);
  torch::stable::parallel_for(0, embedding.numel(), 64, [&](int64_t begin, int64_t end) {
    for (int64_t index = begin; index < end; ++index) one(index);
  });
  return embedding;
}

STABLE_TORCH_LIBRARY(abawkit_example_cpp, m) {
  m.def("pool(Tensor x, Tensor rows, Tensor columns, Tensor weight, Tensor bias) -> Tensor");
}
STABLE_TORCH_LIBRARY_IMPL(abawkit_example_cpp, CPU, m) { m.impl("pool", TORCH_BOX(&pool)); }
