// Cross-entropy against PyTorch's definitions written as loops, for all combinations of its
// options, and its gradients; what is ignored, empty, out of range or huge.
#include <cmath>
#include <limits>
#include <vector>

#include <doctest/doctest.h>

#include <adze/autograd/gradcheck.hpp>
#include <adze/ops/cross_entropy.hpp>
#include <adze/tensor/create.hpp>

#include "numbers.hpp"

namespace adze::cross_entropy_test {
namespace {

using namespace test;

struct numbers_of_rows {  // log-probabilities of rows [n, d, c] from logits [n, c, d]
  std::size_t n, c, d;
  std::vector<double> log_p;
};

numbers_of_rows rows_of(const std::vector<double>& x, std::size_t n, std::size_t c, std::size_t d) {
  numbers_of_rows r{n, c, d, {}};
  for (std::size_t i = 0; i < n; ++i) {
    for (std::size_t j = 0; j < d; ++j) {
      double sum = 0;
      for (std::size_t k = 0; k < c; ++k) sum += std::exp(x[(i * c + k) * d + j]);
      for (std::size_t k = 0; k < c; ++k) {
        r.log_p.push_back(x[(i * c + k) * d + j] - std::log(sum));
      }
    }
  }
  return r;
}

// The definition; results with `none` are in the order of the rows.
std::vector<double> expected_loss(const numbers_of_rows& r, const std::vector<double>& target,
                                  const cross_entropy_options& o) {
  std::vector<double> w(r.c, 1.0), losses;
  if (o.weight.defined()) w = numbers(o.weight);
  double total = 0, denominator = 0;
  const double e = o.label_smoothing;
  for (std::size_t i = 0; i < r.n * r.d; ++i) {
    const auto t = static_cast<index_t>(target[i]);
    losses.push_back(0);
    if (t == o.ignore_index) continue;
    const double* log_p = &r.log_p[i * r.c];
    double smooth = 0;
    for (std::size_t k = 0; k < r.c; ++k) smooth -= w[k] * log_p[k];
    const auto k = static_cast<std::size_t>(t);
    losses.back() = -(1 - e) * w[k] * log_p[k] + e / static_cast<double>(r.c) * smooth;
    total += losses.back();
    denominator += w[k];
  }
  if (o.reduce == reduction::none) return losses;
  return {o.reduce == reduction::sum ? total : total / denominator};
}

std::vector<double> expected_soft_loss(const numbers_of_rows& r, const std::vector<double>& rows,
                                       const cross_entropy_options& o) {
  std::vector<double> losses;
  double total = 0;
  for (std::size_t i = 0; i < r.n * r.d; ++i) {
    double loss = 0;
    for (std::size_t k = 0; k < r.c; ++k) {
      const double q = rows[i * r.c + k] * (1 - o.label_smoothing) +
                       o.label_smoothing / static_cast<double>(r.c);
      loss -= (o.weight.defined() ? numbers(o.weight)[k] : 1.0) * q * r.log_p[i * r.c + k];
    }
    losses.push_back(loss);
    total += loss;
  }
  if (o.reduce == reduction::none) return losses;
  return {o.reduce == reduction::sum ? total : total / static_cast<double>(losses.size())};
}

tensor classes(const shape& sizes, index_t count, dtype type = i64) {
  tensor t = empty(sizes, i64);
  for (index_t i = 0; i < t.numel(); ++i) t.data_as<std::int64_t>()[i] = (i * 7 + 2) % count;
  return cast(t, type);
}

std::vector<cross_entropy_options> all_options(index_t count) {
  std::vector<cross_entropy_options> list;
  for (const bool weighted : {false, true}) {
    for (const index_t ignored : {index_t{-100}, index_t{2}}) {
      for (const double smoothing : {0.0, 0.1, 1.0}) {
        for (const auto reduce : {reduction::mean, reduction::sum, reduction::none}) {
          cross_entropy_options o{{}, ignored, smoothing, reduce};
          if (weighted) o.weight = smooth({count}, f64, 0.4) + 0.7;
          list.push_back(o);
        }
      }
    }
  }
  return list;
}

double absolute(dtype type) { return type == f64 ? 1e-12 : type == f32 ? 2e-5 : 0.25; }

constexpr float inf = std::numeric_limits<float>::infinity();

}  // namespace

TEST_CASE("cross-entropy of class indices equals its definition for all options") {
  for (const index_t c : {1, 3, 10, 33}) {
    for (const auto& o : all_options(c)) {
      if (c == 1 && o.ignore_index == 2) continue;
      for (const dtype type : {f64, f32, bf16}) {
        const tensor x = smooth({8, c}, type, 3.0), t = classes({8}, c, type == f64 ? i64 : i32);
        const auto rows = rows_of(numbers(x), 8, static_cast<std::size_t>(c), 1);
        const tensor y = cross_entropy(x, t, o);
        CHECK(distance(numbers(y), expected_loss(rows, numbers(t), o)) < absolute(type));
        CHECK(y.dtype() == (o.weight.defined() ? promote(type, f64) : type));
      }
    }
  }
}

TEST_CASE("cross-entropy of images, with classes on axis 1 of any layout") {
  const tensor x = smooth({2, 5, 3, 4}, f64, 2.0), t = classes({2, 3, 4}, 5);
  const auto rows = rows_of(numbers(x), 2, 5, 12);
  const tensor last = permute(contiguous(permute(x, {0, 2, 3, 1})), {0, 3, 1, 2});
  for (const auto& o : all_options(5)) {
    const auto expected = expected_loss(rows, numbers(t), o);
    CHECK(distance(numbers(cross_entropy(x, t, o)), expected) < 1e-12);
    CHECK(distance(numbers(cross_entropy(last, t, o)), expected) < 1e-12);
  }
}

TEST_CASE("cross-entropy of probabilities equals its definition for all options") {
  const tensor x = smooth({3, 4, 5}, f64, 2.0), q = softmax(smooth({3, 4, 5}, f64, 1.0, 0.8), 1);
  const auto rows = rows_of(numbers(x), 3, 4, 5);
  const auto targets = numbers(transpose(q));  // [n, d, c]
  for (const auto& o : all_options(4)) {
    CHECK(distance(numbers(cross_entropy(x, q, o)), expected_soft_loss(rows, targets, o)) < 1e-12);
  }
}

TEST_CASE("cross-entropy of more rows than one thread takes, against the definition") {
  const std::size_t n = 1500;
  const tensor x = smooth({1500, 40}, f64, 3.0), t = classes({1500}, 40);
  cross_entropy_options o{{}, 2, 0.1, reduction::none};
  o.weight = smooth({40}, f64, 0.4) + 0.7;
  const auto rows = rows_of(numbers(x), n, 40, 1);
  CHECK(distance(numbers(cross_entropy(x, t, o)), expected_loss(rows, numbers(t), o)) < 1e-11);
  tensor y = clone(x), z = clone(x);
  y.set_requires_grad(), z.set_requires_grad();
  backward(sum(cross_entropy(y, t, o)));
  backward(sum(cross_entropy_op<>{2, 0.1, reduction::none}.composed(z, t, o.weight)));
  CHECK(distance(y.grad(), z.grad()) < 1e-12);
}

TEST_CASE("one sample without a batch axis") {
  const tensor x = smooth({4}), t = classes({}, 4);
  const auto expected = expected_loss(rows_of(numbers(x), 1, 4, 1), numbers(t), {});
  CHECK(distance(numbers(cross_entropy(x, t)), expected) < 1e-12);
  const tensor q = softmax(smooth({4}, f64, 1.0, 0.8));
  const auto soft = expected_soft_loss(rows_of(numbers(x), 1, 4, 1), numbers(q), {});
  CHECK(distance(numbers(cross_entropy(x, q)), soft) < 1e-12);
}

TEST_CASE("gradients of cross-entropy for all options, twice, equal to those of composed") {
  for (const shape& sizes : {shape{4, 5}, shape{2, 5, 3}}) {
    const tensor x = leaf(sizes, 2.0);
    const tensor t = classes(sizes.erased(1), 5), q = leaf(sizes, 0.4, 0.8);
    for (const auto& o : all_options(5)) {
      const auto hard = [&](const std::vector<tensor>& in) { return cross_entropy(in[0], t, o); };
      const auto soft = [&](const std::vector<tensor>& in) {
        return cross_entropy(in[0], in[1], o);
      };
      CHECK_MESSAGE(gradcheck(hard, {x}).ok, gradcheck(hard, {x}).where);
      CHECK_MESSAGE(gradgradcheck(hard, {x}).ok, gradgradcheck(hard, {x}).where);
      CHECK_MESSAGE(gradcheck(soft, {x, q}).ok, gradcheck(soft, {x, q}).where);
      cross_entropy_op<> op{o.ignore_index, o.label_smoothing, o.reduce};
      CHECK(distance(op.composed(x, t, o.weight), cross_entropy(x, t, o)) < 1e-12);
    }
  }
}

TEST_CASE("everything ignored gives NaN as a mean, 0 as a sum, and no gradient") {
  tensor x = leaf({3, 4});
  const tensor_i64 t{-100, -100, -100};
  CHECK(std::isnan(cross_entropy(x, t).item()));
  CHECK(cross_entropy(x, t, {.reduce = reduction::sum}).item() == 0.0);
  backward(cross_entropy(x, t));
  CHECK(numbers(x.grad()) == std::vector<double>(12, 0.0));
}

TEST_CASE("an empty batch gives NaN as a mean and 0 as a sum") {
  const tensor t = empty({0}, i64);
  tensor x = empty({0, 4});
  x.set_requires_grad();
  const tensor y = cross_entropy(x, t);
  CHECK(std::isnan(y.item()));
  backward(y);
  CHECK(x.grad().shape() == shape{0, 4});
  CHECK(cross_entropy(x, t, {.reduce = reduction::sum}).item() == 0.0);
  CHECK(cross_entropy(x, t, {.reduce = reduction::none}).shape() == shape{0});
}

TEST_CASE("huge and infinite logits: exact losses, finite gradients") {
  const tensor_f32 values{{20000, 20003, -inf}};
  tensor x = values;
  x.set_requires_grad();
  const tensor y = cross_entropy(x, tensor_i64{0});
  CHECK(y.item() == doctest::Approx(3 + std::log1p(std::exp(-3.0))));
  backward(y);
  const double p = 1 / (1 + std::exp(-3.0));
  CHECK(distance(numbers(x.grad()), {-p, p, 0}) < 1e-6);
  CHECK(cross_entropy(x, tensor_i64{2}).item() == inf);
}

TEST_CASE("the ignored index may be a class; ignored rows may hold anything") {
  const tensor_f64 values{{1, 2}, {std::nan(""), 0}};
  tensor x = values;
  x.set_requires_grad();
  const tensor y = cross_entropy(x, tensor_i64{1, 0}, {.ignore_index = 0});
  CHECK(y.item() == doctest::Approx(std::log1p(std::exp(-1.0))));
  backward(y);
  CHECK(numbers(x.grad())[2] == 0.0);
}

TEST_CASE("gradients that are recorded are those of ignored rows too") {
  for (const dtype type : {f64, f32, f16}) {
    tensor x = cast(tensor_f64{{1, 2}, {std::nan(""), 0}, {-inf, -inf}}, type);
    x.set_requires_grad();
    for (const tensor& t : {tensor(tensor_i64{1, -100, -100}), full({3}, -100, i64)}) {
      for (const auto reduce : {reduction::mean, reduction::sum, reduction::none}) {
        const auto slope = [&](bool create) {
          const tensor y = sum(cross_entropy(x, t, {.reduce = reduce}));
          return numbers(grad(y, {x}, {.create_graph = create})[0]);
        };
        const auto recorded = slope(true);
        CHECK(distance(recorded, slope(false)) < absolute(type) / 100);
        for (std::size_t i = 2; i < 6; ++i) CHECK(recorded[i] == 0.0);
      }
    }
  }
}

TEST_CASE("losses have the same bits for any number of threads") {
  const tensor x = smooth({3000, 40}, f32, 4.0), t = classes({3000}, 40);
  const int before = threads();
  std::vector<double> seen;
  for (const int n : {1, 2, 5}) {
    set_threads(n);
    tensor y = clone(x);
    y.set_requires_grad();
    const tensor loss = cross_entropy(y, t, {.label_smoothing = 0.1});
    backward(loss);
    seen.push_back(loss.item() + sum(square(y.grad())).item());
  }
  set_threads(before);
  CHECK(seen[0] == seen[1]);
  CHECK(seen[0] == seen[2]);
}

TEST_CASE("cross-entropy says what does not fit before anything happens") {
  const tensor x = smooth({2, 3}, f32), t = tensor_i64{0, 3};
  CHECK_THROWS_WITH_AS(
      cross_entropy(x, t),
      "cross_entropy: class 3 at position 1 is outside 0..2; input f32[2,3]; ignore_index is -100",
      value_error);
  CHECK_THROWS_WITH_AS(cross_entropy(x, tensor_i64{0, 1, 2}),
                       "cross_entropy: the target must have the shape of the input without axis 1; "
                       "input f32[2,3], target i64[3]",
                       shape_error);
  CHECK_THROWS_WITH_AS(cross_entropy(x, smooth({2}, f32)),
                       "cross_entropy: probabilities must have the shape of the logits; logits "
                       "f32[2,3], target f32[2]; class indices are i64",
                       shape_error);
  CHECK_THROWS_WITH_AS(cross_entropy(x, tensor_i64{0, 1}, {.weight = smooth({2}, f32)}),
                       "cross_entropy: needs one weight per class; input f32[2,3], weight f32[2]",
                       shape_error);
  CHECK_THROWS_WITH_AS(cross_entropy(x, t, {.label_smoothing = 1.5}),
                       "cross_entropy: label_smoothing must be in 0..1; got 1.5", value_error);
  CHECK_THROWS_AS(cross_entropy(x, t, {.weight = leaf({3})}), state_error);
  CHECK_THROWS_AS(cross_entropy(t, tensor_i64{0, 1}), dtype_error);
}

}  // namespace adze::cross_entropy_test
