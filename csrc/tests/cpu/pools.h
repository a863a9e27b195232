// Pools that hand out pieces all at once, backwards, or to a thread each.
#pragma once

#include <cstdint>
#include <thread>
#include <vector>

namespace {

using Run = void (*)(std::int64_t, void (*)(std::int64_t, std::int64_t, void*), void*);

inline void all_at_once(std::int64_t pieces, void (*body)(std::int64_t, std::int64_t, void*), void* context) {
  body(0, pieces, context);
}
inline void backwards(std::int64_t pieces, void (*body)(std::int64_t, std::int64_t, void*), void* context) {
  for (std::int64_t i = pieces - 1; i >= 0; --i) body(i, i + 1, context);
}
inline void own_threads(std::int64_t pieces, void (*body)(std::int64_t, std::int64_t, void*), void* context) {
  std::vector<std::thread> threads;
  for (std::int64_t i = 0; i < pieces; ++i) threads.emplace_back([=] { body(i, i + 1, context); });
  for (auto& thread : threads) thread.join();
}

}  // namespace
