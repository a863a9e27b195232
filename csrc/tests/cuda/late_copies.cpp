#include "late_copies.h"

#include <cstring>
#include <utility>

namespace abawkit::cuda {

namespace {
LateCopies* current = nullptr;
}  // namespace

void LateCopies::set_current(LateCopies* copies) { current = copies; }

void LateCopies::close() { groups_.push_back(std::exchange(open_, {})); }

void LateCopies::wait(int groups) {
  for (; static_cast<int>(groups_.size()) > groups; groups_.pop_front())
    for (const Copy& copy : groups_.front()) std::memcpy(copy.to, copy.from, 16);
}

// Called by cuda/copies.h.
bool postpone_copy(const void* from, void* to) {
  if (current) current->start({from, to});
  return current != nullptr;
}
void close_postponed() {
  if (current) current->close();
}
void do_postponed(int groups) {
  if (current) current->wait(groups);
}

}  // namespace abawkit::cuda
