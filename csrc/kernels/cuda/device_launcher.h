// Runs programs on the current device. For nvcc only.
#pragma once

#include <cuda_runtime.h>

#include <utility>

#include "program.h"

namespace abawkit::cuda {

template <class Program, int first, int... i>
__device__ __forceinline__ void run_phases(std::integer_sequence<int, i...>,
                                           const typename Program::Arguments& arguments, const Where& at,
                                           typename Program::Thread& thread) {
  ((Program::phase(Phase<first + i>(), arguments, at, thread), __syncthreads()), ...);
}

// Blocks beyond what a grid may have are taken in turns.
template <class Program>
__global__ void __launch_bounds__(Program::most_threads, Program::least_blocks)
    run_program(const __grid_constant__ typename Program::Arguments arguments, std::int64_t blocks) {
  extern __shared__ __align__(16) unsigned char shared[];
  for (std::int64_t block = blockIdx.x; block < blocks; block += gridDim.x) {
    typename Program::Thread thread;
    Where at{block, static_cast<int>(threadIdx.x), static_cast<int>(blockDim.x), 0, shared};
    run_phases<Program, 0>(std::make_integer_sequence<int, Program::before>(), arguments, at, thread);
    constexpr int second = Program::before + Program::during, third = second + Program::after;
    const std::int64_t rounds = Program::during + Program::last ? Program::rounds(arguments, at) : 0;
    for (at.round = 0; at.round != rounds; ++at.round)
      run_phases<Program, Program::before>(std::make_integer_sequence<int, Program::during>(), arguments, at, thread);
    run_phases<Program, second>(std::make_integer_sequence<int, Program::after>(), arguments, at, thread);
    for (at.round = 0; at.round != rounds && Program::last; ++at.round)
      run_phases<Program, third>(std::make_integer_sequence<int, Program::last>(), arguments, at, thread);
  }
}

class DeviceLauncher {
 public:
  explicit DeviceLauncher(void* stream) : stream_(static_cast<cudaStream_t>(stream)) {}

  int error() const { return static_cast<int>(error_); }

  int processors() { return attribute(cudaDevAttrMultiProcessorCount, 1); }
  // Bytes of shared memory that a block may have.
  int shared_memory() { return attribute(cudaDevAttrMaxSharedMemoryPerBlockOptin, default_shared_bytes); }

  template <class Program>
  void launch(std::int64_t blocks, int threads, int shared_bytes, const typename Program::Arguments& arguments) {
    if (blocks == 0 || error_ != cudaSuccess) return;
    const auto kernel = run_program<Program>;
    // All that the device allows: the limit is the kernel's and not the launch's, and another thread's smaller one
    // would end this launch. What a block takes decides how many fit on an SM, not the limit.
    if (shared_bytes > default_shared_bytes)
      check(cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, shared_memory()));
    const dim3 grid(static_cast<unsigned>(smaller(blocks, most_blocks)));
    void* parameters[] = {const_cast<typename Program::Arguments*>(&arguments), &blocks};
    if (error_ == cudaSuccess)
      check(cudaLaunchKernel(reinterpret_cast<const void*>(kernel), grid, dim3(threads), parameters, shared_bytes,
                             stream_));
  }

 private:
  static constexpr int default_shared_bytes = 48 * 1024;
  static constexpr std::int64_t most_blocks = 0x7fffffff;

  int attribute(cudaDeviceAttr which, int otherwise) {
    int device = 0, value = otherwise;
    check(cudaGetDevice(&device));
    check(cudaDeviceGetAttribute(&value, which, device));
    return value;
  }
  // Keeps the first error; the runtime's memory of it is cleared, as it is returned.
  void check(cudaError_t error) {
    if (error == cudaSuccess) return;
    cudaGetLastError();
    if (error_ == cudaSuccess) error_ = error;
  }
  cudaStream_t stream_;
  cudaError_t error_ = cudaSuccess;
};

}  // namespace abawkit::cuda
