#pragma once
// SPDX-License-Identifier: MIT
// Observers: what a tensor's values were in some runs, and the scale and zero point that follow.
// One type for all kinds; the kind is an option.
#include <bit>

#include <adze/ops/concat.hpp>
#include <adze/ops/dense.hpp>
#include <adze/ops/extremes.hpp>
#include <adze/ops/slice.hpp>
#include <adze/quant/affine.hpp>
#include <adze/quant/histogram.hpp>

namespace adze::quant {

enum class statistic : std::uint8_t {
  min_max,         // smallest and largest of all calls
  moving_average,  // of the smallest and the largest of each call: m += rate (now - m)
  histogram,       // the range with the least squared error, searched from both ends
  percentile,      // the values below which 1 - share and share of all lie
  squared_error,   // a shrunken min-max range, by the least squared error of 100
  entropy,         // the range with the least divergence (eight bits)
  fixed,           // known beforehand
  // In training, estimators with parameters of their own; activations begin with range.high.
  learned,       // the step (lsq.hpp)
  power_of_two,  // the logarithm of the threshold (tqt.hpp)
  clipped,       // activations: the clipping bound (pact.hpp)
  unit,          // activations: clipped at range.high for good (dorefa.hpp)
  tanh_weights   // weights through tanh (dorefa.hpp)
};
inline bool is_estimator(statistic s) { return s >= statistic::learned; }

struct observer_options {
  statistic kind = statistic::min_max;
  quant::format format{};
  double rate = 0.01;                 // moving_average
  double share = 0.99999;             // percentile
  kernels::extent range{0.0f, 1.0f};  // fixed
  index_t bins = 2048;                // of histograms
};

}  // namespace adze::quant

namespace adze::quant::inline ADZE_ISA {

// Copies share what was seen, as copies of tensors do.
class observer {
 public:
  observer() : observer(observer_options{}) {}
  // Errors: value_error where a histogram is asked for by axis or group, or bits or bins are wrong.
  explicit observer(const observer_options& o) : options_(o) {
    static_cast<void>(o.format.codes());
    const histogram none(o.bins);
    if (uses_histogram()) {
      counts_ = empty({o.bins + histogram::numbers_beside_counts}, i64);
      keep(none);
    }
    const bool whole = o.format.grain.of == granularity::kind::tensor;
    if (!whole && uses_histogram()) {
      raise<value_error>("quant::observer: histograms are per tensor; got ",
                         to_text(o.format.grain));
    }
  }

  const observer_options& options() const { return options_; }
  bool observed() const { return options_.kind == statistic::fixed || has_range() || counted(); }
  // Makes room for ranges of this shape, before there are any, so that a graph can be loaded before
  // its first run. Histograms have theirs.
  template <class = void> void expect(const shape& ranges) {
    if (options_.kind == statistic::fixed || uses_histogram()) return;
    low_ = adze::detail::filled(ranges, f32, std::numeric_limits<double>::infinity());
    high_ = adze::detail::filled(ranges, f32, -std::numeric_limits<double>::infinity());
  }
  void visit(const state_visitor& f) { f("low", low_), f("high", high_), f("histogram", counts_); }
  // The smallest and the largest by the statistic, f32 of the granularity's shape.
  const tensor& low() const { return low_; }
  const tensor& high() const { return high_; }

  // Takes the values of x into account. Empty tensors change nothing. numeric_error, and no change,
  // for NaN or infinite values, of which no range can be made.
  template <class = void> void observe(const tensor& x) {
    adze::detail::floating_compute_type("quant::observer", x);
    if (x.numel() == 0 || options_.kind == statistic::fixed) return;
    const no_grad plain;
    const tensor wide = adze::detail::dense_as(x, f32);
    const auto [low, high] = extremes(wide);
    for (index_t i = 0; i < low.numel(); ++i) {
      const float a = low.template data_as<float>()[i], b = high.template data_as<float>()[i];
      if (std::isfinite(a) && std::isfinite(b)) continue;
      raise<numeric_error>("quant::observer: the values must be finite; got ", x,
                           " with values from ", a, " to ", b,
                           "; find the op that made them with anomaly mode");
    }
    if (uses_histogram()) {
      histogram h = seen();
      h.add(wide.template data_as<float>(), wide.numel(), low.template item<double>(),
            high.template item<double>());
      keep(h);
    } else if (!low_.defined()) {
      low_ = low, high_ = high;
    } else {
      if (low.shape() != low_.shape()) {
        raise<shape_error>("quant::observer: has seen ", low_.shape(), " ranges; got ", x);
      }
      const bool first = !has_range();
      update(low_, first ? low : next(low_, low, [](float a, float b) { return std::min(a, b); }));
      update(high_,
             first ? high : next(high_, high, [](float a, float b) { return std::max(a, b); }));
    }
  }

