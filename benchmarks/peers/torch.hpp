#pragma once
// SPDX-License-Identifier: MIT
// libtorch, where scripts/bench_peers.sh has built its library (torch/library.cpp): found at run
// time, and this file includes none of its headers.
#include <algorithm>
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <adze/bench/library.hpp>
#include <adze/core/error.hpp>
#include <adze/nn/module.hpp>

#include "torch/interface.hpp"

namespace peers {

class torch_library {
 public:
  torch_library() : library_(adze::bench::library::open({"libadze_torch.so"})) {
    found_ = library_ && find(error, "adze_torch_error") && find(version, "adze_torch_version") &&
             find(threads, "adze_torch_threads") && find(make, "adze_torch_model") &&
             find(step, "adze_torch_step") && find(restart, "adze_torch_restart") &&
             find(forward, "adze_torch_forward") && find(quantize, "adze_torch_quantize") &&
             find(op, "adze_torch_op") && find(run, "adze_torch_run") &&
             find(result, "adze_torch_result") && find(free_op, "adze_torch_free_op");
  }
  explicit operator bool() const { return found_; }
  static constexpr const char* missing =
      "not here: libadze_torch.so is not found; scripts/bench_peers.sh makes it";

  [[noreturn]] void fail() const { adze::raise<adze::state_error>("libtorch: ", error()); }
  void check(int status) const {
    if (status != 0) fail();
  }
  void* check(void* made) const {
    if (made == nullptr) fail();
    return made;
  }

  adze_torch_error_call* error = nullptr;
  adze_torch_version_call* version = nullptr;
  adze_torch_threads_call* threads = nullptr;
  adze_torch_model_call* make = nullptr;
  adze_torch_step_call* step = nullptr;
  adze_torch_restart_call* restart = nullptr;
  adze_torch_forward_call* forward = nullptr;
  adze_torch_quantize_call* quantize = nullptr;
  adze_torch_op_call* op = nullptr;
  adze_torch_run_call* run = nullptr;
  adze_torch_result_call* result = nullptr;
  adze_torch_free_op_call* free_op = nullptr;

 private:
  template <class F> bool find(F*& f, const char* name) {
    f = library_.find<F>(name);
    return f != nullptr;
  }
  adze::bench::library library_;
  bool found_ = false;
};

// A contiguous tensor as libtorch takes it. Lives as long as x.
class torch_input {
 public:
  explicit torch_input(adze::tensor x, std::string name = "")
      : held_(adze::contiguous(x)), name_(std::move(name)) {
    for (adze::index_t i = 0; i < held_.rank(); ++i) sizes_.push_back(held_.size(i));
  }
  adze_torch_tensor view() const {
    return {name_.c_str(), held_.data(), sizes_.data(), static_cast<int>(sizes_.size()),
            held_.dtype() == adze::i64 ? 1 : 0};
  }

 private:
  adze::tensor held_;
  std::string name_;
  std::vector<std::int64_t> sizes_;
};

// libtorch's twin of one of our networks, with the weights that ours has now.
class torch_model {
 public:
  template <adze::module M>
  torch_model(const torch_library& torch, const std::string& kind, const M& like,
              bool channels_last)
      : torch_(&torch) {
    const adze::no_grad guard;
    std::vector<torch_input> inputs;
    for (const auto& list : {adze::named_parameters(like), adze::named_buffers(like)})
      for (const auto& [name, x] : list)
        if (x.dtype() == adze::f32) inputs.emplace_back(x, name);
    std::vector<adze_torch_tensor> all;
    for (const torch_input& i : inputs) all.push_back(i.view());
    made_ = torch.check(
        torch.make(kind.c_str(), all.data(), static_cast<int>(all.size()), channels_last ? 1 : 0));
  }

  double step(const torch_input& x, const std::int64_t* labels, double rate) const {
    double loss = 0;
    const adze_torch_tensor in = x.view();
    torch_->check(torch_->step(made_, &in, labels, rate, &loss));
    return loss;
  }
  void restart() const { torch_->check(torch_->restart(made_)); }
  void quantize(const char* engine, const torch_input& seen) const {
    const adze_torch_tensor in = seen.view();
    torch_->check(torch_->quantize(made_, engine, &in));
  }
  void forward(const torch_input& x, float* out) const {
    const adze_torch_tensor in = x.view();
    torch_->check(torch_->forward(made_, &in, out));
  }

 private:
  const torch_library* torch_;
  void* made_ = nullptr;  // kept until the program ends
};

}  // namespace peers
