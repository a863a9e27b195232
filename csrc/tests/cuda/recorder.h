// Keeps, for each byte of shared and global memory, who touched it in which phase. What no GPU run is sure to show is
// an error here, even where the result is right:
//   race             two threads of a block touch a byte between two barriers, or two blocks of a launch, one of them
//   to
//                    write
//   uninitialised    a byte is read that nothing was written to: of shared memory and of a thread's state since the
//                    block began, of a workspace and of results since the call began
//   out of bounds    an access that lies in no memory of the call as a whole, or in another thread's state
//   constant         a write to an input
//   result           a byte of a result that a call didn't write, or wrote more than once
//
// Threads run one after another, and each access comes in through `access` (see recorder_callbacks.cpp).
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "host_launcher.h"

namespace abawkit::cuda {

enum class Role { input, result, workspace, shared, thread, arguments };

// Accesses of one warp's threads at one place of the program, for counting.
class AccessSink {
 public:
  virtual ~AccessSink() = default;
  virtual void begin_phase(const std::string& program, int phase) = 0;
  virtual void begin_thread(int thread) = 0;
  // `offset` into the memory; counts from an address that the device would align to 128 bytes.
  virtual void access(const std::string& memory, Role role, std::uint64_t offset, int bytes, bool write,
                      const void* where) = 0;
  virtual void end_phase() = 0;
};

class Recorder : public Observer {
 public:
  explicit Recorder(AccessSink* sink = nullptr) : sink_(sink) {}

  // Before a call's launches: the memory that they may touch. Ignores what is null.
  void begin_call();
  void add(const std::string& name, const void* data, std::size_t bytes, Role role);
  void end_call();

  // Treats this phase of all programs, if it is not negative, as if no barrier followed it, and all blocks of a launch
  // as taken in turns by the same threads.
  void leave_out_barrier(int phase) { left_out_ = phase; }

  // Prints an access out of bounds before it is carried out: the process may not outlive it.
  void announce() { announced_ = true; }

  void begin_launch(const HostProgram&) override;
  void begin_block(const Block&) override;
  void begin_phase(int phase) override;
  void begin_thread(int thread) override;
  void end_thread() override;
  void end_phase(int phase) override;

  void access(const void* at, std::size_t bytes, bool write, const void* where);

  // The first of each kind for each program, phase and memory, and how many there were.
  struct Fault {
    std::string kind, program, text;
    std::int64_t count;
  };
  std::vector<Fault> faults() const;
  void forget_faults() { faults_.clear(); }

 private:
  using Stamp = std::uint32_t;  // numbers the times between two barriers, over all blocks and launches
  struct Cell {
    Stamp written = 0, read = 0, first_read = 0;  // `first_read`: in the last launch that read it
    std::uint16_t writer = 0, reader = 0;         // thread; `many` readers
    std::uint16_t writes = 0;                     // in this call, 2 for more
  };
  static constexpr std::uint16_t many = 0xffff;
  struct Memory {
    std::string name;
    Role role;
    std::uintptr_t begin = 0, end = 0;
    std::size_t stride = 0, used = 0;  // of the threads' states: how far apart, and the bytes of one
    Stamp since = 0;                   // bytes written before are as good as not written
    // A cell is for `unit()` bytes from an address that these divide: the most that all accesses so far have touched as
    // a whole. An access that doesn't splits all cells.
    int shift = 3;
    std::size_t unit() const { return std::size_t(1) << shift; }
    std::uintptr_t first = 0;  // address of the first cell
    std::vector<Cell> cells;
    bool recorded() const { return role != Role::input && role != Role::arguments; }
  };

  Memory* find(std::uintptr_t at, std::size_t bytes, const void* where);
  void place(Memory& memory, const void* data, std::size_t bytes);
  void split(Memory& memory, std::uintptr_t at, std::size_t bytes);
  void read(Memory& memory, std::size_t cell);
  void write(Memory& memory, std::size_t cell);
  void check_owner(const Memory& memory, std::size_t offset, std::size_t bytes);
  void report(const char* kind, const Memory& memory, std::size_t cell, const std::string& detail);
  void report_at(const char* kind, const std::string& memory, std::int64_t offset, const std::string& detail);
  static bool is_global(const Memory& memory) { return memory.role != Role::shared && memory.role != Role::thread; }
  bool of_other_block(Stamp stamp) const { return stamp >= launch_began_ && stamp < block_began_; }

  AccessSink* sink_;
  std::vector<Memory> memories_, block_memories_;  // of the call, in the order of addresses; of the block
  Memory* recent_[256] = {};                       // by the access's place in the program
  Stamp now_ = 1, call_began_ = 1, launch_began_ = 1, block_began_ = 1;
  int left_out_ = -1;
  bool barrier_pending_ = false, announced_ = false;
  std::string program_;
  int phase_ = 0, thread_ = 0;
  std::int64_t block_ = 0;
  std::map<std::tuple<std::string, std::string, int, std::string>, Fault> faults_;
};

// The one that accesses are reported to at this time, or null.
extern Recorder* active_recorder;

}  // namespace abawkit::cuda
