#pragma once
// SPDX-License-Identifier: MIT
// AMX: eight registers that hold a block of a matrix each, of up to 16 rows of 64 bytes, and an
// instruction that adds the product of two blocks to a third. Here as functions of the registers'
// numbers; inline assembly, as compilers spell the intrinsics in different ways and g++ 12 lets
// stores move across them. Programs must ask the system for these registers, which may refuse.
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include <adze/fwd.hpp>
#include <adze/simd/arch.hpp>

#if defined(ADZE_AMX)
#  include <sys/syscall.h>
#  include <unistd.h>
#endif

namespace adze::simd::inline ADZE_ISA {

#if defined(ADZE_AMX)
inline constexpr bool has_amx = true;

// Whether this process may use the registers; asks once.
inline bool amx_allowed() {
  static const bool allowed = [] {
    constexpr long request_permission = 0x1023, tile_data = 18;  // of arch_prctl
    return ::syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
  }();
  return allowed;
}

// The sizes of blocks: sums in registers 0 to 3, two rows of two, left blocks in 4 and 5 and right
// ones in 6 and 7. Belongs to one thread; gives the registers back at the end.
class amx_blocks {
 public:
  // Left blocks of so many rows, and products over so many groups of four bytes.
  void resize(index_t first_rows, index_t second_rows, index_t steps) {
    if (first_rows == first_ && second_rows == second_ && steps == steps_) return;
    first_ = first_rows, second_ = second_rows, steps_ = steps;
    struct alignas(64) {
      std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
      std::uint16_t row_bytes[16] = {};
      std::uint8_t rows[16] = {};
    } sizes;
    for (int r = 0; r < 2; ++r) {
      const index_t rows = r == 0 ? first_rows : second_rows;
      if (rows == 0) continue;
      set(sizes, 2 * r, rows, 64), set(sizes, 2 * r + 1, rows, 64);
      set(sizes, 4 + r, rows, steps * 4);
    }
    set(sizes, 6, steps, 64), set(sizes, 7, steps, 64);
    asm volatile("ldtilecfg %0" : : "m"(sizes));
  }
  ~amx_blocks() {
    if (steps_ > 0) asm volatile("tilerelease");
  }
  amx_blocks() = default;
  amx_blocks(const amx_blocks&) = delete;
  amx_blocks& operator=(const amx_blocks&) = delete;

 private:
  template <class Sizes> static void set(Sizes& sizes, int block, index_t rows, index_t bytes) {
    sizes.rows[block] = static_cast<std::uint8_t>(rows);
    sizes.row_bytes[block] = static_cast<std::uint16_t>(bytes);
  }
  index_t first_ = 0, second_ = 0, steps_ = 0;
};

template <int block> [[gnu::always_inline]] inline void amx_zero() {
  asm volatile("tilezero %%tmm%c0" : : "i"(block));
}
template <int block>
[[gnu::always_inline]] inline void amx_load(const void* from, index_t row_bytes) {
  asm volatile("tileloadd (%0,%1,1), %%tmm%c2"
               :
               : "r"(from), "r"(row_bytes), "i"(block)
               : "memory");
}
template <int block> [[gnu::always_inline]] inline void amx_store(void* to, index_t row_bytes) {
  asm volatile("tilestored %%tmm%c2, (%0,%1,1)" : : "r"(to), "r"(row_bytes), "i"(block) : "memory");
}
// sum + the products of groups of four: unsigned bytes on the left, signed ones on the right.
template <int sum, int left, int right> [[gnu::always_inline]] inline void amx_dot_bytes() {
  asm volatile("tdpbusd %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(sum), "i"(left), "i"(right));
}
// sum + the products of pairs of bf16.
template <int sum, int left, int right> [[gnu::always_inline]] inline void amx_dot_bf16() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" : : "i"(sum), "i"(left), "i"(right));
}

#else
inline constexpr bool has_amx = false;
inline bool amx_allowed() { return false; }

class amx_blocks {
 public:
  void resize(index_t, index_t, index_t) {}
};
// Never called.
template <int block> void amx_zero();
template <int block> void amx_load(const void* from, index_t row_bytes);
template <int block> void amx_store(void* to, index_t row_bytes);
template <int sum, int left, int right> void amx_dot_bytes();
template <int sum, int left, int right> void amx_dot_bf16();
#endif

// What is multiplied: groups of four bytes, or pairs of bf16.
enum class amx_numbers : bool { bytes, bf16 };

// Two left blocks, or one, times two right ones, or one: the square of sums in registers 0 to 3.
template <bool two, bool wide> struct amx_square {
  [[gnu::always_inline]] static void zero() {
    amx_zero<0>();
    if constexpr (wide) amx_zero<1>();
    if constexpr (two) amx_zero<2>();
    if constexpr (two && wide) amx_zero<3>();
  }
  // Sums in memory: rows `step` numbers apart, those of the second left block after `first_rows`.
  template <class T>
  [[gnu::always_inline]] static void load(const T* sums, index_t step, index_t first_rows) {
    each(
        sums, step, first_rows, [step](auto block, const T* from) __attribute__((always_inline)) {
          amx_load<block()>(from, step * index_t(sizeof(T)));
        });
  }
  template <class T>
  [[gnu::always_inline]] static void store(T* sums, index_t step, index_t first_rows) {
    each(
        sums, step, first_rows, [step](auto block, T* to) __attribute__((always_inline)) {
          amx_store<block()>(to, step * index_t(sizeof(T)));
        });
  }
  // Adds products: steps between rows, and from the first right block to the second, in bytes.
  template <amx_numbers numbers>
  [[gnu::always_inline]] static void add(const std::byte* upper, const std::byte* lower,
                                         index_t left_step, const std::byte* right,
                                         index_t right_step, index_t second) {
    amx_load<6>(right, right_step);
    amx_load<4>(upper, left_step);
    dot<numbers, 0, 4, 6>();
    if constexpr (wide) {
      amx_load<7>(right + second, right_step);
      dot<numbers, 1, 4, 7>();
    }
    if constexpr (two) {
      amx_load<5>(lower, left_step);
      dot<numbers, 2, 5, 6>();
      if constexpr (wide) dot<numbers, 3, 5, 7>();
    }
  }

 private:
  template <class T, class F>
  [[gnu::always_inline]] static void each(T* sums, index_t step, index_t first_rows, F f) {
    constexpr index_t columns = 16;
    T* const lower = sums + first_rows * step;
    f(std::integral_constant<int, 0>(), sums);
    if constexpr (wide) f(std::integral_constant<int, 1>(), sums + columns);
    if constexpr (two) f(std::integral_constant<int, 2>(), lower);
    if constexpr (two && wide) f(std::integral_constant<int, 3>(), lower + columns);
  }
  template <amx_numbers numbers, int sum, int left, int right>
  [[gnu::always_inline]] static void dot() {
    if constexpr (numbers == amx_numbers::bytes)
      amx_dot_bytes<sum, left, right>();
    else
      amx_dot_bf16<sum, left, right>();
  }
};

}  // namespace adze::simd::inline ADZE_ISA
