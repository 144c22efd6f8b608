// SPDX-License-Identifier: MIT
// gradcheck itself must notice wrong gradients; second gradients in their three ways (public ops,
// `df` on tensors, `composed`); hvp; the text for ops that have none.
#include <doctest/doctest.h>

#include <adze/autograd/gradcheck.hpp>
#include <adze/ops/activation.hpp>

#include "helpers.hpp"

namespace adze {
namespace {

struct wrong_square_op {  // the gradient is off by the given factor and term
  double factor = 1.0, term = 0.0;
  static constexpr std::string_view name = "wrong_square";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::input(0));
  tensor forward(const tensor& x) const { return x * x; }
  tensor backward(backward_context& c, const tensor& g) const {
    return g * (c.in(0) * (2.0 * factor) + term);
  }
};
// x^2 whose gradient at some elements is another number.
struct faulty_square_op {
  std::vector<std::pair<index_t, double>> faults{};
  static constexpr std::string_view name = "faulty_square";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::input(0));
  tensor forward(const tensor& x) const { return x * x; }
  tensor backward(backward_context& c, const tensor& g) const {
    tensor d = g * c.in(0) * 2.0;
    for (const auto& [i, value] : faults) d.data_as<double>()[i] = value;
    return d;
  }
};
struct kernel_only_op {  // x^3 whose gradient is computed on plain data
  static constexpr std::string_view name = "kernel_only";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::input(0), values::nothing);
  tensor forward(const tensor& x, const tensor& b) const { return x * x * x + b; }
  std::array<tensor, 2> backward(backward_context& c, const tensor& g) const {
    tensor d;
    if (c.wants(0)) {
      const no_grad plain;
      d = g * c.in(0) * c.in(0) * 3.0;
    }
    return {d, c.wants(1) ? g : tensor()};
  }
};
// a * b^2 with a kernel for its first gradient; its slow twin is `composed`.
struct fused_op {
  bool twin_is_right = true;
  static constexpr std::string_view name = "fused";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads =
      gradient_reads(values::input(0) | values::input(1), values::input(0) | values::input(1));
  tensor forward(const tensor& a, const tensor& b) const { return composed(a, b); }
  std::array<tensor, 2> backward(backward_context& c, const tensor& g) const {
    const no_grad plain;
    ++kernels_run;
    return {c.wants(0) ? g * c.in(1) * c.in(1) : tensor(),
            c.wants(1) ? g * c.in(0) * c.in(1) * 2.0 : tensor()};
  }
  tensor composed(const tensor& a, const tensor& b) const {
    return twin_is_right || !grad_enabled() ? a * b * b : a * b;
  }
  static inline int kernels_run = 0;
};
struct fused_pair_op {  // two results by one kernel
  static constexpr std::string_view name = "fused_pair";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::input(0));
  std::array<tensor, 2> forward(const tensor& x) const { return composed(x); }
  tensor backward(backward_context& c, tensor_list g) const {
    const no_grad plain;
    const tensor& x = c.in(0);
    tensor d = x * 0.0;
    if (g[0].defined()) d = d + g[0] * cos(x);
    if (g[1].defined()) d = d - g[1] * sin(x);
    return d;
  }
  std::array<tensor, 2> composed(const tensor& x) const { return {sin(x), cos(x)}; }
};

struct fused_apart_op {  // x^2 and w^3: each result follows one input
  static constexpr std::string_view name = "fused_apart";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::inputs, values::inputs);
  std::array<tensor, 2> forward(const tensor& x, const tensor& w) const { return composed(x, w); }
  std::array<tensor, 2> backward(backward_context& c, tensor_list g) const {
    const no_grad plain;
    std::array<tensor, 2> d;
    if (g[0].defined() && c.wants(0)) d[0] = g[0] * c.in(0) * 2.0;
    if (g[1].defined() && c.wants(1)) d[1] = g[1] * c.in(1) * c.in(1) * 3.0;
    return d;
  }
  std::array<tensor, 2> composed(const tensor& x, const tensor& w) const {
    return {x * x, w * w * w};
  }
};

using tensors = std::vector<tensor>;

}  // namespace

