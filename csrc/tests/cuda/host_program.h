// A program of cuda/program.h behind pointers to functions, so that what runs programs is compiled once.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "cuda/program.h"

namespace abawkit::cuda {

struct HostProgram {
  std::string name;                 // such as "Sums<Fixed<7, 7, 2, 16>, float>"
  int before, during, after, last;  // see program.h
  int most_threads;
  std::size_t thread_bytes;  // of a Program::Thread
  std::unique_ptr<const void, void (*)(const void*)> arguments;
  std::size_t argument_bytes;
  std::int64_t (*rounds)(const void* arguments, const Where&);
  void (*construct)(void* thread);
  std::vector<void (*)(const void* arguments, const Where&, void* thread)> phases;
};

// The name of a class, as it stands in the compiler's name of this function.
template <class Program>
std::string name_of_program() {
  const std::string function = __PRETTY_FUNCTION__;
  const std::string start = "Program = ", space = "abawkit::cuda::";
  const std::size_t first = function.find(start) + start.size();
  std::string name = function.substr(first, function.find_first_of(";]", first) - first);
  for (std::size_t at = name.find(space); at != std::string::npos; at = name.find(space)) name.erase(at, space.size());
  return name;
}

template <class Program, int... i>
std::vector<void (*)(const void*, const Where&, void*)> phases_of(std::integer_sequence<int, i...>) {
  return {[](const void* arguments, const Where& at, void* thread) {
    Program::phase(Phase<i>(), *static_cast<const typename Program::Arguments*>(arguments), at,
                   *static_cast<typename Program::Thread*>(thread));
  }...};
}

template <class Program>
HostProgram erase_program(const typename Program::Arguments& arguments) {
  using Arguments = typename Program::Arguments;
  using Thread = typename Program::Thread;
  constexpr int count = Program::before + Program::during + Program::after + Program::last;
  return {name_of_program<Program>(),
          Program::before,
          Program::during,
          Program::after,
          Program::last,
          Program::most_threads,
          sizeof(Thread),
          {new Arguments(arguments), [](const void* a) { delete static_cast<const Arguments*>(a); }},
          sizeof(Arguments),
          [](const void* a, const Where& at) -> std::int64_t {
            return Program::rounds(*static_cast<const Arguments*>(a), at);
          },
          [](void* memory) { new (memory) Thread; },
          phases_of<Program>(std::make_integer_sequence<int, count>())};
}

// Calls run_phase(i) for the phases of a block in their order, with at.round set.
template <class RunPhase>
void each_phase(const HostProgram& program, Where& at, const RunPhase& run_phase) {
  const auto some = [&](int first, int count) {
    for (int i = first; i < first + count; ++i) run_phase(i);
  };
  const int second = program.before + program.during, third = second + program.after;
  some(0, program.before);
  const std::int64_t rounds = program.during + program.last ? program.rounds(program.arguments.get(), at) : 0;
  for (at.round = 0; at.round < rounds; ++at.round) some(program.before, program.during);
  some(second, program.after);
  for (at.round = 0; at.round < rounds && program.last; ++at.round) some(third, program.last);
}

// Memory for `count` objects of `bytes` each, aligned to 16 bytes, that starts as NaN in every type.
class PoisonedMemory {
 public:
  PoisonedMemory(std::size_t count, std::size_t bytes)
      : stride_((bytes + sizeof(Vector) - 1) / sizeof(Vector)), vectors_(count * stride_) {
    poison();
  }
  void poison() {
    if (!vectors_.empty()) std::memset(vectors_.data(), 0xff, vectors_.size() * sizeof(Vector));
  }
  unsigned char* at(std::size_t i) { return reinterpret_cast<unsigned char*>(vectors_.data() + i * stride_); }
  std::size_t stride() const { return stride_ * sizeof(Vector); }

 private:
  struct alignas(16) Vector {
    unsigned char bytes[16];
  };
  std::size_t stride_;
  std::vector<Vector> vectors_;
};

}  // namespace abawkit::cuda
