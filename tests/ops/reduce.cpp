// SPDX-License-Identifier: MIT
// Reductions against loops in double: every set of axes, layout and dtype; long sums, threads,
// NaN and infinities, empty axes, both derivatives.
#include <cmath>
#include <functional>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include <adze/ops/reduce.hpp>
#include <adze/tensor/create.hpp>

#include "checks.hpp"

namespace adze::reduce_test {
namespace {

using namespace test;
using values_of = std::vector<double>;

constexpr double inf = std::numeric_limits<double>::infinity();
const double nan = std::nan("");

// f over the elements of x that share a result, one list per result in row-major order.
template <class F> values_of naive(const tensor& x, std::uint32_t folded, F f) {
  const shape left = detail::folded_shape(x.shape(), folded, false);
  std::vector<values_of> groups(static_cast<std::size_t>(left.numel()));
  const values_of all = numbers(x);
  for (index_t i = 0; i < x.numel(); ++i) {
    index_t rest = i, at = 0, step = 1;
    for (index_t a = x.rank() - 1; a >= 0; --a) {
      const index_t k = rest % x.shape()[a];
      rest /= x.shape()[a];
      if ((folded >> a & 1) != 0) continue;
      at += k * step;
      step *= x.shape()[a];
    }
    groups[static_cast<std::size_t>(at)].push_back(all[static_cast<std::size_t>(i)]);
  }
  values_of r;
  for (const values_of& g : groups) r.push_back(f(g));
  return r;
}

double sum_of(const values_of& v) {
  double s = 0;
  for (const double x : v) s += x;
  return s;
}
double var_of(const values_of& v, double correction) {
  const double mean = sum_of(v) / static_cast<double>(v.size());
  double s = 0;
  for (const double x : v) s += (x - mean) * (x - mean);
  return s / std::max(0.0, static_cast<double>(v.size()) - correction);
}

struct reduction_case {
  const char* name;
  std::function<tensor(const tensor&, const axes&, bool)> op;
  std::function<double(const values_of&)> loop;
};
const std::vector<reduction_case>& cases() {
  using T = const tensor&;
  using A = const axes&;
  using V = const values_of&;
  static const std::vector<reduction_case> all{
      {"sum", [](T x, A a, bool k) { return sum(x, a, k); }, sum_of},
      {"mean", [](T x, A a, bool k) { return mean(x, a, k); },
       [](V v) { return sum_of(v) / static_cast<double>(v.size()); }},
      {"var", [](T x, A a, bool k) { return var(x, a, 1.0, k); },
       [](V v) { return var_of(v, 1.0); }},
      {"std_dev", [](T x, A a, bool k) { return std_dev(x, a, 0.0, k); },
       [](V v) { return std::sqrt(var_of(v, 0.0)); }},
      {"prod", [](T x, A a, bool k) { return prod(x, a, k); },
       [](V v) {
         double p = 1;
         for (const double x : v) p *= x;
         return p;
       }},
      {"amax", [](T x, A a, bool k) { return amax(x, a, k); },
       [](V v) { return *std::max_element(v.begin(), v.end()); }},
      {"amin", [](T x, A a, bool k) { return amin(x, a, k); },
       [](V v) { return *std::min_element(v.begin(), v.end()); }},
      {"norm 2", [](T x, A a, bool k) { return norm(x, 2.0, a, k); },
       [](V v) {
         double s = 0;
         for (const double x : v) s += x * x;
         return std::sqrt(s);
       }},
      {"norm 1", [](T x, A a, bool k) { return norm(x, 1.0, a, k); },
       [](V v) {
         double s = 0;
         for (const double x : v) s += std::abs(x);
         return s;
       }},
      {"norm 3", [](T x, A a, bool k) { return norm(x, 3.0, a, k); },
       [](V v) {
         double s = 0;
         for (const double x : v) s += std::pow(std::abs(x), 3.0);
         return std::cbrt(s);
       }},
      {"norm inf", [](T x, A a, bool k) { return norm(x, inf, a, k); },
       [](V v) {
         double s = 0;
         for (const double x : v) s = std::max(s, std::abs(x));
         return s;
       }},
      {"logsumexp", [](T x, A a, bool k) { return logsumexp(x, a, k); },
       [](V v) {
         double s = 0;
         for (const double x : v) s += std::exp(x);
         return std::log(s);
       }},
  };
  return all;
}

}  // namespace

TEST_CASE("every reduction over every set of axes, layout and floating dtype") {
  for (const reduction_case& c : cases()) {
    CAPTURE(c.name);
    for (const dtype type : {f64, f32, f16, bf16}) {
      CAPTURE(name_of(type));
      const tensor x = smooth({3, 5, 2, 7}, type, 1.3);
      const std::vector<tensor> layouts{x, channels_last(x), transpose(x, 0, 3),
                                        slice(x, 3, {1, 6, 2}),
                                        expand(slice(x, 1, {2, 3}), {3, 4, 2, 7})};
      for (const tensor& v : layouts) {
        for (std::uint32_t folded = 1; folded < 16; ++folded) {
          axes over;
          for (index_t a = 0; a < 4; ++a) {
            if ((folded >> a & 1) != 0) over.push_back(a % 2 == 0 ? a : a - 4);
          }
          if (detail::folded_count(v.shape(), folded) < 2) continue;
          const values_of expected = naive(v, folded, c.loop);
          const tensor y = c.op(v, over, false), kept = c.op(v, over, true);
          CHECK(y.dtype() == type);
          CHECK(y.shape() == detail::folded_shape(v.shape(), folded, false));
          CHECK(kept.shape() == detail::folded_shape(v.shape(), folded, true));
          const double scale = 1.0 + std::abs(*std::max_element(expected.begin(), expected.end()));
          const double bound = type == f64   ? 1e-12
                               : type == f32 ? 1e-6
                               : type == f16 ? 2e-3
                                             : 1.6e-2;
          CHECK(distance(numbers(y), expected) < bound * scale);
          CHECK(numbers(kept) == numbers(y));
        }
      }
    }
  }
}

TEST_CASE("rows and columns around the widths of lanes and blocks") {
  for (const index_t n : {1, 7, 8, 9, 31, 32, 33, 63, 64, 65, 255, 256, 257, 1023, 1025, 4100}) {
    const tensor x = smooth({n, 3}, f32, 1.0);
    for (const tensor& v : {x, contiguous(transpose(x))}) {
      for (std::uint32_t folded = 1; folded < 4; ++folded) {
        const axes over = folded == 3 ? axes{0, 1} : folded == 1 ? axes{0} : axes{1};
        CHECK(distance(numbers(sum(v, over)), naive(v, folded, sum_of)) <
              1e-6 * static_cast<double>(n));
        CHECK(numbers(amax(v, over)) == naive(v, folded, cases()[5].loop));
      }
    }
  }
}

TEST_CASE("long sums keep their digits") {
  const index_t n = (index_t{1} << 24) + 5;
  const tensor x = expand(ones({1}), {n});
  CHECK(sum(x).item() == static_cast<double>(16777220));  // the nearest f32
  CHECK(sum(contiguous(x)).item() == 16777220.0);
  CHECK(sum(reshape(contiguous(x), {n, 1}), {0}).item() == 16777220.0);
  CHECK(sum(cast(slice(x, 0, {0, 4099}), f16)).item() == 4100.0);  // f32 inside
  CHECK(mean(expand(full({1}, 0.1), {n})).item() == doctest::Approx(0.1).epsilon(2e-7));
  const tensor far = smooth({1000}, f64, 1e-3) + 1e6;
  CHECK(std::abs(var(far).item() - var_of(numbers(far), 1.0)) < 1e-15);
}

TEST_CASE("the same bits for any number of threads") {
  const int before = threads();
  const tensor x = smooth({300, 1000}, f32);
  const std::vector<tensor> layouts{x, transpose(x), reshape(x, {10, 30, 1000}),
                                    slice(x, 1, {0, 1000, 3}), cast(x, bf16)};
  for (const tensor& v : layouts) {
    for (const reduction_case& c : cases()) {
      for (const axes& over : {axes{}, axes{0}, axes{1}, axes{-1}}) {
        set_threads(1);
        const tensor one = c.op(v, over.empty() ? axes{0, 1} : over, false);
        set_threads(4);
        const tensor four = c.op(v, over.empty() ? axes{0, 1} : over, false);
        CHECK(numbers(one) == numbers(four));
      }
    }
  }
  set_threads(before);
}

TEST_CASE("integers and bool sum to i64 and wrap; extremes keep their dtype") {
  const tensor x = tensor_u8{{200, 100}, {255, 0}};
  CHECK(sum(x).dtype() == i64);
  CHECK(numbers(sum(x, {1})) == values_of{300, 255});
  CHECK(numbers(sum(tensor_bool8{true, true, false})) == values_of{2});
  CHECK(numbers(prod(tensor_i32{{2, 3}, {-4, 5}}, {0})) == values_of{-8, 15});
  CHECK(amax(x).dtype() == u8);
  CHECK(numbers(amax(x, {0})) == values_of{255, 100});
  const index_t top = std::numeric_limits<index_t>::max();
  CHECK(sum(tensor_i64{top, 1}).item<index_t>() == std::numeric_limits<index_t>::min());
  CHECK(amin(tensor_i64{top, top - 1}).item<index_t>() == top - 1);
  CHECK(numbers(cumsum(tensor_i8{100, 100, 100}, 0)) == values_of{100, 200, 300});
  CHECK_THROWS_AS(mean(x), dtype_error);
  CHECK_THROWS_AS(var(x), dtype_error);
  CHECK_THROWS_AS(norm(x), dtype_error);
}

TEST_CASE("integers of every length, in rows and in columns") {
  for (index_t n = 1; n <= 300; ++n) {
    const double sum_of_n = static_cast<double>(n * (n - 1) / 2);
    CHECK(numbers(sum(arange(n))) == values_of{sum_of_n});
    CHECK(numbers(sum(cast(ones({n}), bool8))) == values_of{static_cast<double>(n)});
    for (const index_t m : {2, 4, 8, 9}) {
      const tensor columns = expand(reshape(arange(n), {n, 1}), {n, m});
      const values_of want(static_cast<std::size_t>(m), sum_of_n);
      CHECK(numbers(sum(contiguous(columns), {0})) == want);
      CHECK(numbers(amax(contiguous(columns), {0})) ==
            values_of(static_cast<std::size_t>(m), static_cast<double>(n - 1)));
    }
  }
}

TEST_CASE("nothing, one, and axes of size zero") {
  const tensor none = zeros({0});
  CHECK(sum(none).item() == 0.0);
  CHECK(prod(none).item() == 1.0);
  CHECK(std::isnan(mean(none).item()));
  CHECK(norm(none).item() == 0.0);
  CHECK(logsumexp(none, {0}).item() == -inf);
  CHECK_THROWS_AS(amax(none), value_error);
  CHECK_THROWS_AS(amin(zeros({3, 0}), {1}), value_error);
  CHECK(amax(zeros({0, 3}), {1}).shape() == shape{0});
  CHECK(numbers(sum(zeros({0, 3}), {0})) == values_of{0, 0, 0});
  CHECK(sum(zeros({2, 0, 3}), {2}).shape() == shape{2, 0});
  CHECK(std::isnan(var(ones({1})).item()));  // 0 / 0
  CHECK(var(ones({1}), {}, 0.0).item() == 0.0);
  const tensor one = full({}, 3.0);
  CHECK(sum(one).item() == 3.0);
  CHECK(sum(one, {}, true).rank() == 0);
  CHECK(cumsum(one, 0).item() == 3.0);
  CHECK(cumsum(none, 0).numel() == 0);
  CHECK(sum(one, {0}).item() == 3.0);
  CHECK_THROWS_AS(sum(zeros({2, 3}), {0, -2}), shape_error);
  CHECK_THROWS_AS(norm(ones({2}), -1.0), value_error);
}

TEST_CASE("NaN and infinities") {
  for (const index_t n : {2, 40, 1100}) {
    for (const index_t at : {index_t{0}, n / 2, n - 1}) {
      tensor x = smooth({n}, f32);
      x.data_as<float>()[at] = static_cast<float>(nan);
      CHECK(std::isnan(amax(x).item()));
      CHECK(std::isnan(amin(x).item()));
      CHECK(std::isnan(sum(x).item()));
      CHECK(std::isnan(norm(x, inf).item()));
      CHECK(std::isnan(logsumexp(x, {0}).item()));
      CHECK(any(x).item<bool>());
      x.data_as<float>()[at] = -std::numeric_limits<float>::infinity();
      CHECK(amin(x).item() == -inf);
      CHECK(std::isfinite(logsumexp(x, {0}).item()));
    }
  }
  CHECK(logsumexp(full({3}, -inf), {0}).item() == -inf);
  CHECK(logsumexp(tensor_f32{1.0f, INFINITY}, {0}).item() == inf);
  CHECK(logsumexp(full({3}, 1000.0), {0}).item<float>() == doctest::Approx(1000.0 + std::log(3.0)));
  CHECK(amax(full({4}, -inf)).item() == -inf);
  CHECK(prod(tensor_f32{1e30f, 1e30f, 1e-30f, 1e-30f}).item() == doctest::Approx(1.0));
  for (const dtype type : {f64, f32, bf16}) {  // NaN wins, and shares
    tensor gap = cast(tensor_f64{{1, nan, nan}, {3, 3, 1}}, type);
    gap.set_requires_grad();
    CHECK(numbers(grad(max(gap), gap)) == values_of{0, 0.5, 0.5, 0, 0, 0});
    CHECK(numbers(grad(sum(amin(gap, {1})), gap)) == values_of{0, 0.5, 0.5, 0, 0, 1});
  }
}

TEST_CASE("all and any") {
  CHECK(all(tensor_f32{1, -2}).item<bool>());
  CHECK_FALSE(all(tensor_f32{1, 0}).item<bool>());
  CHECK_FALSE(any(tensor_f32{0, -0.0f}).item<bool>());
  CHECK(any(tensor_i32{{0, 0}, {0, 7}}).item<bool>());
  CHECK(all(zeros({0})).item<bool>());
  CHECK_FALSE(any(zeros({0})).item<bool>());
  CHECK(all(ones({3})).dtype() == bool8);
}

TEST_CASE("cumsum along every axis, sum_to as the way back from broadcasting") {
  const tensor x = smooth({3, 4, 5});
  for (index_t axis = 0; axis < 3; ++axis) {
    const tensor y = cumsum(transpose(x, 0, 2), axis);
    CHECK(distance(select(y, axis, -1), sum(transpose(x, 0, 2), {axis})) < 1e-14);
    CHECK(distance(select(y, axis, 1), select(transpose(x, 0, 2), axis, 0) +
                                           select(transpose(x, 0, 2), axis, 1)) < 1e-15);
  }
  CHECK(distance(reshape(sum_to(x, {4, 1}), {4}), sum(x, {0, 2})) < 1e-14);
  CHECK(distance(sum_to(x, {}), sum(x)) < 1e-14);
  tensor one = full({}, 2.0);
  const tensor y = cumsum(one, -1);
  CHECK(y.item() == 2.0);
  CHECK(y.data() != one.data());
  CHECK_THROWS_AS(cumsum(one, 5), shape_error);
  CHECK(sum_to(x, x.shape()).impl_or_null() == x.impl_or_null());
  CHECK_THROWS_AS(sum_to(x, {2, 5}), shape_error);
  CHECK_THROWS_AS(sum_to(x, {1, 3, 4, 5}), shape_error);
}

TEST_CASE("gradients, twice, over some axes and over all") {
  for (const reduction_case& c : cases()) {
    CAPTURE(c.name);
    for (const axes& over : {axes{0, 1, 2}, axes{1}, axes{0, -1}}) {
      for (const bool keep : {false, true}) {
        check_gradients([&](const list& x) { return square(c.op(x[0], over, keep)); },
                        {leaf({2, 3, 4}, 1.2, 0.4)});
      }
    }
  }
  check_gradients([](const list& x) { return square(norm(x[0], 1.5, {1})); }, {leaf({2, 5})});
  check_gradients([](const list& x) { return square(cumsum(x[0], 1)); }, {leaf({2, 5, 2})});
  check_gradients([](const list& x) { return square(sum_to(x[0], {3, 1})); }, {leaf({2, 3, 4})});
  CHECK(live_nodes() == 0);
}

TEST_CASE("var divides by n - correction, which is 0 at least") {
  tensor x = tensor_f64{1, 2, 6};
  x.set_requires_grad();
  CHECK(var(x, {}, 2.0).item() == 14.0);
  CHECK(var(x, {}, 0.5).item() == doctest::Approx(5.6));
  CHECK(numbers(grad(var(x, {}, 2.0), x)) == values_of{-4, -2, 6});
  CHECK(var(x, {}, 3.0).item() == inf);
  CHECK(var(x, {}, 5.0).item() == inf);
}

TEST_CASE("variances far from zero keep their digits, in rows, columns and strides") {
  CHECK(var(tensor_f32{16777216, 16777218}).item() == 2.0);
  CHECK(std_dev(tensor_f32{16777216, 16777220}, {}, 0.0).item() == 2.0);
  for (const index_t n : {2, 3, 9, 70, 2500}) {
    const tensor far = cast(smooth({n, 5}, f64, 30.0) + 1.6e7, f32);
    for (const tensor& v : {far, contiguous(transpose(far)), transpose(far)}) {
      const index_t axis = v.shape()[0] == n ? 0 : 1;
      const auto expected =
          naive(v, axis == 0 ? 1 : 2, [](const values_of& x) { return var_of(x, 1.0); });
      const double size = 1.0 + *std::max_element(expected.begin(), expected.end());
      CHECK(distance(numbers(var(v, {axis})), expected) < 1e-6 * size);
      CHECK(numbers(var(v * 0.0f + 1.6e7f, {axis})) == values_of(5, 0.0));
    }
  }
  CHECK(var(tensor_f32{3e38f, -3e38f}).item() == inf);
  CHECK(std::isnan(var(tensor_f32{1.0f, INFINITY}).item()));
  CHECK(std::isnan(var(tensor_f32{INFINITY, 1.0f}).item()));
  CHECK(std::isnan(var(zeros({0})).item()));
  CHECK(std::isnan(numbers(var(zeros({2, 0}), {1}))[1]));
}

TEST_CASE("deviations whose squares leave f32") {
  for (const dtype type : {f32, bf16}) {
    for (const double size : {0x1p67, 0x1p-67, 0x1p-85, 0x1p126}) {
      tensor x = cast(tensor_f64{size, -size}, type);
      x.set_requires_grad();
      const tensor y = std_dev(x, {}, 0.0);
      CHECK(y.dtype() == type);
      CHECK(y.item() == size);
      CHECK(numbers(grad(y, x)) == values_of{0.5, -0.5});
    }
  }
  CHECK(numbers(std_dev(tensor_f32{{0x1p67f, -0x1p67f}, {3, 5}, {2, 2}}, 1, 0.0)) ==
        values_of{0x1p67, 1, 0});
  CHECK(var(full({4, 1000}, 0x1p62, f32) * reshape(tensor_f32{1, -1, 1, -1}, {4, 1}), {}, 0.0)
            .item() == 0x1p124);
  CHECK(std_dev(tensor_f32{3e38f, -3e38f}).item() == inf);
  CHECK(std::isnan(std_dev(tensor_f32{1.0f, INFINITY}).item()));
}

TEST_CASE("gradients at ties, zeros and nothing") {
  tensor x = tensor_f64{{1, 3, 3}, {2, 2, 2}};
  x.set_requires_grad();
  CHECK(numbers(grad(sum(amax(x, {1})), x)) == values_of{0, 0.5, 0.5, 1.0 / 3, 1.0 / 3, 1.0 / 3});
  tensor z = tensor_f64{{0, 2, 3}, {0, 0, 5}};
  z.set_requires_grad();
  CHECK(numbers(grad(sum(prod(z, {1})), z)) == values_of{6, 0, 0, 0, 0, 0});
  check_gradients([](const list& v) { return prod(v[0], {0}); }, {z});
  CHECK(numbers(grad(norm(z * 0.0), z)) == values_of(6, 0.0));
  CHECK(numbers(grad(norm(z, 1.0), z)) == values_of{0, 1, 1, 0, 0, 1});
  CHECK(numbers(grad(sum(std_dev(x, {1})), x))[5] == 0.0);  // the row of twos does not vary
  CHECK(numbers(grad(std_dev(z * 0.0), z)) == values_of(6, 0.0));
  CHECK_FALSE(any(z).requires_grad());
  CHECK(numbers(grad(norm(z, 0.0), z)) == values_of(6, 0.0));
  for (const dtype type : {f64, f32, f16}) {  // nor has the gradient at 0 a slope
    for (const double p : {1.5, 2.0, 3.0}) {
      tensor none = zeros({3}, type);
      none.set_requires_grad();
      const tensor y = norm(none, p);
      const tensor d = grad(tensor_list(&y, 1), list{none}, {.create_graph = true})[0];
      CHECK(numbers(d) == values_of(3, 0.0));
      CHECK(numbers(grad(sum(d), none)) == values_of(3, 0.0));
    }
  }
}

TEST_CASE("16-bit floats: roots of large variances, and more ties than they can count") {
  tensor x = tensor_f32{-1000, 1000};
  for (const dtype type : {f16, bf16}) {
    tensor low = cast(x, type);
    low.set_requires_grad();
    const tensor y = std_dev(low, {}, 0.0);  // the variance, 1e6, is beyond f16
    CHECK(y.dtype() == type);
    CHECK(y.item() == 1000.0);
    CHECK(numbers(grad(y, low)) == values_of{-0.5, 0.5});
  }
  CHECK(std_dev(cast(tensor_f32{0x1p-14f, 0x1.8p-13f}, f16), {}, 0.0).item() == 0x1p-14);
  const index_t n = 70000;
  tensor ties = full({n}, 2.0, f16);
  ties.set_requires_grad();
  const double share = float(float16(1.0f / 70000));
  for (const tensor& y : {amax(ties), amin(ties), norm(ties, inf)}) {
    CHECK(numbers(grad(y, ties)) == values_of(static_cast<std::size_t>(n), share));
  }
}

TEST_CASE("one axis as a number; the extremes of everything; how many are not zero") {
  const tensor x = tensor_f64{{3, 0, -2}, {0, 0, 5}};
  CHECK(numbers(sum(x, 1)) == values_of{1, 5});
  CHECK(numbers(mean(x, 0)) == values_of{1.5, 0, 1.5});
  CHECK(sum(x, -1, true).shape() == shape{2, 1});
  CHECK(numbers(logsumexp(x * 0.0, 0)) == values_of(3, std::log(2.0)));
  CHECK(max(x).item() == 5.0);
  CHECK(min(x).item() == -2.0);
  CHECK(max(tensor_i8{-1, -3}).item<int>() == -1);
  CHECK(std::isnan(max(tensor_f32{1, NAN, 2}).item()));
  CHECK_THROWS_AS(max(zeros({0})), value_error);
  tensor one = full({}, 3.0);
  one.set_requires_grad();
  for (const tensor& y : {sum(one, 0), mean(one, -1, true), amax(one, {-1}), prod(one, {0}),
                          norm(one, 2.0, 0), var(one, 0, 0.0) + one, logsumexp(one, 0)}) {
    CHECK(y.item() == 3.0);
    CHECK(y.rank() == 0);
    CHECK(grad(y, one).item() == 1.0);
  }
  CHECK_THROWS_AS(sum(one, 1), shape_error);
  CHECK_THROWS_AS(sum(one, {0, -1}), shape_error);
  CHECK(count_nonzero(x).item<index_t>() == 3);
  CHECK(numbers(count_nonzero(x, 0)) == values_of{1, 0, 2});
  CHECK(count_nonzero(x, 1).dtype() == i64);
  CHECK(count_nonzero(x > 0.0).item<index_t>() == 2);
  CHECK(count_nonzero(tensor_f32{NAN, 0}).item<index_t>() == 1);
}

}  // namespace adze::reduce_test