TEST_CASE("gradcheck accepts right gradients and notices wrong ones, however little") {
  const no_leaks guard;
  const tensors x{varied_leaf({2, 3})};
  const auto square = [](double factor, double term) {
    return [=](const tensors& v) { return record(wrong_square_op{factor, term}, v[0]); };
  };
  CHECK(gradcheck(square(1, 0), x));
  CHECK_FALSE(gradcheck(square(1.00001, 0), x));
  CHECK_FALSE(gradcheck(square(1, 1e-5), x));
  CHECK_FALSE(gradcheck(square(-1, 0), x));
  CHECK_FALSE(gradcheck(square(0, 0), x));
  CHECK_FALSE(gradcheck(square(std::numeric_limits<double>::quiet_NaN(), 0), x));
  const gradcheck_result r = gradcheck(square(1.5, 0), x);
  CHECK(says(r.where, "input 0 element "));
  CHECK(r.worst > 1e5);
  CHECK_FALSE(gradgradcheck([](const tensors& v) { return detach(v[0]) * v[0]; }, x));
}

TEST_CASE("gradcheck does not forget a NaN over later elements, right or wrong ones") {
  const no_leaks guard;
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const tensors x{varied_leaf({4})};
  const auto check = [&](std::vector<std::pair<index_t, double>> faults) {
    return gradcheck([&](const tensors& v) { return record(faulty_square_op{faults}, v[0]); }, x);
  };
  for (const auto& r : {check({{1, nan}}), check({{0, 100.0}, {1, nan}, {3, 200.0}})}) {
    CHECK_FALSE(r.ok);
    CHECK(std::isnan(r.worst));
    CHECK(says(r.where, "input 0 element 1: gradient nan"));
  }
}

TEST_CASE("gradcheck tries as many elements as it may") {
  const auto tried = [](index_t n, index_t most) {
    index_t calls = 0;
    const auto f = [&](const tensors& v) {
      ++calls;
      return v[0] * v[0];
    };
    CHECK(gradcheck(f, {varied_leaf({n})}, {.most = most}));
    return (calls - 1) / 2;
  };
  CHECK(tried(6, 6) == 6);
  CHECK(tried(6, 100) == 6);
  CHECK(tried(7, 6) == 4);
  CHECK(tried(6, 3) == 3);
  CHECK(tried(6, 1) == 1);
  CHECK(tried(0, 1) == 0);
  const auto same = [](const tensors& v) { return v[0] * 1.0; };
  CHECK(thrown<value_error>([&] { gradcheck(same, {varied_leaf({2})}, {.most = 0}); }) ==
        "gradcheck: tries at least one element of each input; got most = 0");
}

TEST_CASE("gradcheck leaves its inputs as they were and wants f64") {
  const no_leaks guard;
  const tensors x{varied_leaf({3}), varied_leaf({3}, 1)};
  const auto before = elements(x[0]);
  CHECK(gradcheck([](const tensors& v) { return v[0] * v[1]; }, x));
  CHECK(elements(x[0]) == before);
  CHECK_FALSE(x[0].grad().defined());
  const tensors narrow{cast(varied({3}), f32).set_requires_grad()};
  CHECK(thrown<dtype_error>([&] { gradcheck([](const tensors& v) { return v[0]; }, narrow); }) ==
        "gradcheck: differences need f64; got f32[3]");
  // Inputs that want no gradient may be anything.
  const tensors mixed{varied_leaf({3}), tensor_i64{0, 1, 2}, tensor()};
  CHECK(gradcheck([](const tensors& v) { return v[0] * v[1]; }, mixed));
}

