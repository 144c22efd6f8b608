#pragma once
// SPDX-License-Identifier: MIT
// Changes in place, declared; see fwd.hpp. The handle y is rebound to the new value; other handles
// on the old value are stale.
#include <adze/autograd/fwd.hpp>

namespace adze::inline ADZE_ISA {

// inplace.hpp
template <class = void> tensor& add_(tensor& y, const tensor& x);
template <class = void> tensor& add_(tensor& y, double x);
template <class = void> tensor& sub_(tensor& y, const tensor& x);
template <class = void> tensor& mul_(tensor& y, const tensor& x);
template <class = void> tensor& mul_(tensor& y, double x);
template <class = void> tensor& div_(tensor& y, const tensor& x);
template <class = void> tensor& copy_(tensor& y, const tensor& x);
template <class = void> tensor& fill_(tensor& y, double value);
template <class = void> tensor& zero_(tensor& y);
template <class = void> tensor& clamp_(tensor& y, double low, double high);
template <class = void> tensor& relu_(tensor& y);

}  // namespace adze::inline ADZE_ISA
