#pragma once
// SPDX-License-Identifier: MIT
// Peers that are found when a benchmark runs: shared libraries opened by name, each with its own
// symbols, so that two libraries of the same interface can be compared in one process. A peer that
// is not there is no error.
#include <initializer_list>
#include <string>
#include <utility>

#include <dlfcn.h>

#include <adze/fwd.hpp>

namespace adze::bench {

// A library that stays open until the program ends: runtimes of threads do not like to be closed.
class library {
 public:
  library() = default;

  // The first of these names that the system's loader finds (LD_LIBRARY_PATH counts).
  static library open(std::initializer_list<const char*> names) {
    library made;
    for (const char* name : names) {
      // Local: the same names in another library are not replaced by these.
      made.handle_ = ::dlopen(name, RTLD_NOW | RTLD_LOCAL);
      if (made.handle_ == nullptr) continue;
      made.name_ = name;
      break;
    }
    return made;
  }

  explicit operator bool() const { return handle_ != nullptr; }
  const std::string& name() const { return name_; }

  // A function by its name; null where the library has none. F is its type: int(int).
  template <class F> F* find(const char* symbol) const {
    return handle_ == nullptr ? nullptr : reinterpret_cast<F*>(::dlsym(handle_, symbol));
  }

 private:
  void* handle_ = nullptr;
  std::string name_;
};

}  // namespace adze::bench
