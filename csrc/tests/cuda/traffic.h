// Counts what warps move, from the recorder's accesses: the k-th time that each thread of a warp comes to a place of
// the program is one access of the warp.
#pragma once

#include <map>
#include <tuple>
#include <unordered_map>

#include "recorder.h"

namespace abawkit::cuda {

// Of one memory, in one phase of one program.
struct Moved {
  std::int64_t accesses = 0;   // of warps
  std::int64_t bytes = 0;      // that an access touches; what several threads read together counts once
  std::int64_t sectors = 0;    // of 32 bytes, of global memory
  std::int64_t passes = 0;     // through the banks of shared memory
  std::int64_t conflicts = 0;  // passes beyond those that accesses of their size need
  Moved& operator+=(const Moved& other);
};

// The passes that one access of a warp to shared memory takes, and how many of them are conflicts. Banks are 4 bytes
// wide and there are 32; threads that touch different words of a bank take turns. Accesses of 8 bytes go by halves of a
// warp, those of 16 bytes by quarters. Source: NVIDIA, CUDA C Programming Guide, "Shared Memory" of compute
// capability 5.x (banks and words) and of 2.x (64-bit and 128-bit accesses).
struct Passes {
  int all, conflicts;
};
Passes count_passes(const std::vector<std::uint64_t>& offsets, const std::vector<int>& lanes, int bytes);

class Traffic : public AccessSink {
 public:
  struct Key {
    std::string program;
    int phase;
    std::string memory;
    bool write;
    bool operator<(const Key& other) const {
      return std::tie(program, phase, memory, write) < std::tie(other.program, other.phase, other.memory, other.write);
    }
  };
  const std::map<Key, Moved>& moved() const { return moved_; }
  void forget() { moved_.clear(); }

  void begin_phase(const std::string& program, int phase) override;
  void begin_thread(int thread) override;
  void access(const std::string& memory, Role role, std::uint64_t offset, int bytes, bool write,
              const void* where) override;
  void end_phase() override;

 private:
  struct Access {
    const std::string* memory;
    Role role;
    int bytes;
    bool write;
    std::vector<std::uint64_t> offsets;
    std::vector<int> lanes;
  };
  struct Place {
    int thread = -1;
    std::size_t times = 0;  // that this thread came here
    std::vector<Access> accesses;
  };
  void add(const std::string& memory, Role role, std::uint64_t offset, int bytes, bool write, std::uintptr_t place);
  void end_warp();

  std::map<Key, Moved> moved_;
  std::unordered_map<std::uintptr_t, Place> places_;
  std::string program_;
  int phase_ = 0, thread_ = -1;
};

}  // namespace abawkit::cuda
