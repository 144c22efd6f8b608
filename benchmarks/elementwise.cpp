// SPDX-License-Identifier: MIT
// Operations that touch each element a few times, and steps of optimizers, beside libtorch's.
// Problem lines:
//   op <name> op= rows= n=     exp, tanh, sigmoid, gelu, gelu_tanh, relu, add, sum of all, where
//                              (x > 0 or 0); softmax, layer_norm, sort and topk (an eighth) of
//                              rows; adamw and sgd of one parameter
// Ours are the public operations, with memory from the allocator's cache; libtorch writes into
// outputs made beforehand wherever it can. The error is in units of 2^-24 of the result (gelu: of
// x, layer_norm and optimizers: of the result or 1, whichever is larger; sum: of the sum of sizes).
#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include <adze/adze.hpp>
#include <adze/bench/session.hpp>

#include "allocation_count.hpp"
#include "peers/torch.hpp"

namespace {

using namespace adze;

constexpr double second_of = 0.5;  // the second operand is this times the first
constexpr double norm_weight = 1.5, norm_bias = 0.25;

// What the result must be, of some rows, and how large an error counts as one.
struct truth {
  std::vector<double> value, unit;
  void add(double v, double size) {
    value.push_back(v);
    unit.push_back(0x1p-24 * size + 1e-300);
  }
};

class op_problem {
 public:
  explicit op_problem(const bench::problem& p)
      : name_(p.word("op")), rows_(p.size("rows")), n_(p.size("n")) {
    manual_seed(1);
    x_ = rand({rows_, n_}) * 8.0 - 4.0;
    second_ = x_ * second_of;
    weight_ = full({n_}, norm_weight);
    bias_ = full({n_}, norm_bias);
    positive_ = x_ > 0.0;
    restart();
    find_truth();
  }

  const tensor& x() const { return x_; }

  void run() {
    y_ = {};  // its memory serves the next result
    if (name_ == "exp") y_ = exp(x_);
    if (name_ == "tanh") y_ = tanh(x_);
    if (name_ == "sigmoid") y_ = sigmoid(x_);
    if (name_ == "gelu_tanh") y_ = gelu(x_, gelu_form::tanh);
    if (name_ == "gelu") y_ = gelu(x_);
    if (name_ == "relu") y_ = relu(x_);
    if (name_ == "add") y_ = x_ + second_;
    if (name_ == "sum") y_ = sum(x_);
    if (name_ == "where") y_ = where(positive_, x_, 0.0);
    if (name_ == "sort") y_ = sort(x_, 1)[0];
    if (name_ == "topk") y_ = topk(x_, n_ / 8, 1)[0];
    if (name_ == "softmax") y_ = softmax(x_, 1);
    if (name_ == "layer_norm") y_ = layer_norm(x_, 1, weight_, bias_);
    if (sgd_) sgd_->step();
    if (adamw_) adamw_->step();
  }
  float* result() { return (y_.defined() ? y_ : p_).data_as<float>(); }

  // Forgets the last result, and what optimizers have done.
  void restart() {
    y_ = {};
    if (name_ != "adamw" && name_ != "sgd") return;
    sgd_.reset(), adamw_.reset();
    p_ = clone(x_).set_requires_grad();
    p_.set_grad(second_);
    if (name_ == "sgd")
      sgd_ = std::make_unique<optim::sgd>(std::vector{p_},
                                          optim::sgd_options{.lr = 1e-3, .momentum = 0.9});
    else
      adamw_ = std::make_unique<optim::adamw>(
          std::vector{p_}, optim::adamw_options{.lr = 1e-3, .weight_decay = 0.01});
  }

  double error(const float* y) const {
    double worst = 0;
    for (std::size_t i = 0; i < truth_.value.size(); ++i) {
      const double e = std::fabs(static_cast<double>(y[i]) - truth_.value[i]) / truth_.unit[i];
      if (!(e <= worst)) worst = e;  // NaN as well
    }
    return worst;
  }

  bench::work cost() const {
    const double bytes = 4 * static_cast<double>(rows_ * n_);
    if (name_ == "sum") return {.read = bytes};
    if (name_ == "add") return {.read = 2 * bytes, .written = bytes};
    if (name_ == "adamw") return {.read = 4 * bytes, .written = 3 * bytes};
    if (name_ == "sgd") return {.read = 3 * bytes, .written = 2 * bytes};
    if (name_ == "where") return {.read = 1.25 * bytes, .written = bytes};
    if (name_ == "sort") return {.read = bytes, .written = 3 * bytes};  // values and places
    if (name_ == "topk") return {.read = bytes, .written = 3 * bytes / 8};
    return {.read = bytes, .written = bytes};
  }