TEST_CASE("gradcheck wants a result in f64, of one shape, and something to check") {
  const no_leaks guard;
  const tensors x{varied_leaf({40})};
  const auto narrow = [](const tensors& v) { return cast(v[0] * v[0], f32); };
  const std::string text = ": differences need a result in f64; the function returned f32[40]";
  CHECK(thrown<dtype_error>([&] { gradcheck(narrow, x); }) == "gradcheck" + text);
  CHECK(thrown<dtype_error>([&] { gradgradcheck(narrow, x); }) == "gradgradcheck" + text);
  CHECK(says(thrown<dtype_error>([&] { gradcheck([](const tensors&) { return tensor(); }, x); }),
             "returned undefined"));
  int calls = 0;
  const auto grows = [&](const tensors& v) { return ++calls < 3 ? v[0] : sum(v[0]); };
  CHECK(thrown<shape_error>([&] { gradcheck(grows, x); }) ==
        "gradcheck: the function returned f64[40] first, then f64[]");
  CHECK(thrown<value_error>([&] {
          gradcheck([](const tensors& v) { return v[0]; }, {varied({2}), tensor_i64{1}});
        }) == "gradcheck: none of the 2 inputs requires grad, so there is nothing to check; call "
              "set_requires_grad()");
}

TEST_CASE("gradcheck puts the element back when the function throws") {
  const no_leaks guard;
  const tensors x{varied_leaf({3})};
  const auto before = elements(x[0]);
  for (const int last : {1, 2, 4}) {
    int calls = 0;
    const auto f = [&](const tensors& v) {
      if (++calls > last) raise<value_error>("on purpose");
      return v[0] * v[0];
    };
    CHECK(thrown<value_error>([&] { gradcheck(f, x); }) == "on purpose");
    CHECK(elements(x[0]) == before);
  }
}

TEST_CASE("a strided leaf is checked in place") {
  const no_leaks guard;
  tensor x = transpose(varied({3, 4}));
  x.set_requires_grad();
  const auto f = [](const tensors& v) { return exp(v[0]) * v[0]; };
  CHECK(gradcheck(f, {x}));
  CHECK(gradgradcheck(f, {x}));
}

TEST_CASE("second gradients through saved results: exp, tanh, div, sqrt, sigmoid") {
  const no_leaks guard;
  const tensors x{varied_leaf({2, 3}), varied_leaf({2, 3}, 2)};
  CHECK(gradgradcheck([](const tensors& v) { return exp(v[0]); }, x));
  CHECK(gradgradcheck([](const tensors& v) { return tanh(v[0]); }, x));
  CHECK(gradgradcheck([](const tensors& v) { return v[0] / v[1]; }, x));
  CHECK(gradgradcheck([](const tensors& v) { return sqrt(v[0] * v[0] + 1.0); }, x));
  CHECK(gradgradcheck([](const tensors& v) { return sigmoid(v[0]) * v[1]; }, x));
  CHECK(gradgradcheck([](const tensors& v) { return tanh(exp(tanh(v[0] * v[1]))); }, x));
}

TEST_CASE("third and fourth derivatives") {
  const no_leaks guard;
  const tensor x = leaf({0.7});
  tensor y = sin(x);
  const double expected[] = {std::cos(0.7), -std::sin(0.7), -std::cos(0.7), std::sin(0.7)};
  for (const double e : expected) {
    y = grad(sum(y), x, {.create_graph = true});
    CHECK(y.item() == doctest::Approx(e).epsilon(1e-14));
  }
}

TEST_CASE("a fused op: its kernel first, its composed form for gradients of gradients") {
  const no_leaks guard;
  const tensors x{varied_leaf({3}), varied_leaf({3}, 1)};
  const auto f = [](const tensors& v) { return record(fused_op{}, v[0], v[1]); };
  fused_op::kernels_run = 0;
  CHECK(gradcheck(f, x));
  CHECK(fused_op::kernels_run > 0);
  fused_op::kernels_run = 0;
  CHECK(gradgradcheck(f, x));
  // A frozen input, and one asked for alone.
  const tensors frozen{varied_leaf({3}), varied({3}, 1)};
  CHECK(gradgradcheck(f, frozen));
  const tensors other{varied({3}), varied_leaf({3}, 1)};
  CHECK(gradgradcheck(f, other));
  // Inputs that depend on each other, and one tensor at both places.
  const auto chained = [](const tensors& v) {
    const tensor a = exp(v[0]);
    return record(fused_op{}, a, a * v[1]);
  };
  CHECK(gradcheck(chained, x));
  CHECK(gradgradcheck(chained, x));
  const auto doubled = [](const tensors& v) { return record(fused_op{}, v[0], v[0]) * v[1]; };
  CHECK(gradcheck(doubled, x));
  CHECK(gradgradcheck(doubled, x));
  const auto wrong = [](const tensors& v) { return record(fused_op{false}, v[0], v[1]); };
  CHECK(gradcheck(wrong, x));
  CHECK_FALSE(gradgradcheck(wrong, x));
}

