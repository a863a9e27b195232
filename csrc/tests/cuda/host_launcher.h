// Runs programs on the host, block after block and thread after thread, in an order of choice: results that don't
// depend on it show that neither the threads of a phase nor the blocks of a launch race.
#pragma once

#include <algorithm>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "cuda/program.h"

namespace abawkit::cuda {

enum class Order { ascending, descending, shuffled };

class HostLauncher {
 public:
  explicit HostLauncher(Order order = Order::ascending, int processors = 4, int shared_memory = 227 * 1024)
      : order_(order), processors_(processors), shared_memory_(shared_memory) {}

  int processors() const { return processors_; }
  // Bytes that a block may have: 99 KiB where the compute capability is 8.6, 163 where it is 8.0, 227 where it is 9.0.
  int shared_memory() const { return shared_memory_; }

  template <class Program>
  void launch(std::int64_t blocks, int threads, int shared_bytes, const typename Program::Arguments& arguments) {
    std::vector<std::int64_t> order(blocks);
    std::iota(order.begin(), order.end(), 0);
    permute(order);
    for (const std::int64_t block : order) run<Program>(block, threads, shared_bytes, arguments);
  }

 private:
  template <class Program>
  void run(std::int64_t block, int threads, int shared_bytes, const typename Program::Arguments& arguments) {
    // What is in shared memory when a block begins is of no meaning: NaN. Exactly its size, for the sanitizer.
    std::vector<Vector> shared((shared_bytes + sizeof(Vector) - 1) / sizeof(Vector));
    unsigned char* const memory = reinterpret_cast<unsigned char*>(shared.data());
    std::fill(memory, memory + shared.size() * sizeof(Vector), 0xff);
    std::vector<typename Program::Thread> states(threads);
    Where at{block, 0, threads, 0, memory};
    phases<Program, 0>(std::make_integer_sequence<int, Program::before>(), arguments, at, states);
    const std::int64_t rounds = Program::rounds(arguments, at);
    for (at.round = 0; at.round < rounds; ++at.round)
      phases<Program, Program::before>(std::make_integer_sequence<int, Program::during>(), arguments, at, states);
    constexpr int second = Program::before + Program::during, third = second + Program::after;
    phases<Program, second>(std::make_integer_sequence<int, Program::after>(), arguments, at, states);
    for (at.round = 0; at.round < rounds; ++at.round)
      phases<Program, third>(std::make_integer_sequence<int, Program::last>(), arguments, at, states);
  }

  template <class Program, int first, int... i>
  void phases(std::integer_sequence<int, i...>, const typename Program::Arguments& arguments, const Where& at,
              std::vector<typename Program::Thread>& states) {
    (all_threads<Program, first + i>(arguments, at, states), ...);
  }

  template <class Program, int i>
  void all_threads(const typename Program::Arguments& arguments, Where at,
                   std::vector<typename Program::Thread>& states) {
    std::vector<int> order(states.size());
    std::iota(order.begin(), order.end(), 0);
    permute(order);
    for (const int thread : order) {
      at.thread = thread;
      Program::phase(Phase<i>(), arguments, at, states[thread]);
    }
  }

  template <class Index>
  void permute(std::vector<Index>& order) {
    if (order_ == Order::descending) std::reverse(order.begin(), order.end());
    if (order_ == Order::shuffled) std::shuffle(order.begin(), order.end(), random_);
  }

  struct alignas(16) Vector {
    unsigned char bytes[16];
  };
  Order order_;
  int processors_, shared_memory_;
  std::mt19937 random_{1};
};

}  // namespace abawkit::cuda
