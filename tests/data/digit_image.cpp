#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <numeric>

#include <adze/data/digit_image.hpp>

namespace adze::data {
namespace {

double mean_ink(const digit_image& d) {
  return std::accumulate(d.pixels.begin(), d.pixels.end(), 0.0) /
         static_cast<double>(d.pixels.size());
}

TEST_CASE("digit_image: the same bits from every compiler and instruction set") {
  // FNV-1a over labels and pixels.
  std::uint64_t hash = 0xcbf29ce484222325;
  const auto mix = [&](std::uint8_t byte) { hash = (hash ^ byte) * 0x100000001b3; };
  for (std::uint64_t i = 0; i < 200; ++i) {
    const digit_image d = draw_digit(42, i);
    mix(d.label);
    for (const std::uint8_t p : d.pixels) mix(p);
  }
  CHECK(hash == 16261609190166800450u);
}

TEST_CASE("digit_image: an image depends on seed and index alone") {
  const digit_image later = draw_digit(3, 77);
  draw_digit(3, 76);
  CHECK(draw_digit(3, 77).pixels == later.pixels);
  CHECK(draw_digit(4, 77).pixels != later.pixels);
  CHECK(draw_digit(3, 78).pixels != later.pixels);
  // Far apart indices and seeds are served too.
  CHECK(draw_digit(~0ull, ~0ull >> 8).label < 10);
}

TEST_CASE("digit_image: classes are equally likely, ink is neither missing nor everywhere") {
  std::array<int, 10> count{};
  for (std::uint64_t i = 0; i < 5000; ++i) {
    const digit_image d = draw_digit(1, i);
    ++count.at(d.label);
    CHECK(mean_ink(d) > 5);
    CHECK(mean_ink(d) < 120);
    CHECK(*std::max_element(d.pixels.begin(), d.pixels.end()) > 150);
  }
  for (const int n : count) {
    CHECK(n > 400);
    CHECK(n < 600);
  }
}

TEST_CASE("digit_image: pictures of one class resemble each other more than those of others") {
  // A nearest-mean classifier, the simplest there is, must find far more than one in ten.
  std::array<std::array<double, digit_side * digit_side>, 10> mean{};
  std::array<double, 10> count{};
  for (std::uint64_t i = 0; i < 2000; ++i) {
    const digit_image d = draw_digit(5, i);
    ++count.at(d.label);
    for (std::size_t p = 0; p < d.pixels.size(); ++p) mean.at(d.label)[p] += d.pixels[p];
  }
  int right = 0;
  for (std::uint64_t i = 2000; i < 2500; ++i) {
    const digit_image d = draw_digit(5, i);
    std::size_t best = 0;
    double best_distance = 1e300;
    for (std::size_t k = 0; k < 10; ++k) {
      double distance = 0;
      for (std::size_t p = 0; p < d.pixels.size(); ++p) {
        const double e = mean[k][p] / count[k] - d.pixels[p];
        distance += e * e;
      }
      if (distance < best_distance) best = k, best_distance = distance;
    }
    right += best == d.label ? 1 : 0;
  }
  CHECK(right > 250);
  CHECK(right < 450);  // and not so alike that nothing is left to learn
}

}  // namespace
}  // namespace adze::data
