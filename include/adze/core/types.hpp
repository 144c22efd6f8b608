#pragma once
// SPDX-License-Identifier: MIT
// THE list of element types: one row of `dtype_table` and one entry of `all_types` per dtype, in
// the order of the enum. Also the promotion rule. Nothing else in the library lists the dtypes.
#include <array>
#include <string>
#include <string_view>
#include <type_traits>

#include <adze/core/bfloat16.hpp>
#include <adze/core/float16.hpp>
#include <adze/fwd.hpp>

namespace adze {

template <class... T> struct types {};

using all_types = types<float, double, float16, bfloat16, std::int8_t, std::uint8_t, std::int32_t,
                        std::int64_t, bool>;

enum class kind : std::uint8_t { boolean, integer, floating };

struct dtype_row {
  std::string_view name;
  index_t size;  // bytes
  enum kind kind;
};

inline constexpr std::array<dtype_row, 9> dtype_table{{
    {"f32", 4, kind::floating},
    {"f64", 8, kind::floating},
    {"f16", 2, kind::floating},
    {"bf16", 2, kind::floating},
    {"i8", 1, kind::integer},
    {"u8", 1, kind::integer},
    {"i32", 4, kind::integer},
    {"i64", 8, kind::integer},
    {"bool8", 1, kind::boolean},
}};

constexpr const dtype_row& row_of(dtype d) { return dtype_table[static_cast<std::size_t>(d)]; }
constexpr std::string_view name_of(dtype d) { return row_of(d).name; }
constexpr index_t size_of(dtype d) { return row_of(d).size; }
constexpr kind kind_of(dtype d) { return row_of(d).kind; }
constexpr bool is_floating(dtype d) { return kind_of(d) == kind::floating; }
constexpr bool is_integral(dtype d) { return kind_of(d) == kind::integer; }
inline std::string to_text(dtype d) { return std::string(name_of(d)); }

namespace detail {
template <class T, class... U> constexpr int position(types<U...>) {
  int i = 0, found = -1;
  ((std::is_same_v<T, U> ? void(found = i) : void(), ++i), ...);
  return found;
}
}  // namespace detail

template <class T>
concept element = detail::position<T>(all_types{})
>= 0;

template <element T> inline constexpr dtype dtype_of{detail::position<T>(all_types{})};

// The type in which an operation on both types is computed, by PyTorch's table: the floating one
// wins over the integer, the wider over the narrower; f16 with bf16 gives f32, i8 with u8 gives
// i32 (there is no i16).
constexpr dtype promote(dtype a, dtype b) {
  if (a == b) return a;
  if (kind_of(a) != kind_of(b)) return kind_of(a) > kind_of(b) ? a : b;
  if (size_of(a) == size_of(b)) return is_floating(a) ? f32 : i32;
  return size_of(a) > size_of(b) ? a : b;
}

}  // namespace adze
