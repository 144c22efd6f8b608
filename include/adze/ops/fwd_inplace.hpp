#pragma once
// SPDX-License-Identifier: MIT
// Changes in place, declared; see fwd.hpp. The handle y is rebound to the new value; other handles
// on the old value are stale. A view without a name, as in fill_(select(w, 0, 3), 0.0), comes back.
#include <adze/autograd/fwd.hpp>

namespace adze::inline ADZE_ISA {

// inplace.hpp
template <class = void> tensor& add_(tensor& y, const tensor& x);
template <class = void> tensor& add_(tensor& y, double x);
template <class = void> tensor& sub_(tensor& y, const tensor& x);
template <class = void> tensor& sub_(tensor& y, double x);
template <class = void> tensor& mul_(tensor& y, const tensor& x);
template <class = void> tensor& mul_(tensor& y, double x);
template <class = void> tensor& div_(tensor& y, const tensor& x);
template <class = void> tensor& div_(tensor& y, double x);
template <class = void> tensor& copy_(tensor& y, const tensor& x);
template <class = void> tensor& fill_(tensor& y, double value);
template <class = void> tensor& zero_(tensor& y);
template <class = void> tensor& clamp_(tensor& y, double low, double high);
template <class = void> tensor& relu_(tensor& y);
// assign.hpp
template <class = void> tensor& masked_fill_(tensor& y, const tensor& mask, double value);
template <class = void>
tensor& index_fill_(tensor& y, index_t axis, const tensor& index, double value);
template <class = void>
tensor& index_copy_(tensor& y, index_t axis, const tensor& index, const tensor& source);
template <class = void> tensor& operator+=(tensor& y, const tensor& x);
template <class = void> tensor& operator+=(tensor& y, double x);
template <class = void> tensor& operator-=(tensor& y, const tensor& x);
template <class = void> tensor& operator-=(tensor& y, double x);
template <class = void> tensor& operator*=(tensor& y, const tensor& x);
template <class = void> tensor& operator*=(tensor& y, double x);
template <class = void> tensor& operator/=(tensor& y, const tensor& x);
template <class = void> tensor& operator/=(tensor& y, double x);

template <class = void> tensor add_(tensor&& y, const tensor& x);
template <class = void> tensor add_(tensor&& y, double x);
template <class = void> tensor sub_(tensor&& y, const tensor& x);
template <class = void> tensor sub_(tensor&& y, double x);
template <class = void> tensor mul_(tensor&& y, const tensor& x);
template <class = void> tensor mul_(tensor&& y, double x);
template <class = void> tensor div_(tensor&& y, const tensor& x);
template <class = void> tensor div_(tensor&& y, double x);
template <class = void> tensor copy_(tensor&& y, const tensor& x);
template <class = void> tensor fill_(tensor&& y, double value);
template <class = void> tensor zero_(tensor&& y);
template <class = void> tensor clamp_(tensor&& y, double low, double high);
template <class = void> tensor relu_(tensor&& y);
template <class = void> tensor masked_fill_(tensor&& y, const tensor& mask, double value);
template <class = void>
tensor index_fill_(tensor&& y, index_t axis, const tensor& index, double value);
template <class = void>
tensor index_copy_(tensor&& y, index_t axis, const tensor& index, const tensor& source);

}  // namespace adze::inline ADZE_ISA
