// SPDX-License-Identifier: MIT
// The op protocol as a user meets it: ops outside the library's namespace, every member tried.
#include <doctest/doctest.h>

#include <adze/autograd/gradcheck.hpp>
#include <adze/ops/activation.hpp>

#include "helpers.hpp"

namespace user {

using adze::backward_context;
using adze::dtype;
using adze::numeric;
using adze::tensor;
using adze::tensor_list;
namespace values = adze::values;

struct cube_op {
  double factor = 1.0;
  static constexpr std::string_view name = "cube";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = adze::gradient_reads(values::input(0));
  tensor forward(const tensor& x) const { return x * x * x * factor; }
  tensor backward(backward_context& c, const tensor& g) const {
    return g * c.in(0) * c.in(0) * (3.0 * factor);
  }
};
tensor cube(const tensor& x, double factor = 1.0) { return adze::record(cube_op{factor}, x); }

struct softclip_f {  // x / sqrt(1 + x^2)
  static constexpr std::string_view name = "softclip";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = values::input(0);
  template <class V> V f(const V& x) const { return x / sqrt(x * x + 1.0); }
  template <class V> V df(const V& x, const V&) const {
    return 1.0 / ((x * x + 1.0) * sqrt(x * x + 1.0));
  }
};
tensor softclip(const tensor& x) { return adze::record(adze::unary<softclip_f>{}, x); }

struct through_f {  // rounds, and lets the gradient through
  static constexpr std::string_view name = "through";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = values::nothing;
  template <class V> V f(const V& x) const { return round(x); }
  template <class V> double df(const V&, const V&) const { return 1.0; }
};

struct clipped_sign_f {  // -1 or 1; its slope is taken for 1 from -1 to 1
  static constexpr std::string_view name = "clipped_sign";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = values::input(0);
  template <class V> V f(const V& x) const { return where(x < 0.0, -1.0, 1.0); }
  template <class V> V df(const V& x, const V&) const {
    return where(x >= -1.0 && x <= 1.0, 1.0, 0.0);
  }
};

// Two results, both saved; `reads` decided by an attribute.
struct powers_op {
  bool by_output = true;
  static constexpr std::string_view name = "powers";
  static constexpr numeric precision = numeric::any;
  auto reads() const {
    return adze::gradient_reads(by_output ? values::output(0) | values::output(1) | values::input(0)
                                          : values::input(0));
  }
  std::array<tensor, 2> forward(const tensor& x) const { return {x * x, exp(x)}; }
  tensor backward(backward_context& c, tensor_list g) const {
    const tensor x = c.in(0);
    tensor d;
    if (g[0].defined()) d = g[0] * x * 2.0;
    if (g[1].defined()) {
      const tensor part = g[1] * (by_output ? c.out(1) : exp(x));
      d = d.defined() ? d + part : part;
    }
    return d;
  }
};

// w x + b, where b may be missing; masks name more inputs than there are.
struct affine_op {
  static constexpr std::string_view name = "affine";
  static constexpr numeric precision = numeric::promote;
  static constexpr auto reads =
      adze::gradient_reads(values::inputs, values::input(0), values::nothing);
  tensor forward(const tensor& x, const tensor& w, const tensor& b) const {
    return b.defined() ? x * w + b : x * w;
  }
  std::array<tensor, 3> backward(backward_context& c, const tensor& g) const {
    asked = {c.wants(0), c.wants(1), c.wants(2)};
    return {c.wants(0) ? g * c.in(1) : tensor(), c.wants(1) ? g * c.in(0) : tensor(),
            c.wants(2) ? g : tensor()};
  }
  static inline std::array<bool, 3> asked{};
};

// The product of any number of tensors.
struct product_op {
  static constexpr std::string_view name = "product";
  static constexpr numeric precision = numeric::promote;
  static constexpr adze::value_set reads = values::inputs;
  tensor forward(tensor_list x) const {
    tensor y = x[0];
    for (std::size_t i = 1; i < x.size(); ++i) y = y * x[i];
    return y;
  }
  std::vector<tensor> backward(backward_context& c, const tensor& g) const {
    std::vector<tensor> d(c.inputs());
    for (std::size_t j = 0; j < d.size(); ++j) {
      if (!c.wants(j)) continue;
      d[j] = g;
      for (std::size_t i = 0; i < d.size(); ++i) {
        if (i != j) d[j] = d[j] * c.in(i);
      }
    }
    return d;
  }
};

// tanh of the sum of any number of tensors; the gradients read the result alone.
struct tanh_sum_op {
  static constexpr std::string_view name = "tanh_sum";
  static constexpr numeric precision = numeric::promote;
  static constexpr adze::value_set reads = values::output(0);
  tensor forward(tensor_list x) const {
    tensor y = x[0];
    for (std::size_t i = 1; i < x.size(); ++i) y = y + x[i];
    return tanh(y);
  }
  std::vector<tensor> backward(backward_context& c, const tensor& g) const {
    const tensor y = c.out(0);
    return std::vector<tensor>(c.inputs(), g * (1.0 - y * y));
  }
};
struct scaled_sums_op {  // x[0] * (sum of x), and tanh of it
  static constexpr std::string_view name = "scaled_sums";
  static constexpr numeric precision = numeric::promote;
  static constexpr adze::value_set reads = values::inputs | values::output(1);
  std::array<tensor, 2> forward(tensor_list x) const {
    tensor y = x[0];
    for (std::size_t i = 1; i < x.size(); ++i) y = y + x[i];
    return {y * x[0], tanh(y * x[0])};
  }
  std::vector<tensor> backward(backward_context& c, tensor_list g) const {
    tensor slope, sum = c.in(0);
    for (std::size_t i = 1; i < c.inputs(); ++i) sum = sum + c.in(i);
    if (g[0].defined()) slope = g[0];
    if (g[1].defined()) {
      const tensor y = c.out(1);
      slope = slope.defined() ? slope + g[1] * (1.0 - y * y) : g[1] * (1.0 - y * y);
    }
    std::vector<tensor> d(c.inputs(), slope * c.in(0));
    d[0] = d[0] + slope * sum;
    return d;
  }
};

}  // namespace user