TEST_CASE("a fused op with two results, one of them unused") {
  const no_leaks guard;
  const tensors x{varied_leaf({3})};
  for (const std::size_t k : {std::size_t{0}, std::size_t{1}}) {
    const auto f = [&](const tensors& v) { return record(fused_pair_op{}, v[0])[k]; };
    CHECK(gradcheck(f, x));
    CHECK(gradgradcheck(f, x));
  }
  const auto both = [](const tensors& v) {
    const auto [s, c] = record(fused_pair_op{}, v[0]);
    return s * c * s;
  };
  CHECK(gradcheck(both, x));
  CHECK(gradgradcheck(both, x));
}

TEST_CASE("a fused op whose second result is a constant to the wanted input") {
  const no_leaks guard;
  for (const bool both : {true, false}) {
    const tensors x{varied_leaf({3}), both ? varied_leaf({3}, 1) : varied({3}, 1)};
    const auto f = [](const tensors& v) {
      const auto [a, b] = record(fused_apart_op{}, v[0], v[1]);
      return a * b + b;
    };
    CHECK(gradcheck(f, x));
    CHECK(gradgradcheck(f, x));
    // Only what no wanted input leads to: no gradient.
    const tensor y = sum(record(fused_apart_op{}, x[0], x[1])[1]);
    CHECK_FALSE(grad(y, x[0], {.create_graph = true}).defined());
  }
}

TEST_CASE("a gradient that is a kernel only says: not twice differentiable") {
  const no_leaks guard;
  const tensor x = leaf({1, 2}), b = leaf({3, 4});
  const tensor y = sum(record(kernel_only_op{}, x, b));
  CHECK(elements(grad(y, x, {.retain_graph = true})) == std::vector<double>{3, 12});
  CHECK(thrown<state_error>([&] { return grad(y, x, {.create_graph = true}); }) ==
        "kernel_only: not twice differentiable; its gradient is a kernel without a recorded form, "
        "so create_graph would lose terms");
  // The gradient of b is: nothing is lost, nothing thrown. The graph still works afterwards.
  CHECK(elements(grad(y, b, {.create_graph = true})) == std::vector<double>{1, 1});
  CHECK(elements(grad(y, x)) == std::vector<double>{3, 12});
  CHECK_FALSE(x.grad().defined());
}

TEST_CASE("a root that hands its gradient through does not hide the next op from create_graph") {
  const no_leaks guard;
  const tensor x = leaf({1, 2}), b = leaf({3, 4});
  const tensor y = sum(x * x) + sum(x);
  const tensor g = grad(y, x, {.create_graph = true});
  CHECK(elements(g) == std::vector<double>{3, 5});
  CHECK(elements(grad(sum(g * g), x)) == std::vector<double>{12, 20});
  const auto f = [](const tensor& t) { return sum(t * t) + sum(t); };
  CHECK(elements(hvp(f, tensor_f64{1, 2}, tensor_f64{5, 7})) == std::vector<double>{10, 14});
  // With a gradient of the caller's, plain or a frozen leaf; it stays what it was.
  tensor v = tensor_f64{1, 10};
  for (int i = 0; i < 2; ++i) {
    const tensor along = grad(x * 2.0 + b, x, {.gradients = {v}, .create_graph = true});
    CHECK(elements(along) == std::vector<double>{2, 20});
    const tensor same = grad(x + b, x, {.gradients = {v}, .create_graph = true});
    CHECK(elements(same) == std::vector<double>{1, 10});
    CHECK_FALSE(same.requires_grad());
    v.set_requires_grad().set_requires_grad(false);
  }
  // What loses terms is still noticed behind such a root.
  const tensor z = sum(record(kernel_only_op{}, x, b)) + sum(x);
  CHECK(says(thrown<state_error>([&] { return grad(z, x, {.create_graph = true}); }),
             "kernel_only: not twice differentiable"));
}

