// Asynchronous copies of a thread that are done when it waits for them, the latest moment that a device may choose.
// Where a program reads too early, or forgets to wait, its results then differ from those of copies that are done at
// once.
#pragma once

#include <deque>
#include <vector>

namespace abawkit::cuda {

class LateCopies {
 public:
  struct Copy {
    const void* from;
    void* to;
  };
  void start(const Copy& copy) { open_.push_back(copy); }
  void close();
  void wait(int groups);

  // Whose copies are postponed from now on; null for nobody's.
  static void set_current(LateCopies* copies);

 private:
  std::vector<Copy> open_;
  std::deque<std::vector<Copy>> groups_;
};

}  // namespace abawkit::cuda