namespace adze {
namespace {

// Ops that are wrong, or special, in one way each.
struct keeps_result_op {  // its own result is a member, as a mask or an index would be
  tensor result{};
  static constexpr std::string_view name = "keeps_result";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);
  tensor forward(const tensor& x) { return result = exp(x); }
  tensor backward(backward_context&, const tensor& g) const { return g * result; }
};
struct same_op {  // returns its input
  static constexpr std::string_view name = "same";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);
  tensor forward(const tensor& x) const { return x; }
  tensor backward(backward_context&, const tensor& g) const { return g; }
};
struct undeclared_op {
  static constexpr std::string_view name = "undeclared";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);
  tensor forward(const tensor& x) const { return x * x; }
  tensor backward(backward_context& c, const tensor& g) const { return g * c.in(0) * 2.0; }
};
enum class fault { shape, type, count };
struct wrong_gradient_op {
  fault kind = fault::shape;
  static constexpr std::string_view name = "wrong_gradient";
  static constexpr numeric precision = numeric::any;
  static constexpr value_set reads = values::nothing;
  tensor forward(tensor_list x) const { return x[0] + 1.0; }
  std::vector<tensor> backward(backward_context& c, const tensor& g) const {
    if (kind == fault::count) return std::vector<tensor>(c.inputs() + 1, g);
    if (kind == fault::type) return {cast(g, f32)};
    return {sum(g)};
  }
};
struct running_op {  // x, and how often it was called, counted in the second input
  static constexpr std::string_view name = "running";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing, values::nothing);
  static constexpr value_set writes = values::input(1), keeps = values::input(1);
  tensor forward(const tensor& x, const tensor& count) const {
    *tensor(count).data_as<double>() += 1;
    return x * 2.0;
  }
  std::array<tensor, 2> backward(backward_context&, const tensor& g) const { return {g * 2.0, {}}; }
};
struct statistic_op {  // doubles x; also gives its sum, which has no gradient, and a whole number
  static constexpr std::string_view name = "statistic";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);
  static constexpr value_set nondifferentiable = values::output(1);
  std::array<tensor, 3> forward(const tensor& x) const { return {x * 2.0, sum(x), cast(x, i64)}; }
  tensor backward(backward_context& c, tensor_list g) const {
    CHECK_FALSE(g[1].defined());
    CHECK_FALSE(g[2].defined());
    CHECK(c.out_type(2) == i64);
    return g[0].defined() ? g[0] * 2.0 : tensor();
  }
};
struct many_op {  // more results than fit inline
  int count = 12;
  static constexpr std::string_view name = "many";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::input(0) | values::output(0));
  std::vector<tensor> forward(const tensor& x) const {
    std::vector<tensor> y;
    for (int i = 0; i < count; ++i) y.push_back(x * static_cast<double>(i));
    return y;
  }
  tensor backward(backward_context& c, tensor_list g) const {
    tensor d;
    CHECK(g.size() == static_cast<std::size_t>(count));
    for (std::size_t i = 0; i < g.size(); ++i) {
      if (!g[i].defined()) continue;
      const tensor part = g[i] * static_cast<double>(i);
      d = d.defined() ? d + part : part;
    }
    CHECK(c.out_shape(g.size() - 1) == c.in_shape(0));
    CHECK(elements(c.in(0)) == std::vector<double>{1, 2});
    CHECK(elements(c.out(0)) == std::vector<double>{0, 0});
    return d;
  }
};

}  // namespace

