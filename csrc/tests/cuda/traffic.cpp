#include "traffic.h"

#include <algorithm>
#include <set>

namespace abawkit::cuda {

namespace {

constexpr int warp = 32, sector = 32, banks = 32, bank_bytes = 4, most_bytes = 16;

// How many different pieces of `piece` bytes the accesses touch.
std::int64_t count_pieces(const std::vector<std::uint64_t>& offsets, int bytes, int piece) {
  std::vector<std::uint64_t> pieces;
  for (const std::uint64_t offset : offsets)
    for (std::uint64_t i = offset / piece; i <= (offset + bytes - 1) / piece; ++i) pieces.push_back(i);
  std::sort(pieces.begin(), pieces.end());
  return std::unique(pieces.begin(), pieces.end()) - pieces.begin();
}

}  // namespace

Moved& Moved::operator+=(const Moved& other) {
  accesses += other.accesses;
  bytes += other.bytes;
  sectors += other.sectors;
  passes += other.passes;
  conflicts += other.conflicts;
  return *this;
}

Passes count_passes(const std::vector<std::uint64_t>& offsets, const std::vector<int>& lanes, int bytes) {
  const int parts = bytes == 16 ? 4 : bytes == 8 ? 2 : 1;
  Passes passes{0, 0};
  for (int part = 0; part < parts; ++part) {
    std::set<std::uint64_t> words;
    for (std::size_t i = 0; i < offsets.size(); ++i)
      if (lanes[i] / (warp / parts) == part)
        for (int byte = 0; byte < bytes; byte += bank_bytes) words.insert((offsets[i] + byte) / bank_bytes);
    int of_bank[banks] = {};
    for (const std::uint64_t word : words) ++of_bank[word % banks];
    const int most = *std::max_element(of_bank, of_bank + banks);
    passes.all += most;
    passes.conflicts += most ? most - 1 : 0;
  }
  return passes;
}

void Traffic::begin_phase(const std::string& program, int phase) {
  program_ = program;
  phase_ = phase;
  thread_ = -1;
}

void Traffic::begin_thread(int thread) {
  if (thread_ >= 0 && thread / warp != thread_ / warp) end_warp();
  thread_ = thread;
}

void Traffic::access(const std::string& memory, Role role, std::uint64_t offset, int bytes, bool write,
                     const void* where) {
  // What is larger than a register goes in several accesses of one size.
  int size = most_bytes;
  while (bytes % size || offset % size) size /= 2;
  for (int piece = 0; bytes > 0; ++piece) {
    add(memory, role, offset, size, write, reinterpret_cast<std::uintptr_t>(where) * 2 + write + (piece << 20));
    offset += size;
    bytes -= size;
  }
}

void Traffic::add(const std::string& memory, Role role, std::uint64_t offset, int bytes, bool write,
                  std::uintptr_t number) {
  Place& place = places_[number];
  if (place.thread != thread_) place.times = 0;
  place.thread = thread_;
  if (place.times == place.accesses.size()) place.accesses.push_back({&memory, role, bytes, write, {}, {}});
  Access& access = place.accesses[place.times++];
  access.offsets.push_back(offset);
  access.lanes.push_back(thread_ % warp);
}

void Traffic::end_phase() { end_warp(); }

void Traffic::end_warp() {
  for (const auto& [number, place] : places_)
    for (const Access& access : place.accesses) {
      Moved& moved = moved_[{program_, phase_, *access.memory, access.write}];
      ++moved.accesses;
      moved.bytes += count_pieces(access.offsets, access.bytes, 1);
      if (access.role == Role::shared) {
        const Passes passes = count_passes(access.offsets, access.lanes, access.bytes);
        moved.passes += passes.all;
        moved.conflicts += passes.conflicts;
      } else {
        moved.sectors += count_pieces(access.offsets, access.bytes, sector);
      }
    }
  places_.clear();
}

}  // namespace abawkit::cuda
