// Prints every launch of a call without running any: program, blocks, threads, bytes of shared memory and rounds.
//   launches inference|forward|backward float32|bfloat16|float16 IMAGES PROCESSORS SHARED_BYTES
// Sizes are the published ones; gates are not asked for.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "cuda/dispatch.h"

using namespace abawkit;

namespace {

class Recorder {
 public:
  Recorder(int processors, int shared_memory) : processors_(processors), shared_memory_(shared_memory) {}
  int processors() const { return processors_; }
  int shared_memory() const { return shared_memory_; }

  template <class Program>
  void launch(std::int64_t blocks, int threads, int shared_bytes, const typename Program::Arguments& arguments) {
    const cuda::Where first{0, 0, threads, 0, nullptr};
    const long long rounds = Program::during + Program::last ? Program::rounds(arguments, first) : 0;
    std::printf("%s\t%lld\t%d\t%d\t%lld\n", name<Program>().c_str(), static_cast<long long>(blocks), threads,
                shared_bytes, rounds);
  }

 private:
  template <class Program>
  static std::string name() {
    const std::string all = __PRETTY_FUNCTION__, from = "[with Program = ";
    const std::size_t begin = all.find(from) + from.size();
    return all.substr(begin, all.find("; ", begin) - begin);
  }
  int processors_, shared_memory_;
};

}  // namespace

int main(int count, char** words) {
  if (count != 6) return 2;
  const std::string call = words[1];
  const Type type = !std::strcmp(words[2], "bfloat16")  ? Type::bfloat16
                    : !std::strcmp(words[2], "float16") ? Type::float16
                                                        : Type::float32;
  const Sizes sizes{std::atoll(words[3]), 512, 7, 7, 2, 16};
  Recorder recorder(std::atoi(words[4]), std::atoi(words[5]));
  if (call == "inference") {
    Inference inference{};
    inference.sizes = sizes;
    inference.features.type = type;
    cuda::run_inference(inference, recorder);
  } else if (call == "forward") {
    Forward forward{};
    forward.sizes = sizes;
    forward.features.type = type;
    cuda::run_forward(forward, recorder);
  } else if (call == "backward") {
    Backward backward{};
    backward.sizes = sizes;
    backward.features.type = type;
    backward.batch_statistics = true;
    cuda::run_backward(backward, recorder);
  } else {
    return 2;
  }
}