TEST_CASE("a custom op in user code: value, gradient, gradient of the gradient") {
  const no_leaks guard;
  const tensor x = leaf({0.5, -1.5, 2.0});
  const tensor y = user::cube(x, 2.0);
  CHECK(elements(y) == std::vector<double>{0.25, -6.75, 16.0});
  const auto f = [](const std::vector<tensor>& v) { return user::cube(v[0], 2.0); };
  CHECK(gradcheck(f, {x}));
  CHECK(gradgradcheck(f, {x}));
}

TEST_CASE("a custom function of the elements: two lines, every dtype and layout, both gradients") {
  const no_leaks guard;
  const auto f = [](const std::vector<tensor>& v) { return user::softclip(v[0]); };
  CHECK(gradcheck(f, {varied_leaf({3, 5})}));
  CHECK(gradgradcheck(f, {varied_leaf({3, 5})}));
  const tensor x = varied({3, 5});
  const auto expected = elements(user::softclip(x));
  CHECK(expected[1] == doctest::Approx(elements(x)[1] / std::hypot(1.0, elements(x)[1])));
  CHECK(elements(transpose(user::softclip(transpose(x)))) == expected);
  const auto narrow = elements(user::softclip(cast(x, bf16)));
  for (std::size_t i = 0; i < narrow.size(); ++i) CHECK(std::abs(narrow[i] - expected[i]) < 0.01);
}

TEST_CASE("a straight-through estimator is a functor whose df is not the slope of f") {
  const no_leaks guard;
  const tensor x = leaf({0.4, 1.6, -2.5});
  const tensor y = record(unary<user::through_f>{}, x);
  CHECK(elements(y) == std::vector<double>{0, 2, -2});
  CHECK(elements(grad(sum(y * y), x)) == std::vector<double>{0, 4, -4});
}

TEST_CASE(
    "a clipped straight-through estimator, in every floating dtype and twice differentiated") {
  const no_leaks guard;
  for (const dtype type : {f32, f64, f16, bf16}) {
    const tensor x = cast(tensor_f32{-1.5f, -1.0f, 0.25f, 2.0f}, type).set_requires_grad();
    const tensor y = record(unary<user::clipped_sign_f>{}, x);
    CHECK(elements(y) == std::vector<double>{-1, -1, 1, 1});
    const tensor g = grad(sum(y * y * x), x, {.create_graph = true});
    CHECK(elements(g) == std::vector<double>{1, 3, 1.5, 1});
    CHECK(elements(grad(sum(g), x)) == std::vector<double>{0, -6, 4.5, 0});
  }
}

