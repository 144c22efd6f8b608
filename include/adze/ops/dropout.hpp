#pragma once
// SPDX-License-Identifier: MIT
// dropout: the mask is drawn from the default generator by the row-major index of the element, so
// it depends neither on threads nor on the layout of x.
#include <adze/kernels/keep_mask.hpp>
#include <adze/ops/dense.hpp>

namespace adze::detail {

inline void check_probability(std::string_view op, double p) {
  if (!(p >= 0.0 && p <= 1.0)) {
    raise<value_error>(op, ": the probability must be in 0..1; got ", p);
  }
}

}  // namespace adze::detail

namespace adze::inline ADZE_ISA {

namespace functors {
struct masked_scale_f {  // x mask scale: NaN stays also where it is dropped
  double scale = 1.0;
  template <class V> V f(const V& x, const V& mask) const { return x * mask * scale; }
};
}  // namespace functors

template <class = void> struct dropout_op {
  double p = 0.5;
  bool channels = false;  // one draw for all pixels of a channel of [n, c, ...]
  tensor mask{};          // bool8, true where kept

  static constexpr std::string_view name = "dropout";
  static constexpr numeric precision = numeric::any;
  static constexpr auto reads = gradient_reads(values::nothing);
  static constexpr std::string_view axes = "...->...";

  shape result(const shape& x) const { return x; }
  tensor forward(const tensor& x) {
    static_cast<void>(detail::floating_compute_type(name, x));
    shape sizes = x.shape();
    for (index_t a = 2; channels && a < x.rank(); ++a) sizes = sizes.with(a, 1);
    const random_state at = kernels::reserve_mask(sizes.numel());
    mask = empty(sizes, bool8);
    bool* keep = mask.data_as<bool>();
    parallel_for(mask.numel(), 8192, [&](index_t begin, index_t end) {
      kernels::keep_mask(keep + begin, begin, end - begin, at, p);
    });
    return scaled(x);
  }
  tensor backward(backward_context& c, const tensor& g) const {
    return c.create() ? g * mask * kernels::keep_scale(p) : scaled(g);
  }

 private:
  tensor scaled(const tensor& x) const {
    using functor = functors::masked_scale_f;
    static constexpr kernels::map_loops loops{detail::binary_rows<functor, float>,
                                              detail::binary_rows<functor, double>, nullptr};
    const functor f{kernels::keep_scale(p)};
    return detail::map_tensors(name, loops, &f, {&x, &mask}, x.dtype(), x.dtype());
  }
};

// Zeroes each element with probability p and divides the others by 1 - p, in training; else, and
// for p = 0, returns x itself. Gradient: g through the same mask. Random numbers: one 32-bit word
// per element from the default generator. Errors: value_error for p outside 0..1.
template <class> tensor dropout(const tensor& x, double p, bool training) {
  detail::check_probability("dropout", p);
  return training && p > 0.0 ? record(dropout_op<>{p}, x) : x;
}
// The same for whole channels of images [n, c, h, w] or, as in PyTorch, of lines [n, c, l] (Tompson
// et al. 2015): one word per channel.
template <class> tensor dropout2d(const tensor& x, double p, bool training) {
  detail::check_probability("dropout2d", p);
  if (x.rank() != 3 && x.rank() != 4) {
    raise<shape_error>("dropout2d: takes images [n, c, h, w] or lines [n, c, l]; got ", x,
                       "; unsqueeze(x, 0) makes one image a batch");
  }
  return training && p > 0.0 ? record(dropout_op<>{p, true}, x) : x;
}

}  // namespace adze::inline ADZE_ISA

// What the definitions above call.
#include <adze/ops/layout.hpp>
#include <adze/ops/pointwise.hpp>
