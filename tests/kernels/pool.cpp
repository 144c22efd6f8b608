// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include <adze/core/parallel.hpp>
#include <adze/kernels/pool_max.hpp>

namespace adze {
namespace {

using kernels::image;
using kernels::pool_shape;

template <class T>
image<T> image_of(std::vector<T>& v, index_t c, index_t h, index_t w, bool last) {
  v.assign(static_cast<std::size_t>(4 * c * h * w), T(0));
  return last ? kernels::channels_last(v.data(), c, h, w) : kernels::plain_image(v.data(), c, h, w);
}

// Max and average from their definitions, in double, on images of one channel at a time.
struct expected {
  double maximum = -std::numeric_limits<double>::infinity(), sum = 0;
  index_t place = -1, pixels = 0, padded = 0;
};
expected look(const pool_shape& s, index_t i, index_t j, auto pixel) {
  expected e;
  const auto range = [](const kernels::pool_axis& a, index_t o, index_t& from, index_t& to) {
    from = a.adaptive ? o * a.in / a.out : o * a.stride - a.pad;
    to = a.adaptive ? -((-(o + 1) * a.in) / a.out) : from + a.kernel * a.dilation;
    if (a.adaptive && (o + 1) * a.in % a.out != 0) to = (o + 1) * a.in / a.out + 1;
  };
  index_t y0, y1, x0, x1;
  range(s.h, i, y0, y1), range(s.w, j, x0, x1);
  for (index_t y = y0; y < y1; y += s.h.dilation)
    for (index_t x = x0; x < x1; x += s.w.dilation) {
      if (s.h.adaptive || (y < s.h.in + s.h.pad && x < s.w.in + s.w.pad)) ++e.padded;
      if (y < 0 || y >= s.h.in || x < 0 || x >= s.w.in) continue;
      const double v = pixel(y, x);
      if (e.place < 0 || v > e.maximum || std::isnan(v)) {
        if (!(std::isnan(e.maximum) && !std::isnan(v))) e.maximum = v, e.place = y * s.w.in + x;
      }
      e.sum += v;
      ++e.pixels;
    }
  return e;
}

template <class T, class A>
void check(const pool_shape& s, bool x_last, bool y_last, bool with_nan, std::mt19937& draw) {
  std::vector<T> x, y, mean, gy, gmax, gmean;
  std::vector<kernels::pixel_index> at;
  const auto xi = image_of(x, s.c, s.h.in, s.w.in, x_last);
  const auto yi = image_of(y, s.c, s.h.out, s.w.out, y_last);
  const auto mi = image_of(mean, s.c, s.h.out, s.w.out, y_last);
  const auto gi = image_of(gy, s.c, s.h.out, s.w.out, y_last);
  const auto ai = image_of(at, s.c, s.h.out, s.w.out, y_last);
  const auto gxi = image_of(gmax, s.c, s.h.in, s.w.in, x_last);
  const auto gai = image_of(gmean, s.c, s.h.in, s.w.in, x_last);
  for (T& v : x) v = static_cast<T>(static_cast<int>(draw() % 9) - 4);  // small, so sums are exact
  for (T& v : gy) v = static_cast<T>(draw() % 16);
  for (T& v : gmax) v = std::numeric_limits<T>::quiet_NaN();
  for (T& v : gmean) v = std::numeric_limits<T>::quiet_NaN();
  if (with_nan)
    for (T& v : x)
      if (draw() % 8 == 0) v = std::numeric_limits<T>::quiet_NaN();
  kernels::max_pool<T, A>(s, xi, yi, ai);
  kernels::avg_pool<T, A>(s, xi, mi);
  kernels::max_pool_backward<T>(s, gi, ai, gxi);
  kernels::avg_pool_backward<T, A>(s, gi, gai);
  const auto element = [](auto img, index_t n, index_t c, index_t i, index_t j) {
    return img.at(n, i, j)[c * img.c_stride];
  };
  const auto same = [](double a, double b) { return a == b || (std::isnan(a) && std::isnan(b)); };
  index_t wrong = 0;
  for (index_t n = 0; n < s.n; ++n)
    for (index_t c = 0; c < s.c; ++c) {
      std::vector<double> to_max(static_cast<std::size_t>(s.h.in * s.w.in)), to_mean(to_max.size());
      for (index_t i = 0; i < s.h.out; ++i)
        for (index_t j = 0; j < s.w.out; ++j) {
          const auto pixel = [&](index_t a, index_t b) { return double(element(xi, n, c, a, b)); };
          const expected e = look(s, i, j, pixel);
          const index_t by = s.divisor ? s.divisor : s.count_include_pad ? e.padded : e.pixels;
          wrong += !same(e.maximum, double(element(yi, n, c, i, j)));
          wrong += element(ai, n, c, i, j) != e.place;
          wrong +=
              s.h.dilation == 1 && !same(double(T(e.sum) / T(by)), double(element(mi, n, c, i, j)));
          const double g = double(element(gi, n, c, i, j));
          if (e.place >= 0) to_max[static_cast<std::size_t>(e.place)] += g;
          look(s, i, j, [&](index_t a, index_t b) {
            to_mean[static_cast<std::size_t>(a * s.w.in + b)] += g / double(by);
            return 0.0;
          });
        }
      for (index_t a = 0; a < s.h.in * s.w.in; ++a) {
        const auto p = static_cast<std::size_t>(a);
        wrong += double(element(gxi, n, c, a / s.w.in, a % s.w.in)) != to_max[p];
        const double g = double(element(gai, n, c, a / s.w.in, a % s.w.in));
        wrong += s.h.dilation == 1 && !(std::abs(g - to_mean[p]) <= 1e-5 * (1 + to_mean[p]));
      }
    }
  CHECK(wrong == 0);
}

TEST_CASE("pool: random windows, padding, ceil mode, dilation, adaptive sizes and layouts") {
  std::mt19937 draw(3);
  const auto pick = [&](index_t low, index_t high) {
    return low + static_cast<index_t>(draw() % static_cast<unsigned>(high - low + 1));
  };
  for (int round = 0; round < 600; ++round) {
    pool_shape s{.n = pick(0, 3),
                 .c = draw() % 2 == 0 ? pick(1, 8) : pick(1, 40),
                 .count_include_pad = draw() % 2 == 0,
                 .divisor = draw() % 5 == 0 ? 3 : 0};
    const index_t dilation = pick(0, 3) == 0 ? pick(2, 4) : 1;
    const bool ceil_mode = draw() % 2, adaptive = draw() % 4 == 0;
    for (kernels::pool_axis* a : {&s.h, &s.w}) {
      const index_t kernel = pick(1, 7), in = dilation * (kernel - 1) + pick(1, 9);
      *a = adaptive ? kernels::adaptive_axis(in, pick(1, 6))
                    : kernels::fixed_axis(in, {kernel, pick(1, 4),
                                               draw() % 2 == 0 ? 0 : pick(0, kernel / 2), dilation,
                                               ceil_mode});
    }
    const bool x_last = draw() % 2, y_last = draw() % 2, with_nan = draw() % 3 == 0;
    check<float, simd::native>(s, x_last, y_last, with_nan, draw);
    check<double, simd::native>(s, x_last, y_last, with_nan, draw);
    if (round % 4 == 0) check<float, simd::odd>(s, x_last, y_last, with_nan, draw);
  }
}

TEST_CASE("pool: output sizes follow PyTorch") {
  CHECK(kernels::fixed_axis(7, {.kernel = 2, .stride = 2}).out == 3);
  CHECK(kernels::fixed_axis(7, {.kernel = 2, .stride = 2, .ceil_mode = true}).out == 4);
  CHECK(kernels::fixed_axis(112, {.kernel = 3, .stride = 2, .pad = 1}).out == 56);
  // the last window of ceil mode would begin in the padding
  CHECK(kernels::fixed_axis(3, {.kernel = 1, .stride = 3, .ceil_mode = true}).out == 1);
  CHECK(kernels::fixed_axis(5, {.kernel = 2, .stride = 3, .pad = 1, .ceil_mode = true}).out == 2);
}

TEST_CASE("pool: places that a float does not hold") {
  pool_shape s;
  s.h = s.w = kernels::fixed_axis(4099, {.kernel = 2, .stride = 4097});
  std::vector<float> x(std::size_t{4099} * 4099), y(4);
  std::vector<kernels::pixel_index> at(4);
  const std::size_t odd = x.size() - 2;  // beyond 2^24
  x[odd] = 1;
  kernels::max_pool<float>(s, kernels::channels_last(x.data(), 1, 4099, 4099),
                           kernels::channels_last(y.data(), 1, 2, 2),
                           kernels::channels_last(at.data(), 1, 2, 2));
  CHECK(y[3] == 1);
  CHECK(at[3] == static_cast<kernels::pixel_index>(odd));
}

TEST_CASE("pool: gradients go to any places, in the window or not, as the op alone asks") {
  std::mt19937 draw(11);
  for (const index_t c : {1, 7, 8, 19, 70}) {
    pool_shape s{.n = 2, .c = c};
    s.h = kernels::fixed_axis(6, {2, 2, 0, 1, false});
    s.w = kernels::fixed_axis(8, {2, 2, 0, 1, false});
    const auto size = static_cast<std::size_t>(2 * c * 12);
    std::vector<float> gy(size), gx(4 * size, -1.0f), expected(4 * size);
    std::vector<kernels::pixel_index> at(size);
    for (std::size_t k = 0; k < size; ++k) {
      gy[k] = static_cast<float>(draw() % 16);
      at[k] = static_cast<kernels::pixel_index>(draw() % 49) - 1;
      const std::size_t channels = static_cast<std::size_t>(c), n = k / (size / 2);
      if (at[k] >= 0)
        expected[(n * 48 + static_cast<std::size_t>(at[k])) * channels + k % channels] += gy[k];
    }
    kernels::max_pool_backward<float>(
        s, kernels::channels_last<const float>(gy.data(), c, 3, 4),
        kernels::channels_last<const kernels::pixel_index>(at.data(), c, 3, 4),
        kernels::channels_last(gx.data(), c, 6, 8));
    CHECK(gx == expected);
  }
}

TEST_CASE("pool: the same bits for any number of threads, equal maxima give the first") {
  pool_shape s{.n = 20, .c = 70};
  s.h = kernels::fixed_axis(40, {.kernel = 3, .stride = 2, .pad = 1});
  s.w = s.h;
  std::vector<float> x(static_cast<std::size_t>(s.n * s.c * 1600), 2.0f);
  std::vector<float> results[2];
  for (int n : {1, 3}) {
    set_threads(n);
    std::vector<float> y(static_cast<std::size_t>(s.n * s.c * s.h.out * s.w.out)), gx(x.size());
    std::vector<kernels::pixel_index> at(y.size());
    const auto xi = kernels::channels_last(x.data(), s.c, s.h.in, s.w.in);
    const auto yi = kernels::channels_last(y.data(), s.c, s.h.out, s.w.out);
    const auto ai = kernels::channels_last(at.data(), s.c, s.h.out, s.w.out);
    kernels::max_pool<float>(s, xi, yi, ai);
    CHECK(at[0] == 0);
    CHECK(ai.at(0, 1, 1)[0] == 41);
    kernels::max_pool_backward<float>(s, yi, ai, kernels::channels_last(gx.data(), s.c, 40, 40));
    results[n == 1 ? 0 : 1] = gx;
    kernels::avg_pool_backward<float>(s, yi, kernels::channels_last(gx.data(), s.c, 40, 40));
    auto& all = results[n == 1 ? 0 : 1];
    all.insert(all.end(), gx.begin(), gx.end());
  }
  CHECK(std::memcmp(results[0].data(), results[1].data(), results[0].size() * sizeof(float)) == 0);
  set_threads(2);
}

}  // namespace
}  // namespace adze
