// How the operators were built. Importing this needs no torch, so that a binary that does not fit can be refused.
#include <pybind11/pybind11.h>

PYBIND11_MODULE(_build, m) {
  m.doc() = "How the native operators were built.";
  m.attr("abawkit") = ABAWKIT_VERSION;
  m.attr("compiler") = ABAWKIT_COMPILER;
  m.attr("instruction_sets") = ABAWKIT_INSTRUCTION_SETS;
  m.attr("cuda") = ABAWKIT_CUDA_VERSION;
  m.attr("cuda_refusal") =
#include "cuda_refusal.h"
      ;
  m.attr("cuda_architectures") = ABAWKIT_CUDA_ARCHITECTURES;
  m.attr("cuda_ptx") = ABAWKIT_CUDA_PTX;
  m.attr("torch") = ABAWKIT_TORCH_VERSION;
}
