// Scaled dot-product attention against loops in double and its composed twin: masks, causal,
// scales, cross attention, blocks, views, dropout; gradients twice, also of one tensor in all
// three places.
#include <cmath>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include <adze/autograd/gradcheck.hpp>
#include <adze/ops/attention.hpp>
#include <adze/ops/concat.hpp>
#include <adze/ops/slice.hpp>

#include "numbers.hpp"

namespace adze::attention_test {
namespace {

using namespace test;

constexpr double inf = std::numeric_limits<double>::infinity();

struct sizes {
  std::size_t heads, t, s, d, e;
};

// mask [heads, t, s] to be added, or empty.
std::vector<double> naive(const sizes& n, const std::vector<double>& q,
                          const std::vector<double>& k, const std::vector<double>& v,
                          const std::vector<double>& mask, bool causal, double scale) {
  std::vector<double> y;
  for (std::size_t h = 0; h < n.heads; ++h) {
    for (std::size_t i = 0; i < n.t; ++i) {
      std::vector<double> w(n.s);
      double total = 0;
      for (std::size_t j = 0; j < n.s; ++j) {
        double dot = 0;
        for (std::size_t a = 0; a < n.d; ++a) {
          dot += q[(h * n.t + i) * n.d + a] * k[(h * n.s + j) * n.d + a];
        }
        const double add = mask.empty() ? 0 : mask[(h * n.t + i) * n.s + j];
        w[j] = causal && j > i ? 0 : std::exp(scale * dot + add);
        total += w[j];
      }
      for (std::size_t a = 0; a < n.e; ++a) {
        double sum = 0;
        for (std::size_t j = 0; j < n.s; ++j) sum += w[j] * v[(h * n.s + j) * n.e + a];
        y.push_back(total > 0 ? sum / total : 0);
      }
    }
  }
  return y;
}

tensor pattern(const shape& s, index_t period) {  // true but for every period-th element
  tensor m = empty(s, bool8);
  for (index_t i = 0; i < m.numel(); ++i) m.data_as<bool>()[i] = i % period != 1;
  return m;
}

std::vector<double> additive(const tensor& mask, const shape& full) {
  auto m = numbers(expand(mask, full));
  if (mask.dtype() == bool8) {
    for (double& x : m) x = x != 0 ? 0 : -inf;
  }
  return m;
}

}  // namespace

TEST_CASE("attention equals its definition for every mask, scale and length") {
  for (const index_t t : {1, 5, 65, 130}) {
    for (const index_t s : {1, 7, 70, 130}) {
      const tensor q = smooth({2, 3, t, 8}, f64, 2.0), k = smooth({2, 3, s, 8}, f64, 2.0, 0.8);
      const tensor v = smooth({2, 3, s, 5}, f64, 2.0, 1.4);
      const sizes n{6, static_cast<std::size_t>(t), static_cast<std::size_t>(s), 8, 5};
      const shape full{2, 3, t, s};
      const std::vector<tensor> masks{tensor(),
                                      pattern({t, s}, 3),
                                      pattern({2, 1, 1, s}, 4),
                                      smooth({t, s}, f64, 1.0, 0.1),
                                      smooth({3, t, 1}, f64, 1.0, 0.1),
                                      smooth({2, 1, t, s}, f64, 1.0, 0.1)};
      for (const tensor& mask : masks) {
        for (const bool causal : {false, true}) {
          for (const double scale : {0.0, 0.7}) {
            const attention_options o{.causal = causal, .scale = scale};
            const auto expected =
                naive(n, numbers(q), numbers(k), numbers(v),
                      mask.defined() ? additive(mask, full) : std::vector<double>(), causal,
                      scale == 0 ? 1 / std::sqrt(8.0) : scale);
            const tensor y = scaled_dot_product_attention(q, k, v, mask, o);
            CHECK(distance(numbers(y), expected) < 1e-12);
            CHECK(distance(numbers(attention_op<>{o}.composed(q, k, v, mask)), expected) < 1e-12);
          }
        }
      }
    }
  }
}

TEST_CASE("attention without batch axes, with broadcast ones, and on views that keep their order") {
  const tensor q = smooth({2, 4, 6, 8}), k = smooth({2, 4, 6, 8}, f64, 1.0, 0.7);
  const tensor v = smooth({2, 4, 6, 8}, f64, 1.0, 1.1);
  const tensor y = scaled_dot_product_attention(q, k, v);
  const auto view = [](const tensor& x) { return transpose(contiguous(transpose(x, 1, 2)), 1, 2); };
  const tensor seen = scaled_dot_product_attention(view(q), view(k), view(v));
  CHECK(distance(seen, y) < 1e-14);
  CHECK(transpose(seen, 1, 2).is_contiguous());
  const tensor columns = transpose(contiguous(transpose(k)));  // rows are not contiguous
  CHECK(distance(scaled_dot_product_attention(q, columns, v), y) < 1e-14);
  const tensor one = select(select(k, 0, 1), 0, 2), of = select(select(v, 0, 1), 0, 2);
  const tensor broad = scaled_dot_product_attention(q, one, of);
  const shape& full = k.shape();
  CHECK(distance(broad, scaled_dot_product_attention(q, contiguous(expand(one, full)),
                                                     contiguous(expand(of, full)))) < 1e-14);
  CHECK(scaled_dot_product_attention(one, one, of).shape() == shape{6, 8});
}

TEST_CASE("a query that sees no key gives zeros and finite gradients") {
  const tensor q = leaf({2, 3}), k = leaf({4, 3}, 1.0, 0.7), v = leaf({4, 2}, 1.0, 0.9);
  tensor mask = empty({2, 4}, bool8);
  for (index_t i = 0; i < 8; ++i) mask.data_as<bool>()[i] = i >= 4;
  const tensor y = scaled_dot_product_attention(q, k, v, mask);
  CHECK(numbers(select(y, 0, 0)) == std::vector<double>{0, 0});
  const auto f = [&](const std::vector<tensor>& in) {
    return square(scaled_dot_product_attention(in[0], in[1], in[2], mask));
  };
  CHECK(gradcheck(f, {q, k, v}).ok);
  CHECK(gradgradcheck(f, {q, k, v}).ok);
}

TEST_CASE("gradients of attention to q, k, v and a floating mask, twice") {
  for (const bool causal : {false, true}) {
    for (const double dropout : {0.0, 0.3}) {
      const tensor q = leaf({2, 3, 4}), k = leaf({2, 5, 4}, 1.0, 0.8);
      const tensor v = leaf({2, 5, 3}, 1.0, 1.4), mask = leaf({3, 5}, 1.0, 0.2);
      const attention_options o{.causal = causal, .dropout = dropout};
      const auto f = [&](const std::vector<tensor>& in) {
        manual_seed(9);
        return square(scaled_dot_product_attention(in[0], in[1], in[2], in[3], o));
      };
      CHECK_MESSAGE(gradcheck(f, {q, k, v, mask}).ok, gradcheck(f, {q, k, v, mask}).where);
      CHECK_MESSAGE(gradgradcheck(f, {q, k, v, mask}).ok, gradgradcheck(f, {q, k, v, mask}).where);
    }
  }
  const auto long_one = [](const std::vector<tensor>& in) {
    return scaled_dot_product_attention(in[0], in[1], in[2], {}, {.causal = true});
  };
  const std::vector<tensor> in{leaf({70, 3}), leaf({80, 3}, 1.0, 0.8), leaf({80, 2}, 1.0, 1.4)};
  CHECK_MESSAGE(gradcheck(long_one, in).ok, gradcheck(long_one, in).where);
}

TEST_CASE("causal gradients where there are more queries than keys") {
  const std::vector<tensor> in{leaf({5, 4}), leaf({3, 4}, 1.0, 0.8), leaf({3, 2}, 1.0, 1.4)};
  const auto f = [](const std::vector<tensor>& v) {
    return square(scaled_dot_product_attention(v[0], v[1], v[2], {}, {.causal = true}));
  };
  CHECK_MESSAGE(gradcheck(f, in).ok, gradcheck(f, in).where);
  CHECK_MESSAGE(gradgradcheck(f, in).ok, gradgradcheck(f, in).where);
}

TEST_CASE("one tensor as q, k and v, and a key made from the query, have the right gradients") {
  const auto same = [](const std::vector<tensor>& in) {
    return scaled_dot_product_attention(in[0], in[0], in[0]);
  };
  const auto chain = [](const std::vector<tensor>& in) {
    const tensor k = square(in[0]);
    return scaled_dot_product_attention(in[0], k, k * in[0]);
  };
  const tensor x = leaf({2, 4, 3});
  CHECK(gradcheck(same, {x}).ok);
  CHECK_MESSAGE(gradgradcheck(same, {x}).ok, gradgradcheck(same, {x}).where);
  CHECK(gradcheck(chain, {x}).ok);
  CHECK_MESSAGE(gradgradcheck(chain, {x}).ok, gradgradcheck(chain, {x}).where);
}

TEST_CASE("dropout of attention weights keeps the mean, and the same mask in both forms") {
  const tensor q = smooth({1, 4}), v = smooth({200, 1}, f64, 0.0) + 1.0;
  double total = 0;
  manual_seed(2);
  for (int i = 0; i < 200; ++i) {
    total += scaled_dot_product_attention(q, smooth({200, 4}), v, {}, {.dropout = 0.5}).item();
  }
  CHECK(total / 200 == doctest::Approx(1.0).epsilon(0.02));
  attention_op<> op{{.dropout = 0.4}};
  const tensor a = smooth({2, 5, 4}), b = smooth({2, 300, 4}, f64, 1.0, 0.6);
  const tensor y = op.forward(a, b, b, {});
  CHECK(distance(op.composed(a, b, b, {}), y) < 1e-13);
  CHECK(numbers(scaled_dot_product_attention(a, b, b, {}, {.dropout = 1.0})) ==
        std::vector<double>(40, 0.0));
}

TEST_CASE("attention in 16 bits is computed in f32 and rounded once") {
  for (const dtype type : {f16, bf16}) {
    const auto low = [&](double seed) { return cast(smooth({3, 20, 8}, f64, 2.0, seed), type); };
    tensor q = low(0.1);
    q.set_requires_grad();
    const tensor k = low(0.5), v = low(0.9);
    const tensor mask = pattern({20, 20}, 5);
    const tensor y = scaled_dot_product_attention(q, k, v, mask);
    const tensor wide =
        scaled_dot_product_attention(cast(q, f32), cast(k, f32), cast(v, f32), mask);
    CHECK(numbers(y) == numbers(cast(wide, type)));
    backward(sum(y));
    CHECK(q.grad().dtype() == type);
    // A floating mask of another dtype does not change the dtype of the result.
    CHECK(scaled_dot_product_attention(q, k, v, smooth({20, 20}, f32)).dtype() == type);
  }
}

TEST_CASE("attention has the same bits for any number of threads") {
  const int before = threads();
  std::vector<std::vector<double>> seen;
  for (const int n : {1, 2, 5}) {
    set_threads(n);
    tensor q = smooth({12, 130, 32}, f32), k = smooth({12, 130, 32}, f32, 1.0, 0.8);
    q.set_requires_grad();
    k.set_requires_grad();
    const tensor y = scaled_dot_product_attention(q, k, k, {}, {.causal = true});
    backward(sum(square(y)));
    seen.push_back(numbers(concat(std::vector<tensor>{detach(y), q.grad(), k.grad()}, 0)));
  }
  set_threads(before);
  CHECK(seen[0] == seen[1]);
  CHECK(seen[0] == seen[2]);
}

TEST_CASE("attention of nothing, and of what does not fit") {
  CHECK(
      scaled_dot_product_attention(empty({0, 3, 4}), empty({0, 5, 4}), empty({0, 5, 2})).shape() ==
      shape{0, 3, 2});
  CHECK(
      scaled_dot_product_attention(empty({2, 0, 4}), smooth({2, 5, 4}, f32), smooth({2, 5, 2}, f32))
          .shape() == shape{2, 0, 2});
  CHECK(numbers(scaled_dot_product_attention(smooth({1, 4}), empty({0, 4}, f64),
                                             empty({0, 2}, f64))) == std::vector<double>{0, 0});
  const tensor q = smooth({2, 3, 4}), k = smooth({2, 5, 4}), v = smooth({2, 5, 4});
  CHECK_THROWS_WITH_AS(scaled_dot_product_attention(q, smooth({2, 5, 3}), v),
                       "scaled_dot_product_attention: needs q [..., t, d], k [..., s, d] and v "
                       "[..., s, e]; got q f64[2,3,4], k f64[2,5,3], v f64[2,5,4]",
                       shape_error);
  CHECK_THROWS_WITH_AS(scaled_dot_product_attention(q, k, v, smooth({3, 3, 5})),
                       "scaled_dot_product_attention: shapes [2,3,5] and [3,3,5] do not broadcast "
                       "(2 vs 3 on axis 0); sizes must be equal or 1",
                       shape_error);
  CHECK_THROWS_WITH_AS(scaled_dot_product_attention(q, k, v, smooth({4, 1, 3, 5})),
                       "scaled_dot_product_attention: the mask must broadcast to the scores "
                       "[2,3,5]; got f64[4,1,3,5]",
                       shape_error);
  CHECK_THROWS_AS(scaled_dot_product_attention(q, k, v, cast(smooth({3, 5}), i64)), dtype_error);
  CHECK_THROWS_AS(scaled_dot_product_attention(q, k, v, {}, {.dropout = 2.0}), value_error);
  CHECK_THROWS_AS(scaled_dot_product_attention(smooth({4}), k, v), shape_error);
}

}  // namespace adze::attention_test