TEST_CASE("without create_graph gradients are plain, with it they carry a graph") {
  const no_leaks guard;
  const tensor x = leaf({1, 2});
  CHECK_FALSE(grad(sum(x * x), x).requires_grad());
  const tensor g = grad(sum(x * x * x), x, {.create_graph = true});
  CHECK(g.requires_grad());
  CHECK(elements(grad(sum(g), x)) == std::vector<double>{6, 12});
  // A gradient that depends on nothing is a constant, or undefined, but never wrong.
  const tensor linear = grad(sum(x * 3.0), x, {.create_graph = true});
  CHECK(elements(linear) == std::vector<double>{3, 3});
}

TEST_CASE("a penalty on the gradient trains the weights") {
  const no_leaks guard;
  const tensors v{varied_leaf({4, 3}), varied_leaf({3}, 1)};
  const auto penalty = [](const tensors& w) {
    const enable_grad again;
    const tensor x = varied_leaf({4, 3}, 7);
    const tensor y = sum(tanh(x * w[0] + w[1]));
    const tensor g = grad(y, x, {.create_graph = true});
    return sum(g * g);
  };
  CHECK(gradcheck(penalty, v));
}

TEST_CASE("hvp of sum(x^3) is 6 x v; of linear functions and constants zero") {
  const no_leaks guard;
  const tensor x = varied({50}), v = varied({50}, 1);
  const auto h = elements(hvp([](const tensor& t) { return sum(t * t * t); }, x, v));
  const auto ex = elements(x), ev = elements(v);
  for (std::size_t i = 0; i < h.size(); ++i) CHECK(std::abs(h[i] - 6 * ex[i] * ev[i]) <= 1e-12);
  CHECK(elements(hvp([](const tensor& t) { return sum(t * 2.0); }, x, v)) ==
        std::vector<double>(50, 0.0));
  const auto constant = [](const tensor&) { return detail::filled({}, f64, 3.0); };
  CHECK(elements(hvp(constant, x, v)) == std::vector<double>(50, 0.0));
  {
    const no_grad plain;  // it records by itself
    CHECK(elements(hvp([](const tensor& t) { return sum(t * t * t); }, x, v)) == h);
    CHECK_FALSE(grad_enabled());
  }
  CHECK_FALSE(x.requires_grad());
  // Off the diagonal: f = sum(x)^2 has the Hessian of twos.
  const auto full = elements(hvp([](const tensor& t) { return square(sum(t)); }, x, v));
  double total = 0.0;
  for (const double e : ev) total += e;
  for (const double e : full) CHECK(e == doctest::Approx(2 * total).epsilon(1e-12));
}

TEST_CASE("random expressions: value and both gradients") {
  const no_leaks guard;
  // Small programs drawn by seed over a pool of values: sharing, reuse, depth.
  for (std::uint64_t seed = 1; seed <= 40; ++seed) {
    CAPTURE(seed);
    const auto program = [seed](const tensors& v) {
      generator draw(seed);
      tensors pool = v;
      for (int i = 0; i < 8; ++i) {
        const auto pick = [&] {
          return pool[static_cast<std::size_t>(draw.below(static_cast<index_t>(pool.size())))];
        };
        const tensor a = pick(), b = pick();
        switch (draw.below(7)) {
        case 0:
          pool.push_back(a + b);
          break;
        case 1:
          pool.push_back(a * b);
          break;
        case 2:
          pool.push_back(tanh(a - b));
          break;
        case 3:
          pool.push_back(sigmoid(a) * b);
          break;
        case 4:
          pool.push_back(a / (b * b + 1.0));
          break;
        case 5:
          pool.push_back(exp(tanh(a)));
          break;
        default:
          pool.push_back(a + sum(b) * 0.1);
          break;
        }
      }
      return pool.back() + pool[pool.size() / 2] * 0.5;
    };
    const tensors x{varied_leaf({2, 3}, 1), varied_leaf({3}, 2), varied_leaf({2, 1}, 3)};
    CHECK(gradcheck(program, x));
    CHECK(gradgradcheck(program, x));
  }
}

}  // namespace adze
