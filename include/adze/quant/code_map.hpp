#pragma once
// SPDX-License-Identifier: MIT
// Runs the row loops of kernels/code_rows over tensors whose scales and zero points belong to all
// elements, to an axis or to groups. Groups are a view with one axis more, and no copy.
#include <adze/autograd/accumulate.hpp>
#include <adze/kernels/code_rows.hpp>
#include <adze/quant/format.hpp>
#include <adze/tensor/layout.hpp>
#include <adze/tensor/typed.hpp>

namespace adze::quant::detail::inline ADZE_ISA {

// A part of a tensor along the grouped axis: whole groups, or the rest of it, which is one group.
// Strided operands of the tensor and of its parameters become operands of `sizes`.
class group_part {
 public:
  group_part(const shape& x, index_t axis, index_t group, index_t begin, index_t end)
      : axis_(axis), group_(group), begin_(begin) {
    index_list all;
    for (index_t i = 0; i < x.rank(); ++i) {
      all.push_back(i == axis ? (end - begin) / group : x[i]);
      if (i == axis) all.push_back(group);
    }
    sizes_ = shape(std::span(all.begin(), static_cast<std::size_t>(all.size())));
  }
  const shape& sizes() const { return sizes_; }
  kernels::operand data(kernels::operand x) const { return split(x, begin_, group_, 1); }
  kernels::operand parameter(kernels::operand x, index_t group_size) const {
    return split(x, begin_ / group_size, 1, 0);
  }

 private:
  kernels::operand split(kernels::operand x, index_t begin, index_t outer, index_t inner) const {
    const index_t step = x.strides[static_cast<std::size_t>(axis_)];
    kernels::operand y{
        static_cast<const std::byte*>(x.data) + begin * step * size_of(x.type), x.type, {}};
    for (index_t i = 0; i < sizes_.rank(); ++i)
      y.strides[static_cast<std::size_t>(i)] =
          i == axis_       ? step * outer
          : i == axis_ + 1 ? step * inner
                           : x.strides[static_cast<std::size_t>(i > axis_ ? i - 1 : i)];
    return y;
  }

  index_t axis_, group_, begin_;
  shape sizes_;
};

// f(part) for the whole groups of x, and for the rest where there is one.
template <class F> void over_group_parts(const shape& x, const granularity& g, F f) {
  const index_t axis = resolve_axis(g.axis, x.rank(), "quant"), n = x[axis];
  if (x.rank() == max_rank) {
    raise<shape_error>("quant: groups need one axis more than the 8 there are; got ", x,
                       "; reshape to fewer axes");
  }
  const index_t whole = n / g.group * g.group;
  if (whole > 0) f(group_part(x, axis, g.group, 0, whole));
  if (whole < n) f(group_part(x, axis, n - whole, whole, n));
}

// The parameters of one call, and how elements share them. `zero` may be undefined: zeros.
struct shared_parameters {
  const tensor& scale;
  const tensor& zero;
  const granularity& grain;
};

inline kernels::operand parameter_operand(const tensor& p, const shape& x, const granularity& g) {
  static constexpr float nothing = 0;
  if (!p.defined()) return {&nothing, f32, {}};
  kernels::operand o{p.impl().data, p.dtype(), {}};
  if (g.of == granularity::kind::axis) {
    o.strides[static_cast<std::size_t>(resolve_axis(g.axis, x.rank(), "quant"))] = p.strides()[0];
  } else if (g.of == granularity::kind::group) {
    o.strides = p.strides();
  }
  return o;
}

// y = loops(x...) with the parameters of each element; x and y have one shape.
template <class = void>
void map_codes(const kernels::map_loops& loops, dtype compute, kernels::code_call call,
               const shared_parameters& p, tensor& y, std::initializer_list<const tensor*> x) {
  kernels::operand all[kernels::max_operands] = {adze::detail::operand_of(y)};
  int count = 1;
  for (const tensor* t : x) all[count++] = adze::detail::operand_of(*t);
  const int data = count;
  call.real_zero = p.zero.defined() && is_floating(p.zero.dtype());
  call.whole = p.scale.numel() == 1;
  if (call.whole) {
    call.scale = p.scale.template item<double>();
    if (p.zero.defined()) call.zero = p.zero.template item<double>();
    return kernels::map(loops, &call, compute, y.shape(), all, count);
  }
  all[count++] = parameter_operand(p.scale, y.shape(), p.grain);
  all[count++] = parameter_operand(p.zero, y.shape(), p.grain);
  if (p.grain.of != granularity::kind::group) {
    return kernels::map(loops, &call, compute, y.shape(), all, count);
  }
  over_group_parts(y.shape(), p.grain, [&](const group_part& part) {
    kernels::operand some[kernels::max_operands];
    for (int k = 0; k < count; ++k)
      some[k] = k < data ? part.data(all[k]) : part.parameter(all[k], p.grain.group);
    kernels::map(loops, &call, compute, part.sizes(), some, count);
  });
}

// f64 for f64 and for real zero points, whose products with floats are exact there; else f32.
inline dtype code_compute_type(const tensor& x, const tensor& zero) {
  return x.dtype() == f64 || (zero.defined() && is_floating(zero.dtype())) ? f64 : f32;
}

// Scales have the right shape and are positive, zero points stand beside them.
template <class = void>
void check_parameters(std::string_view op, const tensor& x, const shared_parameters& p) {
  const shape wanted = parameter_shape(p.grain, x.shape(), op);
  if (!p.scale.defined() || !is_floating(p.scale.dtype()) || p.scale.shape() != wanted) {
    raise<shape_error>(op, ": ", to_text(p.grain), " needs floating scales of shape ", wanted,
                       "; got ", p.scale, " for ", x);
  }
  if (p.zero.defined() && p.zero.shape() != wanted) {
    raise<shape_error>(op, ": zero points must have the shape of the scales, ", wanted, "; got ",
                       p.zero, " for ", x);
  }
  const auto check = [&]<class T>(const T* s) {
    for (index_t i = 0, n = p.scale.numel(); i < n; ++i)
      if (!(s[i] > 0 && s[i] <= std::numeric_limits<T>::max()))
        raise<value_error>(op, ": scales must be positive and finite; got ",
                           static_cast<double>(s[i]), " at place ", i, " of ", p.scale);
  };
  const bool whole = p.scale.is_contiguous();
  if (whole && p.scale.dtype() == f32) return check(p.scale.template data_as<float>());
  if (whole && p.scale.dtype() == f64) return check(p.scale.template data_as<double>());
  tensor wide = empty(wanted, f64);
  kernels::copy(wanted, adze::detail::operand_of(wide), adze::detail::operand_of(p.scale));
  check(wide.template data_as<double>());
}

}  // namespace adze::quant::detail::inline ADZE_ISA
