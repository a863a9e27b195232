// Programs that each do one wrong thing, in blocks of 64 threads, and one that does none: what the recorder must find.
#pragma once

#include <vector>

#include "host_program.h"

namespace abawkit::cuda::faulty {

struct Arguments {
  const float* input;
  float* output;
  std::int64_t count;  // entries of each, 64 a block
};

struct FaultyProgram {
  const char* fault;  // the kinds that are to be found, "" for none
  HostProgram (*erase)(const Arguments&);
  int shared_bytes;
};

std::vector<FaultyProgram> all_programs();

}  // namespace abawkit::cuda::faulty
