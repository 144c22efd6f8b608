#pragma once
// SPDX-License-Identifier: MIT
// The engine's own ops, declared: it adds up gradients, undoes broadcasting and casts inputs. They
// are defined in ops/ and templates like all ops (ops/fwd.hpp says why).
#include <adze/simd/arch.hpp>
#include <adze/tensor/tensor.hpp>

namespace adze::inline ADZE_ISA {

template <class = void> [[nodiscard]] tensor add(const tensor& a, const tensor& b);
template <class = void> [[nodiscard]] tensor mul(const tensor& a, const tensor& b);
template <class = void> [[nodiscard]] tensor sum_to(const tensor& x, const shape& sizes);
template <class = void> [[nodiscard]] tensor cast(const tensor& x, dtype type);

}  // namespace adze::inline ADZE_ISA
