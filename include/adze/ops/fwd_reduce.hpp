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
template <class = void> tensor sum(const tensor& x, const axes& over = {}, bool keep = false);
template <class = void> tensor mean(const tensor& x, const axes& over = {}, bool keep = false);
template <class = void>
tensor var(const tensor& x, const axes& over = {}, double correction = 1.0, bool keep = false);
template <class = void>
tensor std_dev(const tensor& x, const axes& over = {}, double correction = 1.0, bool keep = false);
template <class = void> tensor prod(const tensor& x, const axes& over = {}, bool keep = false);
template <class = void> tensor amax(const tensor& x, const axes& over = {}, bool keep = false);
template <class = void> tensor amin(const tensor& x, const axes& over = {}, bool keep = false);
template <class = void>
tensor norm(const tensor& x, double p = 2.0, const axes& over = {}, bool keep = false);
template <class = void> tensor logsumexp(const tensor& x, const axes& over, bool keep = false);
template <class = void> tensor cumsum(const tensor& x, index_t axis);
template <class = void> tensor count_nonzero(const tensor& x, const axes& over = {});
template <class = void> tensor max(const tensor& x);
template <class = void> tensor min(const tensor& x);
template <class = void> tensor all(const tensor& x);
template <class = void> tensor any(const tensor& x);
// sort.hpp
template <class = void>
std::array<tensor, 2> max(const tensor& x, index_t axis,
                          bool keep = false);  // values, indices
template <class = void> std::array<tensor, 2> min(const tensor& x, index_t axis, bool keep = false);
template <class = void> tensor argmax(const tensor& x, index_t axis = -1, bool keep = false);
template <class = void> tensor argmin(const tensor& x, index_t axis = -1, bool keep = false);
template <class = void>
std::array<tensor, 2> topk(const tensor& x, index_t k, index_t axis = -1, bool largest = true);
template <class = void>
std::array<tensor, 2> sort(const tensor& x, index_t axis = -1, bool descending = false);
template <class = void> tensor argsort(const tensor& x, index_t axis = -1, bool descending = false);
// quantile.hpp: kthvalue and median along an axis give values and indices.
template <class = void>
std::array<tensor, 2> kthvalue(const tensor& x, index_t k, index_t axis = -1, bool keep = false);
template <class = void> tensor median(const tensor& x);
template <class = void>
std::array<tensor, 2> median(const tensor& x, index_t axis, bool keep = false);
template <class = void> tensor quantile(const tensor& x, double q);
template <class = void> tensor quantile(const tensor& x, double q, index_t axis, bool keep = false);
// sample.hpp
template <class = void>
tensor multinomial(const tensor& weights, index_t count, bool replacement = false,
                   generator& g = default_generator());

}  // namespace adze::inline ADZE_ISA
