#pragma once
// SPDX-License-Identifier: MIT
// The names of the library and the dtype enum, for headers that only mention them.
// Nothing here computes, and nothing but <cstdint> and <cstddef> is included.
#include <cstddef>
#include <cstdint>

namespace adze {

// Sizes, strides, axes and indices of elements. Signed, so that -1 can count from the end.
using index_t = std::int64_t;

// The element types of a tensor. `core/types.hpp` holds the table of their properties.
enum class dtype : std::uint8_t { f32, f64, f16, bf16, i8, u8, i32, i64, bool8 };

inline constexpr dtype f32 = dtype::f32;
inline constexpr dtype f64 = dtype::f64;
inline constexpr dtype f16 = dtype::f16;
inline constexpr dtype bf16 = dtype::bf16;
inline constexpr dtype i8 = dtype::i8;
inline constexpr dtype u8 = dtype::u8;
inline constexpr dtype i32 = dtype::i32;
inline constexpr dtype i64 = dtype::i64;
inline constexpr dtype bool8 = dtype::bool8;

struct float16;
struct bfloat16;
class shape;
class tensor;
template <class T> class tensor_of;
template <class T> struct view;

}  // namespace adze
