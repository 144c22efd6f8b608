#pragma once
// A loss against its formula per element, with all reductions and both derivatives.
#include <functional>
#include <vector>

#include <doctest/doctest.h>

#include <adze/autograd/gradcheck.hpp>
#include <adze/ops/fwd.hpp>

#include "numbers.hpp"

namespace adze::test {

inline constexpr reduction all_reductions[] = {reduction::mean, reduction::sum, reduction::none};

inline std::vector<double> reduced(const std::vector<double>& losses, reduction reduce) {
  if (reduce == reduction::none) return losses;
  double total = 0;
  for (const double l : losses) total += l;
  return {reduce == reduction::sum ? total : total / static_cast<double>(losses.size())};
}

using formula = std::function<double(double, double)>;
using loss_function = std::function<tensor(const tensor&, const tensor&, reduction)>;

// loss(x, t) is formula per element, for all reductions; its gradients are right, twice.
inline void check_loss(const loss_function& loss, const formula& f, const tensor& x,
                       const tensor& t) {
  const auto a = numbers(x), b = numbers(t);
  std::vector<double> each;
  for (std::size_t i = 0; i < a.size(); ++i) each.push_back(f(a[i], b[i]));
  for (const reduction reduce : all_reductions) {
    CHECK(distance(numbers(loss(x, t, reduce)), reduced(each, reduce)) < 1e-12);
    const auto call = [&](const std::vector<tensor>& in) { return loss(in[0], in[1], reduce); };
    CHECK_MESSAGE(gradcheck(call, {x, t}).ok, gradcheck(call, {x, t}).where);
    CHECK_MESSAGE(gradgradcheck(call, {x, t}).ok, gradgradcheck(call, {x, t}).where);
  }
}

inline tensor leaf_of(const std::vector<double>& values, const shape& sizes) {
  tensor x = tensor_f64(values, sizes);
  x.set_requires_grad();
  return x;
}
}  // namespace adze::test
