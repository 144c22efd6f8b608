// SPDX-License-Identifier: MIT
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include <doctest/doctest.h>

#include <adze/core/parallel.hpp>
#include <adze/kernels/conv.hpp>
#include <adze/kernels/reference.hpp>

namespace adze {
namespace {

using kernels::conv_shape;
using kernels::image;

enum class layout { plain, channels_last, spread };

// Images in memory with NaN around every element that belongs to them, and a dense NCHW copy.
template <class T> struct images {
  index_t n, c, h, w;
  std::vector<T> memory, dense;
  image<T> view;

  images(index_t n_, index_t c_, index_t h_, index_t w_, layout l) : n(n_), c(c_), h(h_), w(w_) {
    const index_t gap = l == layout::spread ? 2 : 0;
    if (l == layout::plain) {
      view = {nullptr, c * h * w, h * w, w, 1};
    } else {
      view.w_stride = c + gap;
      view.h_stride = w * view.w_stride + gap;
      view.n_stride = h * view.h_stride + gap;
    }
    memory.assign(static_cast<std::size_t>(n * view.n_stride + 8),
                  std::numeric_limits<T>::quiet_NaN());
    dense.resize(static_cast<std::size_t>(n * c * h * w));
    view.data = memory.data() + 4;
  }
  T& at(index_t i, index_t k, index_t y, index_t x) { return view.at(i, y, x)[k * view.c_stride]; }
  template <class F> void each(F f) {  // f(element, its dense index)
    std::size_t at_dense = 0;
    for (index_t i = 0; i < n; ++i)
      for (index_t k = 0; k < c; ++k)
        for (index_t y = 0; y < h; ++y)
          for (index_t x = 0; x < w; ++x) f(at(i, k, y, x), at_dense++);
  }
  void fill(std::mt19937& draw) {
    std::uniform_real_distribution<T> uniform(T(-1), T(1));
    each([&](T& to, std::size_t i) { to = dense[i] = uniform(draw); });
  }
  index_t numbers() const {
    index_t count = 0;
    for (T x : memory) count += !std::isnan(x);
    return count;
  }
};

// Sums of products and of their sizes, and the largest error in units of u times the size.
template <class T> struct sums {
  using wide = kernels::reference::wide<T>;
  std::vector<wide> value, size;
  double worst = 0;

  explicit sums(std::size_t n) : value(n), size(n) {}
  void add(index_t i, T a, T b) {
    const wide x = wide(a) * wide(b);
    value[static_cast<std::size_t>(i)] += x;
    size[static_cast<std::size_t>(i)] += std::abs(x);
  }
  void check(T x, std::size_t i) {
    const wide error = std::abs(wide(x) - value[i]);
    const double e =
        error == 0 ? 0 : double(error / (std::numeric_limits<T>::epsilon() / 2 * size[i]));
    worst = e <= worst ? worst : e;
  }
};

template <class T, class A>
double worst_error(const conv_shape& s, layout in, layout out, std::mt19937& draw) {
  images<T> x(s.n, s.c, s.h, s.w, in), gy(s.n, s.o, s.out_h(), s.out_w(), out);
  const layout result = out == layout::plain ? layout::channels_last : out;
  images<T> y(s.n, s.o, s.out_h(), s.out_w(), result), gx(s.n, s.c, s.h, s.w, result);
  std::vector<T> w(static_cast<std::size_t>(s.o * (s.c / s.groups) * s.kh * s.kw)), gw(w.size());
  x.fill(draw), gy.fill(draw);
  std::uniform_real_distribution<T> uniform(T(-1), T(1));
  for (T& v : w) v = uniform(draw);
  sums<T> ys(y.dense.size()), xs(x.dense.size()), ws(w.size());
  kernels::reference::each_conv_product(s, [&](index_t i, index_t j, index_t k) {
    const auto yi = static_cast<std::size_t>(i), xi = static_cast<std::size_t>(j);
    const auto wi = static_cast<std::size_t>(k);
    ys.add(i, x.dense[xi], w[wi]);
    xs.add(j, gy.dense[yi], w[wi]);
    ws.add(k, gy.dense[yi], x.dense[xi]);
  });
  kernels::conv_forward<T, A>(s, x.view, w.data(), y.view);
  kernels::conv_backward_data<T, A>(s, gy.view, w.data(), gx.view);
  kernels::conv_backward_weight<T, A>(s, x.view, gy.view, gw.data());
  y.each([&](T& v, std::size_t i) { ys.check(v, i); });
  if constexpr (std::is_same_v<T, float>) {  // the weight made ready before
    y.each([&](T& v, std::size_t) { v = std::numeric_limits<T>::quiet_NaN(); });
    const kernels::packed_filter<T, A> packed(s, w.data());
    kernels::conv_forward<T, A>(s, x.view, w.data(), y.view, {}, &packed);
    y.each([&](T& v, std::size_t i) { ys.check(v, i); });
  }
  gx.each([&](T& v, std::size_t i) { xs.check(v, i); });
  for (std::size_t i = 0; i < gw.size(); ++i) ws.check(gw[i], i);
  CHECK(y.numbers() == index_t(y.dense.size()));
  CHECK(gx.numbers() == index_t(gx.dense.size()));
  return std::max({ys.worst, xs.worst, ws.worst});
}

conv_shape random_shape(std::mt19937& draw) {
  const auto pick = [&](index_t low, index_t high) {
    return low + static_cast<index_t>(draw() % static_cast<unsigned>(high - low + 1));
  };
  for (;;) {
    conv_shape s{.n = pick(0, 3),
                 .h = pick(1, 9),
                 .w = pick(1, 11),
                 .kh = pick(1, 4),
                 .kw = pick(1, 4),
                 .stride_h = pick(1, 3),
                 .stride_w = pick(1, 3),
                 .pad_h = pick(0, 2),
                 .pad_w = pick(0, 2),
                 .dil_h = pick(1, 2),
                 .dil_w = pick(1, 3)};
    const index_t kind = pick(0, 3);
    s.groups = kind == 0 ? pick(2, 3) : kind == 1 ? pick(2, 21) : 1;
    s.c = kind == 1 ? s.groups : s.groups * pick(1, 9);
    s.o = kind == 1 ? s.groups : s.groups * pick(1, 19);
    if (s.h + 2 * s.pad_h > s.dil_h * (s.kh - 1) && s.w + 2 * s.pad_w > s.dil_w * (s.kw - 1))
      return s;
  }
}

template <class A> double worst_of_random(int rounds) {
  std::mt19937 draw(3);
  double worst = 0;
  for (int i = 0; i < rounds; ++i) {
    const conv_shape s = random_shape(draw);
    const auto in = static_cast<layout>(draw() % 3), out = static_cast<layout>(draw() % 3);
    worst = std::max(worst, worst_error<float, A>(s, in, out, draw));
    if constexpr (std::is_same_v<A, simd::native>)  // a tag and type more is seconds of compiling
      worst = std::max(worst, worst_error<double, A>(s, in, out, draw));
  }
  return worst;
}

TEST_CASE("conv: random shapes, strides, dilations, groups and layouts, all three directions") {
  CHECK(worst_of_random<simd::native>(700) <= 6);
  CHECK(worst_of_random<simd::odd>(300) <= 6);
}

template <class A> double worst_of_depthwise(int rounds) {
  std::mt19937 draw(13);
  const auto pick = [&](index_t low, index_t high) {
    return low + static_cast<index_t>(draw() % static_cast<unsigned>(high - low + 1));
  };
  double worst = 0;
  for (int i = 0; i < rounds; ++i) {
    const index_t channels = pick(2, 50), stride = pick(1, 2);
    const conv_shape s{.n = pick(1, 2),
                       .c = channels,
                       .h = pick(3, 12),
                       .w = pick(3, 70),
                       .o = channels,
                       .kh = 3,
                       .kw = 3,
                       .stride_h = stride,
                       .stride_w = stride,
                       .pad_h = pick(0, 3),
                       .pad_w = pick(0, 3),
                       .groups = channels};
    const auto in = static_cast<layout>(pick(1, 2)), out = static_cast<layout>(pick(1, 2));
    worst = std::max(worst, worst_error<float, A>(s, in, out, draw));
  }
  return worst;
}

TEST_CASE("conv: depthwise 3 x 3, whose columns and rows run over every edge") {
  CHECK(worst_of_depthwise<simd::native>(300) <= 6);
  CHECK(worst_of_depthwise<simd::odd>(100) <= 6);
}

// The bounds of this file are those of direct sums; winograd.cpp has the others.
struct direct_only {
  direct_only() { kernels::winograd_allowed = false; }
  ~direct_only() { kernels::winograd_allowed = true; }
};

TEST_CASE("conv: shapes of real networks") {
  const direct_only guard;
  std::mt19937 draw(5);
  const conv_shape shapes[] = {
      {.n = 24, .c = 32, .h = 20, .w = 20, .o = 40, .kh = 3, .kw = 3, .stride_h = 2, .stride_w = 2},
      {.n = 9, .c = 1, .h = 28, .w = 28, .o = 20, .kh = 5, .kw = 5},
      {.n = 9, .c = 20, .h = 12, .w = 12, .o = 50, .kh = 5, .kw = 5},
      {.n = 2, .c = 64, .h = 14, .w = 14, .o = 64, .kh = 3, .kw = 3, .pad_h = 1, .pad_w = 1},
      {.n = 1, .c = 128, .h = 7, .w = 7, .o = 40, .kh = 3, .kw = 3, .pad_h = 1, .pad_w = 1},
      {.n = 2, .c = 32, .h = 15, .w = 15, .o = 48, .kh = 1, .kw = 1, .stride_h = 2, .stride_w = 2},
      {.n = 1,
       .c = 3,
       .h = 50,
       .w = 50,
       .o = 16,
       .kh = 7,
       .kw = 7,
       .stride_h = 2,
       .stride_w = 2,
       .pad_h = 3,
       .pad_w = 3},
      {.n = 2,
       .c = 40,
       .h = 30,
       .w = 30,
       .o = 40,
       .kh = 3,
       .kw = 3,
       .pad_h = 1,
       .pad_w = 1,
       .groups = 40},
      {.n = 3, .c = 16, .w = 200, .o = 24, .kw = 5, .pad_w = 4, .dil_w = 2},
      {.n = 3, .c = 40, .h = 32, .w = 32, .o = 72},  // 1 x 1, gradients in parts
      {.n = 3, .c = 72, .h = 32, .w = 32, .o = 40},
      // depthwise, in several strips of columns
      {.c = 40, .h = 5, .w = 130, .o = 40, .kh = 3, .kw = 3, .pad_h = 1, .pad_w = 1, .groups = 40},
      {.c = 40,
       .h = 5,
       .w = 130,
       .o = 40,
       .kh = 3,
       .kw = 3,
       .stride_h = 2,
       .stride_w = 2,
       .pad_h = 1,
       .pad_w = 1,
       .groups = 40},
      // scattered, in several bands of rows
      {.c = 4, .h = 60, .w = 300, .o = 8, .kh = 7, .kw = 7, .pad_h = 3, .pad_w = 3},
  };
  for (const conv_shape& s : shapes) {
    CHECK(worst_error<float, simd::native>(s, layout::plain, layout::channels_last, draw) <= 6);
    CHECK(worst_error<float, simd::native>(s, layout::channels_last, layout::plain, draw) <= 6);
  }
}

// Convolutions of one channel to a few, of images of so many rows.
template <class F> void each_stem(index_t images, index_t height, F f) {
  for (index_t o = 1; o <= 7; ++o)
    for (index_t width : {15, 16, 17, 28, 33})
      for (index_t pad : {0, 2})
        f(conv_shape{.n = images,
                     .h = height,
                     .w = width,
                     .o = o,
                     .kh = 5,
                     .kw = 3,
                     .stride_h = 1 + o % 2,
                     .pad_h = pad,
                     .pad_w = pad,
                     .dil_w = 1 + pad / 2});
}

// Results with gaps between pixels go by tiles of windows.
TEST_CASE("conv: one channel to a few, along rows of pixels, has the bits of tiles of windows") {
  std::mt19937 draw(6);
  const std::vector<float> bias{0.1f, -0.2f, 0.3f, -0.4f, 0.5f, -0.6f, 0.7f};
  each_stem(2, 9, [&](const conv_shape& s) {
    images<float> x(s.n, 1, s.h, s.w, layout::plain);
    images<float> y(s.n, s.o, s.out_h(), s.out_w(), layout::channels_last);
    images<float> twin(s.n, s.o, s.out_h(), s.out_w(), layout::spread);
    x.fill(draw);
    std::vector<float> w(static_cast<std::size_t>(s.o * 15));
    for (float& v : w) v = std::uniform_real_distribution<float>(-1, 1)(draw);
    for (const kernels::epilogue<float>& finish :
         {kernels::epilogue<float>{},
          {.bias = bias.data(), .activate = kernels::activation::relu}}) {
      kernels::conv_forward<float>(s, x.view, w.data(), y.view, finish);
      kernels::conv_forward<float>(s, x.view, w.data(), twin.view, finish);
      y.each([&](float v, std::size_t i) { y.dense[i] = v; });
      twin.each([&](float v, std::size_t i) { twin.dense[i] = v; });
      CHECK(y.dense == twin.dense);
      CHECK(y.numbers() == index_t(y.dense.size()));
    }
  });
}

TEST_CASE("conv: the weight's gradient of one channel to a few, also next to infinite pixels") {
  std::mt19937 draw(8);
  each_stem(3, 40, [&](const conv_shape& s) {
    CHECK(worst_error<float, simd::native>(s, layout::plain, layout::channels_last, draw) <= 6);
    // A pixel that only the first column of taps reads.
    if (s.pad_h > 0) return;
    images<float> x(s.n, 1, s.h, s.w, layout::plain);
    images<float> gy(s.n, s.o, s.out_h(), s.out_w(), layout::channels_last);
    x.fill(draw), gy.fill(draw);
    x.view.at(1, 0, 0)[0] = std::numeric_limits<float>::infinity();
    std::vector<float> gw(static_cast<std::size_t>(s.o * 15));
    kernels::conv_backward_weight<float>(s, x.view, gy.view, gw.data());
    for (std::size_t i = 0; i < gw.size(); ++i) CHECK(std::isfinite(gw[i]) == (i % 15 > 0));
  });
}

TEST_CASE("conv: whole vectors of channels with strides, in groups and in blocks") {
  std::mt19937 draw(41);
  double worst = 0;
  for (const index_t groups : {1, 2})
    for (const index_t c : {16, 48, 112})
      for (const index_t o : {32, 40, 70})
        for (const index_t stride : {2, 3}) {
          const conv_shape s{.n = 9,  // more pixels than two for each output
                             .c = groups * c,
                             .h = 10,
                             .w = 11,
                             .o = groups * o,
                             .kh = 2,
                             .kw = 3,
                             .stride_h = stride,
                             .stride_w = stride,
                             .pad_h = 1,
                             .groups = groups};
          const auto in = draw() % 2 ? layout::plain : layout::channels_last;
          worst = std::max(worst, worst_error<float, simd::native>(s, in, layout::plain, draw));
        }
  CHECK(worst <= 6);
}

TEST_CASE("conv: strides and blocks of channels, which threads share as wholes where they can") {
  std::mt19937 draw(43);
  const conv_shape s{.n = 6,
                     .c = 130,  // three blocks
                     .h = 9,
                     .w = 9,
                     .o = 400,
                     .kh = 3,
                     .kw = 3,
                     .stride_h = 2,
                     .stride_w = 2,
                     .pad_h = 1,
                     .pad_w = 1};
  for (const int n : {1, 3, 7}) {
    set_threads(n);
    CHECK(worst_error<float, simd::native>(s, layout::channels_last, layout::channels_last, draw) <=
          6);
  }
  set_threads(2);
}

TEST_CASE("conv: the same bits for any number of threads") {
  std::mt19937 draw(7);
  const conv_shape shapes[] = {
      {.n = 24, .c = 24, .h = 20, .w = 20, .o = 40, .kh = 3, .kw = 3, .pad_h = 1, .pad_w = 1},
      {.n = 64, .h = 28, .w = 28, .o = 6, .kh = 5, .kw = 5, .pad_h = 2, .pad_w = 2},
      {.n = 1,
       .c = 200,
       .h = 12,
       .w = 12,
       .o = 230,
       .kh = 3,
       .kw = 3,
       .stride_h = 2,
       .stride_w = 2,
       .pad_h = 1,
       .pad_w = 1},
      {.n = 5,  // of the same sizes, but of too many pixels for weights as they stand
       .c = 200,
       .h = 12,
       .w = 12,
       .o = 230,
       .kh = 3,
       .kw = 3,
       .stride_h = 2,
       .stride_w = 2,
       .pad_h = 1,
       .pad_w = 1},
      {.n = 30,
       .c = 64,
       .h = 30,
       .w = 30,
       .o = 64,
       .kh = 3,
       .kw = 3,
       .pad_h = 1,
       .pad_w = 1,
       .groups = 64},
  };
  for (const conv_shape& s : shapes) {
    images<float> x(s.n, s.c, s.h, s.w, layout::channels_last);
    images<float> gy(s.n, s.o, s.out_h(), s.out_w(), layout::channels_last);
    x.fill(draw), gy.fill(draw);
    std::vector<float> w(static_cast<std::size_t>(s.o * (s.c / s.groups) * s.kh * s.kw));
    for (float& v : w) v = static_cast<float>(draw() % 1000) * 0.002f - 1.0f;
    std::vector<float> results[2];
    for (int threads : {1, 2, 3, 7}) {
      set_threads(threads);
      std::vector<float> y(gy.dense.size()), gx(x.dense.size()), gw(w.size());
      kernels::conv_forward<float>(s, x.view, w.data(),
                                   kernels::channels_last(y.data(), s.o, s.out_h(), s.out_w()));
      kernels::conv_backward_data<float>(s, gy.view, w.data(),
                                         kernels::channels_last(gx.data(), s.c, s.h, s.w));
      kernels::conv_backward_weight<float>(s, x.view, gy.view, gw.data());
      auto& all = results[threads == 1 ? 0 : 1];
      all = y;
      all.insert(all.end(), gx.begin(), gx.end());
      all.insert(all.end(), gw.begin(), gw.end());
      if (threads > 1)
        CHECK(std::memcmp(all.data(), results[0].data(), all.size() * sizeof(float)) == 0);
    }
  }
  set_threads(2);
}

TEST_CASE("conv: bias and activation, also where a transposed convolution reads nothing") {
  const conv_shape s{.n = 1, .c = 2, .h = 4, .w = 4, .o = 2, .stride_h = 2, .stride_w = 2};
  std::vector<float> x(32, 1.0f), w{1, 1, 2, -3}, y(8), gx(32);
  const float bias[] = {-5.0f, 0.5f};
  kernels::conv_forward<float>(s, kernels::channels_last(x.data(), 2, 4, 4), w.data(),
                               kernels::channels_last(y.data(), 2, 2, 2),
                               {.bias = bias, .activate = kernels::activation::relu});
  for (std::size_t i = 0; i < 8; ++i) CHECK(y[i] == 0.0f);  // 2 - 5 and -1 + 0.5, both cut
  y.assign(8, 1.0f);
  kernels::conv_backward_data<float>(s, kernels::channels_last(y.data(), 2, 2, 2), w.data(),
                                     kernels::channels_last(gx.data(), 2, 4, 4), {.bias = bias});
  for (index_t i = 0; i < 16; ++i) {
    const bool read = i / 4 % 2 == 0 && i % 2 == 0;
    CHECK(gx[static_cast<std::size_t>(2 * i)] == (read ? 3.0f : 0.0f) - 5.0f);
    CHECK(gx[static_cast<std::size_t>(2 * i + 1)] == (read ? -2.0f : 0.0f) + 0.5f);
  }
}

TEST_CASE("conv: few pixels and many weights, which are read as they stand, bias and activation") {
  std::mt19937 draw(47);
  for (const conv_shape& s :
       {conv_shape{.n = 2,
       .c = 70,
       .h = 9,
       .w = 7,
       .o = 141,
       .kh = 3,
       .kw = 3,
       .stride_h = 2,
       .stride_w = 2,
       .pad_h = 1,
       .pad_w = 1},
        conv_shape{
            .n = 1, .c = 96, .h = 6, .w = 9, .o = 96, .kh = 2, .kw = 3, .pad_h = 1, .dil_w = 2}}) {
    images<float> gy(s.n, s.o, s.out_h(), s.out_w(), layout::plain);
    gy.fill(draw);
    std::vector<float> w(static_cast<std::size_t>(s.o * s.c * s.kh * s.kw)),
        bias(static_cast<std::size_t>(s.c));
    for (float& v : w) v = static_cast<float>(draw() % 1000) * 0.002f - 1.0f;
    for (float& v : bias) v = static_cast<float>(draw() % 1000) * 0.02f - 10.0f;
    std::vector<float> plain(static_cast<std::size_t>(s.n * s.c * s.h * s.w)), finished = plain;
    const auto gx = kernels::channels_last(plain.data(), s.c, s.h, s.w);
    REQUIRE(kernels::data_method<float>(s, gx, gy.view) == kernels::conv_method::few_pixels);
    CHECK(worst_error<float, simd::native>(s, layout::channels_last, layout::plain, draw) <= 6);
    kernels::conv_backward_data<float>(s, gy.view, w.data(), gx);
    kernels::conv_backward_data<float>(
        s, gy.view, w.data(), kernels::channels_last(finished.data(), s.c, s.h, s.w),
        {.bias = bias.data(), .activate = kernels::activation::relu});
    for (std::size_t i = 0; i < plain.size(); ++i)
      CHECK(finished[i] == std::max(plain[i] + bias[i % bias.size()], 0.0f));
  }
}

TEST_CASE("conv: an image that repeats one pixel or one row, as expand() makes it") {
  std::mt19937 draw(11);
  for (const index_t stride : {1, 2})
    for (const index_t groups : {1, 32})
      for (const bool pixel : {false, true}) {
        const conv_shape s{.n = 2,
                           .c = 32,
                           .h = 58,
                           .w = 61,
                           .o = 32,
                           .kh = 3,
                           .kw = 3,
                           .stride_h = stride,
                           .stride_w = stride,
                           .pad_h = 1,
                           .pad_w = 1,
                           .groups = groups};
        images<float> x(s.n, s.c, s.h, s.w, layout::channels_last);
        images<float> gy(s.n, s.o, s.out_h(), s.out_w(), layout::channels_last);
        x.fill(draw), gy.fill(draw);
        image<const float> repeated = x.view;
        repeated.w_stride = pixel ? 0 : x.view.w_stride;
        repeated.h_stride = pixel ? x.view.h_stride : 0;
        images<float> copy(s.n, s.c, s.h, s.w, layout::channels_last);
        for (index_t i = 0; i < s.n; ++i)
          for (index_t y = 0; y < s.h; ++y)
            for (index_t j = 0; j < s.w; ++j)
              for (index_t k = 0; k < s.c; ++k) copy.at(i, k, y, j) = repeated.at(i, y, j)[k];
        std::vector<float> own(static_cast<std::size_t>(s.o * s.c / groups * 9)), dense(own.size());
        kernels::conv_backward_weight<float>(s, repeated, gy.view, own.data());
        kernels::conv_backward_weight<float>(s, copy.view, gy.view, dense.data());
        double worst = 0, largest = 0;
        for (std::size_t i = 0; i < own.size(); ++i) {
          worst = std::max(worst, std::abs(double(own[i]) - double(dense[i])));
          largest = std::max(largest, std::abs(double(dense[i])));
        }
        CHECK(worst <= 1e-5 * largest);
      }
}

TEST_CASE("conv: no images give a zero gradient of the weight") {
  const conv_shape s{.n = 0, .c = 3, .h = 5, .w = 5, .o = 4, .kh = 3, .kw = 3};
  std::vector<double> gw(4 * 3 * 9, 7.0);
  kernels::conv_backward_weight<double>(s, {}, {}, gw.data());
  for (double g : gw) CHECK(g == 0.0);
}

}  // namespace
}  // namespace adze
