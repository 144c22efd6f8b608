#pragma once
// SPDX-License-Identifier: MIT
// Changes to batches of images [b,c,h,w] on their way from the loader: shifts, affine maps,
// normalization. Random ones depend on (seed, epoch, example) only.
// In place on the loader's own copy; no gradients.
#include <algorithm>
#include <array>
#include <cmath>
#include <cstring>
#include <span>
#include <utility>
#include <vector>

#include <adze/core/random.hpp>
#include <adze/data/loader.hpp>
#include <adze/simd/arch.hpp>
#include <adze/tensor/tensor.hpp>

namespace adze::data::inline ADZE_ISA {

namespace images {

// b, c, h, w of a contiguous batch of images. shape_error, value_error otherwise.
template <class = void> std::array<index_t, 4> sizes_of(const tensor& x, const char* op) {
  if (x.rank() != 4) {
    raise<shape_error>(op, ": images [b,c,h,w] are needed; got ", x, "; reshape the features");
  }
  if (!x.is_contiguous()) {
    raise<value_error>(op, ": the images are not contiguous; got ", x,
                       "; contiguous(x) makes a dense copy");
  }
  return {x.size(0), x.size(1), x.size(2), x.size(3)};
}

template <class = void> float* f32_data(tensor& x, const char* op) {
  if (x.dtype() != f32) {
    raise<dtype_error>(op, ": images are f32; got ", x, "; cast(x, f32) converts");
  }
  return x.data_as<float>();
}

// One plane moved by whole pixels; what comes in from outside is zero. Rows of `bytes` each.
struct plane_shift {
  index_t rows, columns;  // of the plane
  index_t down, right;    // how far
  index_t pixel;          // bytes of a pixel

  template <class = void> void operator()(std::byte* plane, std::vector<std::byte>& spare) const {
    const auto line = static_cast<std::size_t>(columns * pixel);
    spare.assign(static_cast<std::size_t>(rows) * line, std::byte{0});
    const index_t kept = columns - std::abs(right);
    if (kept > 0) {
      const auto to = static_cast<std::size_t>(std::max<index_t>(right, 0) * pixel);
      const auto from = static_cast<std::size_t>(std::max<index_t>(-right, 0) * pixel);
      for (index_t row = std::max<index_t>(down, 0); row < std::min(rows, rows + down); ++row) {
        std::memcpy(spare.data() + static_cast<std::size_t>(row) * line + to,
                    plane + static_cast<std::size_t>(row - down) * line + from,
                    static_cast<std::size_t>(kept * pixel));
      }
    }
    std::copy(spare.begin(), spare.end(), plane);
  }
};

// Where each pixel of the new plane comes from: centre-based, x' = xx x + xy y + x0.
struct inverse_map {
  double xx = 1, xy = 0, x0 = 0;
  double yx = 0, yy = 1, y0 = 0;
};

// Bilinear samples of `from` at the mapped pixel centres; zero outside.
template <class = void>
void resample(const float* from, float* to, index_t rows, index_t columns, const inverse_map& map) {
  const auto pixel = [&](index_t row, index_t column) {
    const bool inside = row >= 0 && row < rows && column >= 0 && column < columns;
    return inside ? from[row * columns + column] : 0.0f;
  };
  const double middle_x = 0.5 * static_cast<double>(columns - 1);
  const double middle_y = 0.5 * static_cast<double>(rows - 1);
  for (index_t row = 0; row < rows; ++row) {
    const double y = static_cast<double>(row) - middle_y;
    for (index_t column = 0; column < columns; ++column) {
      const double x = static_cast<double>(column) - middle_x;
      const double source_x = map.xx * x + map.xy * y + map.x0 + middle_x;
      const double source_y = map.yx * x + map.yy * y + map.y0 + middle_y;
      // Compared first, so that no far away value is converted to an integer.
      const bool near = source_x > -1 && source_x < static_cast<double>(columns) && source_y > -1 &&
                        source_y < static_cast<double>(rows);
      float sample = 0;
      if (near) {
        const double left = std::floor(source_x);
        const double top = std::floor(source_y);
        const auto r = static_cast<index_t>(top);
        const auto c = static_cast<index_t>(left);
        const auto fx = static_cast<float>(source_x - left);
        const auto fy = static_cast<float>(source_y - top);
        const float upper = pixel(r, c) * (1 - fx) + pixel(r, c + 1) * fx;
        const float lower = pixel(r + 1, c) * (1 - fx) + pixel(r + 1, c + 1) * fx;
        sample = upper * (1 - fy) + lower * fy;
      }
      to[row * columns + column] = sample;
    }
  }
}

}  // namespace images

// Moves each image by a whole number of pixels, every shift of -pixels..pixels on both axes equally
// likely; zeros come in. Any dtype.
struct random_shift {
  index_t pixels = 2;

