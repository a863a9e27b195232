#include "recorder.h"

#include <pthread.h>

#include <algorithm>
#include <cstdio>
#include <iterator>

namespace abawkit::cuda {

Recorder* active_recorder = nullptr;

namespace {

struct Stack {
  std::uintptr_t begin, end;
  Stack() {
    pthread_attr_t attributes;
    void* lowest = nullptr;
    std::size_t bytes = 0;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &lowest, &bytes);
    pthread_attr_destroy(&attributes);
    begin = reinterpret_cast<std::uintptr_t>(lowest);
    end = begin + bytes;
  }
};

// A thread's own variables are on the stack of the only thread that there is.
bool is_local(std::uintptr_t at) {
  static const Stack stack;
  return at >= stack.begin && at < stack.end;
}

}  // namespace

void Recorder::begin_call() {
  memories_.clear();
  call_began_ = ++now_;
}

void Recorder::place(Memory& memory, const void* data, std::size_t bytes) {
  const std::uintptr_t begin = reinterpret_cast<std::uintptr_t>(data);
  if (memory.begin == begin && memory.end == begin + bytes) return;
  memory.begin = begin;
  memory.end = begin + bytes;
  memory.first = begin >> memory.shift << memory.shift;
  if (memory.recorded()) memory.cells.assign((memory.end - memory.first + memory.unit() - 1) >> memory.shift, Cell());
}

void Recorder::add(const std::string& name, const void* data, std::size_t bytes, Role role) {
  if (!data) return;
  Memory memory;
  memory.name = name;
  memory.role = role;
  memory.since = call_began_;
  place(memory, data, bytes);
  const auto after = [](const Memory& a, const Memory& b) { return a.begin < b.begin; };
  memories_.insert(std::upper_bound(memories_.begin(), memories_.end(), memory, after), std::move(memory));
}

void Recorder::end_call() {
  program_ = "call";
  phase_ = 0;
  for (const Memory& memory : memories_) {
    if (memory.role != Role::result) continue;
    for (std::size_t i = 0; i < memory.cells.size(); ++i) {
      if (memory.cells[i].writes == 0) report("result", memory, i, "was not written");
      if (memory.cells[i].writes > 1) report("result", memory, i, "was written more than once");
    }
  }
}

void Recorder::begin_launch(const HostProgram& program) {
  program_ = program.name;
  launch_began_ = ++now_;
  barrier_pending_ = false;
  block_memories_.assign(3, Memory());
  std::fill(std::begin(recent_), std::end(recent_), nullptr);
  block_memories_[0].name = "shared memory", block_memories_[0].role = Role::shared;
  block_memories_[1].name = "thread state", block_memories_[1].role = Role::thread;
  block_memories_[2].name = "arguments", block_memories_[2].role = Role::arguments;
  place(block_memories_[2], program.arguments.get(), program.argument_bytes);
}

void Recorder::begin_block(const Block& block) {
  if (!barrier_pending_) ++now_;
  block_began_ = now_;
  block_ = block.number;
  place(block_memories_[0], block.shared, block.shared_bytes);
  place(block_memories_[1], block.states, block.state_stride * block.threads);
  block_memories_[1].stride = block.state_stride;
  block_memories_[1].used = block.state_bytes;
  for (const int i : {0, 1}) block_memories_[i].since = now_;
}

void Recorder::begin_phase(int phase) {
  phase_ = phase;
  if (sink_) sink_->begin_phase(program_, phase);
}

void Recorder::begin_thread(int thread) {
  thread_ = thread;
  if (sink_) sink_->begin_thread(thread);
  active_recorder = this;
}

void Recorder::end_thread() { active_recorder = nullptr; }

void Recorder::end_phase(int phase) {
  if (sink_) sink_->end_phase();
  barrier_pending_ = phase == left_out_;
  if (!barrier_pending_) ++now_;
}

Recorder::Memory* Recorder::find(std::uintptr_t at, std::size_t bytes, const void* where) {
  const auto holds = [&](const Memory& memory) { return at >= memory.begin && at + bytes <= memory.end; };
  Memory*& recent = recent_[reinterpret_cast<std::uintptr_t>(where) % 256];
  if (recent && holds(*recent)) return recent;
  for (Memory& each : block_memories_)
    if (holds(each)) return recent = &each;
  const auto after = [](std::uintptr_t address, const Memory& memory) { return address < memory.begin; };
  const auto next = std::upper_bound(memories_.begin(), memories_.end(), at, after);
  return next != memories_.begin() && holds(*(next - 1)) ? recent = &*(next - 1) : nullptr;
}

void Recorder::split(Memory& memory, std::uintptr_t at, std::size_t bytes) {
  const Memory before = memory;
  while ((at | bytes) & (memory.unit() - 1)) --memory.shift;
  memory.first = memory.begin >> memory.shift << memory.shift;
  memory.cells.resize((memory.end - memory.first + memory.unit() - 1) >> memory.shift);
  for (std::size_t i = 0; i < memory.cells.size(); ++i)
    memory.cells[i] = before.cells[(memory.first + (i << memory.shift) - before.first) >> before.shift];
}

