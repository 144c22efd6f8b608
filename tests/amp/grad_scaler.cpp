// SPDX-License-Identifier: MIT
// The states of the scaler, one by one and against a model of its own; what scaling saves.
#include <limits>
#include <map>
#include <optional>

#include <doctest/doctest.h>

#include <adze/amp/autocast.hpp>
#include <adze/amp/grad_scaler.hpp>
#include <adze/core/random.hpp>
#include <adze/ops/linear.hpp>
#include <adze/ops/loss.hpp>
#include <adze/ops/reduce.hpp>
#include <adze/optim/clip.hpp>
#include <adze/optim/sgd.hpp>

#include "autograd/helpers.hpp"

namespace adze::grad_scaler_test {
namespace {

constexpr double infinity = std::numeric_limits<double>::infinity();

// One parameter; counts its steps.
struct counter {
  std::vector<tensor> list;
  int steps = 0;
  explicit counter(dtype type = f32) {
    list.push_back(cast(tensor_f64{1, 2, 3}, type).set_requires_grad());
  }
  const std::vector<tensor>& parameters() const { return list; }
  void step() { ++steps; }
  // As if backward() had left it.
  void gradient(double value) {
    list[0].set_grad(cast(tensor_f64{value, 0.5, value}, list[0].dtype()));
  }
  void clear() { list[0].set_grad({}); }
};
static_assert(amp::optimizer<counter>);
static_assert(amp::optimizer<optim::sgd>);

// One training step whose gradient overflows or not.
bool train(amp::grad_scaler& s, counter& o, bool overflow) {
  o.gradient(overflow ? infinity : s.scale());
  const bool stepped = s.step(o);
  s.update();
  return stepped;
}
std::vector<std::byte> bytes(const tensor& x) {
  const auto* p = static_cast<const std::byte*>(x.data());
  return {p, p + x.numel() * size_of(x.dtype())};
}

}  // namespace

TEST_CASE("grad_scaler: starts as PyTorch's, and follows the trace of its documentation") {
  const amp::grad_scaler fresh;
  CHECK(fresh.scale() == 65536.0);
  CHECK(fresh.state_dict() == amp::grad_scaler::state{{"scale", 65536.0},
                                                      {"growth_factor", 2.0},
                                                      {"backoff_factor", 0.5},
                                                      {"growth_interval", 2000.0},
                                                      {"_growth_tracker", 0.0}});
  amp::grad_scaler s({.init_scale = 8, .growth_interval = 2});
  counter o;
  struct row {
    bool overflow;
    double scale;
    index_t tracker;
  };
  for (const row& r : {row{false, 8, 1}, row{false, 16, 0}, row{true, 8, 0}, row{false, 8, 1},
                       row{true, 4, 0}, row{false, 4, 1}, row{false, 8, 0}}) {
    CHECK(train(s, o, r.overflow) == !r.overflow);
    CHECK(s.scale() == r.scale);
    CHECK(s.growth_tracker() == r.tracker);
  }
  CHECK(o.steps == 5);
  CHECK(s.statistics().steps == 5);
  CHECK(s.statistics().skipped_steps == 2);
  CHECK(s.statistics().growths == 2);
  CHECK(s.statistics().backoffs == 2);
}

TEST_CASE("grad_scaler: unscales once, whether asked to or by step") {
  amp::grad_scaler s({.init_scale = 1024});
  for (const dtype type : {f32, f64, bf16}) {
    for (const bool asked : {false, true}) {
      counter o(type);
      o.gradient(3072);
      if (asked) s.unscale_(o);
      CHECK(s.step(o));
      CHECK(elements(o.list[0].grad()) == std::vector<double>{3, 0.5 / 1024, 3});
      s.update();
    }
  }
  counter narrow(f16);
  narrow.gradient(1);
  CHECK(says(thrown<dtype_error>([&] { s.step(narrow); }), "a gradient is f16[3]; f16 gradients"));
  // Layouts other than row-major.
  tensor w = cast(varied({3, 4}), f32).set_requires_grad();
  w.set_grad(expand(cast(tensor_f64{1024, 2048, 3072, 4096}, f32), {3, 4}));
  struct {
    std::vector<tensor> list;
    const std::vector<tensor>& parameters() const { return list; }
    void step() {}
  } o{{w}};
  amp::grad_scaler again({.init_scale = 1024});
  CHECK(again.step(o));
  CHECK(elements(w.grad()) == std::vector<double>{1, 2, 3, 4, 1, 2, 3, 4, 1, 2, 3, 4});
}

TEST_CASE("grad_scaler: every element is seen, wherever it is not finite") {
  for (const dtype type : {f32, bf16, f64}) {
    for (const double bad : {infinity, -infinity, std::nan("")}) {
      for (const index_t n : {1, 7, 8, 9, 255, 257, 70000}) {
        for (const index_t at : {index_t{0}, n / 2, n - 1}) {
          tensor p = empty({n}, type);
          p.set_requires_grad();
          tensor g = detail::filled({n}, f64, 3.0);
          g.data_as<double>()[at] = bad;
          p.set_grad(cast(g, type));
          CHECK(amp::detail::unscale_gradient(p, 0.5).overflow);
          g.data_as<double>()[at] = 0.0;
          p.set_grad(cast(g, type));
          const amp::detail::unscaled u = amp::detail::unscale_gradient(p, 0.5);
          CHECK_FALSE(u.overflow);
          CHECK(u.nonzero == n - 1);
        }
      }
    }
  }
}

TEST_CASE("grad_scaler: the last of more elements than 64 threads take at once is seen") {
  constexpr index_t n = 64 * kernels::update_chunk + 1;
  tensor p = empty({n}, f32);
  p.set_requires_grad();
  tensor g = detail::filled({n}, f32, 3.0);
  p.set_grad(g);
  CHECK(amp::detail::unscale_gradient(p, 0.5).nonzero == n);
  g.data_as<float>()[n - 1] = INFINITY;
  CHECK(amp::detail::unscale_gradient(p, 0.5).overflow);
}

TEST_CASE("grad_scaler: an optimizer steps unless itself saw an overflow; all lower the scale") {
  amp::grad_scaler s({.init_scale = 16});
  counter a, b;
  a.gradient(1);
  b.gradient(infinity);
  s.unscale_(a);
  CHECK(s.step(a));
  CHECK_FALSE(s.step(b));
  s.update();
  CHECK(s.scale() == 8);
  CHECK(a.steps == 1);
  CHECK(b.steps == 0);
}

TEST_CASE(
    "grad_scaler: a step without gradients throws, and leaves the way to the right one open") {
  for (const bool unscaled : {false, true}) {
    CAPTURE(unscaled);
    amp::grad_scaler s({.init_scale = 16});
    counter o;
    for (int i = 0; i < 2; ++i) {
      if (unscaled) s.unscale_(o);
      CHECK(says(thrown<state_error>([&] { s.step(o); }), "no parameter of the optimizer has"));
      CHECK(says(thrown<state_error>([&] { s.update(); }), "no gradient was checked"));
    }
    o.gradient(16);
    CHECK(s.step(o));
    CHECK(elements(o.list[0].grad())[0] == 1);
    s.update();
    CHECK(o.steps == 1);
    CHECK(s.growth_tracker() == 1);
  }
}

TEST_CASE("grad_scaler: calls out of order say so, and change nothing") {
  amp::grad_scaler s({.init_scale = 16});
  counter o, none;
  CHECK(says(thrown<state_error>([&] { s.update(); }), "no gradient was checked"));
  CHECK(says(thrown<state_error>([&] { s.step(none); }), "no parameter of the optimizer has"));
  CHECK(none.steps == 0);
  o.gradient(16);
  s.unscale_(o);
  CHECK(says(thrown<state_error>([&] { s.unscale_(o); }), "called twice"));
  CHECK(elements(o.list[0].grad())[0] == 1);
  CHECK(s.step(o));
  CHECK(says(thrown<state_error>([&] { s.step(o); }), "call update() between"));
  CHECK(says(thrown<state_error>([&] { s.unscale_(o); }), "after step()"));
  CHECK(o.steps == 1);
  s.update();
  o.gradient(16);
  s.unscale_(o);
  s.update(32.0);  // begins a new step, too
  CHECK(s.growth_tracker() == 1);
  s.unscale_(o);
  CHECK(elements(o.list[0].grad())[0] == 1.0 / 32);
  struct failing : counter {
    void step() { raise<value_error>("on purpose"); }
  } f;
  f.gradient(1);
  CHECK(thrown<value_error>([&] { s.step(f); }) == "on purpose");
}

TEST_CASE("grad_scaler: accumulation has one scale, clipping sees unscaled gradients") {
  amp::grad_scaler s({.init_scale = 0x1p10});
  tensor w = cast(tensor_f64{1, 2}, f32).set_requires_grad();
  optim::sgd o({w}, {.lr = 1.0});
  for (int i = 0; i < 3; ++i) backward(s.scale(sum(w * 2.0)));
  s.unscale_(o);
  CHECK(elements(w.grad()) == std::vector<double>{6, 6});
  CHECK(optim::clip_grad_norm(o.parameters(), 3.0) == doctest::Approx(std::sqrt(72.0)));
  CHECK(s.step(o));
  CHECK(elements(w)[0] == doctest::Approx(1 - 3 / std::sqrt(2.0)));
  s.update();
  o.zero_grad();
  const tensor losses[] = {sum(w), sum(w * 3.0)};
  const std::vector<tensor> scaled = s.scale(losses);
  backward(scaled);
  CHECK(s.step(o));
  CHECK(elements(w.grad()) == std::vector<double>{4, 4});
}

TEST_CASE("grad_scaler: disabled, static, bounded") {
  counter o;
  amp::grad_scaler off({.enabled = false});
  const tensor x = cast(tensor_f64{3}, f32);
  CHECK(elements(off.scale(x)) == std::vector<double>{3});
  CHECK(off.scale() == 1.0);
  o.gradient(infinity);
  off.unscale_(o);
  CHECK(off.step(o));
  CHECK(off.step(o));
  off.update();
  CHECK(off.state_dict().empty());
  off.load_state_dict({});
  amp::grad_scaler fixed({.init_scale = 128, .growth_interval = 1, .dynamic = false});
  CHECK(train(fixed, o, false));
  CHECK_FALSE(train(fixed, o, true));
  CHECK(fixed.scale() == 128);
  amp::grad_scaler bounded({.init_scale = 4, .growth_interval = 1, .minimum = 2, .maximum = 8});
  for (const double want : {2.0, 2.0}) {
    train(bounded, o, true);
    CHECK(bounded.scale() == want);
  }
  for (const double want : {4.0, 8.0, 8.0}) {
    train(bounded, o, false);
    CHECK(bounded.scale() == want);
  }
  CHECK(bounded.statistics().growths == 2);
  amp::grad_scaler top({.init_scale = 0x1p127, .growth_interval = 1});
  train(top, o, false);
  CHECK(top.scale() == 0x1p127);  // 2^128 is not finite in f32
}

TEST_CASE("grad_scaler: DeepSpeed's hysteresis, and its error at the minimum") {
  amp::grad_scaler_options options = amp::deepspeed_scaling();
  CHECK(options.growth_interval == 1000);
  options.init_scale = 4;
  options.growth_interval = 2;
  counter o;
  {
    amp::grad_scaler s(options);
    train(s, o, true);
    CHECK(s.scale() == 4);  // one is tolerated
    train(s, o, false);
    train(s, o, true);
    CHECK(s.scale() == 2);  // a clean step between does not fill up the allowance
    train(s, o, true);
    CHECK(s.scale() == 1);
    o.gradient(infinity);
    CHECK_FALSE(s.step(o));
    CHECK(says(thrown<numeric_error>([&] { s.update(); }), "overflow at the smallest scale, 1"));
    train(s, o, false);
    CHECK(s.state_dict().back() == std::pair<std::string, double>("_hysteresis", 1.0));
    train(s, o, false);
    CHECK(s.scale() == 2);  // grown: the allowance is full again
    train(s, o, true);
    CHECK(s.scale() == 2);
  }
  options.consecutive_hysteresis = true;
  amp::grad_scaler s(options);
  for (int i = 0; i < 5; ++i) {
    train(s, o, true);
    train(s, o, false);
    CHECK(s.scale() == 4);
  }
  train(s, o, true);
  train(s, o, true);
  CHECK(s.scale() == 2);
}

TEST_CASE("grad_scaler: what is left of the hysteresis is loaded") {
  const amp::grad_scaler_options options{.init_scale = 8, .hysteresis = 3};
  amp::grad_scaler a(options), b(options);
  counter o;
  train(a, o, true);
  b.load_state_dict(a.state_dict());
  CHECK(b.state_dict() == a.state_dict());
  train(b, o, true);
  CHECK(b.scale() == 8);
  train(b, o, true);
  CHECK(b.scale() == 4);
}

TEST_CASE("grad_scaler: 16-bit losses are scaled in f32; what f16 rounds to 0 is lost") {
  const amp::grad_scaler s;
  for (const dtype type : {f16, bf16}) {
    const tensor y = s.scale(cast(tensor_f64{3}, type));
    CHECK(y.dtype() == f32);
    CHECK(elements(y) == std::vector<double>{3 * 65536.0});
  }
  tensor p = empty({4}, f32);
  p.set_requires_grad();
  // Half of f16's smallest number goes to the even 0.
  p.set_grad(cast(tensor_f64{0x1p-25, -0x1p-25, 0x1.004p-25, 0}, f32));
  const amp::detail::unscaled u = amp::detail::unscale_gradient(p, 1.0);
  CHECK(u.nonzero == 3);
  CHECK(u.lost == 2);
}

TEST_CASE("grad_scaler: what cannot be is refused") {
  const auto why = [](const amp::grad_scaler_options& o) {
    return thrown<value_error>([&] { amp::grad_scaler s(o); });
  };
  CHECK(says(why({.init_scale = 1000}), "the scale must be a power of two from"));
  CHECK(says(why({.init_scale = 0}), "the scale must be a power of two"));
  CHECK(says(why({.init_scale = std::nan("")}), "the scale must be a power of two"));
  CHECK(says(why({.growth_factor = 1}), "growth_factor must be a power of two"));
  CHECK(says(why({.backoff_factor = 1}), "backoff_factor must be a power of two"));
  CHECK(says(why({.growth_interval = 0}), "growth_interval must be at least 1"));
  CHECK(says(why({.minimum = 0x1p-130}), "minimum must be a power of two"));
  CHECK(says(why({.maximum = 4}), "the scale must be a power of two"));
  CHECK(says(why({.hysteresis = 0}), "hysteresis must be at least 1"));
  amp::grad_scaler s;
  CHECK(says(thrown<value_error>([&] { s.update(3.0); }), "must be a power of two"));
}

TEST_CASE("grad_scaler: a state continues, all or nothing") {
  amp::grad_scaler a({.init_scale = 8, .growth_factor = 4, .growth_interval = 3}), b;
  counter o;
  train(a, o, false);
  train(a, o, false);
  b.load_state_dict(a.state_dict());
  CHECK(b.state_dict() == a.state_dict());
  train(a, o, false);
  train(b, o, false);
  CHECK(b.scale() == 32);
  CHECK(b.state_dict() == a.state_dict());
  const auto refused = [&](amp::grad_scaler::state s, std::string_view why) {
    const amp::grad_scaler::state before = b.state_dict();
    CHECK(says(thrown<value_error>([&] { b.load_state_dict(s); }), why));
    CHECK(b.state_dict() == before);
  };
  amp::grad_scaler::state s = a.state_dict();
  refused({}, "is empty");
  s[0].second = 48;
  refused(s, "power of two");
  s[0] = {"size", 1};
  refused(s, "unexpected size");
  s[0] = s[1];
  refused(s, "appears twice");
  s.erase(s.begin());
  refused(s, "scale is missing");
  s.insert(s.begin(), {"scale", 8});
  s[4].second = 3;
  refused(s, "_growth_tracker must be a whole number from 0 to 2");
}

// What scaling is for ------------------------------------------------------------------------

TEST_CASE("grad_scaler: gradients of 2^-26 survive f16 with scaling, and vanish without") {
  const auto gradient = [](amp::grad_scaler& s, counter&) {
    tensor w = cast(tensor_f64{1, 1}, f32).set_requires_grad();
    struct {
      std::vector<tensor> list;
      const std::vector<tensor>& parameters() const { return list; }
      void step() {}
    } o{{w}};
    tensor loss;
    {
      const amp::autocast guard(amp::fp16());
      const tensor x = cast(tensor_f64{{1, 0}, {0, 1}}, f32);
      loss = sum(cast(matmul(x, w), f32)) * 0x1p-26;
    }
    backward(s.scale(loss));
    CHECK(s.step(o));
    s.update();
    return elements(w.grad());
  };
  counter unused;
  amp::grad_scaler on, off({.enabled = false});
  CHECK(gradient(on, unused) == std::vector<double>{0x1p-26, 0x1p-26});
  CHECK(gradient(off, unused) == std::vector<double>{0, 0});
  CHECK(on.statistics().gradients == 2);
  CHECK(on.statistics().saved == 2);
  CHECK(on.statistics().saved_share() == 1.0);
}

TEST_CASE("grad_scaler: f16 overflows at 65520; the step is skipped and no bit changes") {
  const auto parameters_after = [](double gradient, bool& stepped) {
    tensor w = cast(varied({64}), f32).set_requires_grad();
    optim::sgd o({w}, {.lr = 0.1, .momentum = 0.9});
    amp::grad_scaler s({.init_scale = 1});
    tensor loss;
    {
      const amp::autocast guard(amp::fp16());
      loss = sum(cast(cast(w, f16), f32)) * gradient;
    }
    backward(s.scale(loss));
    stepped = s.step(o);
    s.update();
    CHECK(s.scale() == (stepped ? 1.0 : 0.5));
    CHECK((o.state_dict().tensors.empty()) == !stepped);  // no momentum either
    return bytes(w);
  };
  const std::vector<std::byte> before = bytes(cast(varied({64}), f32));
  bool stepped = false;
  CHECK(parameters_after(65520.0, stepped) == before);
  CHECK_FALSE(stepped);
  CHECK(parameters_after(65519.0, stepped) != before);
  CHECK(stepped);
}

// The model ----------------------------------------------------------------------------------

namespace {

// The machine again, written from its description: exponents instead of scales.
struct model {
  struct run {
    bool unscaled = false, stepped = false, checked = false, overflow = false;
  };
  int exponent, growth, backoff, low, high;
  index_t interval, tracker = 0;
  std::map<int, run> runs{};