  template <class = void> void operator()(batch& b, const batch_place& place) const {
    const auto [count, channels, rows, columns] = images::sizes_of(b.x, "random_shift");
    if (pixels < 0 || pixels > (index_t{1} << 30)) {
      raise<value_error>("random_shift: pixels out of range; got ", pixels, "; 0 to 2^30");
    }
    const index_t size = size_of(b.x.dtype());
    const index_t plane = rows * columns * size;
    std::vector<std::byte> spare;
    for (index_t i = 0; i < count; ++i) {
      generator random = place.random(i);
      const index_t down = random.below(2 * pixels + 1) - pixels;
      const index_t right = random.below(2 * pixels + 1) - pixels;
      const images::plane_shift move{rows, columns, down, right, size};
      for (index_t c = 0; c < channels; ++c) {
        move(b.x.data_as<std::byte>() + (i * channels + c) * plane, spare);
      }
    }
  }
};

// Turns, scales, shears and moves each image about its centre, each amount uniform in its range;
// bilinear samples, zeros come in. f32.
struct random_affine {
  double degrees = 10;     // turn: -degrees..degrees
  double scale_low = 0.9;  // size of the result relative to the image
  double scale_high = 1.1;
  double shear = 0.1;  // -shear..shear, columns per row
  double shift = 0.1;  // of height and width: -shift..shift

  template <class = void> void operator()(batch& b, const batch_place& place) const {
    const auto [count, channels, rows, columns] = images::sizes_of(b.x, "random_affine");
    float* data = images::f32_data(b.x, "random_affine");
    if (!(scale_low > 0 && scale_high >= scale_low && std::isfinite(scale_high))) {
      raise<value_error>("random_affine: scales out of range; got ", scale_low, " to ", scale_high,
                         "; 0 < scale_low <= scale_high");
    }
    const index_t plane = rows * columns;
    std::vector<float> before(static_cast<std::size_t>(plane));
    for (index_t i = 0; i < count; ++i) {
      const images::inverse_map map = draw(place.random(i), rows, columns);
      for (index_t c = 0; c < channels; ++c) {
        float* image = data + (i * channels + c) * plane;
        std::copy(image, image + plane, before.begin());
        images::resample(before.data(), image, rows, columns, map);
      }
    }
  }

 private:
  // The inverse of: scale, then shear, then turn, then move.
  images::inverse_map draw(generator random, index_t rows, index_t columns) const {
    const auto between = [&](double low, double high) {
      return low + (high - low) * random.uniform();
    };
    const double angle = between(-degrees, degrees) * 0.017453292519943295;
    const double scale = between(scale_low, scale_high);
    const double slant = between(-shear, shear);
    const double right = between(-shift, shift) * static_cast<double>(columns);
    const double down = between(-shift, shift) * static_cast<double>(rows);
    const double c = std::cos(angle) / scale;
    const double s = std::sin(angle) / scale;
    images::inverse_map map;
    map.xx = c + slant * s;
    map.xy = s - slant * c;
    map.yx = -s;
    map.yy = c;
    map.x0 = -(map.xx * right + map.xy * down);
    map.y0 = -(map.yx * right + map.yy * down);
    return map;
  }
};

// x = (x - mean) / deviation, one pair per channel. f32.
struct normalize {
  std::vector<float> mean{};
  std::vector<float> deviation{};

  template <class = void> void operator()(batch& b, const batch_place&) const {
    const auto [count, channels, rows, columns] = images::sizes_of(b.x, "normalize");
    float* data = images::f32_data(b.x, "normalize");
    if (std::cmp_not_equal(mean.size(), channels) ||
        std::cmp_not_equal(deviation.size(), channels)) {
      raise<shape_error>("normalize: one mean and deviation per channel; got ", mean.size(),
                         " and ", deviation.size(), " for ", b.x, "; match the channels");
    }
    for (const float d : deviation) {
      if (!(d > 0)) {
        raise<value_error>("normalize: deviations must be positive; got ", d,
                           "; a constant channel needs 1");
      }
    }
    for (index_t i = 0; i < count * channels; ++i) {
      const auto c = static_cast<std::size_t>(i % channels);
      float* image = data + i * rows * columns;
      for (index_t p = 0; p < rows * columns; ++p) image[p] = (image[p] - mean[c]) / deviation[c];
    }
  }
};

}  // namespace adze::data::inline ADZE_ISA
