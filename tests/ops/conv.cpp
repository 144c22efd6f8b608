// SPDX-License-Identifier: MIT
// Convolutions against the definition as six loops, their derivatives against differences.
#include <doctest/doctest.h>

#include <adze/ops/conv.hpp>

#include "checks.hpp"

namespace adze::conv_test {
namespace {

using namespace test;

struct problem {
  shape x, w;
  conv_options o{};
};

// The kernels choose by size, stride, groups and channels: one of each kind at least.
const std::vector<problem>& problems() {
  static const std::vector<problem> all{
      {{2, 3, 7, 6}, {4, 3, 3, 3}},
      {{1, 1, 9, 9}, {5, 1, 5, 5}, {.padding = {2, 2}}},
      {{2, 5, 6, 8}, {7, 5, 3, 2}, {.stride = {2, 1}, .padding = {1, 0}}},
      {{2, 8, 9, 9}, {16, 8, 3, 3}, {.stride = {2, 2}, .padding = {1, 1}}},
      {{3, 16, 5, 5}, {9, 16, 1, 1}},
      {{2, 17, 6, 6}, {8, 17, 1, 1}, {.stride = {3, 2}}},
      {{2, 4, 10, 9}, {6, 2, 3, 3}, {.padding = {2, 1}, .dilation = {2, 3}, .groups = 2}},
      {{2, 6, 7, 7}, {6, 1, 3, 3}, {.padding = {1, 1}, .groups = 6}},
      {{1, 20, 8, 6}, {20, 1, 5, 3}, {.stride = {2, 2}, .padding = {2, 1}, .groups = 20}},
      {{2, 6, 6, 6}, {12, 1, 3, 3}, {.padding = {1, 1}, .groups = 6}},
      {{1, 2, 3, 3}, {3, 2, 3, 3}},
      {{2, 3, 4, 4}, {2, 3, 2, 2}, {.stride = {3, 3}, .padding = {3, 3}}},
  };
  return all;
}

std::size_t flat(const shape& s, index_t a, index_t b, index_t c, index_t d) {
  return static_cast<std::size_t>(((a * s[1] + b) * s[2] + c) * s[3] + d);
}

// Calls f(position in x, in w, in y) for each product of the sum.
template <class F> void over_products(const shape& x, const shape& w, const conv_options& o, F f) {
  const shape y = conv2d_op<>{o}.result(x, w, {});
  for (index_t n = 0; n < y[0]; ++n)
    for (index_t k = 0; k < y[1]; ++k)
      for (index_t i = 0; i < y[2]; ++i)
        for (index_t j = 0; j < y[3]; ++j)
          for (index_t c = 0; c < w[1]; ++c)
            for (index_t a = 0; a < w[2]; ++a)
              for (index_t b = 0; b < w[3]; ++b) {
                const index_t h = i * o.stride[0] - o.padding[0] + a * o.dilation[0];
                const index_t v = j * o.stride[1] - o.padding[1] + b * o.dilation[1];
                if (h < 0 || h >= x[2] || v < 0 || v >= x[3]) continue;
                const index_t group = k / (w[0] / o.groups);
                f(flat(x, n, group * w[1] + c, h, v), flat(w, k, c, a, b), flat(y, n, k, i, j));
              }
}

std::vector<double> naive(const tensor& x, const tensor& w, const tensor& bias,
                          const conv_options& o) {
  const shape to = conv2d_op<>{o}.result(x.shape(), w.shape(), {});
  const std::vector<double> vx = numbers(x), vw = numbers(w);
  std::vector<double> y(static_cast<std::size_t>(to.numel()));
  if (bias.defined()) {
    const auto area = static_cast<std::size_t>(to[2] * to[3]);
    for (std::size_t i = 0; i < y.size(); ++i) {
      y[i] = numbers(bias)[i / area % static_cast<std::size_t>(to[1])];
    }
  }
  over_products(x.shape(), w.shape(), o,
                [&](std::size_t i, std::size_t k, std::size_t j) { y[j] += vx[i] * vw[k]; });
  return y;
}

}  // namespace

TEST_CASE("conv2d is the definition, whatever the strides of x") {
  for (std::size_t i = 0; i < problems().size(); ++i) {
    CAPTURE(i);
    const problem& p = problems()[i];
    const tensor x = random(p.x), w = random(p.w), b = random({p.w[0]});
    const std::vector<double> expected = naive(x, w, b, p.o);
    const tensor y = conv2d(x, w, b, p.o);
    CHECK(off_by(y, expected) < 1e-11);
    CHECK(is_channels_last(y));
    CHECK(off_by(conv2d(channels_last(x), w, b, p.o), expected) < 1e-11);
    CHECK(off_by(conv2d(cast(x, f32), cast(w, f32), cast(b, f32), p.o), expected) < 1e-4);
    CHECK(off_by(conv2d(x, w, {}, p.o), naive(x, w, {}, p.o)) < 1e-11);
    const tensor turned = clone(transpose(x)), wide = transpose(turned);
    CHECK(off_by(conv2d(wide, channels_last(w), b, p.o), expected) < 1e-11);
  }
  const tensor one = random({1, 1, 6, 6}), w = random({2, 3, 3, 3});
  const tensor grey = expand(one, {2, 3, 6, 6});
  CHECK(off_by(conv2d(grey, w), naive(grey, w, {}, {})) < 1e-11);
}

TEST_CASE("first gradients of conv2d are the transposed sums") {
  for (std::size_t i = 0; i < problems().size(); ++i) {
    CAPTURE(i);
    const problem& p = problems()[i];
    tensor x = random_leaf(p.x), w = random_leaf(p.w), b = random_leaf({p.w[0]});
    const tensor y = conv2d(x, w, b, p.o), g = random(y.shape());
    const list d = grad(tensor_list(&y, 1), list{x, w, b}, {.gradients = {g}});
    std::vector<double> dx(static_cast<std::size_t>(x.numel()));
    std::vector<double> dw(static_cast<std::size_t>(w.numel()));
    const std::vector<double> vx = numbers(x), vw = numbers(w), vg = numbers(g);
    over_products(p.x, p.w, p.o, [&](std::size_t xi, std::size_t wi, std::size_t yi) {
      dx[xi] += vg[yi] * vw[wi];
      dw[wi] += vg[yi] * vx[xi];
    });
    CHECK(off_by(d[0], dx) < 1e-11);
    CHECK(off_by(d[1], dw) < 1e-11);
    CHECK(distance(d[2], sum(g, {0, 2, 3})) < 1e-11);
  }
}

TEST_CASE("derivatives of conv2d, first and second") {
  const auto run = [](const problem& p, bool bias) {
    const auto f = [&](const list& x) { return conv2d(x[0], x[1], bias ? x[2] : tensor(), p.o); };
    list inputs{random_leaf(p.x), random_leaf(p.w)};
    if (bias) inputs.push_back(random_leaf({p.w[0]}));
    check_gradients(f, inputs);
  };
  run({{2, 2, 4, 5}, {3, 2, 3, 2}, {.stride = {2, 1}, .padding = {1, 1}}}, true);
  run({{1, 4, 5, 5}, {4, 2, 2, 2}, {.dilation = {2, 1}, .groups = 2}}, false);
  run({{2, 3, 4, 4}, {3, 1, 3, 3}, {.stride = {1, 2}, .padding = {1, 1}, .groups = 3}}, true);
  check_gradients([](const list& x) { return conv2d(x[0], x[1]); },
                  {random({1, 2, 4, 4}), random_leaf({2, 2, 3, 3})});
}

TEST_CASE("a fused relu is relu, with its gradient") {
  const tensor x = random_leaf({2, 3, 5, 5}), w = random_leaf({4, 3, 3, 3}), b = random_leaf({4});
  const conv2d_op<> fused{{.padding = {1, 1}}, kernels::activation::relu};
  const tensor y = record(fused, x, w, b), z = relu(conv2d(x, w, b, {.padding = {1, 1}}));
  CHECK(distance(y, z) == 0.0);
  const tensor g = random(y.shape());
  const list a = grad(tensor_list(&y, 1), list{x, w, b}, {.gradients = {g}});
  const list c = grad(tensor_list(&z, 1), list{x, w, b}, {.gradients = {g}});
  for (std::size_t i = 0; i < 3; ++i) CHECK(distance(a[i], c[i]) < 1e-13);
}

TEST_CASE("conv_transpose2d is transposed to conv2d: <conv(x), g> = <x, transposed(g)>") {
  for (std::size_t i = 0; i < problems().size(); ++i) {
    CAPTURE(i);
    problem p = problems()[i];
    const shape y = conv2d_op<>{p.o}.result(p.x, p.w, {});
    for (const std::size_t a : {0u, 1u}) {  // what the forward left over at the end
      const auto axis = static_cast<index_t>(2 + a);
      p.o.output_padding[a] =
          (p.x[axis] + 2 * p.o.padding[a] - p.o.dilation[a] * (p.w[axis] - 1) - 1) % p.o.stride[a];
    }
    const tensor g = random(y), w = random(p.w), b = random({p.x[1]});
    const std::vector<double> vg = numbers(g), vw = numbers(w);
    std::vector<double> expected(static_cast<std::size_t>(p.x.numel()));
    over_products(p.x, p.w, p.o, [&](std::size_t xi, std::size_t wi, std::size_t yi) {
      expected[xi] += vg[yi] * vw[wi];
    });
    const tensor t = conv_transpose2d(g, w, {}, p.o);
    CHECK(t.shape() == p.x);
    CHECK(off_by(t, expected) < 1e-11);
    CHECK(is_channels_last(t));
    CHECK(distance(conv_transpose2d(g, w, b, p.o), t + reshape(b, {1, -1, 1, 1})) < 1e-11);
  }
}

TEST_CASE("derivatives of conv_transpose2d, first and second") {
  const auto f = [](const list& x) {
    return conv_transpose2d(x[0], x[1], x[2],
                            {.stride = {2, 3}, .padding = {1, 0}, .output_padding = {1, 2}});
  };
  check_gradients(f, {random_leaf({2, 3, 3, 2}), random_leaf({3, 2, 3, 2}), random_leaf({2})});
  const auto grouped = [](const list& x) {
    return conv_transpose2d(x[0], x[1], {}, {.dilation = {1, 2}, .groups = 2});
  };
  check_gradients(grouped, {random_leaf({1, 4, 3, 3}), random_leaf({4, 1, 2, 2})});
}

TEST_CASE("conv1d is conv2d on one line") {
  const conv1d_options o{.stride = 2, .padding = 1, .dilation = 2};
  const conv_options flat{.stride = {1, 2}, .padding = {0, 1}, .dilation = {1, 2}};
  const tensor x = random({2, 3, 11}), w = random({4, 3, 3}), b = random({4});
  const tensor y = conv1d(x, w, b, o);
  CHECK(y.shape() == shape{2, 4, 5});
  CHECK(off_by(y, naive(reshape(x, {2, 3, 1, 11}), reshape(w, {4, 3, 1, 3}), b, flat)) < 1e-12);
  CHECK(conv1d(x, w, b, {.padding = 1}).shape() == x.shape().with(1, 4));
  check_gradients([&](const list& v) { return conv1d(v[0], v[1], v[2], o); },
                  {random_leaf({1, 2, 7}), random_leaf({2, 2, 3}), random_leaf({2})});
}

TEST_CASE("one number is both the height's and the width's, with braces or without") {
  const tensor x = random({2, 3, 9, 8}), w = random({3, 3, 3, 3});
  const tensor y = conv2d(x, w, {}, {.stride = {2, 2}, .padding = {1, 1}, .dilation = {2, 2}});
  CHECK(distance(conv2d(x, w, {}, {.stride = 2, .padding = 1, .dilation = 2}), y) == 0.0);
  CHECK(distance(conv2d(x, w, {}, {.stride = {2}, .padding = {1}, .dilation = {2}}), y) == 0.0);
  CHECK(conv2d(x, w, {}, {.padding = {1, 0}}).shape() == shape{2, 3, 9, 6});
  CHECK(conv_transpose2d(x, w, {}, {.stride = {2}, .output_padding = {1}}).shape() ==
        shape{2, 3, 20, 18});
}

TEST_CASE("one image without a batch axis") {
  const tensor x = random({3, 5, 5}), w = random({2, 3, 3, 3});
  CHECK(conv2d(x, w).shape() == shape{2, 3, 3});
  CHECK(distance(conv2d(x, w), squeeze(conv2d(unsqueeze(x, 0), w), 0)) == 0.0);
  CHECK(conv_transpose2d(random({2, 3, 3}), w).shape() == shape{3, 5, 5});
}

TEST_CASE("16-bit images are computed in f32 and rounded once") {
  const tensor x = random({2, 5, 6, 6}, bf16), w = random({4, 5, 3, 3}, bf16);
  const tensor y = conv2d(x, w);
  CHECK(y.dtype() == bf16);
  CHECK(is_channels_last(y));
  CHECK(distance(y, cast(conv2d(cast(x, f32), cast(w, f32)), bf16)) == 0.0);
  tensor a = clone(x), b = clone(w);
  a.set_requires_grad(), b.set_requires_grad();
  const list g = grad(list{sum(conv2d(a, b))}, list{a, b});
  CHECK(g[0].dtype() == bf16);
  CHECK(g[1].dtype() == bf16);
  CHECK(conv2d(x, cast(w, f32)).dtype() == f32);
}

TEST_CASE("the same bits for any number of threads") {
  const tensor x = random({8, 16, 30, 30}, f32);
  tensor w = random({24, 16, 3, 3}, f32), in = clone(x);
  w.set_requires_grad(), in.set_requires_grad();
  const auto run = [&] {
    const tensor y = conv2d(in, w, {}, {.padding = {1, 1}});
    list d = grad(tensor_list(&y, 1), list{in, w}, {.gradients = {y}});
    d.push_back(y);
    return d;
  };
  const list one = run();
  const int before = threads();
  set_threads(3);
  const list three = run();
  set_threads(before);
  for (std::size_t i = 0; i < 3; ++i) CHECK(distance(one[i], three[i]) == 0.0);
}

TEST_CASE("nothing in, nothing or the bias out") {
  const tensor w = random_leaf({4, 3, 3, 3}), b = random_leaf({4});
  const tensor y = conv2d(empty({0, 3, 5, 5}, f64), w, b);
  CHECK(y.shape() == shape{0, 4, 3, 3});
  const list d = grad(tensor_list(&y, 1), list{w, b}, {.gradients = {empty(y.shape(), f64)}});
  CHECK(distance(d[0], zeros({4, 3, 3, 3}, f64)) == 0.0);
  CHECK(distance(d[1], zeros({4}, f64)) == 0.0);
  CHECK(distance(conv2d(empty({2, 0, 5, 5}, f64), empty({4, 0, 3, 3}, f64), b),
                 expand(reshape(b, {1, 4, 1, 1}), {2, 4, 3, 3})) == 0.0);
  CHECK(conv2d(random({2, 3, 5, 5}), empty({0, 3, 3, 3}, f64)).shape() == shape{2, 0, 3, 3});
}

TEST_CASE("what convolutions refuse") {
  const tensor x = ones({2, 3, 5, 5}), w = ones({4, 3, 3, 3});
  CHECK(message_of([&] {
          return conv2d(ones({2, 4, 5, 5}), w);
        }) ==
        "conv2d: x has 4 channels but the weight takes 3; got x f32[2,4,5,5], weight f32[4,3,3,3], "
        "groups 1");
  CHECK(message_of([&] {
          return conv2d(x, ones({4, 3, 7, 3}), {}, {.dilation = {1, 2}});
        }) ==
        "conv2d: the kernel covers 7 x 5 pixels but the padded input has 5 x 5; got x [2,3,5,5], "
        "weight [4,3,7,3]");
  CHECK(message_of([&] { return conv2d(x, w, ones({3})); }) ==
        "conv2d: the bias must be [4]; got f32[3]");
  CHECK(message_of([&] {
          return conv2d(x, w, {}, {.stride = {0, 1}});
        }) == "conv2d: stride must be at least 1; got 0");
  CHECK_THROWS_AS(conv2d(x, w, {}, {.padding = {-1, 0}}), value_error);
  CHECK_THROWS_AS(conv2d(x, w, {}, {.groups = 0}), value_error);
  CHECK_THROWS_AS(conv2d(x, w, {}, {.padding = {index_t(1) << 40, 0}}), value_error);
  CHECK_THROWS_AS(conv2d(ones({2, 6, 5, 5}), ones({3, 3, 3, 3}), {}, {.groups = 2}), shape_error);
  CHECK_THROWS_AS(conv2d(ones({3, 5}), w), shape_error);
  CHECK_THROWS_AS(conv2d(x, ones({4, 3, 0, 3})), shape_error);
  CHECK_THROWS_AS(conv2d(ones({2, 3, 5, 5}, i32), w), dtype_error);
  CHECK_THROWS_AS(conv1d(x, w), shape_error);
  CHECK(message_of([&] {
          return conv_transpose2d(x, ones({3, 4, 3, 3}), {}, {.output_padding = {1, 0}});
        }) == "conv_transpose2d: output_padding must be less than the stride; got 1 and 1");
  CHECK_THROWS_AS(conv_transpose2d(x, w), shape_error);
  CHECK_THROWS_AS(conv_transpose2d(x, ones({3, 4, 1, 1}), {}, {.padding = {3, 3}}), shape_error);
}

}  // namespace adze::conv_test
