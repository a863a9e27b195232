// Work for the caller's threads.
#pragma once

#include <cstdint>

#include "dda.h"

namespace abawkit::ABAWKIT_ISA {

// Runs f(i) for 0..pieces on the pool.
template <class F>
inline void parallel(const Pool& pool, std::int64_t pieces, const F& f) {
  if (pieces == 0) return;
  pool.run(
      pieces,
      [](std::int64_t begin, std::int64_t end, void* context) {
        for (std::int64_t i = begin; i < end; ++i) (*static_cast<const F*>(context))(i);
      },
      const_cast<F*>(&f));
}

}  // namespace abawkit::ABAWKIT_ISA
