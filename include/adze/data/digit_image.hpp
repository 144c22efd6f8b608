#pragma once
// SPDX-License-Identifier: MIT
// One synthetic handwritten digit: a class and a variant drawn at random, its strokes bent, moved
// by a random affine map and inked on 28 x 28 pixels with noise. Image i depends on (seed, i) only,
// whatever the threads or the instruction set: geometry is f64, pixels are whole numbers 0..255.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>

#include <adze/core/random.hpp>
#include <adze/data/digit_strokes.hpp>
#include <adze/fwd.hpp>
#include <adze/simd/arch.hpp>

namespace adze::data::inline ADZE_ISA {

inline constexpr index_t digit_side = 28;

struct digit_image {
  std::array<std::uint8_t, digit_side * digit_side> pixels{};  // row-major, 255 is full ink
  std::uint8_t label = 0;
};

namespace drawing {

struct position {
  double x = 0;
  double y = 0;
};

// The random numbers of image i: words of the Philox blocks i * 256 to i * 256 + 255.
class digit_draws {
 public:
  digit_draws(std::uint64_t seed, std::uint64_t image) : at_{seed, image * 256} {}

  [[gnu::noinline]] std::uint32_t word() {
    if (used_ == 4) {
      // The last argument keeps these apart from other arrays drawn with the same seed.
      words_ = at_.block(block_++, 0x64696769);
      used_ = 0;
    }
    return words_[used_++];
  }
  [[gnu::noinline]] double uniform(double low, double high) {
    return low + (high - low) * word() * 0x1p-32;
  }
  // Bell-shaped on [-1, 1], deviation 1/3: outliers would leave the picture.
  [[gnu::noinline]] double bell() {
    double sum = 0;
    for (int i = 0; i < 3; ++i) sum += uniform(-1, 1);
    return sum / 3;
  }
  // The same shape from the four bytes of one word, in steps of 1/510: cheap, for every pixel.
  double coarse_bell() {
    const std::uint32_t w = word();
    const auto sum = static_cast<int>((w & 255) + (w >> 8 & 255) + (w >> 16 & 255) + (w >> 24));
    return (sum - 510) / 510.0;
  }
  std::uint32_t below(std::uint32_t n) {
    return static_cast<std::uint32_t>(std::uint64_t{word()} * n >> 32);
  }

 private:
  random_state at_;
  std::uint64_t block_ = 0;
  std::size_t used_ = 4;
  std::array<std::uint32_t, 4> words_{};
};

// Squared distance of every pixel centre to the strokes, as far as ink can reach.
class distance_field {
 public:
  distance_field() { squared_.fill(1e9); }

  void add_segment(position a, position b, double reach) {
    const auto [left, right] =
        pixels_between(std::min(a.x, b.x) - reach, std::max(a.x, b.x) + reach);
    const auto [top, bottom] =
        pixels_between(std::min(a.y, b.y) - reach, std::max(a.y, b.y) + reach);
    const double dx = b.x - a.x;
    const double dy = b.y - a.y;
    const double length = dx * dx + dy * dy;
    for (index_t row = top; row <= bottom; ++row) {
      for (index_t column = left; column <= right; ++column) {
        const double px = static_cast<double>(column) + 0.5 - a.x;
        const double py = static_cast<double>(row) + 0.5 - a.y;
        const double along = length > 0 ? std::clamp((px * dx + py * dy) / length, 0.0, 1.0) : 0.0;
        const double ex = px - along * dx;
        const double ey = py - along * dy;
        double& nearest = squared_[static_cast<std::size_t>(row * digit_side + column)];
        nearest = std::min(nearest, ex * ex + ey * ey);
      }
    }
  }

  double distance(std::size_t pixel) const { return std::sqrt(squared_[pixel]); }

 private:
  [[gnu::noinline]] static std::array<index_t, 2> pixels_between(double low, double high) {
    const auto clamped = [](double v) {
      return static_cast<index_t>(std::clamp(v, 0.0, static_cast<double>(digit_side - 1)));
    };
    return {clamped(std::floor(low)), clamped(std::floor(high))};
  }

