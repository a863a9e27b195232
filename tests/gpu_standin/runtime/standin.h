// A CUDA runtime without a GPU: what its parts, and the operators that run on it, share.
//
// Device memory is host memory, and all work is done when it is queued. What a real runtime refuses is refused here,
// with the same code: a stream of another device, memory that is not a device's, a synchronisation during a capture.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <string>

#include "operators.h"

namespace standin {

// --- calls.cpp

void count(const std::string& call, long times = 1);

// Keeps the error for cudaGetLastError() and returns it.
cudaError_t fail(cudaError_t error);

// For a function that torch asks for and that the stand-in lacks: prints its name and ends the process.
[[noreturn]] void refuse(const char* function);

// --- device.cpp

int current_device();

// --- memory.cpp

enum class Place { pageable, pinned, device };

struct Memory {
  Place place;
  int device;  // of device memory
};

Memory find_memory(const void* address);

// --- streams.cpp, capture.cpp

struct Graph;

// Adds work to the graph that the stream is being captured into, or does it at once.
cudaError_t queue(cudaStream_t stream, const std::string& name, Work work);

// The graph that a stream is being captured into, or null.
Graph* captured_into(cudaStream_t stream);

// The device of a stream.
int device_of(cudaStream_t stream);

// For calls that wait for the device, or may: an error while a stream is being captured, which it ends.
cudaError_t check_no_capture(cudaStream_t stream);
cudaError_t check_no_capture_on_this_thread();

}  // namespace standin
