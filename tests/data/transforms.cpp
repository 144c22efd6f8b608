#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <set>
#include <utility>
#include <vector>

#include <adze/data/transforms.hpp>
#include <adze/tensor/typed.hpp>

namespace adze::data {
namespace {

// Images whose pixels are all different and none of them zero.
template <class T> batch counted(const shape& sizes) {
  tensor_of<T> x(sizes);
  T next = 1;
  for (auto& v : x) v = next++;
  return {x, tensor_i64(shape{sizes[0]})};
}

const std::vector<index_t> three{4, 5, 6};

batch_place place_of(index_t epoch = 0, const std::vector<index_t>& indices = three) {
  return {.seed = 1, .epoch = epoch, .indices = indices, .stage = 0};
}

std::vector<float> values_of(const batch& b) { return b.x.as<float>().to_vector(); }

TEST_CASE("transforms: a shift moves every channel alike and lets zeros in") {
  std::set<std::pair<index_t, index_t>> seen;
  for (index_t epoch = 0; epoch < 60; ++epoch) {
    batch b = counted<float>({3, 2, 4, 5});
    const tensor_f32 before(b.x.as<float>().to_vector(), b.x.shape());
    random_shift{.pixels = 1}(b, place_of(epoch));
    const tensor_f32 after = b.x.as<float>();
    for (index_t i = 0; i < 3; ++i) {
      // Pixel (1, 1) of the result came from (1 - down, 1 - right).
      const auto source =
          static_cast<index_t>(after(i, 0, 1, 1)) - static_cast<index_t>(before(i, 0, 0, 0));
      const index_t down = 1 - source / 5;
      const index_t right = 1 - source % 5;
      seen.insert({down, right});
      for (index_t c = 0; c < 2; ++c) {
        for (index_t row = 0; row < 4; ++row) {
          for (index_t column = 0; column < 5; ++column) {
            const index_t r = row - down;
            const index_t k = column - right;
            const bool inside = r >= 0 && r < 4 && k >= 0 && k < 5;
            CHECK(after(i, c, row, column) == (inside ? before(i, c, r, k) : 0.0f));
          }
        }
      }
    }
  }
  CHECK(seen.size() == 9);  // all of -1..1 on both axes
}

TEST_CASE("transforms: shifts of any dtype, of nothing, and beyond the image") {
  batch bytes = counted<std::uint8_t>({3, 1, 4, 4});
  batch floats = counted<float>({3, 1, 4, 4});
  random_shift{.pixels = 2}(bytes, place_of());
  random_shift{.pixels = 2}(floats, place_of());
  const auto narrow = bytes.x.as<std::uint8_t>().to_vector();
  CHECK(std::vector<float>(narrow.begin(), narrow.end()) == values_of(floats));
  batch same = counted<float>({3, 1, 4, 4});
  random_shift{.pixels = 0}(same, place_of());
  CHECK(values_of(same) == values_of(counted<float>({3, 1, 4, 4})));
  batch gone = counted<float>({3, 1, 4, 4});
  random_shift{.pixels = 1 << 30}(gone, place_of());
  CHECK(values_of(gone) == std::vector<float>(48, 0.0f));
  batch empty_images{empty({3, 1, 0, 4}), empty({3}, i64)};
  random_shift{}(empty_images, place_of());
  random_affine{}(empty_images, place_of());
}

TEST_CASE("transforms: resampling by maps that are known") {
  const tensor_f32 x(std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8, 9}, {3, 3});
  const auto sampled = [&](const images::inverse_map& map) {
    tensor_f32 out(shape{3, 3});
    images::resample(x.span().data(), out.span().data(), 3, 3, map);
    return out.to_vector();
  };
  CHECK(sampled({}) == x.to_vector());
  CHECK(sampled({.x0 = 1}) == std::vector<float>{2, 3, 0, 5, 6, 0, 8, 9, 0});
  CHECK(sampled({.y0 = -1}) == std::vector<float>{0, 0, 0, 1, 2, 3, 4, 5, 6});
  CHECK(sampled({.x0 = 0.5}) == std::vector<float>{1.5, 2.5, 1.5, 4.5, 5.5, 3, 7.5, 8.5, 4.5});
  CHECK(sampled({.y0 = 0.25}) ==
        std::vector<float>{1.75, 2.75, 3.75, 4.75, 5.75, 6.75, 5.25, 6, 6.75});
  // A quarter turn: the source of (x, y) is (y, -x).
  CHECK(sampled({.xx = 0, .xy = 1, .yx = -1, .yy = 0}) ==
        std::vector<float>{7, 4, 1, 8, 5, 2, 9, 6, 3});
  CHECK(sampled({.xx = 1e300, .yy = 1e300}) == std::vector<float>{0, 0, 0, 0, 5, 0, 0, 0, 0});
  CHECK(sampled({.xx = std::nan("")}) == std::vector<float>(9, 0.0f));
}

// The centre of mass, relative to the middle of the image.
std::pair<double, double> centre(const tensor_f32& x, index_t i) {
  double mass = 0, across = 0, down = 0;
  const index_t rows = x.size(2), columns = x.size(3);
  for (index_t r = 0; r < rows; ++r) {
    for (index_t c = 0; c < columns; ++c) {
      const double v = x(i, 0, r, c);
      mass += v;
      across += v * (static_cast<double>(c) - 0.5 * static_cast<double>(columns - 1));
      down += v * (static_cast<double>(r) - 0.5 * static_cast<double>(rows - 1));
    }
  }
  return {across / mass, down / mass};
}

tensor zeros_of(const shape& sizes) {
  tensor_f32 x(sizes);
  for (auto& v : x) v = 0;
  return x;
}

// Three images of 33 x 33 with a 3 x 3 dot, 8 pixels right of the middle.
batch dots() {
  tensor_f32 x = zeros_of({3, 1, 33, 33}).as<float>();
  for (index_t i = 0; i < 3; ++i) {
    for (index_t r = 15; r < 18; ++r) {
      for (index_t c = 23; c < 26; ++c) x(i, 0, r, c) = 1;
    }
  }
  return {x, tensor_i64(shape{3})};
}

TEST_CASE("transforms: an affine change turns, scales, shears and moves by what it was given") {
  const random_affine still{.degrees = 0, .scale_low = 1, .scale_high = 1, .shear = 0, .shift = 0};
  batch same = dots();
  still(same, place_of());
  CHECK(values_of(same) == values_of(dots()));
  double widest_angle = 0, widest_shift = 0;
  for (index_t epoch = 0; epoch < 40; ++epoch) {
    batch turned = dots();
    random_affine turn = still;
    turn.degrees = 30;
    turn(turned, place_of(epoch));
    batch scaled = dots();
    random_affine scale = still;
    scale.scale_low = scale.scale_high = 1.5;
    scale(scaled, place_of(epoch));
    batch moved = dots();
    random_affine move = still;
    move.shift = 0.1;
    move(moved, place_of(epoch));
    for (index_t i = 0; i < 3; ++i) {
      const auto [x, y] = centre(turned.x.as<float>(), i);
      CHECK(std::hypot(x, y) == doctest::Approx(8).epsilon(0.02));
      const double angle = std::fabs(std::atan2(y, x)) * 57.29577951308232;
      CHECK(angle < 30.5);
      widest_angle = std::max(widest_angle, angle);
      CHECK(centre(scaled.x.as<float>(), i).first == doctest::Approx(12).epsilon(0.02));
      const double shift = std::fabs(centre(moved.x.as<float>(), i).first - 8);
      CHECK(shift < 3.35);
      widest_shift = std::max(widest_shift, shift);
    }
  }
  CHECK(widest_angle > 27);
  CHECK(widest_shift > 2.8);
  // Shear leaves the middle row where it is and moves what lies below by columns per row.
  batch sheared = dots();
  random_affine shear = still;
  shear.shear = 0.5;
  shear(sheared, place_of());
  const auto [x, y] = centre(sheared.x.as<float>(), 0);
  CHECK(x == doctest::Approx(8).epsilon(0.02));
  CHECK(std::fabs(y) < 0.05);
  CHECK(values_of(sheared) != values_of(dots()));
}

TEST_CASE("transforms: images that are not square, and all changes of an affine map at once") {
  const tensor_f32 x(std::vector<float>{1, 2, 3, 4, 5, 6}, {2, 3});
  tensor_f32 out(shape{2, 3});
  images::resample(x.span().data(), out.span().data(), 2, 3, {});
  CHECK(out.to_vector() == x.to_vector());
  images::resample(x.span().data(), out.span().data(), 2, 3, {.xx = -1, .yy = -1});
  CHECK(out.to_vector() == std::vector<float>{6, 5, 4, 3, 2, 1});
  // Where a dot at (7, 4) from the middle goes, from the same draws.
  const random_affine all{
      .degrees = 40, .scale_low = 0.8, .scale_high = 1.3, .shear = 0.4, .shift = 0.05};
  for (index_t epoch = 0; epoch < 10; ++epoch) {
    batch b{zeros_of({3, 1, 41, 61}), tensor_i64(shape{3})};
    for (index_t i = 0; i < 3; ++i) {
      for (index_t r = 23; r < 26; ++r) {
        for (index_t c = 36; c < 39; ++c) b.x.as<float>()(i, 0, r, c) = 1;
      }
    }
    all(b, place_of(epoch));
    for (index_t i = 0; i < 3; ++i) {
      generator g = place_of(epoch).random(i);
      const double angle = (2 * g.uniform() - 1) * 40 / 57.29577951308232;
      const double scale = 0.8 + 0.5 * g.uniform(), slant = (2 * g.uniform() - 1) * 0.4;
      const double px = scale * 7 + slant * scale * 4, py = scale * 4;
      const double right = (2 * g.uniform() - 1) * 0.05 * 61;
      const double down = (2 * g.uniform() - 1) * 0.05 * 41;
      const auto [x_now, y_now] = centre(b.x.as<float>(), i);
      CHECK(std::abs(x_now - (std::cos(angle) * px - std::sin(angle) * py + right)) < 0.15);
      CHECK(std::abs(y_now - (std::sin(angle) * px + std::cos(angle) * py + down)) < 0.15);
    }
  }
}

TEST_CASE("transforms: random ones depend on example and epoch, not on the place in the batch") {
  const std::vector<index_t> reversed{6, 5, 4};
  for (const transform& change : {transform(random_shift{}), transform(random_affine{})}) {
    batch a = dots();
    batch b = dots();
    batch c = dots();
    change(a, place_of(0));
    change(b, place_of(0, reversed));
    change(c, place_of(1));
    const auto first = values_of(a);
    const auto second = values_of(b);
    constexpr std::ptrdiff_t plane = 33 * 33;
    for (std::ptrdiff_t i = 0; i < 3; ++i) {
      CHECK(std::equal(first.begin() + i * plane, first.begin() + (i + 1) * plane,
                       second.begin() + (2 - i) * plane));
    }
    CHECK(values_of(c) != first);
  }
}

TEST_CASE("transforms: normalize by channel") {
  batch b = counted<float>({2, 2, 1, 2});
  normalize{.mean = {1, 2}, .deviation = {0.5f, 4}}(b, place_of());
  CHECK(values_of(b) == std::vector<float>{0, 2, 0.25, 0.5, 8, 10, 1.25, 1.5});
}

TEST_CASE("transforms: wrong calls change nothing") {
  const auto fails = [](const transform& change, batch b, const char* message) {
    CHECK_THROWS_WITH(change(b, place_of()), message);
  };
  const auto images = [] { return counted<float>({3, 1, 2, 2}); };
  fails(random_shift{}, counted<float>({3, 4}),
        "random_shift: images [b,c,h,w] are needed; got f32[3,4]; reshape the features");
  fails(random_shift{.pixels = -1}, images(),
        "random_shift: pixels out of range; got -1; 0 to 2^30");
  fails(random_affine{}, counted<std::uint8_t>({3, 1, 2, 2}),
        "random_affine: images are f32; got u8[3,1,2,2]; cast(x, f32) converts");
  fails(random_affine{.scale_low = 0}, images(),
        "random_affine: scales out of range; got 0 to 1.1; 0 < scale_low <= scale_high");
  fails(normalize{.mean = {1, 2}, .deviation = {1}}, images(),
        "normalize: one mean and deviation per channel; got 2 and 1 for f32[3,1,2,2]; match the "
        "channels");
  fails(normalize{.mean = {0}, .deviation = {0}}, images(),
        "normalize: deviations must be positive; got 0; a constant channel needs 1");
  batch strided{alias(empty({3, 1, 2, 2}), {3, 1, 2, 1}, {4, 4, 2, 1}), empty({3}, i64)};
  fails(random_shift{}, strided,
        "random_shift: the images are not contiguous; got f32[3,1,2,1]; contiguous(x) makes a "
        "dense copy");
}

}  // namespace
}  // namespace adze::data
