// Runs programs as a GPU does: a thread of the system for each thread of a block, a barrier where __syncthreads() is,
// a few blocks at once, which go over all blocks in strides. Shared memory holds what earlier blocks left, at first
// NaN.
#pragma once

#include <pthread.h>
#include <semaphore.h>

#include <cstdlib>
#include <deque>
#include <functional>

#include "host_program.h"

namespace abawkit::cuda {

// Threads that live on and take a job each when they are told to.
class ThreadTeam {
 public:
  using Job = std::function<void(int number)>;
  ThreadTeam() { sem_init(&done_, 0, 0); }

  // Runs job(0) to job(count - 1) at the same time.
  void run(int count, const Job& job) {
    job_ = &job;
    while (static_cast<int>(workers_.size()) < count) add_worker();
    for (int i = 0; i < count; ++i) sem_post(&workers_[i].start);
    for (int i = 0; i < count; ++i) wait(done_);
  }

 private:
  struct Worker {
    ThreadTeam* team;
    int number;
    sem_t start;
  };
  static void wait(sem_t& semaphore) {
    while (sem_wait(&semaphore)) {
    }
  }
  static void* work(void* argument) {
    Worker& worker = *static_cast<Worker*>(argument);
    for (;;) {
      wait(worker.start);
      (*worker.team->job_)(worker.number);
      sem_post(&worker.team->done_);
    }
  }
  void add_worker() {
    Worker& worker = workers_.emplace_back();
    worker.team = this;
    worker.number = static_cast<int>(workers_.size()) - 1;
    sem_init(&worker.start, 0, 0);
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256 * 1024);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_t thread;
    if (pthread_create(&thread, &attributes, work, &worker)) std::abort();
    pthread_attr_destroy(&attributes);
  }

  std::deque<Worker> workers_;
  sem_t done_;
  const Job* job_ = nullptr;
};

// Two barriers that take turns. ThreadSanitizer has a thread that wakes up late learn what others had done when they
// came to the same barrier again, which hides races; to come to the other one is before that.
class TurnBarrier {
 public:
  explicit TurnBarrier(int threads) {
    for (auto& each : barriers_) pthread_barrier_init(&each, nullptr, threads);
  }
  TurnBarrier(const TurnBarrier&) = delete;
  ~TurnBarrier() {
    for (auto& each : barriers_) pthread_barrier_destroy(&each);
  }
  // `turn` counts a thread's waits.
  void wait(int turn) { pthread_barrier_wait(&barriers_[turn % 2]); }

 private:
  pthread_barrier_t barriers_[2];
};

class ThreadLauncher {
 public:
  explicit ThreadLauncher(int blocks_at_once = 2) : blocks_at_once_(blocks_at_once) {}

  // Calls barrier(phase, pass) in each thread behind each phase, where pass() waits for the other threads of the block,
  // and end() in each thread behind all.
  template <class Barrier, class End>
  void run(const HostProgram& program, std::int64_t blocks, int threads, int shared_bytes, const Barrier& barrier,
           const End& end) const {
    static ThreadTeam* const team = new ThreadTeam;  // its threads outlive main
    if (blocks == 0) return;
    if (threads > program.most_threads) std::abort();
    const int grid = static_cast<int>(smaller(blocks, blocks_at_once_));
    PoisonedMemory shared(grid, shared_bytes);
    std::deque<TurnBarrier> barriers;
    for (int i = 0; i < grid; ++i) barriers.emplace_back(threads);
    team->run(grid * threads, [&](int number) {
      const int first = number / threads, thread = number % threads;
      int turn = 0;
      for (std::int64_t block = first; block < blocks; block += grid) {
        PoisonedMemory state(1, program.thread_bytes);
        program.construct(state.at(0));
        Where at{block, thread, threads, 0, shared.at(first)};
        each_phase(program, at, [&](int phase) {
          program.phases[phase](program.arguments.get(), at, state.at(0));
          barrier(phase, [&] { barriers[first].wait(turn++); });
        });
      }
      end();
    });
  }

 private:
  int blocks_at_once_;
};

}  // namespace abawkit::cuda