 private:
  // The first rows decide, up to 64 Ki elements; a sum needs all.
  void find_truth() {
    const float* x = x_.data_as<float>();
    if (name_ == "sum") {
      double total = 0, size = 0;
      for (index_t i = 0; i < rows_ * n_; ++i) total += double(x[i]), size += std::fabs(x[i]);
      return truth_.add(total, size);
    }
    for (index_t r = 0; r < std::min<index_t>(rows_, 64); ++r) row_truth(x + r * n_);
  }
  void row_truth(const float* x) {
    std::vector<double> sorted(x, x + n_);
    std::sort(sorted.begin(), sorted.end());
    for (index_t i = 0; name_ == "topk" && i < n_ / 8; ++i)
      truth_.add(sorted[static_cast<std::size_t>(n_ - 1 - i)], 0);
    double mean = 0, square = 0, most = -1e30, total = 0;
    for (index_t i = 0; i < n_; ++i) mean += double(x[i]), most = std::max(most, double(x[i]));
    mean /= static_cast<double>(n_);
    for (index_t i = 0; i < n_; ++i) {
      square += (double(x[i]) - mean) * (double(x[i]) - mean);
      total += std::exp(double(x[i]) - most);
    }
    const double scale = 1 / std::sqrt(square / static_cast<double>(n_) + 1e-5);
    for (index_t i = 0; i < n_; ++i) {
      const double v = double(x[i]), g = second_of * v;
      const auto relative = [&](double y) { truth_.add(y, std::fabs(y)); };
      const auto absolute = [&](double y) { truth_.add(y, std::max(std::fabs(y), 1.0)); };
      if (name_ == "exp") relative(std::exp(v));
      if (name_ == "tanh") relative(std::tanh(v));
      if (name_ == "sigmoid") relative(1 / (1 + std::exp(-v)));
      if (name_ == "gelu") truth_.add(v * 0.5 * (1 + std::erf(v * std::sqrt(0.5))), std::fabs(v));
      if (name_ == "gelu_tanh")
        truth_.add(v * 0.5 * (1 + std::tanh(0.7978845608028654 * (v + 0.044715 * v * v * v))),
                   std::fabs(v));
      if (name_ == "relu") relative(std::max(v, 0.0));
      if (name_ == "add") relative(v + g);
      if (name_ == "where") relative(std::max(v, 0.0));
      if (name_ == "sort") relative(sorted[static_cast<std::size_t>(i)]);
      if (name_ == "softmax") relative(std::exp(v - most) / total);
      if (name_ == "layer_norm") absolute((v - mean) * scale * norm_weight + norm_bias);
      if (name_ == "sgd") absolute(v - 1e-3 * g);
      if (name_ == "adamw") absolute(v * (1 - 1e-5) - 1e-3 * g / (std::fabs(g) + 1e-8));
    }
  }

  std::string name_;
  index_t rows_, n_;
  tensor x_, second_, weight_, bias_, positive_, y_, p_;
  std::unique_ptr<optim::sgd> sgd_;
  std::unique_ptr<optim::adamw> adamw_;
  truth truth_;
};

void measure(bench::session& run, const peers::torch_library& torch, const bench::problem& p) {
  op_problem x(p);
  void* theirs = nullptr;
  const auto restart = [&] {
    x.restart();
    if (!torch) return;
    if (theirs != nullptr) torch.free_op(theirs);
    theirs = torch.check(
        torch.op(p.word("op").c_str(), x.x().data_as<float>(), p.size("rows"), p.size("n")));
  };
  restart();
  bool ours = true;
  std::vector<bench::candidate> all;
  all.emplace_back("adze", [&] { ours = true, x.run(); });
  if (torch) {
    all.emplace_back("libtorch", [&] {
      ours = false;
      if (torch.run(theirs) != 0) torch.fail();
    });
  }
  run.measure({.shape = p,
               .cost = x.cost(),
               .spoil = restart,
               .error = [&] { return x.error(ours ? x.result() : torch.result(theirs)); },
               .tolerance = 64},
              std::move(all));
  if (torch) torch.free_op(theirs);
}

}  // namespace

int main(int argc, char** argv) {
  const peers::torch_library torch;
  const bench::program_facts about{
      .name = "elementwise",
      .about = "operations on elements and rows, steps of optimizers",
      .problem_folder = ADZE_PROBLEMS,
      .lists = {"elementwise"},
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
    for (const bench::problem& p : run.problems({"op"})) measure(run, torch, p);
  });
}