TEST_CASE("reads may depend on attributes; saved results are attached again for second gradients") {
  const no_leaks guard;
  const tensor x = leaf({0.5, -1.5, 0.25});
  for (const bool by_output : {false, true}) {
    const auto f = [&](const std::vector<tensor>& v) {
      const auto [a, b] = record(user::powers_op{by_output}, v[0]);
      return a * b;
    };
    CHECK(gradcheck(f, {x}));
    CHECK(gradgradcheck(f, {x}));
    const auto only_second = [&](const std::vector<tensor>& v) {
      return record(user::powers_op{by_output}, v[0])[1];
    };
    CHECK(gradcheck(only_second, {x}));
    CHECK(gradgradcheck(only_second, {x}));
    const auto saved = detail::owner_of(record(user::powers_op{by_output}, x)[0])->saved_count;
    CHECK(saved == (by_output ? 3 : 1));
  }
}

TEST_CASE("an optional input may be missing; masks are clipped to the inputs that exist") {
  const no_leaks guard;
  const tensor x = leaf({1, 2, 3}), w = leaf({4, 5, 6}), b = leaf({7, 8, 9});
  backward(sum(record(user::affine_op{}, x, w, tensor())));
  CHECK(user::affine_op::asked == std::array{true, true, false});
  CHECK(elements(x.grad()) == std::vector<double>{4, 5, 6});
  CHECK(elements(w.grad()) == std::vector<double>{1, 2, 3});
  backward(sum(record(user::affine_op{}, x, w, b)));
  CHECK(user::affine_op::asked == std::array{true, true, true});
  CHECK(elements(b.grad()) == std::vector<double>{1, 1, 1});
  const tensor d = grad(sum(record(user::affine_op{}, x, w, b)), w);
  CHECK(user::affine_op::asked == std::array{false, true, false});
  CHECK(elements(d) == std::vector<double>{1, 2, 3});
}

std::vector<tensor> varied_leaves(int n) {
  std::vector<tensor> x;
  for (int i = 0; i < n; ++i) x.push_back(varied_leaf({2, 3}, i));
  return x;
}

TEST_CASE("an op of a list takes any number of tensors") {
  const no_leaks guard;
  for (const int n : {1, 2, 3, 30}) {
    CAPTURE(n);
    std::vector<tensor> x = varied_leaves(n);
    const auto f = [](const std::vector<tensor>& v) {
      return record(user::product_op{}, tensor_list(v));
    };
    CHECK(gradcheck(f, x));
    CHECK(gradgradcheck(f, x));
    x[0].set_requires_grad(false);
    if (n > 1) CHECK(gradcheck(f, x));
  }
}

TEST_CASE("an op of a list may read its results, with and without its inputs") {
  const no_leaks guard;
  for (const int n : {1, 2, 3, 30}) {
    CAPTURE(n);
    std::vector<tensor> x = varied_leaves(n);
    const auto f = [](const std::vector<tensor>& v) {
      return record(user::tanh_sum_op{}, tensor_list(v));
    };
    CHECK(detail::owner_of(f(x))->saved_count == 1);
    CHECK(gradcheck(f, x));
    CHECK(gradgradcheck(f, x));
    const auto pair = [](const std::vector<tensor>& v) {
      const auto y = record(user::scaled_sums_op{}, tensor_list(v));
      return y[0] * y[1];
    };
    CHECK(detail::owner_of(record(user::scaled_sums_op{}, tensor_list(x))[0])->saved_count ==
          n + 1);
    CHECK(gradcheck(pair, x));
    CHECK(gradgradcheck(pair, x));
    // A result that was saved and changed is noticed.
    tensor y = f(x);
    const tensor total = sum(y);
    y.impl().store->version.fetch_add(1);
    CHECK(says(thrown<state_error>([&] { backward(total); }), "tanh_sum: a value saved for its"));
  }
}

