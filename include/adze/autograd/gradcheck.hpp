#pragma once
// SPDX-License-Identifier: MIT
// Gradients against central differences, in f64: the whole Jacobian against a random direction of
// the result. gradgradcheck does the same to the gradient itself. For tests of ops, also of users.
#include <cmath>
#include <functional>

#include <adze/autograd/backward.hpp>
#include <adze/core/random.hpp>
#include <adze/kernels/map.hpp>
#include <adze/tensor/typed.hpp>

namespace adze::inline ADZE_ISA {

struct gradcheck_options {
  double step = 6e-6;  // times max(1, |x|): the cube root of the f64 unit round-off
  double relative = 1e-6;
  double absolute = 1e-8;
  index_t most = 4096;  // elements of one input that are tried; more are sampled evenly
  std::uint64_t seed = 1;
};

// The result: `ok`, the worst |difference| / (absolute + relative |value|), and where it was.
struct gradcheck_result {
  bool ok = true;
  double worst = 0.0;
  std::string where{};
  explicit operator bool() const { return ok; }
};

using tensor_function = std::function<tensor(const std::vector<tensor>&)>;

}  // namespace adze::inline ADZE_ISA

namespace adze::detail::inline ADZE_ISA {

// Random numbers of the shape of x: the direction in which a result is probed.
template <class = void> tensor direction_like(const tensor& x, std::uint64_t seed) {
  tensor v = empty(x.shape(), x.dtype());
  const random_state source{seed, 0};
  for (index_t i = 0; i < v.numel(); ++i) {
    const auto w = source.block(static_cast<std::uint64_t>(i));
    v.data_as<double>()[i] = unit(joined(w[0], w[1])) * 2.0 - 1.0;
  }
  return v;
}

// The result of a function that is checked: of f64, and `like` the one of the first call.
template <class = void>
const tensor& checked_result(const tensor& y, std::string_view op, const tensor& like = {}) {
  if (!y.defined() || y.dtype() != f64) {
    raise<dtype_error>(op, ": differences need a result in f64; the function returned ", y);
  }
  if (like.defined() && y.shape() != like.shape()) {
    raise<shape_error>(op, ": the function returned ", like, " first, then ", y);
  }
  return y;
}

template <class = void> double dot(const tensor& a, const tensor& b) {
  const tensor x = dense_copy(checked_result(a, "gradcheck", b)), y = dense_copy(b);
  double s = 0.0;
  for (index_t i = 0; i < x.numel(); ++i) s += x.data_as<double>()[i] * y.data_as<double>()[i];
  return s;
}

// An element that has its value again in the end, also when the function throws.
struct moved_element {
  double& to;
  const double before;
  explicit moved_element(double& x) : to(x), before(x) {}
  moved_element(const moved_element&) = delete;
  moved_element& operator=(const moved_element&) = delete;
  ~moved_element() { to = before; }
};

template <class = void> void check_f64(const std::vector<tensor>& inputs, std::string_view op) {
  for (const tensor& x : inputs) {
    if (x.defined() && is_floating(x.dtype()) && x.requires_grad() && x.dtype() != f64) {
      raise<dtype_error>(op, ": differences need f64; got ", x);
    }
  }
}

}  // namespace adze::detail::inline ADZE_ISA

