// SPDX-License-Identifier: MIT
// Networks as they are used: the plan of a graph in f32 and in int8 (statically quantized), beside
// the model itself and libtorch. Problem lines:
//   inference <name> model= b=        the plan in f32 against eager runs, ours and libtorch's
//   inference_int8 <name> model= b=   the plan in int8 against ours in f32 and against libtorch's
//                                     quantized engines, with ranges seen on the same inputs
// The error is the distance from the eager model's outputs (root of the sum of squares), relative
// to their size; what eight bits may lose is a tenth.
#include <cmath>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <adze/adze.hpp>
#include <adze/bench/session.hpp>

#include "allocation_count.hpp"
#include "models.hpp"
#include "peers/torch.hpp"

namespace {

using namespace adze;

// The outputs of whichever candidate ran last, against the truth.
class outputs {
 public:
  explicit outputs(const tensor& truth) : truth_(contiguous(truth)), now_(empty_like(truth_)) {}

  float* data() { return now_.data_as<float>(); }
  void keep(const tensor& y) { now_ = y; }
  void spoil() { now_ = full(truth_.shape(), std::numeric_limits<double>::quiet_NaN()); }
  double error() const {
    const tensor y = contiguous(now_);
    double distance = 0, size = 0;
    for (index_t i = 0; i < truth_.numel(); ++i) {
      const double exact = truth_.data_as<float>()[i];
      const double off = static_cast<double>(y.data_as<float>()[i]) - exact;
      distance += off * off, size += exact * exact;
    }
    return std::sqrt(distance / size);
  }

 private:
  tensor truth_, now_;
};

// A network whose batch norms have seen something, its graphs, and libtorch's twins of it.
template <class Model> struct subject {
  Model model;
  graph floats, integers;
  tensor seen;  // calibration

  explicit subject(const shape& one) {
    manual_seed(1);
    for (int i = 0; i < 3; ++i) static_cast<void>(model(randn(one.with(0, 16))));
    eval(model);
    floats = trace(model, randn(one.with(0, 8)));
    // As users are advised: seven bits where no instruction multiplies all bytes exactly.
    constexpr bool exact = simd::integers<>::bytes_exact;
    const graph prepared = quant::prepare(floats, exact ? quant::full8() : quant::x86());
    seen = randn(one.with(0, 64));
    static_cast<void>(prepared(seen));
    integers = quant::convert(prepared);
  }
};

template <class Model>
void measure(bench::session& run, const peers::torch_library& torch, const bench::problem& p,
             const shape& one) {
  const bool quantized = p.kernel == "inference_int8";
  const subject<Model> s(one);
  const tensor x = randn(one.with(0, p.size("b")));
  const plan f32_plan = compile(s.floats, x), int8_plan = compile(s.integers, x);
  outputs y(s.model(x));
  const auto ours = [&](const plan& plan) { return [&] { y.keep(plan(x)); }; };
  std::vector<bench::candidate> all;
  if (quantized) all.emplace_back("adze", ours(int8_plan));
  all.emplace_back(quantized ? "adze f32" : "adze", ours(f32_plan));
  if (!quantized) all.emplace_back("adze eager", [&] { y.keep(s.model(x)); });

  const peers::torch_input in(x), calibration(s.seen);
  std::vector<std::unique_ptr<peers::torch_model>> theirs;
  const auto add = [&](const char* name, bool channels_last, const char* engine) {
    theirs.push_back(
        std::make_unique<peers::torch_model>(torch, p.word("model"), s.model, channels_last));
    if (engine != nullptr) theirs.back()->quantize(engine, calibration);
    all.emplace_back(name, [&y, &in, m = theirs.back().get()] { m->forward(in, y.data()); });
  };
  if (torch && !quantized) {
    add("libtorch", false, nullptr);
    if (one.rank() == 4) add("libtorch nhwc", true, nullptr);
  } else if (torch) {
    add("libtorch qnnpack", true, "qnnpack");
    add("libtorch onednn", true, "onednn");
  }
  const double macs = static_cast<double>(cost(trace(s.model, x)).macs);
  run.measure({.shape = p,
               .cost = {.operations = 2 * macs,
                        .unit = quantized ? bench::arithmetic::i8 : bench::arithmetic::f32},
               .spoil = [&] { y.spoil(); },
               .error = [&] { return y.error(); },
               .tolerance = quantized ? 0.1 : 1e-4},
              std::move(all));
}

}  // namespace

int main(int argc, char** argv) {
  const peers::torch_library torch;
  const bench::program_facts about{
      .name = "inference",
      .about = "whole networks without gradients",
      .problem_folder = ADZE_PROBLEMS,
      .lists = {"inference"},
      .flags = ADZE_FLAGS,
      .memory = counted::memory,
      .on_threads =
          [&](int n) {
            if (torch) torch.threads(n);
          },
  };
  return bench::run_program(argc, argv, about, [&](bench::session& run) {
    run.add_fact("libtorch", torch ? torch.version() : peers::torch_library::missing);
    const no_grad guard;
    for (const bench::problem& p : run.problems({"inference", "inference_int8"})) {
      const bool known = models::with_network(
          p.word("model"), [&]<class Model>(std::type_identity<Model>, const shape& one) {
            measure<Model>(run, torch, p, one);
          });
      if (!known)
        raise<value_error>("inference: no network of that name; received '", p.word("model"), "'");
    }
  });
}