  std::array<double, digit_side * digit_side> squared_{};
};

// The affine map from the unit square of the strokes to pixels.
struct placement {
  double xx = 1, xy = 0, yx = 0, yy = 1;
  double centre_x = 0, centre_y = 0;

  static placement draw(digit_draws& random) {
    const double angle = 0.60 * random.bell();
    const double slant = 0.10 + 0.55 * random.bell();
    const double width = random.uniform(11.0, 19.0);
    const double height = random.uniform(15.0, 22.0);
    const double c = std::cos(angle);
    const double s = std::sin(angle);
    // rotation * shear * scale
    return {c * width,
            (-c * slant - s) * height,
            s * width,
            (c - s * slant) * height,
            14 + 3.6 * random.bell(),
            14 + 3.6 * random.bell()};
  }
  position operator()(position p) const {
    const double x = p.x - 0.5;
    const double y = p.y - 0.5;
    return {centre_x + xx * x + xy * y, centre_y + yx * x + yy * y};
  }
};

// A point of the Catmull-Rom curve from b to c.
inline position curve_point(position a, position b, position c, position d, double t) {
  const auto mix = [t](double p, double q, double r, double s) {
    return 0.5 * (2 * q +
                  t * ((r - p) + t * ((2 * p - 5 * q + 4 * r - s) + t * (3 * q - p - 3 * r + s))));
  };
  return {mix(a.x, b.x, c.x, d.x), mix(a.y, b.y, c.y, d.y)};
}

// One smooth run of knots.
struct smooth_run {
  std::array<position, digits::longest_glyph> knots;
  std::size_t size = 0;
};

// The curve through a run, as short segments.
inline void add_run(distance_field& field, const smooth_run& run, double reach) {
  constexpr int pieces = 4;
  for (std::size_t i = 0; i + 1 < run.size; ++i) {
    const position* at = run.knots.data() + i;
    const position before = i == 0 ? at[0] : at[-1];
    const position after = i + 2 < run.size ? at[2] : at[1];
    position from = at[0];
    for (int piece = 1; piece <= pieces; ++piece) {
      const position to = curve_point(before, at[0], at[1], after, piece / double{pieces});
      field.add_segment(from, to, reach);
      from = to;
    }
  }
}

inline distance_field draw_strokes(digits::glyph strokes, digit_draws& random, double reach) {
  distance_field field;
  const double wobble = random.uniform(0.04, 0.16);
  const placement place = placement::draw(random);
  smooth_run run;
  for (const digits::knot& k : strokes) {
    const position bent{k.x + wobble * random.bell(), k.y + wobble * random.bell()};
    const position at = place(bent);
    if (k.how == digits::pen::down) {
      add_run(field, run, reach);
      run.size = 0;
    }
    run.knots[run.size++] = at;
    if (k.how == digits::pen::corner) {
      add_run(field, run, reach);
      run.knots[0] = at;
      run.size = 1;
    }
  }
  add_run(field, run, reach);
  return field;
}

}  // namespace drawing

// The image of index `image` of the endless collection that `seed` names. Classes are equally
// likely and independent of each other.
inline digit_image draw_digit(std::uint64_t seed, std::uint64_t image) {
  drawing::digit_draws random(seed, image);
  digit_image out;
  out.label = static_cast<std::uint8_t>(random.below(10));
  const auto strokes = digits::glyphs[out.label][random.below(3)];
  const double half_width = random.uniform(0.55, 1.75);
  const double softness = random.uniform(0.8, 1.6);  // pixels from full ink to none
  const double ink = random.uniform(0.75, 1.0) * 255;
  const double grain = random.uniform(0.0, 0.30) * 255;
  const auto field = drawing::draw_strokes(strokes, random, half_width + softness);
  for (std::size_t i = 0; i < out.pixels.size(); ++i) {
    const double cover = (half_width - field.distance(i)) / softness + 0.5;
    const double value = ink * std::clamp(cover, 0.0, 1.0) + grain * random.coarse_bell();
    out.pixels[i] = static_cast<std::uint8_t>(std::clamp(std::nearbyint(value), 0.0, 255.0));
  }
  return out;
}

}  // namespace adze::data::inline ADZE_ISA