TEST_CASE("results that somebody else holds get a twin: no cycle") {
  const no_leaks guard;
  const tensor x = leaf({0.5, 1.0});
  {
    const tensor y = record(keeps_result_op{}, x);
    backward(sum(y));
    CHECK(x.grad().as<double>()(1) == std::exp(1.0));
  }
  {
    tensor y = record(same_op{}, x);
    for (int i = 0; i < 5; ++i) y = record(same_op{}, y);
    CHECK(y.impl_or_null() != x.impl_or_null());
    CHECK(x.is_leaf());
    CHECK(elements(grad(sum(y), x)) == std::vector<double>{1, 1});
  }
  {  // never run: nothing may be left either
    const tensor a = record(keeps_result_op{}, exp(tanh(x)));
    CHECK(a.requires_grad());
  }
}

TEST_CASE("a gradient that reads what `reads` does not name says so") {
  const tensor y = record(undeclared_op{}, leaf({1, 2}));
  CHECK(thrown<state_error>([&] { backward(sum(y)); }) ==
        "undeclared: backward reads a value that `reads` does not name");
}

TEST_CASE("the engine checks every gradient an op returns") {
  const no_leaks guard;
  const std::vector<tensor> x{leaf({1, 2})};
  const auto run = [&](fault kind) {
    return thrown<shape_error>(
        [&] { backward(sum(record(wrong_gradient_op{kind}, tensor_list(x)))); });
  };
  CHECK(run(fault::shape) ==
        "wrong_gradient: the gradient of input 0 is f64[] but the input is f64[2]");
  CHECK(run(fault::type) ==
        "wrong_gradient: the gradient of input 0 is f32[2] but the input is f64[2]");
  CHECK(run(fault::count) == "wrong_gradient: backward returned 2 gradients for 1 inputs");
  CHECK_FALSE(x[0].grad().defined());
}

TEST_CASE("an op that writes an input counts a version and refuses a leaf that wants gradients") {
  const no_leaks guard;
  const tensor x = leaf({1, 2});
  tensor count = detail::zeros_of({}, f64);
  const tensor y = record(running_op{}, x, count);
  CHECK(count.item() == 1);
  CHECK(count.version() == 1);
  CHECK(elements(grad(sum(y), x)) == std::vector<double>{2, 2});
  count.set_requires_grad();
  CHECK(thrown<state_error>([&] { record(running_op{}, x, count); }) ==
        "running: input 1 (f64[]) is changed in place and must not require grad");
  CHECK(count.item() == 1);
  const no_grad plain;
  record(running_op{}, x, count);
  CHECK(count.item() == 2);
}

TEST_CASE("whole numbers and statistics are never attached") {
  const no_leaks guard;
  const tensor x = leaf({1, 2});
  const auto [y, total, whole] = record(statistic_op{}, x);
  CHECK(y.requires_grad());
  CHECK_FALSE(total.requires_grad());
  CHECK_FALSE(whole.requires_grad());
  CHECK(total.item() == 3);
  CHECK(elements(grad(sum(y), x)) == std::vector<double>{2, 2});
}

TEST_CASE("more results than fit inline, or than a byte counts, some of them unused") {
  const no_leaks guard;
  const tensor x = leaf({1, 2});
  for (const int count : {9, 12, 40, 300}) {
    CAPTURE(count);
    const std::vector<tensor> y = record(many_op{count}, x);
    REQUIRE(y.size() == static_cast<std::size_t>(count));
    CHECK(elements(grad(sum(y[3] + y.back()), x)) == std::vector<double>(2, count + 2));
  }
  const std::string text = thrown<value_error>([&] { record(many_op{65536}, x); });
  CHECK(text == "many: too many results; got 65536, at most 65535");
}

}  // namespace adze
