// The CPU as a place where kernels run: its threads, memory for a call's workspace, and the processes that share a
// batch.
#pragma once

#include <torch/csrc/stable/tensor.h>

#include <cstddef>
#include <memory>

#include "dda.h"
#include "mixed_block.h"
#include "operands.h"
#include "processes.h"

namespace abawkit {

// The processes of calls whose batch norms are synchronised; Python sets their sum.
inline Processes known_processes{};

inline Processes find_processes(bool synchronised) {
  STD_TORCH_CHECK(!synchronised || known_processes.several(), "abawkit: nothing adds up the sums of several processes");
  return synchronised ? known_processes : Processes{};
}

// Where kernels run on a CPU: torch's own threads.
struct OnCpu {
  explicit OnCpu(const Tensor&) : pool{run, static_cast<int>(torch::stable::get_num_threads())} {}
  static Processes processes(bool synchronised) { return find_processes(synchronised); }
  static void run(int64_t pieces, void (*body)(int64_t, int64_t, void*), void* context) {
    TORCH_ERROR_CODE_CHECK(torch_parallel_for(0, pieces, 1, body, context));
  }
  std::size_t bytes(const abawkit::Inference& c) const {
    return abawkit::cpu::inference_workspace(c.sizes, c.features.type, pool.threads);
  }
  std::size_t bytes(const abawkit::Forward& c) const { return abawkit::cpu::forward_workspace(c, pool.threads); }
  std::size_t bytes(const abawkit::Backward& c) const { return abawkit::cpu::backward_workspace(c, pool.threads); }
  std::size_t bytes(const abawkit::MixedBlock& c) const { return abawkit::cpu::mixed_block_workspace(c, pool.threads); }
  // A thread keeps what is small: to give it back and ask anew would cost a page fault for every 4 KB.
  static std::shared_ptr<std::byte[]> memory(const Tensor&, std::size_t bytes, std::size_t small = 4 << 20) {
    if (bytes > small) return std::shared_ptr<std::byte[]>(new std::byte[bytes]);
    thread_local std::shared_ptr<std::byte[]> kept;
    thread_local std::size_t size = 0;
    if (size < bytes) {
      kept.reset(new std::byte[bytes]);
      size = bytes;
    }
    return kept;
  }
  void operator()(const abawkit::Inference& c) const { abawkit::cpu::inference(c, pool); }
  void operator()(const abawkit::Forward& c) const { abawkit::cpu::forward(c, pool); }
  void operator()(const abawkit::Backward& c) const { abawkit::cpu::backward(c, pool); }
  void operator()(const abawkit::MixedBlock& c) const { abawkit::cpu::mixed_block(c, pool); }
  abawkit::Pool pool;
};

}  // namespace abawkit
