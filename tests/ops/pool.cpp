// SPDX-License-Identifier: MIT
// Pooling against the definition as loops over windows, and both derivatives.
#include <doctest/doctest.h>

#include <limits>

#include <adze/nn/pool.hpp>
#include <adze/ops/pointwise.hpp>
#include <adze/ops/pool.hpp>
#include <adze/ops/sort.hpp>

#include "checks.hpp"

namespace adze::pool_test {
namespace {

using namespace test;

// Calls f(flat index of y, values in the window, pixels that count) for each output.
template <class F> void over_windows(const tensor& x, const pool_options& o, const shape& y, F f) {
  const std::vector<double> v = numbers(x);
  const auto stride = [&](std::size_t a) { return o.stride[a] > 0 ? o.stride[a] : o.kernel[a]; };
  const shape& s = x.shape();
  std::size_t at = 0;
  for (index_t plane = 0; plane < s[0] * s[1]; ++plane)
    for (index_t i = 0; i < y[2]; ++i)
      for (index_t j = 0; j < y[3]; ++j) {
        std::vector<double> window;
        index_t padded = 0;
        for (index_t a = 0; a < o.kernel[0]; ++a)
          for (index_t b = 0; b < o.kernel[1]; ++b) {
            const index_t h = i * stride(0) - o.padding[0] + a * o.dilation[0];
            const index_t w = j * stride(1) - o.padding[1] + b * o.dilation[1];
            if (h < s[2] + o.padding[0] && w < s[3] + o.padding[1]) ++padded;
            if (h < 0 || h >= s[2] || w < 0 || w >= s[3]) continue;
            window.push_back(v[static_cast<std::size_t>((plane * s[2] + h) * s[3] + w)]);
          }
        f(at++, window, padded);
      }
}

std::vector<double> naive_max(const tensor& x, const pool_options& o, const shape& y) {
  std::vector<double> r(static_cast<std::size_t>(y.numel()));
  over_windows(x, o, y, [&](std::size_t i, const std::vector<double>& window, index_t) {
    r[i] = -std::numeric_limits<double>::infinity();
    for (const double e : window) r[i] = e > r[i] || std::isnan(e) ? e : r[i];
  });
  return r;
}
std::vector<double> naive_mean(const tensor& x, const pool_options& o, const shape& y) {
  std::vector<double> r(static_cast<std::size_t>(y.numel()));
  over_windows(x, o, y, [&](std::size_t i, const std::vector<double>& window, index_t padded) {
    const auto inside = static_cast<double>(window.size());
    for (const double e : window) {
      r[i] += e / (o.count_include_pad ? static_cast<double>(padded) : inside);
    }
  });
  return r;
}

struct problem {
  shape x;
  pool_options o;
  shape y;  // PyTorch's
};
const std::vector<problem>& problems() {
  static const std::vector<problem> all{
      {{2, 3, 6, 8}, {}, {2, 3, 3, 4}},
      {{2, 9, 7, 7}, {.kernel = {3, 3}, .stride = {2, 2}}, {2, 9, 3, 3}},
      {{1, 16, 7, 6}, {.kernel = {3, 2}, .stride = {1, 3}, .padding = {1, 1}}, {1, 16, 7, 3}},
      {{2, 5, 7, 8}, {.kernel = {3, 3}, .stride = {2, 2}, .ceil_mode = true}, {2, 5, 3, 4}},
      {{1, 2, 6, 6},
       {.kernel = {3, 3}, .stride = {2, 2}, .padding = {1, 1}, .ceil_mode = true},
       {1, 2, 4, 4}},
      {{1, 2, 5, 5},
       {.kernel = {2, 2}, .stride = {3, 3}, .padding = {1, 1}, .ceil_mode = true},
       {1, 2, 2, 2}},
      {{2, 4, 7, 7},
       {.kernel = {3, 3}, .padding = {1, 1}, .ceil_mode = true, .count_include_pad = false},
       {2, 4, 3, 3}},
      {{1, 1, 1, 1}, {.kernel = {1, 1}}, {1, 1, 1, 1}},
  };
  return all;
}

}  // namespace

TEST_CASE("max and average pooling are their definitions, in both layouts") {
  for (std::size_t i = 0; i < problems().size(); ++i) {
    CAPTURE(i);
    const problem& p = problems()[i];
    const tensor x = random(p.x), last = channels_last(x);
    const tensor m = max_pool2d(x, p.o), a = avg_pool2d(x, p.o);
    REQUIRE(m.shape() == p.y);
    REQUIRE(a.shape() == p.y);
    CHECK(off_by(m, naive_max(x, p.o, p.y)) == 0.0);
    CHECK(off_by(a, naive_mean(x, p.o, p.y)) < 1e-14);
    CHECK(m.is_contiguous());
    CHECK(distance(max_pool2d(last, p.o), m) == 0.0);
    CHECK(distance(avg_pool2d(last, p.o), a) == 0.0);
    CHECK(is_channels_last(max_pool2d(last, p.o)));
    CHECK(is_channels_last(avg_pool2d(last, p.o)));
    CHECK(distance(max_pool2d(transpose(x), {.kernel = {1, 1}}), transpose(x)) == 0.0);
  }
}

TEST_CASE("dilated maxima") {
  const pool_options o{.kernel = {2, 3}, .stride = {1, 2}, .padding = {1, 1}, .dilation = {3, 2}};
  const tensor x = random({2, 3, 8, 9});
  const tensor y = max_pool2d(x, o);
  CHECK(y.shape() == shape{2, 3, 7, 4});
  CHECK(off_by(y, naive_max(x, o, y.shape())) == 0.0);
}

TEST_CASE("adaptive pooling takes windows from floor(i h / out) to ceil((i + 1) h / out)") {
  const tensor x = random({2, 3, 7, 5});
  const tensor mean_of = adaptive_avg_pool2d(x, {3, 2}), most = adaptive_max_pool2d(x, {3, 2});
  CHECK(most.shape() == shape{2, 3, 3, 2});
  const std::array<std::array<index_t, 2>, 3> rows{{{0, 3}, {2, 5}, {4, 7}}};
  const std::array<std::array<index_t, 2>, 2> columns{{{0, 3}, {2, 5}}};
  for (std::size_t i = 0; i < 3; ++i)
    for (std::size_t j = 0; j < 2; ++j) {
      const tensor part =
          slice(slice(x, 2, {rows[i][0], rows[i][1]}), 3, {columns[j][0], columns[j][1]});
      const auto at = [&](const tensor& y) {
        return select(select(y, 3, static_cast<index_t>(j)), 2, static_cast<index_t>(i));
      };
      CHECK(distance(at(mean_of), mean(part, {2, 3})) < 1e-14);
      CHECK(distance(at(most), amax(part, {2, 3})) == 0.0);
    }
  CHECK(distance(adaptive_avg_pool2d(x, {1, 1}), mean(x, {2, 3}, true)) < 1e-14);
  CHECK(distance(adaptive_avg_pool2d(x, {7, 5}), x) == 0.0);
  CHECK(adaptive_max_pool2d(x, {14, 3}).shape() == shape{2, 3, 14, 3});
}

TEST_CASE("NaN wins; a window of nothing but -infinity is -infinity and has a gradient") {
  tensor x = tensor_f64{{1.0, std::nan(""), 2.0, 3.0}, {4.0, 5.0, 6.0, 7.0}};
  const tensor y = max_pool2d(reshape(x, {1, 1, 2, 4}));
  CHECK(std::isnan(numbers(y)[0]));
  CHECK(numbers(y)[1] == 7.0);
  tensor low = full({1, 1, 2, 2}, -std::numeric_limits<double>::infinity(), f64);
  low.set_requires_grad();
  const tensor z = max_pool2d(low);
  CHECK(numbers(z)[0] == -std::numeric_limits<double>::infinity());
  CHECK(numbers(grad(z, low)) == std::vector<double>{1, 0, 0, 0});
  tensor equal_values = ones({1, 1, 2, 2}, f64);
  equal_values.set_requires_grad();
  CHECK(numbers(grad(max_pool2d(equal_values), equal_values)) == std::vector<double>{1, 0, 0, 0});
}

TEST_CASE("derivatives of pooling, first and second") {
  for (const std::size_t i : {0u, 2u, 4u, 6u}) {
    CAPTURE(i);
    const problem& p = problems()[i];
    const shape small{1, 3, p.x[2], p.x[3]};
    check_gradients([&](const list& x) { return max_pool2d(x[0], p.o); }, {random_leaf(small)});
    check_gradients([&](const list& x) { return avg_pool2d(x[0], p.o); }, {random_leaf(small)});
    check_gradients([&](const list& x) { return square(max_pool2d(x[0] * x[0], p.o)); },
                    {random_leaf(small)});
    check_gradients([&](const list& x) { return square(avg_pool2d(x[0] * x[0], p.o)); },
                    {random_leaf(small)});
  }
  const auto adaptive = [](const list& x) {
    return adaptive_avg_pool2d(square(x[0]), {3, 2}) * adaptive_max_pool2d(x[0], {3, 2});
  };
  check_gradients(adaptive, {random_leaf({2, 2, 5, 5})});
}

TEST_CASE("many channels, threads, layouts: the same gradient") {
  const tensor x = random({3, 130, 12, 10}, f32), g = random({3, 130, 6, 5}, f32);
  const auto gradients = [&](const tensor& from, bool largest) {
    tensor in = clone(from);
    in.set_requires_grad();
    const pool_options o{.kernel = {3, 3}, .stride = {2, 2}, .padding = {1, 1}};
    const tensor y = largest ? max_pool2d(in, o) : avg_pool2d(in, o);
    return grad(y, in, {.gradients = {g}});
  };
  for (const bool largest : {true, false}) {
    const tensor plain = gradients(x, largest);
    CHECK(distance(plain, gradients(channels_last(x), largest)) == 0.0);
    const int before = threads();
    set_threads(3);
    CHECK(distance(plain, gradients(x, largest)) == 0.0);
    set_threads(before);
  }
}

TEST_CASE("16-bit images, no images, one image without a batch axis") {
  const tensor x = random({2, 3, 6, 6}, f16);
  CHECK(max_pool2d(x).dtype() == f16);
  CHECK(distance(avg_pool2d(x), cast(avg_pool2d(cast(x, f32)), f16)) == 0.0);
  CHECK(max_pool2d(empty({0, 3, 6, 6})).shape() == shape{0, 3, 3, 3});
  CHECK(adaptive_avg_pool2d(empty({2, 0, 6, 6}), {1, 1}).shape() == shape{2, 0, 1, 1});
  CHECK(max_pool2d(random({3, 6, 6})).shape() == shape{3, 3, 3});
  tensor none = empty({0, 3, 6, 6}, f64);
  none.set_requires_grad();
  CHECK(grad(sum(max_pool2d(none)), none).shape() == shape{0, 3, 6, 6});
}

TEST_CASE("an image without a batch axis is pooled as a batch of one, with its options") {
  const tensor x = random({3, 7, 6}), batch = unsqueeze(x, 0);
  const pool_options o{.kernel = {3, 2}, .stride = {2, 1}, .padding = {1, 1}, .ceil_mode = true};
  CHECK(distance(max_pool2d(x, o), squeeze(max_pool2d(batch, o), 0)) == 0.0);
  CHECK(distance(avg_pool2d(x, o), squeeze(avg_pool2d(batch, o), 0)) == 0.0);
  CHECK(distance(adaptive_max_pool2d(x, {2, 3}), squeeze(adaptive_max_pool2d(batch, {2, 3}), 0)) ==
        0.0);
  CHECK(distance(adaptive_avg_pool2d(x, {2, 3}), squeeze(adaptive_avg_pool2d(batch, {2, 3}), 0)) ==
        0.0);
}

TEST_CASE("one number is both the height's and the width's, with braces or without") {
  const tensor x = random({2, 3, 9, 8});
  const pool_options braces{.kernel = {3}, .stride = {2}, .padding = {1}}, both{3, 2, 1};
  for (const auto pool : {max_pool2d<>, avg_pool2d<>}) {
    CHECK(pool(x, braces).shape() == shape{2, 3, 5, 4});
    CHECK(distance(pool(x, braces), pool(x, both)) == 0.0);
  }
  CHECK(adaptive_avg_pool2d(x, 2).shape() == shape{2, 3, 2, 2});
  CHECK(adaptive_max_pool2d(x, {2}).shape() == shape{2, 3, 2, 2});
}

TEST_CASE("lines are pooled as images of one row") {
  const tensor x = random_leaf({2, 3, 11});
  const pool1d_options o{.kernel = 3, .stride = 2, .padding = 1, .dilation = 2, .ceil_mode = true};
  const tensor y = max_pool1d(x, o);
  CHECK(y.shape() == shape{2, 3, 5});
  for (index_t i = 0; i < 5; ++i) {
    const tensor at = tensor_i64{2 * i + (i == 0 ? 1 : -1), 2 * i + 1, 2 * i + (i == 4 ? 1 : 3)};
    const tensor window = index_select(x, 2, at);
    CHECK(distance(select(y, 2, i), amax(window, {2})) == 0.0);
  }
  CHECK(numbers(avg_pool1d(tensor_f64{{1, 2, 4, 8, 16}})) == std::vector<double>{1.5, 6});
  const tensor line = tensor_f64{{3, 6}};
  CHECK(numbers(avg_pool1d(line, {.kernel = 3, .stride = 1, .padding = 1})) ==
        std::vector<double>{3, 3});
  CHECK(numbers(avg_pool1d(line, {3, 1, 1, 1, false, false})) == std::vector<double>{4.5, 4.5});
  const tensor leaf = random_leaf({1, 2, 9});
  check_gradients([&](const list& v) { return square(max_pool1d(v[0], o)); }, {leaf});
  check_gradients([&](const list& v) { return square(avg_pool1d(v[0], {3, 2, 1})); }, {leaf});
  CHECK(distance(nn::max_pool1d{{.kernel = 3, .padding = 1}}(x),
                 max_pool1d(x, {.kernel = 3, .padding = 1})) == 0.0);
  CHECK(distance(nn::avg_pool1d{}(x), avg_pool1d(x)) == 0.0);
  CHECK_THROWS_AS(max_pool1d(random({2, 3, 4, 5})), shape_error);
  CHECK_THROWS_AS(avg_pool1d(random({1, 3}), {.kernel = 5}), shape_error);
}

TEST_CASE("layers pass their options on") {
  const tensor x = random({2, 3, 9, 9}, f32);
  const nn::max_pool2d m{{.kernel = 3, .stride = {2, 1}, .padding = 1}};
  CHECK(distance(m(x), max_pool2d(x, {.kernel = {3, 3}, .stride = {2, 1}, .padding = {1, 1}})) ==
        0.0);
  const nn::avg_pool2d a{
      {.kernel = 4, .padding = 2, .ceil_mode = true, .count_include_pad = false}};
  CHECK(distance(a(x), avg_pool2d(x, {.kernel = {4, 4},
                                      .padding = {2, 2},
                                      .ceil_mode = true,
                                      .count_include_pad = false})) == 0.0);
  CHECK(nn::max_pool2d{}(x).shape() == shape{2, 3, 4, 4});
  CHECK(nn::adaptive_avg_pool2d{}(x).shape() == shape{2, 3, 1, 1});
  CHECK(nn::adaptive_max_pool2d{{.out = {2, 3}}}(x).shape() == shape{2, 3, 2, 3});
}

TEST_CASE("dilated windows are padded by up to half of what they span") {
  const tensor x = random({2, 20, 5, 6});
  const pool_options o{.kernel = 2, .padding = 2, .dilation = {4, 3}};
  const tensor y = max_pool2d(x, o), last = max_pool2d(channels_last(x), o);
  CHECK(y.shape() == shape{2, 20, 3, 4});
  CHECK(off_by(y, naive_max(x, o, y.shape())) == 0.0);
  CHECK(distance(last, y) == 0.0);
  const pool_options wide{.kernel = 2, .stride = 1, .padding = {2, 0}, .dilation = {4, 1}};
  tensor one = random_leaf({1, 1, 1, 3});  // every window lies in the padding
  const tensor none = max_pool2d(one, wide);
  CHECK(numbers(none) == std::vector<double>(2, -std::numeric_limits<double>::infinity()));
  CHECK(numbers(grad(sum(none), one)) == std::vector<double>(3, 0.0));
  CHECK_THROWS_AS(max_pool2d(x, {.kernel = 2, .padding = 3, .dilation = 4}), value_error);
}

TEST_CASE("in ceil_mode a window may be larger than the image by less than a stride") {
  const tensor x = reshape(arange(0.0, 16.0), {1, 1, 4, 4});
  const pool_options o{.kernel = {5, 5}, .stride = {4, 4}, .ceil_mode = true};
  CHECK(numbers(max_pool2d(x, o)) == std::vector<double>{15});
  CHECK(numbers(avg_pool2d(x, o)) == std::vector<double>{7.5});
  CHECK_THROWS_AS(max_pool2d(x, {.kernel = {5, 5}, .stride = {1, 1}, .ceil_mode = true}),
                  shape_error);
  CHECK_THROWS_AS(max_pool2d(x, {.kernel = {6, 6}, .stride = {2, 2}, .ceil_mode = true}),
                  shape_error);
}

TEST_CASE("what pooling refuses") {
  const tensor x = ones({1, 1, 4, 4});
  CHECK(message_of([&] {
          return max_pool2d(x, {.kernel = {5, 5}});
        }) == "max_pool2d: the windows do not fit the image; got [1,1,4,4], kernel 5 x 5");
  CHECK(message_of([&] {
          return avg_pool2d(x, {.padding = {2, 0}});
        }) == "avg_pool2d: padding must be at most half of the kernel; got 2 and 2");
  CHECK_THROWS_AS(max_pool2d(x, {.kernel = {0, 1}}), value_error);
  CHECK(message_of([&] {
          return max_pool1d(ones({2, 3}), {.kernel = 4});
        }) == "max_pool1d: the windows do not fit the line; got [1,2,3], kernel 4");
  CHECK(message_of([&] {
          return avg_pool1d(ones({1, 2, 3}), {.padding = 2});
        }) == "avg_pool1d: padding must be at most half of the kernel; got 2 and 2");
  CHECK(message_of([&] {
          return avg_pool2d(x, {.dilation = {1, 2}});
        }) == "avg_pool2d: averages have no dilation; got 1 x 2");
  CHECK_THROWS_AS(avg_pool1d(ones({2, 3}), {.dilation = 2}), value_error);
  CHECK(message_of([&] {
          return max_pool1d(ones({2, 3}, i64));
        }) == "max_pool1d: takes floating tensors; got i64[1,2,1,3]; cast(x, f32) first");
  CHECK_THROWS_AS(max_pool2d(x, {.dilation = {0, 1}}), value_error);
  CHECK_THROWS_AS(max_pool2d(ones({4, 4})), shape_error);
  CHECK_THROWS_AS(max_pool2d(ones({1, 1, 0, 4})), shape_error);
  CHECK_THROWS_AS(adaptive_avg_pool2d(x, {0, 1}), value_error);
  CHECK_THROWS_AS(avg_pool2d(ones({1, 1, 4, 4}, i32)), dtype_error);
}

}  // namespace adze::pool_test
