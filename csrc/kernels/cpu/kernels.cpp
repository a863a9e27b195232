// Compiled once for each instruction set; ABAWKIT_ISA names it.
#include <initializer_list>

#include "backward.h"
#include "forward.h"
#include "inference.h"
#include "mixed_kernels.h"
#include "table.h"

#define ABAWKIT_JOIN(a, b) a##b
#define ABAWKIT_TABLE(isa) ABAWKIT_JOIN(isa, _table)
#define ABAWKIT_TEXT(isa) #isa
#define ABAWKIT_NAME(isa) ABAWKIT_TEXT(isa)

namespace abawkit::ABAWKIT_ISA {
namespace {

// Calls f with the compute type, the storage type and the sizes that fit: f.template operator()<A, X, S>().
template <class F>
auto dispatch(const Sizes& sizes, Type type, F f) {
  const bool published = Published::fits(sizes);
  switch (type) {
    case Type::float64:
      return f.template operator()<double, double, Any>();
    case Type::bfloat16:
      return published ? f.template operator()<float, bfloat16, Published>()
                       : f.template operator()<float, bfloat16, Any>();
    default:
      return published ? f.template operator()<float, float, Published>() : f.template operator()<float, float, Any>();
  }
}

void inference(const Inference& call, const Pool& pool) {
  dispatch(call.sizes, call.features.type, [&]<class A, class X, class S>() { run_inference<A, X, S>(call, pool); });
}
void forward(const Forward& call, const Pool& pool) {
  dispatch(call.sizes, call.features.type, [&]<class A, class X, class S>() { run_forward<A, X, S>(call, pool); });
}
void backward(const Backward& call, const Pool& pool) {
  dispatch(call.sizes, call.features.type, [&]<class A, class X, class S>() { run_backward<A, X, S>(call, pool); });
}

std::size_t inference_workspace(const Sizes& sizes, Type type, int threads) {
  return type == Type::float64 ? count_inference<double>(sizes, threads) : count_inference<float>(sizes, threads);
}
std::size_t forward_workspace(const Forward& call, int threads) {
  return call.features.type == Type::float64 ? count_forward<double>(call, threads)
                                             : count_forward<float>(call, threads);
}
std::size_t backward_workspace(const Backward& call, int threads) {
  return call.features.type == Type::float64 ? count_backward<double>(call, threads)
                                             : count_backward<float>(call, threads);
}

}  // namespace
}  // namespace abawkit::ABAWKIT_ISA

const abawkit::cpu::Table abawkit::cpu::ABAWKIT_TABLE(ABAWKIT_ISA){
    ABAWKIT_NAME(ABAWKIT_ISA),
    abawkit::ABAWKIT_ISA::inference,
    abawkit::ABAWKIT_ISA::forward,
    abawkit::ABAWKIT_ISA::backward,
    abawkit::ABAWKIT_ISA::inference_workspace,
    abawkit::ABAWKIT_ISA::forward_workspace,
    abawkit::ABAWKIT_ISA::backward_workspace,
    abawkit::ABAWKIT_ISA::mixed_block,
    abawkit::ABAWKIT_ISA::mixed_block_bfloat16,
    abawkit::ABAWKIT_ISA::mixed_block_workspace,
    abawkit::ABAWKIT_ISA::mixed_forward,
    abawkit::ABAWKIT_ISA::mixed_forward_workspace,
    abawkit::ABAWKIT_ISA::mixed_backward,
    abawkit::ABAWKIT_ISA::mixed_backward_workspace,
    abawkit::ABAWKIT_ISA::norm_prelu_forward,
    abawkit::ABAWKIT_ISA::norm_prelu_backward,
    abawkit::ABAWKIT_ISA::norm_prelu_workspace,
    abawkit::ABAWKIT_ISA::stem,
    abawkit::ABAWKIT_ISA::stem_workspace,
};
