// embedding against copied rows and summed gradients: every dtype, padding, repeated indices,
// threads, bounds.
#include <vector>

#include <doctest/doctest.h>

#include <adze/autograd/gradcheck.hpp>
#include <adze/ops/embedding.hpp>

#include "numbers.hpp"

namespace adze {
namespace {

using namespace test;

// The gradient of the weight by its definition.
std::vector<double> naive_gradient(const tensor& index, const tensor& g, index_t rows,
                                   index_t width, index_t padding) {
  std::vector<double> d(static_cast<std::size_t>(rows * width), 0.0);
  const auto i = numbers(index), from = numbers(g);
  for (std::size_t k = 0; k < i.size(); ++k) {
    const auto r = static_cast<std::size_t>(i[k]), w = static_cast<std::size_t>(width);
    if (static_cast<index_t>(r) == padding) continue;
    for (std::size_t j = 0; j < w; ++j) d[r * w + j] += from[k * w + j];
  }
  return d;
}

}  // namespace

TEST_CASE("embedding takes rows, of any dtype and by indices of any shape") {
  const tensor_i64 flat{3, 0, 3, 1, 2, 3};
  const tensor index = reshape(flat, {2, 3});
  for (const dtype type : {f32, f64, f16, bf16, i32, u8}) {
    const tensor w = cast(smooth({4, 5}, f64, 40.0) + 50.0, type);
    for (const dtype of_index : {i64, i32, u8}) {
      const tensor y = embedding(cast(index, of_index), w);
      CHECK(y.dtype() == type);
      CHECK(y.shape() == shape{2, 3, 5});
      const auto from = numbers(w), to = numbers(y);
      for (std::size_t k = 0; k < 6; ++k) {
        const auto r = static_cast<std::size_t>(flat(static_cast<index_t>(k)));
        for (std::size_t j = 0; j < 5; ++j) CHECK(to[k * 5 + j] == from[r * 5 + j]);
      }
    }
  }
  const tensor w = smooth({5, 4});
  CHECK(numbers(embedding(index, transpose(w))) ==
        numbers(embedding(index, contiguous(transpose(w)))));
  CHECK(numbers(embedding(transpose(index), w)) == numbers(transpose(embedding(index, w), 0, 1)));
}

TEST_CASE("the gradient of the weight adds up repeated rows and leaves out the padding row") {
  const tensor index = reshape(tensor_i64{3, 0, 3, 1, 2, 3}, {3, 2});
  for (const index_t padding : {-1, 0, 3}) {
    for (const dtype type : {f64, f32, bf16}) {
      tensor w = smooth({5, 19}, type);
      w.set_requires_grad();
      const tensor g = smooth({3, 2, 19}, type, 1.0, 0.8);
      backward(embedding(index, w, padding), {.gradient = g});
      CHECK(w.grad().dtype() == type);
      const double bound = type == f64 ? 1e-15 : type == f32 ? 1e-6 : 1e-2;
      CHECK(distance(numbers(w.grad()), naive_gradient(index, g, 5, 19, padding)) < bound);
    }
    const auto f = [&](const std::vector<tensor>& in) {
      return square(embedding(index, in[0], padding));
    };
    const tensor w = leaf({5, 3});
    if (padding < 0) CHECK(gradcheck(f, {w}).ok);  // the padding row is not the true gradient
    const tensor y = f({w});
    const std::vector<tensor> plain =
        grad(tensor_list(&y, 1), tensor_list(&w, 1),
             {.gradients = {smooth({3, 2, 3})}, .retain_graph = true});
    const std::vector<tensor> recorded =
        grad(tensor_list(&y, 1), tensor_list(&w, 1),
             {.gradients = {smooth({3, 2, 3})}, .create_graph = true});
    CHECK(distance(plain[0], recorded[0]) == 0.0);
  }
  const auto f = [&](const std::vector<tensor>& in) { return square(embedding(index, in[0])); };
  CHECK(gradgradcheck(f, {leaf({5, 3})}).ok);
}

TEST_CASE("the gradient has the same bits for any number of threads") {
  tensor index = empty({5000}, i64);
  for (index_t i = 0; i < 5000; ++i) index.data_as<std::int64_t>()[i] = i * i % 997;
  const int before = threads();
  std::vector<std::vector<double>> seen;
  for (const int n : {1, 2, 5}) {
    set_threads(n);
    tensor w = smooth({1000, 64}, f32);
    w.set_requires_grad();
    backward(sum(square(embedding(index, w))));
    seen.push_back(numbers(w.grad()));
  }
  set_threads(before);
  CHECK(seen[0] == seen[1]);
  CHECK(seen[0] == seen[2]);
}

TEST_CASE("embedding of nothing, and of what is out of bounds") {
  tensor w = leaf({4, 2});
  const tensor none = embedding(empty({0, 3}, i64), w);
  CHECK(none.shape() == shape{0, 3, 2});
  backward(sum(none));
  CHECK(numbers(w.grad()) == std::vector<double>(8, 0.0));
  CHECK(embedding(tensor_i64{1, 1}, empty({4, 0})).shape() == shape{2, 0});
  CHECK_THROWS_WITH_AS(embedding(tensor_i64{0, 4}, w),
                       "embedding: index 4 at position 1 is outside 0..3; weight f64[4,2]",
                       value_error);
  CHECK_THROWS_AS(embedding(tensor_i64{-1}, w), value_error);
  CHECK_THROWS_WITH_AS(embedding(tensor_f32{0, 1}, w),
                       "embedding: indices must be integers; got index f32[2], weight f64[4,2]",
                       dtype_error);
  CHECK_THROWS_WITH_AS(embedding(tensor_i64{0}, smooth({4})),
                       "embedding: the weight must be [rows, width]; got f64[4]", shape_error);
  CHECK_THROWS_AS(embedding(tensor_i64{0}, w, 4), value_error);
  CHECK_THROWS_WITH_AS(
      embedding(tensor_i64{0}, w, -2),
      "embedding: padding_index must be a row or -1 (none); got -2, weight f64[4,2]", value_error);
}

}  // namespace adze
