// Memory: blocks of the host that count as a device's or as pinned, and copies between them, counted by what a copy
// costs on a GPU: one from or to pageable memory stalls the host.
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>

#include "standin.h"

namespace standin {

namespace {

struct Block {
  std::size_t bytes;
  Memory memory;
};

std::mutex mutex;
std::map<std::uintptr_t, Block> blocks;  // by where they begin

void add_block(const void* begin, std::size_t bytes, Memory memory) {
  const std::lock_guard lock(mutex);
  blocks[reinterpret_cast<std::uintptr_t>(begin)] = {bytes, memory};
}

bool remove_block(const void* begin) {
  const std::lock_guard lock(mutex);
  return blocks.erase(reinterpret_cast<std::uintptr_t>(begin)) > 0;
}

// What is in new memory has no meaning: NaN in every floating-point type.
void* allocate(std::size_t bytes, Memory memory) {
  const std::size_t size = (bytes + 511) / 512 * 512;
  void* const block = std::aligned_alloc(512, size ? size : 512);
  if (block == nullptr) return nullptr;
  std::memset(block, 0xff, size);
  add_block(block, size, memory);
  return block;
}

const char* copy_name(Place to, Place from) {
  if (to == Place::device && from == Place::device) return "copy on the device";
  if (to == Place::device) return from == Place::pinned ? "copy in, pinned" : "copy in, pageable";
  if (from == Place::device) return to == Place::pinned ? "copy out, pinned" : "copy out, pageable";
  return "copy on the host";
}

cudaError_t queue_copy(void* to, const void* from, std::size_t bytes, cudaStream_t stream) {
  const Place places[] = {find_memory(to).place, find_memory(from).place};
  const char* const name = copy_name(places[0], places[1]);
  if (captured_into(stream) && (places[0] == Place::pageable || places[1] == Place::pageable))
    return check_no_capture(stream);
  count(name);
  count(std::string(name) + ", bytes", static_cast<long>(bytes));
  return queue(stream, name, [=] { std::memmove(to, from, bytes); });
}

}  // namespace

Memory find_memory(const void* address) {
  const std::lock_guard lock(mutex);
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  auto next = blocks.upper_bound(at);
  if (next != blocks.begin()) {
    const auto& [begin, block] = *--next;
    if (at < begin + block.bytes) return block.memory;
  }
  return {Place::pageable, -1};
}

}  // namespace standin

using namespace standin;

extern "C" {

cudaError_t cudaMalloc(void** block, size_t bytes) {
  if (const cudaError_t error = check_no_capture_on_this_thread()) return error;
  count("allocation on the device");
  *block = allocate(bytes, {Place::device, current_device()});
  return *block ? cudaSuccess : fail(cudaErrorMemoryAllocation);
}

cudaError_t cudaFree(void* block) {
  if (block == nullptr) return cudaSuccess;
  if (const cudaError_t error = check_no_capture_on_this_thread()) return error;
  count("release on the device");
  if (!remove_block(block)) return fail(cudaErrorInvalidValue);
  std::free(block);
  return cudaSuccess;
}

cudaError_t cudaHostAlloc(void** block, size_t bytes, unsigned) {
  count("allocation of pinned memory");
  *block = allocate(bytes, {Place::pinned, -1});
  return *block ? cudaSuccess : fail(cudaErrorMemoryAllocation);
}

cudaError_t cudaFreeHost(void* block) {
  if (!remove_block(block)) return fail(cudaErrorInvalidValue);
  std::free(block);
  return cudaSuccess;
}

cudaError_t cudaHostRegister(void* block, size_t bytes, unsigned) {
  count("registration of pinned memory");
  add_block(block, bytes, {Place::pinned, -1});
  return cudaSuccess;
}

cudaError_t cudaHostUnregister(void* block) {
  return remove_block(block) ? cudaSuccess : fail(cudaErrorHostMemoryNotRegistered);
}

cudaError_t cudaPointerGetAttributes(cudaPointerAttributes* attributes, const void* address) {
  const Memory memory = find_memory(address);
  *attributes = cudaPointerAttributes{};
  attributes->device = memory.device;
  attributes->type = memory.place == Place::device   ? cudaMemoryTypeDevice
                     : memory.place == Place::pinned ? cudaMemoryTypeHost
                                                     : cudaMemoryTypeUnregistered;
  if (memory.place != Place::pageable) attributes->hostPointer = const_cast<void*>(address);
  if (memory.place == Place::device) attributes->devicePointer = const_cast<void*>(address);
  return cudaSuccess;
}

cudaError_t cudaMemcpyAsync(void* to, const void* from, size_t bytes, cudaMemcpyKind, cudaStream_t stream) {
  return queue_copy(to, from, bytes, stream);
}

cudaError_t cudaMemcpy(void* to, const void* from, size_t bytes, cudaMemcpyKind) {
  if (const cudaError_t error = check_no_capture_on_this_thread()) return error;
  count("synchronisation, of a copy");
  return queue_copy(to, from, bytes, nullptr);
}

cudaError_t cudaMemcpyPeerAsync(void* to, int, const void* from, int, size_t bytes, cudaStream_t stream) {
  return queue_copy(to, from, bytes, stream);
}

cudaError_t cudaMemcpy2DAsync(void* to, size_t to_pitch, const void* from, size_t from_pitch, size_t width,
                              size_t height, cudaMemcpyKind, cudaStream_t stream) {
  for (size_t row = 0; row < height; ++row) {
    const auto error = queue_copy(static_cast<char*>(to) + row * to_pitch,
                                  static_cast<const char*>(from) + row * from_pitch, width, stream);
    if (error) return error;
  }
  return cudaSuccess;
}

cudaError_t cudaMemsetAsync(void* to, int value, size_t bytes, cudaStream_t stream) {
  count("fill");
  return queue(stream, "fill", [=] { std::memset(to, value, bytes); });
}

cudaError_t cudaMemset(void* to, int value, size_t bytes) { return cudaMemsetAsync(to, value, bytes, nullptr); }
}
