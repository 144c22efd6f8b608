// Losses of similarities and distances against their formulas.
#include <cmath>
#include <vector>

#include <doctest/doctest.h>

#include <adze/ops/margin_loss.hpp>

#include "losses.hpp"

namespace adze {
namespace {

using namespace test;

tensor signs(const shape& sizes) {
  tensor t = empty(sizes, f64);
  for (index_t i = 0; i < t.numel(); ++i) t.data_as<double>()[i] = i % 3 == 1 ? -1 : 1;
  return t;
}

}  // namespace

TEST_CASE("cosine similarity and its loss equal their formulas") {
  const tensor a = leaf({3, 4}, 1.5), b = leaf({3, 4}, 1.0, 0.9);
  const auto x = numbers(a), y = numbers(b);
  std::vector<double> cosine;
  for (std::size_t i = 0; i < 3; ++i) {
    double dot = 0, aa = 0, bb = 0;
    for (std::size_t j = 0; j < 4; ++j) {
      dot += x[i * 4 + j] * y[i * 4 + j];
      aa += x[i * 4 + j] * x[i * 4 + j];
      bb += y[i * 4 + j] * y[i * 4 + j];
    }
    cosine.push_back(dot / std::sqrt(aa * bb));
  }
  CHECK(distance(numbers(cosine_similarity(a, b)), cosine) < 1e-12);
  CHECK(distance(numbers(cosine_similarity(transpose(a), transpose(b), 0)), cosine) < 1e-12);
  CHECK(cosine_similarity(unsqueeze(a, 1), unsqueeze(b, 0), -1).shape() == shape{3, 3});
  const tensor narrow = leaf({3, 1}, 2.0);  // broadcast along the axis, and of fewer axes
  for (const tensor& few : {narrow, reshape(narrow, {3}), reshape(leaf({1}), {})}) {
    const index_t axis = few.rank() == 2 ? 1 : 0;
    const tensor by = axis == 1 ? b : reshape(b, {4, 3});
    CHECK(distance(cosine_similarity(few, by, axis),
                   cosine_similarity(expand(few, by.shape()), by, axis)) < 1e-15);
    CHECK(distance(cosine_similarity(by, few, axis), cosine_similarity(few, by, axis)) < 1e-15);
  }
  const auto similar = [](const std::vector<tensor>& in) {
    return cosine_similarity(in[0], in[1]);
  };
  CHECK(gradcheck(similar, {a, b}).ok);
  CHECK(gradgradcheck(similar, {a, b}).ok);
  for (const double margin : {0.0, -0.9}) {
    const tensor_f64 t{1, -1, -1};
    std::vector<double> each;
    for (std::size_t i = 0; i < 3; ++i) {
      each.push_back(i == 0 ? 1 - cosine[i] : std::max(0.0, cosine[i] - margin));
    }
    for (const reduction reduce : all_reductions) {
      const margin_options o{.margin = margin, .reduce = reduce};
      CHECK(distance(numbers(cosine_embedding_loss(a, b, t, o)), reduced(each, reduce)) < 1e-11);
      const auto f = [&](const std::vector<tensor>& in) {
        return cosine_embedding_loss(in[0], in[1], t, o);
      };
      CHECK(gradcheck(f, {a, b}).ok);
    }
  }
  tensor zero = leaf_of({0, 0}, {1, 2});
  const tensor none = cosine_similarity(zero, tensor_f64{{1, 2}});
  CHECK(none.item() == 0.0);
  backward(none);
  for (const double g : numbers(zero.grad())) CHECK(std::isfinite(g));
}

TEST_CASE("cosines of 16-bit vectors whose squares leave f16 are rounded once") {
  for (const dtype type : {f16, bf16}) {
    tensor a = cast(tensor_f32{{300, 400}, {0x1p-20f, 0}, {0, 0}}, type);
    const tensor b = cast(tensor_f32{{400, 300}, {0x1p-20f, 0}, {1, 1}}, type);
    a.set_requires_grad();
    const tensor y = cosine_similarity(a, b);
    CHECK(y.dtype() == type);
    CHECK(distance(y, cast(cast(tensor_f64{0.96, 1, 0}, f32), type)) == 0.0);
    backward(sum(y));
    CHECK(distance(numbers(select(a.grad(), 0, 0)), {448e-6, -336e-6}) < 1e-6);
    const tensor loss =
        cosine_embedding_loss(slice(a, 0, {0, 1}), slice(b, 0, {0, 1}), cast(tensor_f32{1}, type));
    CHECK(loss.dtype() == type);
    CHECK(loss.item() == cast(cast(tensor_f64{1 - 0.96}, f32), type).item());
    CHECK(cosine_similarity(a, cast(b, f32)).dtype() == f32);
  }
}

TEST_CASE("triplet, hinge and ranking losses equal their formulas") {
  const tensor a = leaf({5, 3}), b = leaf({5, 3}, 1.0, 0.8), c = leaf({5, 3}, 1.0, 1.9);
  for (const double p : {1.0, 2.0, 3.0}) {
    for (const double margin : {0.2, 1.0}) {
      const auto distance_of = [&](const tensor& other, std::size_t i) {
        double s = 0;
        for (std::size_t j = 0; j < 3; ++j) {
          s += std::pow(std::abs(numbers(a)[i * 3 + j] - numbers(other)[i * 3 + j] + 1e-6), p);
        }
        return std::pow(s, 1 / p);
      };
      std::vector<double> each;
      for (std::size_t i = 0; i < 5; ++i) {
        each.push_back(std::max(0.0, distance_of(b, i) - distance_of(c, i) + margin));
      }
      for (const reduction reduce : all_reductions) {
        const triplet_options o{.margin = margin, .p = p, .reduce = reduce};
        CHECK(distance(numbers(triplet_margin_loss(a, b, c, o)), reduced(each, reduce)) < 1e-12);
        const auto f = [&](const std::vector<tensor>& in) {
          return triplet_margin_loss(in[0], in[1], in[2], o);
        };
        CHECK_MESSAGE(gradcheck(f, {a, b, c}).ok, gradcheck(f, {a, b, c}).where);
      }
    }
  }
  const tensor t = signs({5, 3});
  check_loss([](const tensor& x, const tensor& y,
                reduction r) { return hinge_embedding_loss(x, y, {.margin = 0.7, .reduce = r}); },
             [](double x, double y) { return y == 1 ? x : std::max(0.0, 0.7 - x); }, a, t);
  const auto sign = numbers(t);
  std::size_t i = 0;
  check_loss(
      [&](const tensor& x, const tensor& y, reduction r) {
        return margin_ranking_loss(x, y, t, {.margin = 0.3, .reduce = r});
      },
      [&](double x, double y) { return std::max(0.0, -sign[i++ % 15] * (x - y) + 0.3); }, a, b);
}

TEST_CASE("the margin of triplets and of the hinge stays 1 where another option is given") {
  const tensor_f64 a{{0, 0}}, near{{0, 1}}, far{{0, 1.5}};
  CHECK(triplet_margin_loss(a, near, far, {.p = 1}).item() == doctest::Approx(0.5));
  CHECK(triplet_margin_loss(a, near, far).item() == doctest::Approx(0.5));
  const tensor_f64 x{0.25, 0.5}, t{-1, -1};
  CHECK(hinge_embedding_loss(x, t, {.reduce = reduction::sum}).item() == 1.25);
  CHECK(margin_ranking_loss(x, x, t, {.reduce = reduction::sum}).item() == 0.0);
}

TEST_CASE("losses with a margin say what does not fit") {
  const tensor x = smooth({4, 1}, f32);
  CHECK_THROWS_WITH_AS(cosine_embedding_loss(x, x, x),
                       "cosine_embedding_loss: needs one target per vector; inputs f32[4,1], "
                       "target f32[4,1]",
                       shape_error);
  CHECK_THROWS_AS(cosine_similarity(x, x, 2), shape_error);
  CHECK_THROWS_AS(margin_ranking_loss(x, x, smooth({4}, f32)), shape_error);
  CHECK_THROWS_AS(hinge_embedding_loss(x, smooth({4}, f32)), shape_error);
}

}  // namespace adze