  // Each returns whether it is allowed.
  bool unscale(int k, bool has, bool bad) {
    run& r = runs[k];
    if (r.unscaled || r.stepped) return false;
    r = {has, false, has, has && bad};  // without gradients nothing was done
    return true;
  }
  std::optional<bool> step(int k, bool has, bool bad) {
    if (runs[k].stepped) return {};
    if (!runs[k].unscaled) unscale(k, has, bad);
    if (!runs[k].checked) return {};
    runs[k].stepped = true;
    return !runs[k].overflow;
  }
  bool update() {
    bool any = false, bad = false;
    for (const auto& [k, r] : runs) any |= r.checked, bad |= r.overflow;
    if (!any) return false;
    runs.clear();
    if (bad) {
      tracker = 0;
      exponent = std::max(low, exponent - backoff);
    } else if (++tracker == interval) {
      tracker = 0;
      exponent = std::min(high, exponent + growth);
    }
    return true;
  }
};

// Random calls on both; returns how many were refused.
int play(std::uint64_t seed) {
  generator g(seed);
  const auto pick = [&](index_t from, index_t to) {
    return static_cast<int>(from + g.below(to - from + 1));
  };
  model m{.exponent = pick(-4, 20),
          .growth = pick(1, 3),
          .backoff = pick(1, 3),
          .low = pick(-30, -4),
          .high = pick(20, 40),
          .interval = pick(1, 4)};
  amp::grad_scaler first({.init_scale = std::ldexp(1.0, m.exponent),
                          .growth_factor = std::ldexp(1.0, m.growth),
                          .backoff_factor = std::ldexp(1.0, -m.backoff),
                          .growth_interval = m.interval,
                          .minimum = std::ldexp(1.0, m.low),
                          .maximum = std::ldexp(1.0, m.high)});
  amp::grad_scaler second(first.options());
  amp::grad_scaler* s = &first;
  counter o[3];
  double plain[3] = {0, 0, 0};  // gradients as they are to be when they are unscaled
  bool has[3] = {}, bad[3] = {};
  int refused = 0;
  const auto allowed = [&](auto call) {
    const bool ok = thrown<state_error>(call) == "nothing thrown";
    refused += !ok;
    return ok;
  };
  for (int i = 0; i < 60; ++i) {
    const int k = pick(0, 2), what = pick(0, 9);
    if (what <= 3) {
      has[k] = pick(0, 9) > 0;
      bad[k] = pick(0, 3) == 0;
      plain[k] = std::ldexp(pick(1, 255), pick(-20, 0));
      has[k] ? o[k].gradient(bad[k] ? infinity : plain[k] * s->scale()) : o[k].clear();
    } else if (what <= 5) {
      const bool want = m.unscale(k, has[k], bad[k]);
      CHECK(allowed([&] { s->unscale_(o[k]); }) == want);
      if (want && has[k] && !bad[k]) {
        CHECK(elements(o[k].list[0].grad())[0] == plain[k]);
        plain[k] /= s->scale();  // if it is unscaled again
      }
    } else if (what <= 7) {
      const bool fresh = !m.runs[k].unscaled && !m.runs[k].stepped;
      const int before = o[k].steps;
      const std::optional<bool> want = m.step(k, has[k], bad[k]);
      bool stepped = false;
      CHECK(allowed([&] { stepped = s->step(o[k]); }) == want.has_value());
      CHECK(stepped == want.value_or(false));
      CHECK(o[k].steps == before + stepped);
      if (fresh && has[k] && !bad[k]) plain[k] /= s->scale();
    } else if (what == 8) {
      CHECK(allowed([&] { s->update(); }) == m.update());
      // What is still there was scaled by the old scale, or not at all.
      for (int j = 0; j < 3; ++j) {
        if (has[j] && !bad[j]) {
          plain[j] = elements(o[j].list[0].grad())[0] / s->scale();
        }
      }
    } else if (pick(0, 3) == 0) {
      m.exponent = pick(m.low, m.high);
      m.runs.clear();
      s->update(std::ldexp(1.0, m.exponent));
      for (int j = 0; j < 3; ++j) has[j] = false, o[j].clear();
    } else if (pick(0, 3) == 0) {
      amp::grad_scaler* const other = s == &first ? &second : &first;
      other->load_state_dict(s->state_dict());
      m.runs.clear();
      s = other;
      for (int j = 0; j < 3; ++j) has[j] = false, o[j].clear();
    }
    CHECK(s->scale() == std::ldexp(1.0, m.exponent));
    CHECK(s->growth_tracker() == m.tracker);
  }
  return refused;
}

}  // namespace

TEST_CASE("grad_scaler: 1,000 random sequences of calls do what a model of the states does") {
  int refused = 0;
  for (std::uint64_t seed = 0; seed < 1000; ++seed) {
    CAPTURE(seed);
    refused += play(seed);
  }
  CHECK(refused > 1000);  // wrong orders are among them
}

}  // namespace adze::grad_scaler_test
