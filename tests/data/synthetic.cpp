#include <doctest/doctest.h>

#include <cstdint>
#include <cstring>

#include <adze/data/synthetic.hpp>
#include <adze/tensor/typed.hpp>

namespace adze::data {
namespace {

bool same_bits(const tensor& a, const tensor& b) {
  return a.shape() == b.shape() && a.dtype() == b.dtype() &&
         std::memcmp(a.data(), b.data(),
                     static_cast<std::size_t>(a.numel() * size_of(a.dtype()))) == 0;
}

TEST_CASE("synthetic: shapes, dtypes and values are those of the drawn images") {
  const tensor_dataset d = synthetic_digits({.count = 5, .seed = 2, .first = 10});
  CHECK(to_text(d.features()) == "f32[5,1,28,28]");
  CHECK(to_text(d.labels()) == "i64[5]");
  for (index_t i = 0; i < 5; ++i) {
    const digit_image image = draw_digit(2, static_cast<std::uint64_t>(10 + i));
    CHECK(d.labels().data_as<std::int64_t>()[i] == image.label);
    int different = 0;
    for (index_t p = 0; p < 784; ++p) {
      const float expected = static_cast<float>(image.pixels[static_cast<std::size_t>(p)]) / 255.0f;
      different += d.features().data_as<float>()[i * 784 + p] == expected ? 0 : 1;
    }
    CHECK(different == 0);
  }
}

TEST_CASE("synthetic: the same bits for any number of threads; parts continue each other") {
  const int before = threads();
  set_threads(1);
  const tensor_dataset whole = synthetic_digits({.count = 100, .seed = 7});
  for (const int n : {2, 3, 7}) {
    set_threads(n);
    const tensor_dataset again = synthetic_digits({.count = 100, .seed = 7});
    CHECK(same_bits(again.features(), whole.features()));
    CHECK(same_bits(again.labels(), whole.labels()));
  }
  set_threads(before);
  const tensor_dataset tail = synthetic_digits({.count = 40, .seed = 7, .first = 60});
  CHECK(same_bits(tail.features(), whole.part(60, 40).features()));
  CHECK_FALSE(same_bits(synthetic_digits({.count = 100, .seed = 8}).labels(), whole.labels()));
}

TEST_CASE("synthetic: nothing is legal, less than nothing is not") {
  CHECK(synthetic_digits({.count = 0}).size() == 0);
  CHECK_THROWS_WITH_AS(synthetic_digits({.count = -1}),
                       "synthetic_digits: images out of range; got -1 from 0; both 0 to 2^48",
                       value_error);
  CHECK_THROWS_AS(synthetic_digits({.count = index_t{1} << 60}), value_error);
}

}  // namespace
}  // namespace adze::data
