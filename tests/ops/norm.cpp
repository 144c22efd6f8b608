// SPDX-License-Identifier: MIT
// Layer, group, instance and root-mean-square norm against the definition, with both derivatives.
#include <doctest/doctest.h>

#include <adze/ops/norm.hpp>

#include "checks.hpp"

namespace adze {
namespace {

using namespace test;

// Row-major x as rows of n, normalised; element i of a row has the channel i / inner.
struct rows {
  index_t n = 1, inner = 1, groups = 1;
  bool centered = true;
  double eps = 1e-5;
};
std::vector<double> naive(const tensor& input, const tensor& weight, const tensor& bias,
                          const rows& o) {
  const tensor x = detail::dense_as(input, f64);
  const tensor w = weight.defined() ? detail::dense_as(weight, f64) : tensor();
  const tensor b = bias.defined() ? detail::dense_as(bias, f64) : tensor();
  std::vector<double> y(static_cast<std::size_t>(x.numel()));
  for (index_t r = 0; r < x.numel() / o.n; ++r) {
    const double* p = x.data_as<double>() + r * o.n;
    double mean = 0, square = 0;
    for (index_t i = 0; i < o.n && o.centered; ++i) mean += p[i] / static_cast<double>(o.n);
    for (index_t i = 0; i < o.n; ++i) {
      square += (p[i] - mean) * (p[i] - mean) / static_cast<double>(o.n);
    }
    for (index_t i = 0; i < o.n; ++i) {
      const index_t c = r % o.groups * (o.n / o.inner) + i / o.inner;
      double v = (p[i] - mean) / std::sqrt(square + o.eps);
      if (w.defined()) v *= w.data_as<double>()[c];
      if (b.defined()) v += b.data_as<double>()[c];
      y[static_cast<std::size_t>(r * o.n + i)] = v;
    }
  }
  return y;
}

}  // namespace

TEST_CASE("layer_norm is the definition, at every row length around a pack and a block") {
  for (const index_t n : {1, 2, 3, 7, 8, 9, 15, 31, 33, 64, 100, 1023, 1024, 1025, 2100}) {
    CAPTURE(n);
    const tensor x = random({5, n}), w = random({n}), b = random({n});
    CHECK(off_by(layer_norm(x, 1, w, b), naive(x, w, b, {.n = n})) < 1e-11);
    CHECK(off_by(layer_norm(cast(x, f32), 1, cast(w, f32), cast(b, f32)),
                 naive(cast(x, f32), cast(w, f32), cast(b, f32), {.n = n})) < 3e-5);
    CHECK(off_by(rms_norm(x, 1, w), naive(x, w, {}, {.n = n, .centered = false, .eps = 0x1p-52})) <
          1e-11);
  }
}

TEST_CASE("layer_norm over several axes, without weight or bias, and of strided inputs") {
  const tensor x = random({3, 4, 5}), w = random({4, 5}), b = random({4, 5});
  CHECK(off_by(layer_norm(x, 2, w, b), naive(x, w, b, {.n = 20})) < 1e-12);
  CHECK(off_by(layer_norm(x, 2, {}, b), naive(x, {}, b, {.n = 20})) < 1e-12);
  CHECK(off_by(layer_norm(x, 3), naive(x, {}, {}, {.n = 60})) < 1e-12);
  const tensor t = transpose(x, 0, 2);
  CHECK(off_by(layer_norm(t, 1), naive(t, {}, {}, {.n = 3})) < 1e-12);
  const tensor e = expand(reshape(random({5}), {1, 5}), {4, 5});
  CHECK(off_by(layer_norm(e, 1), naive(e, {}, {}, {.n = 5})) < 1e-12);
}

TEST_CASE("group_norm and instance_norm, row-major and channels-last") {
  const tensor x = random({2, 6, 3, 5}), w = random({6}), b = random({6});
  const rows three{.n = 30, .inner = 15, .groups = 3}, own{.n = 15, .inner = 15, .groups = 6};
  CHECK(off_by(group_norm(x, 3, w, b), naive(x, w, b, three)) < 1e-12);
  CHECK(off_by(instance_norm(x, w, b), naive(x, w, b, own)) < 1e-12);
  CHECK(off_by(group_norm(x, 1), naive(x, {}, {}, {.n = 90, .inner = 15})) < 1e-12);
  const tensor pairs = random({4, 6});
  CHECK(off_by(group_norm(pairs, 3, w), naive(pairs, w, {}, {.n = 2, .groups = 3})) < 1e-12);
  const tensor last = channels_last(x);
  const tensor y = group_norm(last, 3, w, b);
  CHECK(off_by(y, naive(x, w, b, three)) < 1e-12);
  CHECK(y.strides() == last.strides());
}

TEST_CASE("an eps of one's own, in values and in both gradients") {
  const tensor x = random({2, 6, 5}), w = random({6});
  const double eps = 0.5;
  CHECK(off_by(layer_norm(x, 1, {}, {}, eps), naive(x, {}, {}, {.n = 5, .eps = eps})) < 1e-12);
  CHECK(off_by(rms_norm(x, 1, {}, eps), naive(x, {}, {}, {.n = 5, .centered = false, .eps = eps})) <
        1e-12);
  CHECK(off_by(group_norm(x, 3, w, {}, eps),
               naive(x, w, {}, {.n = 10, .inner = 5, .groups = 3, .eps = eps})) < 1e-12);
  CHECK(off_by(instance_norm(x, w, {}, eps),
               naive(x, w, {}, {.n = 5, .inner = 5, .groups = 6, .eps = eps})) < 1e-12);
  const list leaf{random_leaf({2, 4, 3})};
  check_gradients([=](const list& v) { return layer_norm(v[0], 1, {}, {}, eps); }, leaf);
  check_gradients([=](const list& v) { return rms_norm(v[0], 1, {}, eps); }, leaf);
  check_gradients([=](const list& v) { return group_norm(v[0], 2, {}, {}, eps); }, leaf);
  check_gradients(
      [=](const list& v) {
        return batch_norm(v[0], {}, {}, {}, {}, {.training = true, .eps = eps});
      },
      leaf);
}

TEST_CASE("without an eps, rms_norm takes that of the dtype, as in PyTorch") {
  CHECK(rms_norm(full({1}, 0x1p-26, f64), 1).item() == doctest::Approx(std::sqrt(0.5)));
  CHECK(numbers(rms_norm(full({1, 1}, 0x1p-5, f16), 1))[0] ==
        doctest::Approx(0.7071).epsilon(1e-3));
  const tensor x = random({3, 7}, bf16);
  const auto eps = static_cast<float>(std::numeric_limits<bfloat16>::epsilon());
  CHECK(distance(rms_norm(x, 1), rms_norm(x, 1, {}, eps)) == 0.0);
  CHECK(distance(rms_norm(cast(x, f32), 1), rms_norm(cast(x, f32), 1, {}, 0x1p-23)) == 0.0);
}

TEST_CASE("data far from zero keep their digits") {
  const tensor x = random({3, 2000}, f32);
  const tensor far = cast(cast(x, f64) + 1e6, f32);
  CHECK(off_by(layer_norm(far, 1), naive(far, {}, {}, {.n = 2000})) < 1e-5);
  CHECK(off_by(group_norm(reshape(far, {3, 4, 500}), 2),
               naive(far, {}, {}, {.n = 1000, .inner = 500, .groups = 2})) < 1e-5);
  const tensor same = full({2, 50}, 12345.678);
  CHECK(off_by(layer_norm(same, 1), std::vector<double>(100, 0.0)) == 0.0);
}

TEST_CASE("16-bit inputs are computed in f32 and rounded once") {
  for (const dtype type : {f16, bf16}) {
    const tensor x = random({4, 40}, type), w = random({40}, type);
    const tensor y = layer_norm(x, 1, w);
    CHECK(y.dtype() == type);
    const tensor rounded = cast(layer_norm(cast(x, f32), 1, cast(w, f32)), type);
    CHECK(off_by(y, numbers(rounded)) == 0.0);
  }
  CHECK(layer_norm(random({2, 3}, bf16), 1, random({3}, f32)).dtype() == f32);
}

TEST_CASE("gradients of the norms, first and second") {
  check_gradients([](const list& x) { return layer_norm(x[0], 1, x[1], x[2]); },
                  {random_leaf({4, 9}), random_leaf({9}), random_leaf({9})});
  check_gradients([](const list& x) { return layer_norm(transpose(x[0]), 2, x[1]); },
                  {random_leaf({3, 4}), random_leaf({4, 3})});
  check_gradients([](const list& x) { return layer_norm(x[0], 1); }, {random_leaf({3, 5})});
  check_gradients([](const list& x) { return layer_norm(x[0], 1, x[1], x[2]); },
                  {random({3, 5}), random({5}), random_leaf({5})});
  check_gradients([](const list& x) { return layer_norm(x[0], 1, x[1], x[2]); },
                  {random({3, 5}), random_leaf({5}), random({5})});
  check_gradients([](const list& x) { return rms_norm(x[0], 1, x[1]); },
                  {random_leaf({4, 9}), random_leaf({9})});
  check_gradients([](const list& x) { return rms_norm(x[0], 2); }, {random_leaf({2, 3, 4})});
  check_gradients([](const list& x) { return group_norm(x[0], 2, x[1], x[2]); },
                  {random_leaf({2, 4, 5}), random_leaf({4}), random_leaf({4})});
  check_gradients([](const list& x) { return group_norm(x[0], 2, x[1], x[2]); },
                  {random_leaf({5, 4}), random_leaf({4}), random_leaf({4})});
  check_gradients([](const list& x) { return instance_norm(x[0], x[1]); },
                  {random_leaf({2, 3, 2, 3}), random_leaf({3})});
}

TEST_CASE("weight gradients of many rows, over several pieces and threads alike") {
  const tensor x = random({3000, 70}, f32), g = random({3000, 70}, f32);
  tensor w = random({70}, f32), b = random({70}, f32);
  w.set_requires_grad(), b.set_requires_grad();
  const auto gradients = [&] {
    const tensor y = layer_norm(x, 1, w, b);
    return grad(tensor_list(&y, 1), std::vector{w, b}, {.gradients = {g}});
  };
  const std::vector<tensor> one = gradients();
  std::vector<double> dw(70), db(70);
  const std::vector<double> h = naive(x, {}, {}, {.n = 70});
  for (std::size_t i = 0; i < h.size(); ++i) {
    dw[i % 70] += h[i] * static_cast<double>(g.data_as<float>()[i]);
    db[i % 70] += static_cast<double>(g.data_as<float>()[i]);
  }
  CHECK(off_by(one[0], dw) < 2e-4);
  CHECK(off_by(one[1], db) < 2e-4);
  const int before = threads();
  set_threads(3);
  const std::vector<tensor> three = gradients();
  set_threads(before);
  CHECK(off_by(three[0], numbers(one[0])) == 0.0);
}

TEST_CASE("normalize divides by the norm along an axis, and by eps at zero") {
  const tensor x = random({2, 5, 3});
  for (const double p : {1.0, 2.0}) {
    const tensor y = normalize(x, p, 1);
    const std::vector<double> v = numbers(x), r = numbers(y);
    for (std::size_t i = 0; i < v.size(); ++i) {
      double size = 0;
      for (std::size_t k = 0; k < 5; ++k) {
        size += std::pow(std::abs(v[i / 15 * 15 + k * 3 + i % 3]), p);
      }
      CHECK(r[i] == doctest::Approx(v[i] / std::pow(size, 1 / p)).epsilon(1e-13));
    }
  }
  CHECK(off_by(normalize(zeros({2, 3}, f64)), std::vector<double>(6, 0.0)) == 0.0);
  check_gradients([](const list& in) { return normalize(in[0], 2.0, -1); }, {random_leaf({3, 4})});
  tensor half = cast(tensor_f32{{0, 0}, {3, 4}, {30000, 40000}}, f16);
  half.set_requires_grad();
  const tensor y = normalize(half);
  CHECK(y.dtype() == f16);
  CHECK(off_by(y, {0, 0, 0.6, 0.8, 0.6, 0.8}) < 1e-3);
  backward(sum(y * 0.0));
  CHECK(off_by(half.grad(), std::vector<double>(6, 0.0)) == 0.0);
}

TEST_CASE("norms of nothing") {
  CHECK(layer_norm(empty({0, 4}), 1).shape() == shape{0, 4});
  CHECK(layer_norm(empty({4, 0}), 1).shape() == shape{4, 0});
  CHECK(group_norm(empty({0, 4, 3}), 2).shape() == shape{0, 4, 3});
  tensor w = ones({4}, f64), x = empty({0, 4}, f64);
  w.set_requires_grad();
  const tensor y = layer_norm(x, 1, w);
  CHECK(off_by(grad(y, w, {.gradients = {empty({0, 4}, f64)}}), {0, 0, 0, 0}) == 0.0);
  tensor v = ones({4}, f64);
  v.set_requires_grad();
  const tensor z = group_norm(empty({2, 4, 0}, f64), 2, v);
  CHECK(off_by(grad(z, v, {.gradients = {empty({2, 4, 0}, f64)}}), {0, 0, 0, 0}) == 0.0);
}

TEST_CASE("what norms refuse") {
  const tensor x = ones({2, 6, 4});
  CHECK(message_of([&] { return layer_norm(x, 4); }) ==
        "layer_norm: normalises over 1 to 3 last axes; got 4 for f32[2,6,4]");
  CHECK(message_of([&] { return layer_norm(x, 1, ones({6})); }) ==
        "layer_norm: weight and bias must have the sizes of the last axes [4]; got f32[6] for "
        "f32[2,6,4]");
  CHECK(message_of([&] { return group_norm(x, 4); }) ==
        "group_norm: the channels (axis 1) must divide into 4 groups; got f32[2,6,4]");
  CHECK(message_of([&] { return group_norm(x, 2, ones({4})); }) ==
        "group_norm: needs one value per channel, [6]; got f32[4] for f32[2,6,4]");
  CHECK_THROWS_AS(group_norm(x, 0), shape_error);
  CHECK_THROWS_AS(instance_norm(ones({2, 6, 1})), shape_error);
  CHECK_THROWS_AS(instance_norm(ones({2, 6})), shape_error);
  CHECK_THROWS_AS(layer_norm(ones({2, 3}, i32), 1), dtype_error);
}

}  // namespace adze
