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

namespace adze::winograd_test {
namespace {

using kernels::conv_shape;
using kernels::image;

// Images with `gap` elements of NaN between pixels, rows and images.
struct images {
  index_t n, c, h, w, gap;
  std::vector<float> memory;
  image<float> view;

  images(const images&) = delete;
  images(index_t n_, index_t c_, index_t h_, index_t w_, index_t gap_)
      : n(n_), c(c_), h(h_), w(w_), gap(gap_) {
    view = {nullptr, 0, 1, w * (c + gap) + gap, c + gap};
    view.n_stride = h * view.h_stride + gap;
    memory.assign(static_cast<std::size_t>(n * view.n_stride + 4),
                  std::numeric_limits<float>::quiet_NaN());
    view.data = memory.data() + 2;
  }
  // Index of a dense [n, c, h, w] position.
  float& at(index_t dense) {
    const index_t x = dense % w, y = dense / w % h, k = dense / w / h % c, i = dense / w / h / c;
    return view.at(i, y, x)[k];
  }
  index_t size() const { return n * c * h * w; }
  void fill(std::mt19937& draw) {
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (index_t i = 0; i < size(); ++i) at(i) = uniform(draw);
  }
  std::vector<double> dense() {
    std::vector<double> all;
    for (index_t i = 0; i < size(); ++i) all.push_back(double(at(i)));
    return all;
  }
  index_t numbers() const {
    index_t count = 0;
    for (float x : memory) count += !std::isnan(x);
    return count;
  }
};

struct case_of {
  conv_shape s;
  images x, y, gx, gy;
  std::vector<float> w, gw;
  std::vector<double> y_true, gx_true, gw_true;

  case_of(const conv_shape& shape, index_t gap, std::mt19937& draw)
      : s(shape), x(s.n, s.c, s.h, s.w, gap), y(s.n, s.o, s.out_h(), s.out_w(), gap),
        gx(s.n, s.c, s.h, s.w, gap), gy(s.n, s.o, s.out_h(), s.out_w(), gap),
        w(static_cast<std::size_t>(s.o * s.c * 9)), y_true(static_cast<std::size_t>(y.size())),
        gx_true(static_cast<std::size_t>(x.size())), gw_true(w.size()) {
    x.fill(draw);
    std::uniform_real_distribution<float> uniform(-1, 1);
    for (float& v : w) v = uniform(draw);
    gy.fill(draw);
    const std::vector<double> dense_x = x.dense(), dense_gy = gy.dense();
    const double *const from = dense_x.data(), *const gradient = dense_gy.data();
    double *const yt = y_true.data(), *const xt = gx_true.data(), *const wt = gw_true.data();
    kernels::reference::each_conv_product(s,
                                          [&, weight = w.data()](index_t i, index_t j, index_t k) {
                                            yt[i] += from[j] * double(weight[k]);
                                            xt[j] += gradient[i] * double(weight[k]);
                                            wt[k] += gradient[i] * from[j];
                                          });
  }

