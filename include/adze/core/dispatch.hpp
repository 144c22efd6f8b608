#pragma once
// SPDX-License-Identifier: MIT
// The waist: from a dtype known at run time to a type known at compile time.
// Dispatch over one type per op; mixed inputs are cast first, so that types never multiply.
#include <string_view>
#include <utility>

#include <adze/core/error.hpp>
#include <adze/core/types.hpp>

namespace adze {

using float_types = types<float, double>;  // what kernels compute in
using integer_types = types<std::int8_t, std::uint8_t, std::int32_t, std::int64_t>;

namespace detail {
template <class... T>
[[noreturn, gnu::cold]] void no_dispatch(types<T...>, dtype d, std::string_view op) {
  std::string list;
  ((list += list.empty() ? "" : ", ", list += name_of(dtype_of<T>)), ...);
  raise<dtype_error>(op, ": dtype ", d, " is not supported; it takes ", list, "; cast it first");
}
}  // namespace detail

// Calls f.template operator()<T>() for the T of the list whose dtype is d; throws dtype_error
// naming op when the list has none. All calls must return the same type.
template <class First, class... Rest, class F>
decltype(auto) dispatch(types<First, Rest...> list, dtype d, std::string_view op, F&& f) {
  using result = decltype(f.template operator()<First>());
  if constexpr (std::is_void_v<result>) {
    const bool done = ((d == dtype_of<First> && (f.template operator()<First>(), true)) || ... ||
                       (d == dtype_of<Rest> && (f.template operator()<Rest>(), true)));
    if (!done) detail::no_dispatch(list, d, op);
  } else {
    if (d == dtype_of<First>) return f.template operator()<First>();
    if constexpr (sizeof...(Rest) > 0) {
      return dispatch(types<Rest...>{}, d, op, std::forward<F>(f));
    } else {
      detail::no_dispatch(list, d, op);
    }
  }
}

}  // namespace adze
