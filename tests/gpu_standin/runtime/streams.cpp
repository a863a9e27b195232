// Streams and events. Work is done when it is queued, so that there is nothing to wait for; waiting is counted.
#include "capture.h"
#include "standin.h"

using namespace standin;

namespace standin {

int device_of(cudaStream_t stream) { return is_default(stream) ? current_device() : stream->device; }

cudaError_t queue(cudaStream_t stream, const std::string& name, Work work) {
  if (device_of(stream) != current_device()) return fail(cudaErrorInvalidResourceHandle);
  if (Graph* const graph = captured_into(stream))
    graph->nodes.push_back({name, std::move(work)});
  else if (work)
    work();
  return cudaSuccess;
}

}  // namespace standin

extern "C" {

cudaError_t cudaStreamCreateWithPriority(cudaStream_t* stream, unsigned, int priority) {
  *stream = new CUstream_st{current_device(), priority, nullptr};
  return cudaSuccess;
}

cudaError_t cudaStreamCreateWithFlags(cudaStream_t* stream, unsigned flags) {
  return cudaStreamCreateWithPriority(stream, flags, 0);
}

cudaError_t cudaStreamCreate(cudaStream_t* stream) { return cudaStreamCreateWithPriority(stream, 0, 0); }

cudaError_t cudaStreamDestroy(cudaStream_t stream) {
  delete stream;
  return cudaSuccess;
}

cudaError_t cudaStreamGetPriority(cudaStream_t stream, int* priority) {
  *priority = is_default(stream) ? 0 : stream->priority;
  return cudaSuccess;
}

cudaError_t cudaStreamSynchronize(cudaStream_t stream) {
  count("synchronisation, of a stream");
  return check_no_capture(stream);
}

cudaError_t cudaStreamQuery(cudaStream_t stream) { return check_no_capture(stream); }

cudaError_t cudaDeviceSynchronize() {
  count("synchronisation, of a device");
  return check_no_capture_on_this_thread();
}

cudaError_t cudaStreamWaitEvent(cudaStream_t stream, cudaEvent_t event, unsigned) {
  count("wait of a stream for an event");
  if (event->capture && !is_default(stream)) stream->capture = event->capture;
  return cudaSuccess;
}

cudaError_t cudaEventCreateWithFlags(cudaEvent_t* event, unsigned) {
  *event = new CUevent_st{};
  return cudaSuccess;
}

cudaError_t cudaEventCreate(cudaEvent_t* event) { return cudaEventCreateWithFlags(event, 0); }

cudaError_t cudaEventDestroy(cudaEvent_t event) {
  delete event;
  return cudaSuccess;
}

cudaError_t cudaEventRecordWithFlags(cudaEvent_t event, cudaStream_t stream, unsigned) {
  count("event");
  event->capture = is_default(stream) ? nullptr : stream->capture;
  return cudaSuccess;
}

cudaError_t cudaEventRecord(cudaEvent_t event, cudaStream_t stream) {
  return cudaEventRecordWithFlags(event, stream, 0);
}

cudaError_t cudaEventSynchronize(cudaEvent_t event) {
  count("synchronisation, of an event");
  return event->capture ? fail_capture(event->capture) : cudaSuccess;
}

cudaError_t cudaEventQuery(cudaEvent_t event) { return event->capture ? fail_capture(event->capture) : cudaSuccess; }

// No time passes on a device that is none; 1 ms keeps what divides by it finite.
cudaError_t cudaEventElapsedTime(float* milliseconds, cudaEvent_t, cudaEvent_t) {
  *milliseconds = 1;
  return cudaSuccess;
}
}
