#include "device_launcher.h"
#include "weights.h"

namespace abawkit::cuda {

Probe probe() {
  Probe found{};
  cudaDriverGetVersion(&found.driver);
  cudaRuntimeGetVersion(&found.runtime);
  cudaFuncAttributes attributes;
  // Any kernel will do: all are compiled for the same architectures.
  found.error = static_cast<int>(cudaFuncGetAttributes(&attributes, run_program<Transpose<float>>));
  cudaGetLastError();  // the runtime's memory of an error would become that of the next call
  return found;
}

}  // namespace abawkit::cuda
