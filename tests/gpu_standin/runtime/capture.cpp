// Capture of streams into graphs, with the rules of CUDA's programming guide: what waits for the device, allocates
// outside relaxed mode or copies pageable memory is an error, and ends the capture. Graphs are replayed: copies, fills
// and operators of ours once more, on what is in memory then.
#include "capture.h"

#include <map>
#include <mutex>

namespace standin {

namespace {

std::mutex mutex;
std::map<unsigned long long, std::shared_ptr<Capture>> captures;  // those under way, by their number
thread_local cudaStreamCaptureMode thread_mode = cudaStreamCaptureModeGlobal;

std::shared_ptr<Capture> capture_of(cudaStream_t stream) {
  if (is_default(stream) || !stream->capture) return nullptr;
  if (!stream->capture->active) stream->capture = nullptr;
  return stream->capture;
}

}  // namespace

Graph* captured_into(cudaStream_t stream) {
  const auto capture = capture_of(stream);
  return capture ? capture->graph.get() : nullptr;
}

cudaError_t fail_capture(const std::shared_ptr<Capture>& capture) {
  if (!capture->active) return cudaSuccess;
  capture->valid = false;
  return fail(cudaErrorStreamCaptureUnsupported);
}

cudaError_t check_no_capture(cudaStream_t stream) {
  const auto capture = capture_of(stream);
  if (capture) return fail_capture(capture);
  // The default stream waits for all others of its device.
  return is_default(stream) ? check_no_capture_on_this_thread() : cudaSuccess;
}

cudaError_t check_no_capture_on_this_thread() {
  if (thread_mode == cudaStreamCaptureModeRelaxed) return cudaSuccess;
  const std::lock_guard lock(mutex);
  for (const auto& [id, capture] : captures)
    if (capture->mode == cudaStreamCaptureModeGlobal) return fail_capture(capture);
  return cudaSuccess;
}

}  // namespace standin

using namespace standin;

namespace {

Graph* graph_of(cudaGraph_t graph) { return reinterpret_cast<Graph*>(graph); }

cudaError_t describe_capture(cudaStream_t stream, cudaStreamCaptureStatus* status, unsigned long long* id,
                             cudaGraph_t* graph) {
  const auto capture = capture_of(stream);
  *status = !capture         ? cudaStreamCaptureStatusNone
            : capture->valid ? cudaStreamCaptureStatusActive
                             : cudaStreamCaptureStatusInvalidated;
  if (id) *id = capture ? capture->id : 0;
  if (graph) *graph = capture ? reinterpret_cast<cudaGraph_t>(capture->graph.get()) : nullptr;
  return cudaSuccess;
}

}  // namespace

extern "C" {

cudaError_t cudaThreadExchangeStreamCaptureMode(cudaStreamCaptureMode* mode) {
  std::swap(*mode, thread_mode);
  return cudaSuccess;
}

cudaError_t cudaStreamIsCapturing(cudaStream_t stream, cudaStreamCaptureStatus* status) {
  return describe_capture(stream, status, nullptr, nullptr);
}

#if CUDART_VERSION >= 13000
cudaError_t cudaStreamGetCaptureInfo(cudaStream_t stream, cudaStreamCaptureStatus* status, unsigned long long* id,
                                     cudaGraph_t* graph, const cudaGraphNode_t**, const cudaGraphEdgeData**, size_t*) {
  return describe_capture(stream, status, id, graph);
}
#else
cudaError_t cudaStreamGetCaptureInfo_v2(cudaStream_t stream, cudaStreamCaptureStatus* status, unsigned long long* id,
                                        cudaGraph_t* graph, const cudaGraphNode_t**, size_t*) {
  return describe_capture(stream, status, id, graph);
}
#endif

cudaError_t cudaStreamBeginCapture(cudaStream_t stream, cudaStreamCaptureMode mode) {
  if (is_default(stream) || capture_of(stream)) return fail(cudaErrorStreamCaptureUnsupported);
  static unsigned long long last_id = 0;
  const std::lock_guard lock(mutex);
  stream->capture = std::make_shared<Capture>(Capture{++last_id, mode, stream});
  captures[last_id] = stream->capture;
  count("capture");
  return cudaSuccess;
}

cudaError_t cudaStreamEndCapture(cudaStream_t stream, cudaGraph_t* graph) {
  *graph = nullptr;
  const auto capture = capture_of(stream);
  if (!capture || capture->origin != stream) return fail(cudaErrorStreamCaptureUnmatched);
  const std::lock_guard lock(mutex);
  capture->active = false;
  captures.erase(capture->id);
  stream->capture = nullptr;
  if (!capture->valid) return fail(cudaErrorStreamCaptureInvalidated);
  *graph = reinterpret_cast<cudaGraph_t>(capture->graph.release());
  return cudaSuccess;
}

cudaError_t cudaGraphGetNodes(cudaGraph_t graph, cudaGraphNode_t*, size_t* count) {
  *count = graph_of(graph)->nodes.size();
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiateWithFlags(cudaGraphExec_t* runnable, cudaGraph_t graph, unsigned long long) {
  *runnable = reinterpret_cast<cudaGraphExec_t>(new Graph(*graph_of(graph)));
  return cudaSuccess;
}

cudaError_t cudaGraphInstantiate(cudaGraphExec_t* runnable, cudaGraph_t graph, unsigned long long flags) {
  return cudaGraphInstantiateWithFlags(runnable, graph, flags);
}

cudaError_t cudaGraphLaunch(cudaGraphExec_t runnable, cudaStream_t stream) {
  count("replay of a graph");
  for (const Node& node : reinterpret_cast<Graph*>(runnable)->nodes)
    if (const cudaError_t error = queue(stream, node.name, node.work)) return error;
  return cudaSuccess;
}

cudaError_t cudaGraphDestroy(cudaGraph_t graph) {
  delete graph_of(graph);
  return cudaSuccess;
}

cudaError_t cudaGraphExecDestroy(cudaGraphExec_t runnable) {
  delete reinterpret_cast<Graph*>(runnable);
  return cudaSuccess;
}
}