  template <class A, int m> void forward(const kernels::epilogue<float>& finish = {}) {
    const kernels::winograd_plan<float, A, m> p{s.c,       s.o,       s.h,     s.w,
                                                s.out_h(), s.out_w(), s.pad_h, s.pad_w};
    kernels::winograd<float, A, m>(p, s.n, x.view, {w.data(), 9, s.c * 9, false}, y.view, finish);
  }
  template <class A, int m> void backward() {
    const kernels::winograd_plan<float, A, m> p{s.o, s.c, s.out_h(),   s.out_w(),
                                                s.h, s.w, 2 - s.pad_h, 2 - s.pad_w};
    kernels::winograd<float, A, m>(p, s.n, gy.view, {w.data(), s.c * 9, 9, true}, gx.view, {});
  }
  // Written between numbers that are not, which stay.
  template <class A> void weight() {
    const kernels::winograd_gradient_plan<float, A> p{
        {s.c, s.o, s.h, s.w, s.out_h(), s.out_w(), s.pad_h, s.pad_w}};
    std::vector<float> all(w.size() + 4, std::numeric_limits<float>::quiet_NaN());
    kernels::winograd_weight_gradient(p, s.n, image<const float>(x.view),
                                      image<const float>(gy.view), all.data() + 2);
    gw.assign(all.begin() + 2, all.end() - 2);
    CHECK(std::isnan(all[1]));
    CHECK(std::isnan(all[all.size() - 2]));
  }
  double weight_error() const {
    double largest = 1e-30, worst = 0;
    for (double t : gw_true) largest = std::max(largest, std::fabs(t));
    for (std::size_t i = 0; i < gw.size(); ++i) {
      const double e = std::fabs(double(gw[i]) - gw_true[i]);
      if (!(e <= worst)) worst = e;
    }
    return worst / largest;
  }
};

double relative_error(images& got, const std::vector<double>& truth) {
  double largest = 1e-30, worst = 0;
  for (double t : truth) largest = std::max(largest, std::fabs(t));
  for (index_t i = 0; i < got.size(); ++i) {
    const double e = std::fabs(double(got.at(i)) - truth[static_cast<std::size_t>(i)]);
    if (!(e <= worst)) worst = e;
  }
  return worst / largest;
}

conv_shape random_shape(std::mt19937& draw) {
  const auto pick = [&](index_t low, index_t high) {
    return low + static_cast<index_t>(draw() % static_cast<unsigned>(high - low + 1));
  };
  const conv_shape s{.n = pick(1, 3),
                     .c = pick(1, 40),
                     .h = pick(3, 11),
                     .w = pick(3, 13),
                     .o = pick(1, 40),
                     .kh = 3,
                     .kw = 3,
                     .pad_h = pick(0, 3),
                     .pad_w = pick(0, 3)};
  return s;
}

template <class A, int m> void check_random(int rounds, double bound) {
  std::mt19937 draw(7);
  double worst = 0;
  for (int i = 0; i < rounds; ++i) {
    case_of c(random_shape(draw), static_cast<index_t>(draw() % 3), draw);
    c.forward<A, m>();
    c.backward<A, m>();
    worst = std::max({worst, relative_error(c.y, c.y_true), relative_error(c.gx, c.gx_true)});
    CHECK(c.y.numbers() == c.y.size());
    CHECK(c.gx.numbers() == c.gx.size());
  }
  CHECK(worst <= bound);
}

TEST_CASE("winograd: both sizes of tiles, forward and the input's gradient, ragged shapes") {
  check_random<simd::tile_tag<simd::native>, 4>(150, 2e-5);
  check_random<simd::tile_tag<simd::native>, 2>(150, 4e-6);
  check_random<simd::odd, 4>(40, 2e-5);
  check_random<simd::odd, 2>(40, 4e-6);
}

template <class A> void check_random_weights(int rounds) {
  std::mt19937 draw(13);
  double worst = 0;
  for (int i = 0; i < rounds; ++i) {
    case_of c(random_shape(draw), static_cast<index_t>(draw() % 3), draw);
    c.weight<A>();
    worst = std::max(worst, c.weight_error());
  }
  CHECK(worst <= 2e-5);
}

TEST_CASE("winograd: the weight's gradient, ragged shapes") {
  check_random_weights<simd::tile_tag<simd::native>>(150);
  check_random_weights<simd::odd>(40);
}

// Tiles in parts, in blocks that are added one after the other, and blocks of channels.
TEST_CASE("winograd: the weight's gradient has the same bits for every number of threads") {
  std::mt19937 draw(17);
  const int before = threads();
  for (const conv_shape& s :
       {conv_shape{.n = 9, .c = 16, .h = 30, .w = 31, .o = 17, .kh = 3, .kw = 3, .pad_h = 1},
        conv_shape{.n = 2, .c = 70, .h = 26, .w = 30, .o = 67, .kh = 3, .kw = 3, .pad_w = 1},
        conv_shape{.n = 1, .c = 150, .h = 30, .w = 29, .o = 130, .kh = 3, .kw = 3}}) {
    case_of c(s, 1, draw);
    std::vector<float> first;
    for (const int n : {1, 2, 3}) {
      set_threads(n);
      c.weight<simd::tile_tag<simd::native>>();
      CHECK(c.weight_error() <= 2e-5);
      if (first.empty()) first = c.gw;
      CHECK(std::memcmp(first.data(), c.gw.data(), first.size() * sizeof(float)) == 0);
    }
  }
  set_threads(before);
}

TEST_CASE("winograd: the stated bounds hold at 512 channels") {
  std::mt19937 draw(9);
  case_of c({.n = 1, .c = 512, .h = 8, .w = 8, .o = 33, .kh = 3, .kw = 3, .pad_h = 1, .pad_w = 1},
            0, draw);
  c.forward<simd::tile_tag<simd::native>, 4>();
  CHECK(relative_error(c.y, c.y_true) <= 5e-5);
  c.forward<simd::tile_tag<simd::native>, 2>();
  CHECK(relative_error(c.y, c.y_true) <= 1e-5);
}

TEST_CASE("winograd: bias and activation, the same bits for every number of threads") {
  std::mt19937 draw(11);
  case_of c({.n = 3, .c = 64, .h = 30, .w = 31, .o = 48, .kh = 3, .kw = 3, .pad_h = 1, .pad_w = 1},
            0, draw);
  std::vector<float> bias(48);
  for (std::size_t i = 0; i < bias.size(); ++i) bias[i] = float(i) * 0.25f - 5.0f;
  const kernels::epilogue<float> finish{.bias = bias.data(), .activate = kernels::activation::relu};
  const int before = threads();
  std::vector<float> first;
  for (const int n : {1, 2, 3}) {
    set_threads(n);
    c.forward<simd::tile_tag<simd::native>, 4>(finish);
    if (first.empty()) first = c.y.memory;
    CHECK(std::equal(first.begin() + 2, first.end() - 2, c.y.memory.begin() + 2));
  }
  set_threads(before);
  const index_t area = c.s.out_h() * c.s.out_w();
  for (index_t i = 0; i < c.y.size(); ++i) {
    const auto o = static_cast<std::size_t>(i / area % c.s.o);
    const double expected = std::max(0.0, c.y_true[static_cast<std::size_t>(i)] + double(bias[o]));
    if (!(std::fabs(double(c.y.at(i)) - expected) <= 1e-3)) FAIL("element ", i);
  }
}

// Fewer tiles than outputs: threads have outputs of their own.
template <class A> void check_shared_outputs() {
  std::mt19937 draw(41);
  const int before = threads();
  for (const index_t side : {12, 27}) {
    case_of c({.n = 1,
               .c = 140,
               .h = side,
               .w = side,
               .o = 150,
               .kh = 3,
               .kw = 3,
               .pad_h = 1,
               .pad_w = 1},
              1, draw);
    std::vector<float> bias(150), first;
    for (std::size_t i = 0; i < bias.size(); ++i) bias[i] = float(i) * 0.25f - 5.0f;
    for (const int n : {1, 2, 3, 7}) {
      set_threads(n);
      c.forward<A, 4>({.bias = bias.data()});
      c.backward<A, 4>();
      c.weight<A>();
      CHECK(relative_error(c.gx, c.gx_true) <= 2e-5);
      CHECK(c.weight_error() <= 2e-5);
      std::vector<float> all = c.y.memory;
      all.insert(all.end(), c.gx.memory.begin(), c.gx.memory.end());
      all.insert(all.end(), c.gw.begin(), c.gw.end());
      if (first.empty()) first = all;
      CHECK(std::memcmp(first.data(), all.data(), first.size() * sizeof(float)) == 0);
    }
    for (index_t i = 0; i < c.y.size(); ++i)
      c.y_true[static_cast<std::size_t>(i)] +=
          double(bias[static_cast<std::size_t>(i / side / side)]);
    CHECK(relative_error(c.y, c.y_true) <= 2e-5);
  }
  set_threads(before);
}

TEST_CASE("winograd: outputs shared by threads, the same bits for every number of them") {
  check_shared_outputs<simd::tile_tag<simd::native>>();
  check_shared_outputs<simd::odd>();
}

// f(plan, case) makes c.y, to the same bits by any number of threads.
template <class A, class F> void check_few(F f) {
  std::mt19937 draw(21);
  const int before = threads();
  for (int round = 0; round < 12; ++round) {
    conv_shape s = random_shape(draw);
    s.c = 60 + 7 * round, s.o = 1 + 19 * round;
    case_of c(s, round % 3, draw);
    const kernels::winograd_plan<float, A, 4> p{s.c,       s.o,       s.h,     s.w,
                                                s.out_h(), s.out_w(), s.pad_h, s.pad_w};
    std::vector<float> first;
    for (const int n : {1, 3}) {
      set_threads(n);
      c.y.fill(draw);
      f(p, c);
      CHECK(relative_error(c.y, c.y_true) <= 2e-5);
      CHECK(c.y.numbers() == c.y.size());
      if (first.empty()) first = c.y.memory;
      CHECK(std::memcmp(first.data(), c.y.memory.data(), first.size() * sizeof(float)) == 0);
    }
  }
  set_threads(before);
}

TEST_CASE("winograd: by panels of outputs, whatever the number of threads") {
  check_few<simd::tile_tag<simd::native>>([](const auto& p, case_of& c) {
    kernels::winograd_by_panels(p, c.s.n, image<const float>(c.x.view),
                                {c.w.data(), 9, c.s.c * 9, false}, c.y.view, {});
  });
}

TEST_CASE("winograd: by rows of planes, whatever the number of threads") {
  const auto rows = [](const auto& p, case_of& c) {
    kernels::winograd_by_rows(p, c.s.n, image<const float>(c.x.view),
                              {c.w.data(), 9, c.s.c * 9, false}, c.y.view, {});
  };
  if constexpr (simd::tile_tag<simd::native>::bytes == 64)
    check_few<simd::tile_tag<simd::native>>(rows);
  check_few<simd::odd>(rows);
}

// The outputs' last vector begins before the others end: a residual in place is added once.
TEST_CASE("winograd: gradients and results by rows of planes, with a residual in their place") {
  if constexpr (simd::tile_tag<simd::native>::bytes == 64) {
    using A = simd::tile_tag<simd::native>;
    std::mt19937 draw(23);
    const conv_shape s{
        .n = 2, .c = 150, .h = 7, .w = 9, .o = 130, .kh = 3, .kw = 3, .pad_h = 1, .pad_w = 1};
    case_of c(s, 0, draw);
    c.backward<A, 4>();
    CHECK(relative_error(c.gx, c.gx_true) <= 2e-5);
    c.y.fill(draw);
    for (index_t i = 0; i < c.y.size(); ++i)
      c.y_true[static_cast<std::size_t>(i)] += double(c.y.at(i));
    c.forward<A, 4>({.residual = c.y.view.data, .result = c.y.view.data});
    CHECK(relative_error(c.y, c.y_true) <= 2e-5);
  }
}

TEST_CASE("winograd: weights transformed before give the same bits") {
  std::mt19937 draw(37);
  const conv_shape s{
      .n = 2, .c = 33, .h = 13, .w = 14, .o = 50, .kh = 3, .kw = 3, .pad_h = 1, .pad_w = 1};
  case_of c(s, 2, draw);
  const kernels::packed_filter<float> packed(s, c.w.data());
  CHECK(packed.planes() != nullptr);
  kernels::conv_forward<float>(s, c.x.view, c.w.data(), c.y.view);
  const std::vector<float> first = c.y.memory;
  c.y.fill(draw);
  const std::vector<float> none(c.w.size(), std::numeric_limits<float>::quiet_NaN());
  kernels::conv_forward<float>(s, c.x.view, none.data(), c.y.view, {}, &packed);
  CHECK(std::memcmp(first.data(), c.y.memory.data(), first.size() * sizeof(float)) == 0);
}

TEST_CASE("winograd: chosen where it pays, and never when it is not allowed") {
  const image<const float> last{}, plain{nullptr, 0, 49, 7, 1};
  const conv_shape s{
      .n = 1, .c = 64, .h = 56, .w = 56, .o = 64, .kh = 3, .kw = 3, .pad_h = 1, .pad_w = 1};
  const auto choice = [&](const conv_shape& t) {
    return kernels::forward_method<float>(t, last, last) == kernels::conv_method::winograd;
  };
  CHECK(choice(s));
  CHECK(kernels::forward_method<float>(s, plain, last) == kernels::conv_method::windows);
  conv_shape t = s;
  t.stride_h = 2;
  CHECK(!choice(t));
  t = s, t.c = 8;
  CHECK(!choice(t));
  t = s, t.c = t.o = 512, t.h = t.w = 7;
  CHECK(choice(t) == (simd::tile_tag<simd::native>::bytes == 64));
  const auto of_weight = [&](const conv_shape& u, image<const float> gy) {
    return kernels::weight_method<float>(u, last, gy);
  };
  CHECK(of_weight(s, last) == kernels::conv_method::winograd);
  CHECK(of_weight(s, plain) == kernels::conv_method::windows);
  CHECK(of_weight(t, last) == kernels::conv_method::windows);
  kernels::winograd_allowed = false;
  CHECK(!choice(s));
  CHECK(of_weight(s, last) == kernels::conv_method::windows);
  kernels::winograd_allowed = true;
}

}  // namespace
}  // namespace adze::winograd_test
