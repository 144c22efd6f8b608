#pragma once
// SPDX-License-Identifier: MIT
// Keeping one thread on one processor, as taskset does; what the system refuses is left as it was.
#include <sched.h>

namespace adze::bench {

// Keeps the calling thread on the processor where it is, for as long as this lives. Threads made
// meanwhile stay there as well.
class pinned {
 public:
  explicit pinned(bool wanted) {
    cpu_set_t one;
    CPU_ZERO(&one);
    const int here = ::sched_getcpu();
    if (!wanted || here < 0 || ::sched_getaffinity(0, sizeof before_, &before_) != 0) return;
    CPU_SET(here, &one);
    set_ = ::sched_setaffinity(0, sizeof one, &one) == 0;
  }
  pinned(const pinned&) = delete;
  pinned& operator=(const pinned&) = delete;
  ~pinned() {
    if (set_) ::sched_setaffinity(0, sizeof before_, &before_);
  }

 private:
  cpu_set_t before_{};
  bool set_ = false;
};

}  // namespace adze::bench
