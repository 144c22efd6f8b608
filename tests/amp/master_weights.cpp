// SPDX-License-Identifier: MIT
// Optimizers on models held in 16 bits: roundings, what is kept beside, and whole models.
#include <doctest/doctest.h>

#include <adze/amp/grad_scaler.hpp>
#include <adze/amp/master_weights.hpp>
#include <adze/nn/conv.hpp>
#include <adze/nn/embedding.hpp>
#include <adze/nn/linear.hpp>
#include <adze/nn/norm.hpp>
#include <adze/nn/rnn.hpp>
#include <adze/nn/state_dict.hpp>
#include <adze/nn/transformer.hpp>
#include <adze/ops/activation.hpp>
#include <adze/ops/cross_entropy.hpp>
#include <adze/ops/inplace.hpp>
#include <adze/ops/slice.hpp>
#include <adze/optim/adam.hpp>
#include <adze/optim/clip.hpp>
#include <adze/optim/ema.hpp>
#include <adze/optim/sgd.hpp>
#include <adze/tensor/create.hpp>

#include "autograd/helpers.hpp"

namespace adze {
namespace {

constexpr dtype narrow_types[] = {bf16, f16};
constexpr amp::keep ways[] = {amp::keep::master, amp::keep::rest, amp::keep::stochastic};

tensor parameter(const shape& sizes, dtype type, int kind = 0) {
  return cast(varied(sizes, kind), type).set_requires_grad();
}

// The share of `steps` steps of -2^-12 that a weight of 1 has made.
template <class O> double moved(dtype type, O make, int steps) {
  tensor w = cast(full({64}, 1.0, f32), type).set_requires_grad();
  auto o = make(w);
  for (int i = 0; i < steps; ++i) {
    w.set_grad(cast(full({64}, 1.0, f32), type));
    o->step();
  }
  return (1.0 - mean(cast(w, f64)).item()) / (steps * 0x1p-12);
}

struct network {
  nn::conv2d conv{{.in = 1, .out = 8, .kernel = 3, .padding = 1}};
  nn::batch_norm2d norm{{.channels = 8}};
  nn::linear head{{.in = 8 * 8 * 8, .out = 4}};
  tensor operator()(const tensor& x) { return head(flatten(relu(norm(conv(x))), 1)); }
  void visit(auto&& f) {
    f("conv", conv);
    f("norm", norm);
    f("head", head);
  }
};

struct recurrent_network {
  nn::embedding token{{.rows = 16, .width = 32}};
  nn::lstm cells{{.in = 32, .hidden = 48, .batch_first = true}};
  nn::linear head{{.in = 48, .out = 16}};
  tensor operator()(const tensor& x) const { return head(cells(token(x)).output); }
  void visit(auto&& f) { f("token", token), f("cells", cells), f("head", head); }
};
struct small_gpt : nn::gpt {
  small_gpt() : nn::gpt({.vocabulary = 16, .context = 12, .embed = 32, .heads = 2, .layers = 1}) {}
};

// Learns by heart a sequence in which each letter says the next.
template <class Model> void check_text_model(dtype type) {
  manual_seed(7);
  Model model;
  to(model, type);
  amp::master_weights<optim::adam> o(parameters(model), {.lr = 5e-3});
  const tensor letters = tensor_i64{{0, 3, 6, 9, 12, 15, 2, 5, 8, 11, 14, 1},
                                    {7, 10, 13, 0, 3, 6, 9, 12, 15, 2, 5, 8}};
  const tensor x = slice(letters, 1, {0, 11}), y = reshape(slice(letters, 1, {1, 12}), {-1});
  const auto loss_of = [&](const Model& m) {
    const tensor logits = m(x);
    CHECK(logits.dtype() == parameters(m)[0].dtype());
    return cross_entropy(cast(reshape(logits, {-1, 16}), f32), y);
  };
  const double first = loss_of(model).item();
  for (int i = 0; i < 60; ++i) {
    backward(loss_of(model));
    for (const tensor& p : parameters(model)) CHECK(p.grad().dtype() == type);
    o.step();
    o.zero_grad();
  }
  const double last = loss_of(model).item();
  CHECK(last < 0.1 * first);
  Model again;
  to(again, type);
  load_state_dict(again, state_dict(model));
  CHECK(loss_of(again).item() == last);
}

}  // namespace

TEST_CASE("master_weights: a GPT and an LSTM in 16 bits learn, and their state comes back") {
  for (const dtype type : narrow_types) {
    check_text_model<small_gpt>(type);
    check_text_model<recurrent_network>(type);
  }
}

TEST_CASE("round_stochastic: both neighbours, in the shares that make the mean right") {
  const auto check = [](auto zero, float x) {
    using T = decltype(zero);
    double sum = 0;
    constexpr int n = 1 << 16;
    for (int i = 0; i < n; ++i) {
      const float u = static_cast<float>(i) / n;
      sum += static_cast<double>(static_cast<float>(amp::round_stochastic<T>(x, u)));
    }
    CHECK(sum / n == static_cast<double>(x));
  };
  for (const float x :
       {1.0f, 1.0009765625f, -1.00390625f, 3.1408691f, -1.9980469f, 0.0f, 255.75f}) {
    check(bfloat16(), x);
  }
  for (const float x : {1.0f, 1.00006103515625f, -1.99993896484375f, 0x1p-24f, 0x1.8p-25f,
                        -0x1p-26f, 0x1.004p-14f, 65503.0f}) {
    check(float16(), x);
  }
  constexpr float infinity = std::numeric_limits<float>::infinity();
  CHECK(static_cast<float>(amp::round_stochastic<float16>(infinity, 0.5f)) == infinity);
  CHECK(static_cast<float>(amp::round_stochastic<float16>(65519.0f, 0.0f)) == 65504.0f);
  CHECK(static_cast<float>(amp::round_stochastic<bfloat16>(-infinity, 0.0f)) == -infinity);
  CHECK(std::isnan(static_cast<float>(amp::round_stochastic<bfloat16>(std::nanf(""), 0.0f))));
}

TEST_CASE("master_weights: updates below half a unit are lost without, and kept with") {
  constexpr int steps = 512;  // of 2^-12; one alone does not move a weight of 1 in 16 bits
  const auto bare = [](tensor& w) {
    return std::make_unique<optim::sgd>(std::vector{w}, optim::sgd_options{.lr = 0x1p-12});
  };
  CHECK(moved(bf16, bare, steps) == 0.0);
  CHECK(moved(f16, bare, steps) == 0.0);
  for (const dtype type : narrow_types) {
    const auto with = [&](amp::keep kept) {
      const auto wrapped = [&](tensor& w) {
        return std::make_unique<amp::master_weights<optim::sgd>>(
            std::vector{w}, optim::sgd_options{.lr = 0x1p-12}, amp::master_options{.kept = kept});
      };
      return moved(type, wrapped, steps);
    };
    CHECK(with(amp::keep::master) == 1.0);
    CHECK(with(amp::keep::rest) == 1.0);
    CHECK(with(amp::keep::stochastic) == doctest::Approx(1.0).epsilon(0.05));
  }
}

TEST_CASE("master_weights: the steps are those of the optimizer in f32, rounded") {
  for (const dtype type : narrow_types) {
    tensor w = parameter({5, 7}, type), b = cast(varied({7}, 1), f32).set_requires_grad();
    tensor wide = cast(cast(varied({5, 7}), type), f32).set_requires_grad();
    tensor plain = cast(varied({7}, 1), f32).set_requires_grad();
    const optim::adam_options options{.lr = 1e-3, .weight_decay = 0.01};
    amp::master_weights<optim::adam> o({w, b}, options);
    optim::adam reference({wide, plain}, options);
    for (int i = 0; i < 20; ++i) {
      const tensor g = cast(varied({5, 7}, i), type), gb = cast(varied({7}, i + 3), f32);
      w.set_grad(g);
      b.set_grad(gb);
      wide.set_grad(cast(g, f32));
      plain.set_grad(gb);
      const std::uint32_t before = w.version();
      o.step();
      reference.step();
      CHECK(w.version() > before);
      CHECK(elements(o.parameters()[0]) == elements(wide));
      CHECK(elements(w) == elements(cast(wide, type)));
      CHECK(elements(b) == elements(plain));
    }
    o.zero_grad();
    CHECK_FALSE(w.grad().defined());
    CHECK_FALSE(b.grad().defined());
    const std::vector<double> resting = elements(w);
    o.step();  // nothing to do
    CHECK(elements(w) == resting);
  }
}

TEST_CASE("master_weights: any strides, and the same bits for any number of threads") {
  const int before = threads();
  for (const amp::keep kept : ways) {
    std::vector<std::vector<double>> results;
    for (const int n : {1, 4}) {
      set_threads(n);
      tensor base = parameter({300, 200}, bf16);
      tensor turned = transpose(detach(base));
      tensor gaps = alias(detach(base), {300, 99}, {200, 2});
      turned.set_requires_grad();
      tensor apart = cast(gaps, bf16).set_requires_grad();
      amp::master_weights<optim::sgd> o({turned, apart}, {.lr = 0.01, .momentum = 0.9},
                                        {.kept = kept, .seed = 3});
      for (int i = 0; i < 3; ++i) {
        turned.set_grad(cast(varied({200, 300}, i), bf16));
        apart.set_grad(cast(varied({300, 99}, i), bf16));
        o.step();
      }
      results.push_back(elements(turned));
      results.push_back(elements(apart));
    }
    CHECK(results[0] == results[2]);
    CHECK(results[1] == results[3]);
    const double moved = results[0][0] - elements(transpose(cast(varied({300, 200}), bf16)))[0];
    CHECK(std::abs(moved) > 0.001);
  }
  set_threads(before);
}

TEST_CASE("master_weights: between steps a weight costs 4, 2 or 0 bytes more") {
  constexpr index_t n = 1 << 20;  // a size class, all but the header
  for (const amp::keep kept : ways) {
    tensor w = cast(full({n - 64}, 1.0, f32), bf16).set_requires_grad();
    amp::master_weights<optim::sgd> warm({parameter({8}, bf16)}, {.lr = 0.1}, {.kept = kept});
    const index_t before = memory().live_bytes;
    amp::master_weights<optim::sgd> o({w}, {.lr = 0.1}, {.kept = kept});
    const auto per_weight = [&] {
      return static_cast<double>(memory().live_bytes - before) / static_cast<double>(n);
    };
    const double want = kept == amp::keep::master ? 4.0 : kept == amp::keep::rest ? 2.0 : 0.0;
    CHECK(per_weight() == doctest::Approx(want).epsilon(0.01));
    w.set_grad(cast(full({n - 64}, 1.0, f32), bf16));
    o.step();
    o.zero_grad();
    CHECK(per_weight() == doctest::Approx(want).epsilon(0.01));
  }
}

TEST_CASE("master_weights: a parameter changed from outside is where the next step begins") {
  for (const amp::keep kept : ways) {
    tensor w = parameter({4}, bf16);
    amp::master_weights<optim::sgd> o({w}, {.lr = 0.5}, {.kept = kept});
    w.set_grad(cast(full({4}, 1.0, f32), bf16));
    o.step();
    {
      const no_grad plain;
      detail::overwrite(w, full({4}, 8.0, f32));
    }
    o.step();
    CHECK(elements(w) == std::vector<double>(4, 7.5));
  }
}

TEST_CASE("master_weights: values put aside and back, as ema does, change no step") {
  for (const dtype type : narrow_types) {
    for (const amp::keep kept : ways) {
      std::vector<std::vector<double>> ends;
      for (const bool evaluated : {false, true}) {
        tensor w = parameter({333}, type);
        amp::master_weights<optim::sgd> o({w}, {.lr = 0x1p-13}, {.kept = kept, .seed = 2});
        optim::ema average({w});
        for (int i = 0; i < 100; ++i) {
          w.set_grad(cast(varied({333}, i), type));
          o.step();
          average.update();
          if (!evaluated) continue;
          average.swap_in();
          average.swap_out();
        }
        ends.push_back(elements(w));
      }
      CHECK(ends[0] == ends[1]);
    }
    for (const amp::keep kept : {amp::keep::master, amp::keep::rest}) {
      tensor w = parameter({4}, type);
      amp::master_weights<optim::sgd> o({w}, {.lr = 0x1p-12}, {.kept = kept});
      const no_grad plain;
      fill_(w, 1.0);
      tensor masked = select(w, 0, 0);
      for (int i = 0; i < 512; ++i) {  // a mask that is set again after each step
        w.set_grad(cast(full({4}, 1.0, f32), type));
        o.step();
        fill_(masked, 3.0);
      }
      CHECK(elements(w) == std::vector<double>{3.0, 0.875, 0.875, 0.875});
    }
  }
}

TEST_CASE("master_weights: an average is taken of the model, not of leaves without memory") {
  for (const amp::keep kept : {amp::keep::rest, amp::keep::stochastic}) {
    tensor w = parameter({4}, bf16);
    amp::master_weights<optim::sgd> o({w}, {.lr = 0.5}, {.kept = kept});
    CHECK(
        says(thrown<value_error>([&] { optim::ema e(o.parameters()); }), "pass parameters(model)"));
  }
}

TEST_CASE("master_weights: a state continues bit for bit") {
  for (const amp::keep kept : ways) {
    for (const dtype type : narrow_types) {
      tensor a = parameter({33}, type);
      const optim::adam_options options{.lr = 1e-3};
      amp::master_weights<optim::adam> first({a}, options, {.kept = kept});
      const auto run = [](tensor& w, auto& o, int from, int to) {
        for (int i = from; i < to; ++i) {
          w.set_grad(cast(varied({33}, i), w.dtype()));
          o.step();
        }
      };
      run(a, first, 0, 7);
      tensor b = clone(detach(a)).set_requires_grad();
      amp::master_weights<optim::adam> second({b}, options, {.kept = kept, .seed = 1});
      second.load_state_dict(first.state_dict());
      run(a, first, 7, 15);
      run(b, second, 7, 15);
      CHECK(elements(a) == elements(b));
      auto broken = first.state_dict();
      // Without masters there is no f32 value between steps, and reading it is harmless.
      const bool has_value = !std::isnan(elements(second.parameters()[0])[32]);
      CHECK(has_value == (kept == amp::keep::master));
      broken.tensors.back().second = full({32}, 0.0, f32);  // of "random", where that is kept
      CHECK(says(thrown<value_error>([&] { second.load_state_dict(broken); }), "must be "));
      broken.tensors.pop_back();
      CHECK(says(thrown<value_error>([&] { second.load_state_dict(broken); }), "got nothing"));
      run(a, first, 15, 16);
      run(b, second, 15, 16);
      CHECK(elements(a) == elements(b));
    }
  }
}

TEST_CASE("master_weights: the moments of a transposed parameter come back in its own order") {
  const optim::adam_options options{.lr = 1e-2};
  const auto step = [](tensor& w, auto& o, int i) {
    w.set_grad(cast(varied({5, 3}, i), w.dtype()));
    o.step();
  };
  for (const amp::keep kept : ways) {
    CAPTURE(static_cast<int>(kept));
    tensor a = transpose(parameter({3, 5}, bf16));
    a = detach(a).set_requires_grad();
    CHECK_FALSE(a.is_contiguous());
    amp::master_weights<optim::adam> first({a}, options, {.kept = kept, .seed = 3});
    for (int i = 0; i < 5; ++i) step(a, first, i);
    tensor b = transpose(clone(transpose(detach(a))));
    b.set_requires_grad();
    CHECK(b.strides() == a.strides());
    amp::master_weights<optim::adam> second({b}, options, {.kept = kept});
    second.load_state_dict(first.state_dict());
    const auto saved = first.state_dict(), again = second.state_dict();
    for (std::size_t i = 0; i < saved.tensors.size(); ++i) {
      CHECK(elements(saved.tensors[i].second) == elements(again.tensors[i].second));
    }
    for (int i = 5; i < 8; ++i) {
      step(a, first, i);
      step(b, second, i);
    }
    const auto x = first.state_dict(), y = second.state_dict();
    for (std::size_t i = 0; i < x.tensors.size(); ++i) {
      CHECK(elements(x.tensors[i].second) == elements(y.tensors[i].second));
    }
    CHECK(elements(a) == elements(b));
  }
}

TEST_CASE("master_weights: zero_grad passes over parameters that never required a gradient") {
  for (const dtype type : {f32, bf16}) {
    tensor used = parameter({4}, type), fixed = cast(varied({4}), type);
    const auto before = elements(fixed);
    amp::master_weights<optim::sgd> o({used, fixed}, {.lr = 0.1});
    used.set_grad(cast(varied({4}, 1), type));
    o.step();
    o.zero_grad();
    CHECK_FALSE(used.grad().defined());
    CHECK(elements(fixed) == before);
  }
}

TEST_CASE("master_weights: whole models in 16 bits learn, with clipping and a scaler") {
  manual_seed(3);
  const tensor target = tensor_i64{0, 1, 2, 3, 0, 1, 2, 3};
  tensor x = randn({8, 1, 8, 8});
  const auto final_loss = [&](dtype type, amp::keep kept) {
    manual_seed(5);
    network model;
    to(model, type);
    amp::master_weights<optim::adam> o(parameters(model), {.lr = 2e-3}, {.kept = kept});
    amp::grad_scaler scaler({.init_scale = 1024, .enabled = type == f16});
    double last = 0.0;
    for (int i = 0; i < 40; ++i) {
      const tensor y = model(cast(x, type));
      CHECK(y.dtype() == type);
      const tensor loss = cross_entropy(cast(y, f32), target);
      backward(scaler.scale(loss));
      scaler.unscale_(o);
      optim::clip_grad_norm(o.parameters(), 5.0);
      CHECK(scaler.step(o));
      scaler.update();
      o.zero_grad();
      last = loss.item();
    }
    for (const auto& entry : state_dict(model)) {
      const tensor& t = entry.second;
      CHECK_MESSAGE((t.dtype() == type || !is_floating(t.dtype())), entry.first);
    }
    // Out, and into a model in f32: the same values.
    network wide;
    load_state_dict(wide, state_dict(model));
    for (std::size_t i = 0; i < parameters(wide).size(); ++i) {
      CHECK(parameters(wide)[i].dtype() == f32);
      CHECK(elements(parameters(wide)[i]) == elements(parameters(model)[i]));
    }
    return last;
  };
  for (const dtype type : narrow_types) {
    for (const amp::keep kept : ways) CHECK(final_loss(type, kept) < 0.1);
  }
}

}  // namespace adze
