#pragma once
// SPDX-License-Identifier: MIT
// Ops along axes, declared: sums and extremes, order, chance; see fwd.hpp.
#include <array>

#include <adze/autograd/fwd.hpp>

namespace adze {

using axes = index_list;  // a few axes, or one as a number; empty means all where that makes sense

class generator;
generator& default_generator();  // core/random.hpp

}  // namespace adze

namespace adze::inline ADZE_ISA {

// reduce.hpp: axes empty = all; `keep` leaves axes of size 1.
template <class = void>
[[nodiscard]] tensor sum(const tensor& x, const axes& over = {}, bool keep = false);
template <class = void>
[[nodiscard]] tensor mean(const tensor& x, const axes& over = {}, bool keep = false);
template <class = void>
[[nodiscard]] tensor var(const tensor& x, const axes& over = {}, double correction = 1.0,
                         bool keep = false);
template <class = void>
[[nodiscard]] tensor std_dev(const tensor& x, const axes& over = {}, double correction = 1.0,
                             bool keep = false);
template <class = void>
[[nodiscard]] tensor prod(const tensor& x, const axes& over = {}, bool keep = false);
template <class = void>
[[nodiscard]] tensor amax(const tensor& x, const axes& over = {}, bool keep = false);
template <class = void>
[[nodiscard]] tensor amin(const tensor& x, const axes& over = {}, bool keep = false);
template <class = void>
[[nodiscard]] tensor norm(const tensor& x, double p = 2.0, const axes& over = {},
                          bool keep = false);
template <class = void>
[[nodiscard]] tensor logsumexp(const tensor& x, const axes& over, bool keep = false);
template <class = void> [[nodiscard]] tensor cumsum(const tensor& x, index_t axis);
template <class = void> [[nodiscard]] tensor count_nonzero(const tensor& x, const axes& over = {});
template <class = void> [[nodiscard]] tensor max(const tensor& x);
template <class = void> [[nodiscard]] tensor min(const tensor& x);
template <class = void> [[nodiscard]] tensor all(const tensor& x);
template <class = void> [[nodiscard]] tensor any(const tensor& x);
// sort.hpp
template <class = void>
[[nodiscard]] std::array<tensor, 2> max(const tensor& x, index_t axis,
                                        bool keep = false);  // values, indices
template <class = void>
[[nodiscard]] std::array<tensor, 2> min(const tensor& x, index_t axis, bool keep = false);
template <class = void>
[[nodiscard]] tensor argmax(const tensor& x, index_t axis = -1, bool keep = false);
template <class = void>
[[nodiscard]] tensor argmin(const tensor& x, index_t axis = -1, bool keep = false);
template <class = void>
[[nodiscard]] std::array<tensor, 2> topk(const tensor& x, index_t k, index_t axis = -1,
                                         bool largest = true);
template <class = void>
[[nodiscard]] std::array<tensor, 2> sort(const tensor& x, index_t axis = -1,
                                         bool descending = false);
template <class = void>
[[nodiscard]] tensor argsort(const tensor& x, index_t axis = -1, bool descending = false);
// quantile.hpp: kthvalue and median along an axis give values and indices.
template <class = void>
[[nodiscard]] std::array<tensor, 2> kthvalue(const tensor& x, index_t k, index_t axis = -1,
                                             bool keep = false);
template <class = void> [[nodiscard]] tensor median(const tensor& x);
template <class = void>
[[nodiscard]] std::array<tensor, 2> median(const tensor& x, index_t axis, bool keep = false);
template <class = void> [[nodiscard]] tensor quantile(const tensor& x, double q);
template <class = void>
[[nodiscard]] tensor quantile(const tensor& x, double q, index_t axis, bool keep = false);
// sample.hpp
template <class = void>
[[nodiscard]] tensor multinomial(const tensor& weights, index_t count, bool replacement = false,
                                 generator& g = default_generator());

}  // namespace adze::inline ADZE_ISA
