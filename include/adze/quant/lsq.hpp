#pragma once
// SPDX-License-Identifier: MIT
// Learned step sizes: LSQ (Esser et al. 2020) and LSQ+ (Bhalgat et al. 2020), for use in forward
// code: auto wq = quant::lsq(w, step, {.bits = 4}).
#include <adze/ops/reduce.hpp>
#include <adze/quant/fake_quant.hpp>

namespace adze::quant {

struct lsq_options {
  int bits = 8;
  bool is_signed = true;       // codes -2^(bits-1)..2^(bits-1)-1, or 0..2^bits-1
  granularity grain{};         // per_tensor() or per_axis(a): steps [] or [size of the axis]
  bool scale_gradient = true;  // that of the step times 1 / sqrt(elements * highest code)

  code_range codes() const { return format{.bits = bits, .is_signed = is_signed}.codes(); }
};

}  // namespace adze::quant

namespace adze::quant::detail::inline ADZE_ISA {

// f(x, axes) over all elements that share a step; x itself where each has a step of its own, for no
// axes would mean all of them.
template <class F>
tensor over_shared(const tensor& x, const granularity& grain, std::string_view op, F f) {
  index_list over;
  const bool all = grain.of == granularity::kind::tensor;
  const index_t axis = all ? -1 : resolve_axis(grain.axis, x.rank(), op);
  for (index_t i = 0; i < x.rank(); ++i) {
    if (i != axis) over.push_back(i);
  }
  return !all && over.empty() ? x : f(x, over);
}

template <class = void> void check_lsq_grain(std::string_view op, const granularity& grain) {
  if (grain.of != granularity::kind::group) return;
  raise<value_error>(op, ": steps are per tensor or per axis; got ", to_text(grain));
}

}  // namespace adze::quant::detail::inline ADZE_ISA

namespace adze::quant::inline ADZE_ISA {

// The step is an input that is trained; steps below f32's epsilon are taken as that.
template <class = void> struct lsq_op {
  granularity grain{};
  code_range codes{};
  bool scale_gradient = true;  // by the elements of the call: a graph may be traced at others
  static constexpr std::string_view name = "lsq";
  static constexpr numeric precision = numeric::wide;
  static constexpr auto reads =
      gradient_reads(values::input(0) | values::input(1), values::input(0) | values::input(1));

  shape result(const shape& x, const shape&) const { return x; }
  tensor forward(const tensor& x, const tensor& step) const {
    return mapped(kernels::code_loops<kernels::code_bodies::value>, x, step, nullptr);
  }
  std::array<tensor, 2> backward(backward_context& c, const tensor& g) const {
    const tensor x = c.in(0), step = c.in(1);
    std::array<tensor, 2> d;
    if (c.wants(0)) {
      d[0] = c.create()
                 ? g * mapped(kernels::code_loops<kernels::code_bodies::inside>, x, step, nullptr)
                 : mapped(kernels::code_loops<kernels::code_bodies::passed>, x, step, &g);
    }
    if (c.wants(1)) {
      // In public ops of g, so that it has gradients itself; the slope's own are taken as 0.
      const tensor one = adze::detail::filled(x.shape(), x.dtype(), 1.0);
      const tensor slope =
          mapped(kernels::code_loops<kernels::code_bodies::scale_slope>, x, step, &one);
      const auto sums = [](const tensor& v, const index_list& over) { return sum(v, over); };
      d[1] = detail::over_shared(g * slope, grain, name, sums) * gradient_factor(x, step);
    }
    return d;
  }

 private:
  double gradient_factor(const tensor& x, const tensor& step) const {
    const double count = double(x.numel()) / double(std::max<index_t>(1, step.numel()));
    return scale_gradient && count > 0 ? 1 / std::sqrt(count * codes.high) : 1.0;
  }
  tensor mapped(const kernels::map_loops& loops, const tensor& x, const tensor& step,
                const tensor* g) const {
    adze::detail::floating_compute_type(name, x);
    const tensor positive = maximum(step, double(default_least_scale));
    const tensor none;
    const detail::shared_parameters shared{positive, none, grain};
    detail::check_parameters(name, x, shared);
    tensor y = empty_like(x, x.dtype());
    const dtype type = detail::code_compute_type(x, none);
    if (g == nullptr) {
      detail::map_codes(loops, type, {.codes = codes}, shared, y, {&x});
    } else {
      detail::map_codes(loops, type, {.codes = codes}, shared, y, {&x, g});
    }
    return y;
  }
};

// Where training begins: 2 mean(|x|) / sqrt(highest code) (Esser et al., section 2.1), a leaf of
// the shape that lsq wants.
template <class = void> tensor lsq_start(const tensor& x, const lsq_options& o = {}) {
  const no_grad plain;
  const double most = o.codes().high;
  detail::check_lsq_grain("lsq_start", o.grain);
  const tensor s =
      detail::over_shared(abs(x), o.grain, "lsq_start",
                          [](const tensor& v, const index_list& over) { return mean(v, over); });
  return adze::detail::dense_copy(s * (2.0 / std::sqrt(most))).set_requires_grad();
}

// round(clamp(x / step, low, high)) step. Gradient of x: g where the rounded code is in range, else
// 0; of the step: sum of g times low or high outside, round(v) - v of v = x / step inside, times
// 1 / sqrt(elements per step * high). Second gradients take the slopes as constants.
template <class = void> tensor lsq(const tensor& x, const tensor& step, const lsq_options& o = {}) {
  detail::check_lsq_grain("lsq", o.grain);
  return record(lsq_op<>{o.grain, o.codes(), o.scale_gradient}, x, step);
}

// lsq of x - offset, and the offset again: the offset's gradient is g outside of the range and 0
// inside.
template <class = void>
tensor lsq_plus(const tensor& x, const tensor& step, const tensor& offset,
                const lsq_options& o = {}) {
  return lsq(x - offset, step, o) + offset;
}

}  // namespace adze::quant::inline ADZE_ISA
