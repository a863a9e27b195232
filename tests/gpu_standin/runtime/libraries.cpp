// The driver, cuBLAS and cuDNN: handles and descriptors are blocks of memory that nobody reads, settings are taken and
// forgotten, and what would compute is counted. Arguments that are not looked at are left out: the calling convention
// allows it.
#include <cstdint>
#include <cstdlib>
#include <cstring>

extern "C" {

void standin_count(const char* call);

static int create(void** object) {
  *object = std::calloc(1, 256);
  return 0;
}

static int destroy(void* object) {
  std::free(object);
  return 0;
}

static int computes(const char* name) {
  standin_count("library call");
  standin_count(name);
  return 0;
}

#define CREATES(name) \
  int name(void** object) { return create(object); }
#define DESTROYS(name) \
  int name(void* object) { return destroy(object); }
#define IGNORES(name) \
  int name() { return 0; }
#define COMPUTES(name) \
  int name() { return computes("library call " #name); }

#ifdef STANDIN_DRIVER
// Every device has a context, as it has once anything was done on it.
int cuDevicePrimaryCtxGetState(int, unsigned* flags, int* active) {
  *flags = 0;
  *active = 1;
  return 0;
}
int cuCtxGetCurrent(void** context) {
  static char any;
  *context = &any;
  return 0;
}
#endif

#ifdef STANDIN_CUBLAS
CREATES(cublasCreate_v2)
DESTROYS(cublasDestroy_v2)
IGNORES(cublasSetMathMode)
IGNORES(cublasSetPointerMode_v2)
IGNORES(cublasSetStream_v2)
IGNORES(cublasSetWorkspace_v2)
COMPUTES(cublasDgemm_v2)
COMPUTES(cublasDgemmStridedBatched)
COMPUTES(cublasGemmEx)
COMPUTES(cublasGemmStridedBatchedEx)
COMPUTES(cublasSgemm_v2)
COMPUTES(cublasSgemmEx)
COMPUTES(cublasSgemmStridedBatched)
int cublasGetMathMode(void*, int* mode) { return *mode = 0; }
int cublasGetPointerMode_v2(void*, int* mode) { return *mode = 0; }
#endif

#ifdef STANDIN_CUBLASLT
CREATES(cublasLtMatmulDescCreate)
CREATES(cublasLtMatmulPreferenceCreate)
CREATES(cublasLtMatrixLayoutCreate)
DESTROYS(cublasLtMatmulDescDestroy)
DESTROYS(cublasLtMatmulPreferenceDestroy)
DESTROYS(cublasLtMatrixLayoutDestroy)
IGNORES(cublasLtMatmulDescSetAttribute)
IGNORES(cublasLtMatmulPreferenceSetAttribute)
IGNORES(cublasLtMatrixLayoutSetAttribute)
COMPUTES(cublasLtMatmul)
// One algorithm that needs no workspace: a result of zeros (96 bytes in cublasLt.h).
int cublasLtMatmulAlgoGetHeuristic(void*, void*, void*, void*, void*, void*, void*, int, void* results, int* found) {
  std::memset(results, 0, 96);
  *found = 1;
  return 0;
}
#endif

#ifdef STANDIN_CUDNN
// Of the major version 9, and not older than what torch was compiled against.
std::size_t cudnnGetVersion() { return 99900; }
std::size_t cudnnGetCudartVersion() { return 0; }
const char* cudnnGetErrorString(int) { return "an error of the stand-in's cuDNN"; }
void cudnnGetLastErrorString(char* text, std::size_t size) {
  if (size) *text = 0;
}
CREATES(cudnnCreate)
CREATES(cudnnCreateActivationDescriptor)
CREATES(cudnnCreateConvolutionDescriptor)
CREATES(cudnnCreateFilterDescriptor)
CREATES(cudnnCreateTensorDescriptor)
DESTROYS(cudnnDestroyActivationDescriptor)
DESTROYS(cudnnDestroyConvolutionDescriptor)
DESTROYS(cudnnDestroyFilterDescriptor)
DESTROYS(cudnnDestroyTensorDescriptor)
IGNORES(cudnnSetActivationDescriptor)
IGNORES(cudnnSetFilterNdDescriptor)
IGNORES(cudnnSetStream)
IGNORES(cudnnSetTensorNdDescriptor)
COMPUTES(cudnnBatchNormalizationBackwardEx)
COMPUTES(cudnnBatchNormalizationForwardInference)
COMPUTES(cudnnBatchNormalizationForwardTrainingEx)

int cudnnGetBatchNormalizationBackwardExWorkspaceSize(void*, int, int, void*, void*, void*, void*, void*, void*, void*,
                                                      std::size_t* bytes) {
  *bytes = 0;
  return 0;
}
int cudnnGetBatchNormalizationForwardTrainingExWorkspaceSize(void*, int, int, void*, void*, void*, void*, void*,
                                                             std::size_t* bytes) {
  *bytes = 0;
  return 0;
}
int cudnnGetBatchNormalizationTrainingExReserveSpaceSize(void*, int, int, void*, void*, std::size_t* bytes) {
  *bytes = 0;
  return 0;
}

// The backend interface, by which torch runs convolutions: descriptors of any kind; each query for descriptors finds
// one, numbers are 0 (an engine without workspace), lists of notes are empty.
int cudnnBackendCreateDescriptor(int, void** object) { return create(object); }
DESTROYS(cudnnBackendDestroyDescriptor)
IGNORES(cudnnBackendFinalize)
IGNORES(cudnnBackendSetAttribute)
COMPUTES(cudnnBackendExecute)
int cudnnBackendGetAttribute(void*, int, int type, std::int64_t wanted, std::int64_t* found, void* values) {
  constexpr int int64 = 3, descriptor = 15;  // of cudnnBackendAttributeType_t
  const bool one = type == int64 || type == descriptor;
  if (found) *found = one ? 1 : 0;
  if (type == int64 && wanted > 0 && values) *static_cast<std::int64_t*>(values) = 0;
  return 0;
}
#endif
}
