#include <doctest/doctest.h>

#include <array>
#include <cstdint>
#include <vector>

#include <adze/data/dataset.hpp>
#include <adze/tensor/typed.hpp>

namespace adze::data {
namespace {

// Example i has the features (10 i, 10 i + 1) and the label i.
tensor_dataset numbered(index_t n) {
  tensor_of<float> x(shape{n, 2});
  tensor_of<std::int64_t> y(shape{n});
  for (index_t i = 0; i < n; ++i) {
    x(i, 0) = static_cast<float>(10 * i);
    x(i, 1) = static_cast<float>(10 * i + 1);
    y(i) = i;
  }
  return {x, y};
}

TEST_CASE("dataset: a slice is a view of the same storage") {
  const tensor_dataset d = numbered(5);
  CHECK(d.size() == 5);
  const batch b = d.slice(1, 3);
  CHECK(b.x.data() == d.features().data_as<float>() + 2);
  CHECK(b.y.data() == d.labels().data_as<std::int64_t>() + 1);
  CHECK(b.x.as<float>().to_vector() == std::vector<float>{10, 11, 20, 21, 30, 31});
  CHECK(b.y.as<std::int64_t>().to_vector() == std::vector<std::int64_t>{1, 2, 3});
  CHECK(d.slice(5, 0).x.numel() == 0);
  const tensor_dataset part = d.part(2, 3);
  CHECK(part.size() == 3);
  CHECK(part.slice(0, 1).x.data() == d.features().data_as<float>() + 4);
}

TEST_CASE("dataset: gather copies rows in any order, with repetitions") {
  const tensor_dataset d = numbered(5);
  const std::array<index_t, 4> order{4, 0, 0, 2};
  const batch b = d.gather(order);
  CHECK(b.x.as<float>().to_vector() == std::vector<float>{40, 41, 0, 1, 0, 1, 20, 21});
  CHECK(b.y.as<std::int64_t>().to_vector() == std::vector<std::int64_t>{4, 0, 0, 2});
  const batch none = d.gather({});
  CHECK(none.x.size(0) == 0);
  CHECK(none.x.size(1) == 2);
}

TEST_CASE("dataset: rows of nothing and datasets of nothing") {
  const tensor_dataset no_rows(empty({0, 3}), empty({0}, i64));
  CHECK(no_rows.size() == 0);
  CHECK(no_rows.slice(0, 0).x.size(1) == 3);
  const tensor_dataset no_columns(empty({4, 0}), empty({4}, i64));
  const std::array<index_t, 2> order{3, 1};
  CHECK(no_columns.gather(order).x.size(0) == 2);
}

TEST_CASE("dataset: wrong calls") {
  CHECK_THROWS_WITH_AS(tensor_dataset(empty({}), empty({1})),
                       "tensor_dataset: the features need an axis of examples; got f32[]; reshape "
                       "to [n, ...]",
                       shape_error);
  CHECK_THROWS_WITH_AS(tensor_dataset(empty({2, 3}), alias(empty({2, 2}), {2}, {2})),
                       "tensor_dataset: the labels are not contiguous; got f32[2]; contiguous(x) "
                       "makes a dense copy",
                       value_error);
  CHECK_THROWS_WITH_AS(tensor_dataset(empty({2, 3}), empty({3}, i64)),
                       "tensor_dataset: one label per example is needed; features f32[2,3], labels "
                       "i64[3]; their first axes must be equal",
                       shape_error);
  const tensor_dataset d = numbered(5);
  for (const auto& [first, count] : {std::array<index_t, 2>{-1, 2},
                                     {0, 6},
                                     {5, 1},
                                     {2, -1},
                                     {std::numeric_limits<index_t>::max(), 2}}) {
    CHECK_THROWS_AS(d.slice(first, count), value_error);
    CHECK_THROWS_AS(d.part(first, count), value_error);
  }
  CHECK_THROWS_WITH_AS(d.slice(3, 3),
                       "tensor_dataset.slice: rows out of range; got 3 from 3 of 5 examples; stay "
                       "inside",
                       value_error);
  const std::array<index_t, 2> beyond{0, 5};
  CHECK_THROWS_WITH_AS(
      d.gather(beyond),
      "tensor_dataset.gather: index out of range; got 5 of 5 examples; 0 to size - "
      "1 are allowed",
      value_error);
  const std::array<index_t, 1> negative{-1};
  CHECK_THROWS_AS(d.gather(negative), value_error);
}

}  // namespace
}  // namespace adze::data
