#pragma once
// SPDX-License-Identifier: MIT
// The engine's state of a thread, and the guards that change it. Trivial and constinit: reading it
// costs no initialisation check. Every guard restores what it found, also when unwinding.
#include <adze/fwd.hpp>

namespace adze {

namespace detail {

struct observer;        // sees every recorded call: trace, checkpoint (op.hpp)
struct precision_rule;  // which class of op runs in which dtype (precision.hpp)

struct engine_state {
  bool no_grad = false;
  bool recomputing = false;  // inside a checkpoint's second run: statistics are not updated again
  bool anomaly = false;
  observer* watch = nullptr;
  precision_rule* rule = nullptr;
  std::uint64_t clock = 0;  // number of the newest node made here
  int depth = 0;            // nested backward runs
};
inline constinit thread_local engine_state state{};

// Saves the whole state and puts it back.
class state_guard {
 public:
  [[nodiscard]] state_guard() : before_(state) {}
  ~state_guard() {
    before_.clock = state.clock;
    state = before_;
  }
  state_guard(const state_guard&) = delete;
  state_guard& operator=(const state_guard&) = delete;

 private:
  engine_state before_;
};

}  // namespace detail

inline bool grad_enabled() { return !detail::state.no_grad; }

// While it lives, ops on this thread record nothing: `no_grad guard;`.
class no_grad {
 public:
  [[nodiscard]] no_grad() : before_(detail::state.no_grad) { detail::state.no_grad = true; }
  ~no_grad() { detail::state.no_grad = before_; }
  no_grad(const no_grad&) = delete;
  no_grad& operator=(const no_grad&) = delete;

 private:
  bool before_;
};

// Records again inside a no_grad region; `enable_grad(false)` is no_grad by value.
class enable_grad {
 public:
  [[nodiscard]] explicit enable_grad(bool on = true) : before_(detail::state.no_grad) {
    detail::state.no_grad = !on;
  }
  ~enable_grad() { detail::state.no_grad = before_; }
  enable_grad(const enable_grad&) = delete;
  enable_grad& operator=(const enable_grad&) = delete;

 private:
  bool before_;
};

}  // namespace adze