namespace adze::inline ADZE_ISA {

// Compares d<f(inputs), v>/d(input) with central differences for every input that requires grad;
// v is a random direction. f must depend smoothly on them near the given values.
// Errors: value_error when no input requires grad or none of its elements may be tried, dtype_error
// unless they and the result are f64.
template <class = void>
gradcheck_result gradcheck(const tensor_function& f, const std::vector<tensor>& inputs,
                           const gradcheck_options& o = {}) {
  detail::check_f64(inputs, "gradcheck");
  if (o.most < 1) {
    raise<value_error>("gradcheck: tries at least one element of each input; got most = ", o.most);
  }
  const tensor y = f(inputs);
  const tensor v = detail::direction_like(detail::checked_result(y, "gradcheck"), o.seed);
  std::vector<tensor> wanted;
  for (const tensor& x : inputs) {
    if (x.requires_grad()) wanted.push_back(x);
  }
  if (wanted.empty()) {
    raise<value_error>("gradcheck: none of the ", inputs.size(), " inputs requires grad, so there ",
                       "is nothing to check; call set_requires_grad()");
  }
  std::vector<tensor> gradients(wanted.size());
  if (y.requires_grad()) {
    gradients = grad(tensor_list(&y, 1), wanted, {.gradients = {v}});
  }
  gradcheck_result r;
  const no_grad guard;
  for (std::size_t w = 0; w < wanted.size(); ++w) {
    tensor& x = wanted[w];
    const tensor g = gradients[w].defined() ? detail::dense_copy(gradients[w]) : tensor();
    const index_t n = x.numel(), stride = std::max<index_t>(1, n / o.most + (n % o.most != 0));
    for (index_t i = 0; i < n; i += stride) {
      index_t at = 0, rest = i;
      for (index_t a = x.rank() - 1; a >= 0; --a) {
        at += rest % x.shape()[a] * x.strides()[static_cast<std::size_t>(a)];
        rest /= x.shape()[a];
      }
      const detail::moved_element element(x.data_as<double>()[at]);
      const double h = o.step * std::max(1.0, std::abs(element.before));
      element.to = element.before + h;
      const double above = detail::dot(f(inputs), v);
      element.to = element.before - h;
      const double below = detail::dot(f(inputs), v);
      const double expected = (above - below) / (2 * h);
      const double got = g.defined() ? g.data_as<double>()[i] : 0.0;
      const double error =
          std::abs(got - expected) / (o.absolute + o.relative * std::abs(expected));
      // Written so that NaN counts as the worst, and stays it.
      if (!(error <= r.worst) && !std::isnan(r.worst)) {
        r.worst = error;
        r.where = text("input ", w, " element ", i, ": gradient ", got, ", difference ", expected);
      }
    }
  }
  r.ok = r.worst <= 1.0;
  return r;
}

// gradcheck of the gradient: needs every op in f to be twice differentiable. Also notices an op
// whose recorded gradient (`composed`, or backward under create_graph) is not its plain one.
template <class = void>
gradcheck_result gradgradcheck(const tensor_function& f, const std::vector<tensor>& inputs,
                               gradcheck_options o = {}) {
  detail::check_f64(inputs, "gradgradcheck");
  const tensor first = detail::checked_result(f(inputs), "gradgradcheck");
  tensor v = detail::direction_like(first, o.seed + 1);
  v.set_requires_grad();
  std::vector<tensor> all = inputs;
  all.push_back(v);
  // The gradients of all inputs, each along a fixed random direction, added up.
  const auto gradient = [&](const std::vector<tensor>& x, bool create) {
    const enable_grad mode;
    const tensor y = f(std::vector<tensor>(x.begin(), x.end() - 1));
    std::vector<tensor> in;
    for (std::size_t i = 0; i + 1 < x.size(); ++i) {
      if (x[i].requires_grad()) in.push_back(x[i]);
    }
    const std::vector<tensor> g =
        grad(tensor_list(&y, 1), in, {.gradients = {x.back()}, .create_graph = create});
    tensor total = detail::zeros_of({}, f64);
    for (std::size_t i = 0; i < g.size(); ++i) {
      if (!g[i].defined()) continue;
      total = add(total, sum_to(mul(g[i], detail::direction_like(in[i], o.seed + 2 + i)), {}));
    }
    return total;
  };
  o.absolute = std::max(o.absolute, 1e-7);
  const auto recorded = [&](const std::vector<tensor>& x) { return gradient(x, true); };
  gradcheck_result r = gradcheck(recorded, all, o);
  const double a = gradient(all, true).item(), b = gradient(all, false).item();
  if (!(std::abs(a - b) <= o.absolute + o.relative * std::abs(b))) {
    r.ok = false;
    r.where = text("under create_graph the gradient is another one: ", a, ", not ", b);
  }
  return r;
}

// The product of the Hessian of f (a function to a single element) at x with v; zeros where f is
// linear in x or does not depend on it. Records by itself, under no_grad too.
template <class = void>
tensor hvp(const std::function<tensor(const tensor&)>& f, const tensor& x, const tensor& v) {
  const enable_grad mode;
  tensor leaf = detail::dense_copy(x);
  leaf.set_requires_grad();
  const tensor y = f(leaf);
  tensor g;
  if (y.requires_grad()) g = grad(y, leaf, {.create_graph = true});
  if (!g.requires_grad()) return detail::zeros_of(x.shape(), x.dtype());
  const tensor h = grad(g, leaf, {.gradients = {v}});
  return h.defined() ? h : detail::zeros_of(x.shape(), x.dtype());
}

}  // namespace adze::inline ADZE_ISA