  // The parameters for what was seen; scale 1 and zero point 0 before anything was (PyTorch's
  // default, which it warns about: see observed()).
  template <class = void> quant::parameters parameters() const {
    const format& f = options_.format;
    if (options_.kind == statistic::fixed) return of(options_.range);
    if (!observed()) {
      quant::parameters p = make_parameters({1.0f, 0}, f.codes());
      if (f.scheme == scheme::real_zero) p.zero_point = cast_zero(p.zero_point);
      return p;
    }
    if (!uses_histogram()) return choose_parameters(low_, high_, f);
    const histogram h = seen();
    const code_range codes = f.codes();
    const index_t levels = codes.high - codes.low + 1;
    switch (options_.kind) {
    case statistic::percentile:
      return of({static_cast<float>(h.quantile(1 - options_.share)),
                 static_cast<float>(h.quantile(options_.share))});
    case statistic::squared_error:
      return of(least_error_range(h, levels));
    case statistic::entropy:
      return of(least_divergence_range(h, levels));
    default:
      return of(least_squares_range(h, levels));
    }
  }

 private:
  double held(index_t i) const { return std::bit_cast<double>(counts_.data_as<std::int64_t>()[i]); }
  // The total is the last number of a histogram.
  bool counted() const { return counts_.defined() && held(counts_.numel() - 1) != 0; }
  histogram seen() const {
    histogram h(options_.bins);
    if (!counts_.defined()) return h;
    std::vector<double> numbers(static_cast<std::size_t>(counts_.numel()));
    for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = held(static_cast<index_t>(i));
    h.read(numbers.data());
    return h;
  }
  // In place, as update().
  void keep(const histogram& h) {
    std::vector<double> numbers(static_cast<std::size_t>(counts_.numel()));
    h.write(numbers.data());
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      counts_.data_as<std::int64_t>()[i] = std::bit_cast<std::int64_t>(numbers[i]);
    }
  }
  // A range that has room but nothing in it is upside down.
  bool has_range() const {
    if (!low_.defined() || low_.numel() == 0) return false;
    return adze::detail::dense_as(low_, f32).data_as<float>()[0] <=
           adze::detail::dense_as(high_, f32).data_as<float>()[0];
  }
  bool uses_histogram() const {
    return options_.kind == statistic::histogram || options_.kind == statistic::percentile ||
           options_.kind == statistic::squared_error || options_.kind == statistic::entropy;
  }
  quant::parameters of(kernels::extent x) const {
    tensor low = empty({}, f32), high = empty({}, f32);
    *low.data_as<float>() = x.low, *high.data_as<float>() = x.high;
    return choose_parameters(low, high, options_.format);
  }
  static tensor cast_zero(const tensor& z) { return adze::detail::dense_as(z, f32); }
  // The smallest and the largest of all that share parameters; NaN wins, as the check wants.
  template <class = void> std::array<tensor, 2> extremes(const tensor& x) const {
    const granularity& g = options_.format.grain;
    if (g.of == granularity::kind::tensor) return {amin(x), amax(x)};
    if (g.of == granularity::kind::group) return extremes_of_groups(x, g);
    index_list others;
    const index_t axis = resolve_axis(g.axis, x.rank(), "quant::observer");
    for (index_t i = 0; i < x.rank(); ++i) {
      if (i != axis) others.push_back(i);
    }
    if (x.rank() == 1) return {adze::detail::dense_copy(x), adze::detail::dense_copy(x)};
    return {amin(x, others), amax(x, others)};
  }
  // Group after group of the axis; the last may be shorter.
  template <class = void>
  static std::array<tensor, 2> extremes_of_groups(const tensor& x, const granularity& g) {
    static_cast<void>(parameter_shape(g, x.shape(), "quant::observer"));
    const index_t axis = resolve_axis(g.axis, x.rank(), "quant::observer"), n = x.shape()[axis];
    std::vector<tensor> low, high;
    for (index_t first = 0; first < n; first += g.group) {
      const tensor part = slice(x, axis, {first, std::min(n, first + g.group)});
      low.push_back(amin(part, {axis}, true));
      high.push_back(amax(part, {axis}, true));
    }
    return {concat(low, axis), concat(high, axis)};
  }
  template <class F> tensor next(const tensor& kept, const tensor& now, F extreme) const {
    const tensor before = adze::detail::dense_as(kept, f32);  // to(graph, dtype) converts it
    tensor y = empty(kept.shape(), f32);
    const auto rate = static_cast<float>(options_.rate);
    for (index_t i = 0; i < kept.numel(); ++i) {
      const float a = before.data_as<float>()[i], b = now.data_as<float>()[i];
      y.data_as<float>()[i] =
          options_.kind == statistic::moving_average ? a + rate * (b - a) : extreme(a, b);
    }
    return y;
  }
  // In place: whoever shares the tensor sees it.
  static void update(tensor& kept, const tensor& now) {
    kernels::copy(kept.shape(), adze::detail::operand_of(kept), adze::detail::operand_of(now));
  }

  observer_options options_;
  tensor low_{}, high_{};
  tensor counts_{};  // of a histogram: the bits of doubles, as to(graph, dtype) must not round them
};

}  // namespace adze::quant::inline ADZE_ISA
