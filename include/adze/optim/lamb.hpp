#pragma once
// SPDX-License-Identifier: MIT
// LAMB: Adam's direction, with a step that is a share of each parameter's norm.
#include <adze/optim/method.hpp>

namespace adze::optim {

struct lamb_options {
  double lr = 1e-3;
  std::array<double, 2> betas{0.9, 0.999};
  double eps = 1e-6;
  double weight_decay = 0.01;  // decoupled: part of the direction
  bool maximize = false;
};

}  // namespace adze::optim

namespace adze::optim::detail::inline ADZE_ISA {

struct lamb_rule {
  double sign, enter_first, beta2, enter_second;
  double rise, root, eps, decay;  // direction: rise m / (root sqrt(v) + eps) + decay p
  double rate;                    // lr; `run` multiplies it by the trust ratio

  template <class V> V direction(V p, V m, V v) const {
    return m * rise / (sqrt(v) * root + eps) + p * decay;
  }
  static constexpr unsigned variants = 1;
  unsigned variant() const { return 0; }
  template <unsigned, class V, class S> V apply(V p, V, const S& s) const {
    return p - direction(p, s.load(0), s.load(1)) * rate;
  }
};

// Advances the moments of a row; the sums of the squares of p and of its direction.
template <class T>
std::array<double, 2> lamb_row(const lamb_rule& rule, const T* p, const T* g, T* m, T* v,
                               index_t n) {
  using pack = simd::pack<T>;
  const lamb_rule r = rule;
  std::array<double, 2> sums{};
  for (index_t begin = 0; begin < n; begin += kernels::update_block) {
    pack p_sum = 0, d_sum = 0;
    const auto advance = [&](index_t i, auto lanes) {
      const pack grad = lanes.load(g + i) * r.sign, value = lanes.load(p + i);
      pack first = lanes.load(m + i);
      first = first + (grad - first) * r.enter_first;
      const pack second = lanes.load(v + i) * r.beta2 + grad * grad * r.enter_second;
      lanes.store(first, m + i);
      lanes.store(second, v + i);
      T direction[pack::width] = {};  // zero in lanes that do not exist
      lanes.store(r.direction(value, first, second), direction);
      const pack d = pack::load(direction);
      p_sum = fma(value, value, p_sum);
      d_sum = fma(d, d, d_sum);
    };
    index_t i = begin;
    const index_t end = std::min(begin + kernels::update_block, n);
    for (; i + pack::size <= end; i += pack::size) advance(i, kernels::whole_lanes<T>{});
    if constexpr (pack::size > 1)
      if (i < end) advance(i, kernels::first_lanes<T>{end - i});
    sums[0] += static_cast<double>(reduce_add(p_sum));
    sums[1] += static_cast<double>(reduce_add(d_sum));
  }
  return sums;
}

// |p| / |direction| after the moments have been advanced; 1 where either is zero.
template <class = void> double trust_ratio(const kernels::update_item<lamb_rule>& x) {
  const auto sums = kernels::ordered_sums<2>(x.count, [&](index_t begin, index_t end) {
    std::array<double, 2> all{};
    const auto run = [&]<class T>(T) {
      kernels::update_rows<T>(x, begin, end, [&](T* p, const T* g, index_t at, index_t n) {
        const auto states = kernels::states_at<T>(x, at);
        const auto more = lamb_row<T>(x.rule, p, g, states[0], states[1], n);
        for (std::size_t k = 0; k < 2; ++k) all[k] += more[k];
      });
    };
    x.parameter_type == f64 ? run(double{}) : run(float{});
    return all;
  });
  return sums[0] > 0.0 && sums[1] > 0.0 ? std::sqrt(sums[0]) / std::sqrt(sums[1]) : 1.0;
}

struct lamb_method {
  using options = lamb_options;
  using rule = lamb_rule;
  static constexpr std::string_view name = "lamb";
  static constexpr std::array<std::string_view, 2> states{"exp_avg", "exp_avg_sq"};
  static bool keeps(const options&, std::size_t) { return true; }
  static double initial(const options&) { return 0.0; }
  static double* momentum(options& o) { return &o.betas[0]; }

  template <class O, class F> static void visit(O& o, F f) {
    f("lr", o.lr);
    f("betas.0", o.betas[0]);
    f("betas.1", o.betas[1]);
    f("eps", o.eps);
    f("weight_decay", o.weight_decay);
    f("maximize", o.maximize);
  }
  static void check(const options& o) {
    check_at_least(name, "lr", o.lr, 0.0);
    check_beta(name, "betas[0]", o.betas[0]);
    check_beta(name, "betas[1]", o.betas[1]);
    check_at_least(name, "eps", o.eps, 0.0);
    check_at_least(name, "weight_decay", o.weight_decay, 0.0);
  }
  static rule make_rule(const options& o, step_moment now) {
    const auto t = static_cast<double>(now.step);
    return {.sign = o.maximize ? -1.0 : 1.0,
            .enter_first = 1.0 - o.betas[0],
            .beta2 = o.betas[1],
            .enter_second = 1.0 - o.betas[1],
            .rise = 1.0 / (1.0 - std::pow(o.betas[0], t)),
            .root = 1.0 / std::sqrt(1.0 - std::pow(o.betas[1], t)),
            .eps = o.eps,
            .decay = o.weight_decay,
            .rate = o.lr};
  }
  // Two passes: the norms must be known before the first element of p changes.
  template <class = void> static void run(std::span<kernels::update_item<rule>> items) {
    for (kernels::update_item<rule>& x : items) x.rule.rate *= trust_ratio(x);
    kernels::update(items);
  }
};

}  // namespace adze::optim::detail::inline ADZE_ISA

namespace adze::optim::inline ADZE_ISA {

// Adam's direction, scaled to the norm of each parameter (each tensor is one "layer"); at step t,
// with Adam's m and v, bias-corrected, and weight decay w:
//   d = m / (sqrt(v) + eps) + w p;  p -= lr |p| / |d| d   (ratio 1 where |p| or |d| is 0)
// You et al. 2020, algorithm 2 with phi(z) = z. For large batches.
using lamb = optimizer_of<detail::lamb_method>;

}  // namespace adze::optim::inline ADZE_ISA