inline void Recorder::read(Memory& memory, std::size_t i) {
  Cell& cell = memory.cells[i];
  // Whoever writes after a first read compares with that read.
  if (cell.read == now_ && (cell.reader == thread_ || cell.reader == many)) return;
  if (cell.written < memory.since) report("uninitialised", memory, i, "was read and never written");
  if (cell.written == now_ && cell.writer != thread_)
    report("race", memory, i, "is written by thread " + std::to_string(cell.writer) + " and read");
  if (is_global(memory) && of_other_block(cell.written))
    report("race", memory, i, "is written by another block and read");
  if (cell.first_read < launch_began_) cell.first_read = now_;
  cell.reader = cell.read != now_ ? static_cast<std::uint16_t>(thread_) : many;
  cell.read = now_;
}

inline void Recorder::write(Memory& memory, std::size_t i) {
  Cell& cell = memory.cells[i];
  if (cell.written == now_ && cell.writer != thread_)
    report("race", memory, i, "is written by thread " + std::to_string(cell.writer) + " and written");
  if (cell.read == now_ && cell.reader != thread_)
    report("race", memory, i,
           "is read by " + (cell.reader == many ? "many threads" : "thread " + std::to_string(cell.reader)) +
               " and written");
  if (is_global(memory) && (of_other_block(cell.written) || of_other_block(cell.first_read)))
    report("race", memory, i, "is touched by another block and written");
  cell.written = now_;
  cell.writer = static_cast<std::uint16_t>(thread_);
  if (cell.writes < 2) ++cell.writes;
}

void Recorder::access(const void* address, std::size_t bytes, bool write_access, const void* where) {
  const std::uintptr_t at = reinterpret_cast<std::uintptr_t>(address);
  if (is_local(at)) return;
  Memory* const memory = find(at, bytes, where);
  if (!memory) {
    // Names what lies in front of it.
    const Memory* nearest = nullptr;
    for (const auto* group : {&memories_, &block_memories_})
      for (const Memory& each : *group)
        if (each.begin <= at && (!nearest || each.begin > nearest->begin)) nearest = &each;
    report_at("out of bounds", nearest ? nearest->name : "no memory", nearest ? at - nearest->begin : 0,
              std::string(write_access ? "is written, " : "is read, ") + std::to_string(bytes) + " bytes, of " +
                  std::to_string(nearest ? nearest->end - nearest->begin : 0));
    return;
  }
  const std::size_t offset = at - memory->begin;
  if (!memory->recorded()) {
    if (write_access) report_at("constant", memory->name, offset, "is an input and is written");
  } else {
    if (memory->role == Role::thread) check_owner(*memory, offset, bytes);
    if ((at | bytes) & (memory->unit() - 1)) split(*memory, at, bytes);
    const std::size_t begin = (at - memory->first) >> memory->shift, end = begin + (bytes >> memory->shift);
    for (std::size_t i = begin; i < end; ++i)
      if (write_access) {
        write(*memory, i);
      } else {
        read(*memory, i);
      }
  }
  if (sink_ && memory->role != Role::thread && memory->role != Role::arguments) {
    // Workspaces are cut at addresses that are aligned; all else is where the caller's misalignment puts it.
    const std::uint64_t aligned = memory->role == Role::workspace ? at : offset + memory->begin % 16;
    sink_->access(memory->name, memory->role, aligned, static_cast<int>(bytes), write_access, where);
  }
}

void Recorder::check_owner(const Memory& memory, std::size_t offset, std::size_t bytes) {
  const std::size_t own = thread_ * memory.stride;
  if (offset >= own && offset + bytes <= own + memory.used) return;
  report_at("out of bounds", memory.name, static_cast<std::int64_t>(offset) - static_cast<std::int64_t>(own),
            "is touched, " + std::to_string(bytes) + " bytes, of " + std::to_string(memory.used));
}

void Recorder::report(const char* kind, const Memory& memory, std::size_t cell, const std::string& detail) {
  report_at(kind, memory.name, static_cast<std::int64_t>(memory.first + (cell << memory.shift) - memory.begin), detail);
}

void Recorder::report_at(const char* kind, const std::string& memory, std::int64_t offset, const std::string& detail) {
  Fault& fault = faults_[{kind, program_, phase_, memory}];
  if (fault.count++) return;
  fault.kind = kind;
  fault.program = program_;
  fault.text = std::string(kind) + ": " + program_ + ", phase " + std::to_string(phase_) + ", block " +
               std::to_string(block_) + ", thread " + std::to_string(thread_) + ": byte " + std::to_string(offset) +
               " of " + memory + " " + detail;
  if (announced_ && fault.kind == "out of bounds") std::fprintf(stderr, "%s\n", fault.text.c_str());
}

std::vector<Recorder::Fault> Recorder::faults() const {
  std::vector<Fault> all;
  for (const auto& [key, fault] : faults_) all.push_back(fault);
  return all;
}

}  // namespace abawkit::cuda
