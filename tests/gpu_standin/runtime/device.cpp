// Devices: as many as STANDIN_GPUS says (1), each with the properties of an H200.
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "standin.h"

namespace {

constexpr int processors = 132, shared_bytes = 49152, shared_bytes_optin = 232448, shared_bytes_processor = 233472;
constexpr std::size_t memory_bytes = 141ull << 30;

thread_local int device = 0;

int device_count() {
  static const int count = [] {
    const char* text = std::getenv("STANDIN_GPUS");
    return text ? std::atoi(text) : 1;
  }();
  return count;
}

}  // namespace

namespace standin {
int current_device() { return device; }
}  // namespace standin

extern "C" {

cudaError_t cudaGetDeviceCount(int* count) {
  *count = device_count();
  return cudaSuccess;
}

cudaError_t cudaGetDevice(int* current) {
  *current = device;
  return cudaSuccess;
}

cudaError_t cudaSetDevice(int index) {
  if (index < 0 || index >= device_count()) return standin::fail(cudaErrorInvalidDevice);
  device = index;
  return cudaSuccess;
}

cudaError_t cudaDriverGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaRuntimeGetVersion(int* version) {
  *version = CUDART_VERSION;
  return cudaSuccess;
}

cudaError_t cudaGetDeviceProperties(cudaDeviceProp* p, int index) {
  *p = cudaDeviceProp{};
  std::snprintf(p->name, sizeof p->name, "stand-in %d", index);
  p->major = 9;
  p->minor = 0;
  p->multiProcessorCount = processors;
  p->warpSize = 32;
  p->maxThreadsPerBlock = 1024;
  p->maxThreadsPerMultiProcessor = 2048;
  p->maxThreadsDim[0] = p->maxThreadsDim[1] = 1024;
  p->maxThreadsDim[2] = 64;
  p->maxGridSize[0] = 0x7fffffff;
  p->maxGridSize[1] = p->maxGridSize[2] = 65535;
  p->totalGlobalMem = memory_bytes;
  p->sharedMemPerBlock = shared_bytes;
  p->sharedMemPerBlockOptin = shared_bytes_optin;
  p->sharedMemPerMultiprocessor = shared_bytes_processor;
  p->regsPerBlock = p->regsPerMultiprocessor = 65536;
  p->l2CacheSize = 60 << 20;
  p->textureAlignment = 512;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetAttribute(int* value, cudaDeviceAttr attribute, int) {
  switch (attribute) {
    case cudaDevAttrMultiProcessorCount:
      *value = processors;
      break;
    case cudaDevAttrComputeCapabilityMajor:
      *value = 9;
      break;
    case cudaDevAttrMaxThreadsPerBlock:
      *value = 1024;
      break;
    case cudaDevAttrMaxThreadsPerMultiProcessor:
      *value = 2048;
      break;
    case cudaDevAttrWarpSize:
      *value = 32;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlock:
      *value = shared_bytes;
      break;
    case cudaDevAttrMaxSharedMemoryPerBlockOptin:
      *value = shared_bytes_optin;
      break;
    default:  // features that the stand-in does not have
      *value = 0;
  }
  return cudaSuccess;
}

cudaError_t cudaMemGetInfo(size_t* free, size_t* total) {
  *free = *total = memory_bytes;
  return cudaSuccess;
}

cudaError_t cudaDeviceCanAccessPeer(int* can, int, int) {
  *can = 0;
  return cudaSuccess;
}

cudaError_t cudaDeviceGetPCIBusId(char* text, int size, int index) {
  std::snprintf(text, size, "0000:%02x:00.0", index);
  return cudaSuccess;
}

cudaError_t cudaDeviceGetStreamPriorityRange(int* least, int* greatest) {
  *least = 0;
  *greatest = -5;
  return cudaSuccess;
}
}
