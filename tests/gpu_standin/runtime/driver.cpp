// The runtime's way to functions of the driver. Any name is found: torch looks up all that it might need at once. To
// call one that is not written here names it and ends the process.
#include <array>
#include <cstring>
#include <string>
#include <utility>

#include "standin.h"

namespace {

int succeed() { return 0; }

// A function for each of the names that were looked up, so that it can say which it stands for.
constexpr std::size_t most_names = 128;
std::array<std::string, most_names> looked_up;
std::size_t looked_up_count = 0;

template <std::size_t i>
void refuse_name() {
  standin::refuse(looked_up[i].c_str());
}

template <std::size_t... i>
constexpr std::array<void (*)(), most_names> refusals(std::index_sequence<i...>) {
  return {refuse_name<i>...};
}

void* find_function(const char* name) {
  if (std::strncmp(name, "cuLogs", 6) == 0) return reinterpret_cast<void*>(succeed);
  if (looked_up_count == most_names) standin::refuse("the driver, for more names than there is room for");
  static constexpr auto functions = refusals(std::make_index_sequence<most_names>());
  looked_up[looked_up_count] = name;
  return reinterpret_cast<void*>(functions[looked_up_count++]);
}

}  // namespace

extern "C" {

cudaError_t cudaGetDriverEntryPointByVersion(const char* name, void** function, unsigned, unsigned long long,
                                             cudaDriverEntryPointQueryResult* result) {
  *function = find_function(name);
  if (result) *result = cudaDriverEntryPointSuccess;
  return cudaSuccess;
}

#if CUDART_VERSION < 13000
cudaError_t cudaGetDriverEntryPoint(const char* name, void** function, unsigned long long flags,
                                    cudaDriverEntryPointQueryResult* result) {
  return cudaGetDriverEntryPointByVersion(name, function, CUDART_VERSION, flags, result);
}
#endif
}
