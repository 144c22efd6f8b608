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
template <class... T> inline constexpr dtype dtypes_of[] = {dtype_of<T>...};

[[noreturn, gnu::cold, gnu::noinline]] inline void no_dispatch(const dtype* taken, std::size_t n,
                                                               dtype d, std::string_view op) {
  std::string list;
  for (std::size_t i = 0; i < n; ++i) list.append(i == 0 ? "" : ", ").append(name_of(taken[i]));
  raise<dtype_error>(op, ": dtype ", d, " is not supported; it takes ", list, "; cast it first");
}

// dispatch() among what is left of a list of n dtypes.
template <class First, class... Rest, class F>
decltype(auto) dispatch_left(types<First, Rest...>, const dtype* all, std::size_t n, dtype d,
                             std::string_view op, F&& f) {
  using result = decltype(f.template operator()<First>());
  if constexpr (std::is_void_v<result>) {
    const bool done = ((d == dtype_of<First> && (f.template operator()<First>(), true)) || ... ||
                       (d == dtype_of<Rest> && (f.template operator()<Rest>(), true)));
    if (!done) no_dispatch(all, n, d, op);
  } else {
    if (d == dtype_of<First>) return f.template operator()<First>();
    if constexpr (sizeof...(Rest) > 0) {
      return dispatch_left(types<Rest...>{}, all, n, d, op, std::forward<F>(f));
    } else {
      no_dispatch(all, n, d, op);
    }
  }
}
}  // namespace detail

// Calls f.template operator()<T>() for the T of the list whose dtype is d; throws dtype_error
// naming op when the list has none. All calls must return the same type.
template <class... T, class F>
decltype(auto) dispatch(types<T...> list, dtype d, std::string_view op, F&& f) {
  return detail::dispatch_left(list, detail::dtypes_of<T...>, sizeof...(T), d, op,
                               std::forward<F>(f));
}

}  // namespace adze
