// Runs programs on the host, block after block and thread after thread, in an order of choice: results that don't
// depend on it show that neither the threads of a phase nor the blocks of a launch race. An observer learns what runs.
#pragma once

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

#include "host_program.h"
#include "late_copies.h"

namespace abawkit::cuda {

enum class Order { ascending, descending, shuffled };

class Observer {
 public:
  struct Block {
    std::int64_t number;
    int threads, shared_bytes;
    unsigned char* shared;
    const unsigned char* states;  // of the threads, `state_stride` bytes apart
    std::size_t state_stride, state_bytes;
  };
  virtual ~Observer() = default;
  virtual void begin_launch(const HostProgram&) = 0;
  virtual void begin_block(const Block&) = 0;
  virtual void begin_phase(int phase) = 0;
  virtual void begin_thread(int thread) = 0;
  virtual void end_thread() = 0;
  virtual void end_phase(int phase) = 0;  // where the device has a barrier
};

class HostLauncher {
 public:
  explicit HostLauncher(Order order = Order::ascending, int processors = 4, int shared_memory = 227 * 1024,
                        Observer* observer = nullptr)
      : order_(order), processors_(processors), shared_memory_(shared_memory), observer_(observer) {}

  // Asynchronous copies are done when their thread waits for them, and not when it starts them.
  HostLauncher& with_late_copies() {
    late_ = true;
    return *this;
  }

  int processors() const { return processors_; }
  // Bytes that a block may have: 99 KiB where the compute capability is 8.6, 163 where it is 8.0, 227 where it is 9.0.
  int shared_memory() const { return shared_memory_; }

  template <class Program>
  void launch(std::int64_t blocks, int threads, int shared_bytes, const typename Program::Arguments& arguments) {
    run(erase_program<Program>(arguments), blocks, threads, shared_bytes);
  }

  void run(const HostProgram& program, std::int64_t blocks, int threads, int shared_bytes) {
    std::vector<std::int64_t> order(blocks);
    std::iota(order.begin(), order.end(), 0);
    permute(order);
    if (observer_) observer_->begin_launch(program);
    // What is in either when a block begins is of no meaning.
    PoisonedMemory shared(1, shared_bytes), states(threads, program.thread_bytes);
    for (const std::int64_t block : order) {
      shared.poison();
      states.poison();
      Where at{block, 0, threads, 0, shared.at(0)};
      if (observer_)
        observer_->begin_block(
            {block, threads, shared_bytes, at.shared, states.at(0), states.stride(), program.thread_bytes});
      copies_.assign(late_ ? threads : 0, {});
      for (int i = 0; i < threads; ++i) observed(i, [&] { program.construct(states.at(i)); });
      each_phase(program, at, [&](int phase) { run_phase(program, phase, at, states); });
    }
  }

 private:
  void run_phase(const HostProgram& program, int phase, Where at, PoisonedMemory& states) {
    std::vector<int> order(at.threads);
    std::iota(order.begin(), order.end(), 0);
    permute(order);
    if (observer_) observer_->begin_phase(phase);
    for (const int thread : order) {
      at.thread = thread;
      if (late_) LateCopies::set_current(&copies_[thread]);
      observed(thread, [&] { program.phases[phase](program.arguments.get(), at, states.at(thread)); });
      if (late_) LateCopies::set_current(nullptr);
    }
    if (observer_) observer_->end_phase(phase);
  }

  template <class Work>
  void observed(int thread, const Work& work) {
    if (observer_) observer_->begin_thread(thread);
    work();
    if (observer_) observer_->end_thread();
  }

  template <class Index>
  void permute(std::vector<Index>& order) {
    if (order_ == Order::descending) std::reverse(order.begin(), order.end());
    if (order_ == Order::shuffled) std::shuffle(order.begin(), order.end(), random_);
  }

  Order order_;
  int processors_, shared_memory_;
  Observer* observer_;
  bool late_ = false;
  std::vector<LateCopies> copies_;  // of the block's threads
  std::mt19937 random_{1};
};

}  // namespace abawkit::cuda
