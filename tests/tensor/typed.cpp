// SPDX-License-Identifier: MIT
// The typed face: construction, access by index, iteration over any strides, spans, matrices, and
// the errors of each; single elements of any dtype.
#include <algorithm>
#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <adze/tensor/create.hpp>
#include <adze/tensor/typed.hpp>

namespace adze {

TEST_CASE("construction from lists, spans and shapes") {
  const tensor_f32 x{{1, 2, 3}, {4, 5, 6}};
  CHECK(x.shape() == shape{2, 3});
  CHECK(x(1, 0) == 4.0f);
  CHECK(tensor_i32{1, 2, 3}.shape() == shape{3});
  CHECK(tensor_f64(shape{2, 0}).numel() == 0);
  CHECK_THROWS_AS((tensor_f32{{1, 2}, {3}}), shape_error);
  const std::vector<double> v{1, 2, 3, 4};
  CHECK(tensor_f64(v, {2, 2})(1, 1) == 4.0);
  CHECK_THROWS_AS(tensor_f64(v, {5}), shape_error);
}

TEST_CASE("the same storage in both directions; another dtype is an error") {
  const tensor x = arange(6);
  tensor_i64 typed = x.as<index_t>();
  typed(2) = 40;
  CHECK(x.as<index_t>()(2) == 40);
  const tensor& back = typed;
  CHECK(back.data() == x.data());
  try {
    x.as<float>();
    FAIL("no error");
  } catch (const dtype_error& e) {
    CHECK(std::string(e.what()) ==
          "as: the tensor is i64, not f32; got i64[6]; cast(x, f32) converts");
  }
}

TEST_CASE("access and iteration follow the strides") {
  const tensor_i64 x(alias(arange(12), {3, 4}, {1, 3}));
  CHECK(x(1, 2) == 7);
  CHECK(x(-1, -1) == 11);
  CHECK(x.to_vector() == std::vector<index_t>{0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11});
  CHECK(*std::max_element(x.begin(), x.end()) == 11);
  tensor_f32 y{{1, 2}, {3, 4}};
  for (float& v : y) v *= 2;
  CHECK(y.to_vector() == std::vector<float>{2, 4, 6, 8});
  y.span()[3] = 5;
  CHECK(y(1, 1) == 5.0f);
  CHECK_THROWS_AS(x.span(), value_error);
  CHECK_THROWS_AS(x(3, 0), value_error);
  CHECK_THROWS_AS(x(0, -5), value_error);
  CHECK_THROWS_AS(x(0), shape_error);
  const tensor_f64 one(full({}, 3.0, f64));
  CHECK(one() == 3.0);
  CHECK(tensor_f64(shape{0}).to_vector().empty());
}

TEST_CASE("a matrix for the kernels") {
  tensor_f64 x{{1, 2, 3}, {4, 5, 6}};
  matrix<double> m = x.as_matrix();
  m(1, 2) = 7;
  CHECK(x(1, 2) == 7.0);
  CHECK(m.transposed()(2, 1) == 7.0);
  CHECK_THROWS_AS(tensor_f64{1}.as_matrix(), shape_error);
}

TEST_CASE("item converts the single element of any dtype") {
  for (const dtype type : {f32, f64, f16, bf16, i8, u8, i32, i64}) {
    CHECK(full({1, 1}, 5.0, type).item() == 5.0);
    CHECK(full({}, 5.0, type).item<int>() == 5);
  }
  CHECK(full({}, 1.0, bool8).item<bool>());
  CHECK(full({}, 0.5).item<float>() == 0.5f);
  CHECK_THROWS_AS(zeros({2}).item(), shape_error);
  CHECK_THROWS_AS(zeros({0}).item(), shape_error);
}

}  // namespace adze
