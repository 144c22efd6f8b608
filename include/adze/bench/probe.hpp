#pragma once
// SPDX-License-Identifier: MIT
// Loops that only multiply and add, only read or only copy, as fast as this machine can: what the
// peaks are measured with. They ask the machine what it has, not the compiler's flags, so peers
// that choose their instructions at run time meet the same roof. Beside simd/ the one home of #if:
// assembly on x86-64, plain vector code elsewhere (there the flags of the build decide).
#include <cstdint>

#include <adze/fwd.hpp>

namespace adze::bench::detail {

// A loop and what one turn of it does: operations or bytes. 0: the machine has no such loop.
struct arithmetic_loop {
  void (*run)(std::int64_t turns) = nullptr;
  double operations = 0;
};
struct memory_loop {
  // `bytes` is a multiple of 512, both pointers of 64.
  void (*run)(const char* from, char* to, std::int64_t bytes) = nullptr;
};
struct probe_loops {
  arithmetic_loop f32{}, i8{};
  memory_loop read{}, copy{}, stream{};  // stream: a copy that goes round the caches
};

#if defined(__x86_64__)

// The instructions are chosen by the assembler (.if), so that one text serves every width.
// Values settle at 1 = 1 * 0.5 + 0.5: no subnormal or infinity changes the speed.
template <int Bits> void multiply_add(std::int64_t turns) {
  static constexpr float half = 0.5f;
  asm volatile(".irp r,0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15\n"
               ".if %c[bits] == 512\n vbroadcastss (%[half]), %%zmm\\r\n"
               ".elseif %c[bits] == 256\n vbroadcastss (%[half]), %%ymm\\r\n"
               ".else\n movss (%[half]), %%xmm\\r\n shufps $0, %%xmm\\r, %%xmm\\r\n.endif\n"
               ".endr\n"
               "1:\n.rept 2\n"
               ".irp r,0,1,2,3,4,5,6,7,8,9,10,11,12,13\n"
               ".if %c[bits] == 512\n vfmadd213ps %%zmm15, %%zmm14, %%zmm\\r\n"
               ".elseif %c[bits] == 256\n vfmadd213ps %%ymm15, %%ymm14, %%ymm\\r\n"
               ".else\n mulps %%xmm14, %%xmm\\r\n addps %%xmm15, %%xmm\\r\n.endif\n"
               ".endr\n.endr\n"
               "dec %[n]\njnz 1b\n"
               ".if %c[bits] > 128\n vzeroupper\n.endif\n"
               : [n] "+r"(turns)
               : [half] "r"(&half), [bits] "i"(Bits)
               : "cc", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                 "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

// u8 x s8 into s32: the dot instruction where it exists (512), else the pair that builds it (256).
template <int Bits> void byte_dot(std::int64_t turns) {
  asm volatile("1:\n"
               ".if %c[bits] == 512\n.rept 2\n"
               ".irp r,0,1,2,3,4,5,6,7,8,9,10,11\n vpdpbusd %%zmm15, %%zmm14, %%zmm\\r\n.endr\n"
               ".endr\n.else\n"
               ".irp r,0,1,2,3,4,5,6,7\n"
               " vpmaddubsw %%ymm15, %%ymm14, %%ymm\\r\n vpmaddwd %%ymm13, %%ymm\\r, %%ymm\\r\n"
               ".endr\n"
               ".irp r,0,1,2,3\n vpaddd %%ymm\\r, %%ymm8, %%ymm8\n.endr\n"
               ".irp r,4,5,6,7\n vpaddd %%ymm\\r, %%ymm9, %%ymm9\n.endr\n"
               ".endif\n"
               "dec %[n]\njnz 1b\nvzeroupper\n"
               : [n] "+r"(turns)
               : [bits] "i"(Bits)
               : "cc", "memory", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7",
                 "xmm8", "xmm9", "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15");
}

// Mode 0 reads, 1 copies, 2 copies round the caches; 512 bytes a turn.
template <int Bits, int Mode> void move_bytes(const char* from, char* to, std::int64_t bytes) {
  asm volatile("1:\n"
               ".irp k,0,64,128,192,256,320,384,448\n"
               ".if %c[bits] == 512\n vmovups \\k(%[from]), %%zmm0\n"
               ".if %c[mode] == 1\n vmovups %%zmm0, \\k(%[to])\n.endif\n"
               ".if %c[mode] == 2\n vmovntps %%zmm0, \\k(%[to])\n.endif\n"
               ".elseif %c[bits] == 256\n"
               " vmovups \\k(%[from]), %%ymm0\n vmovups \\k+32(%[from]), %%ymm1\n"
               ".if %c[mode] == 1\n"
               " vmovups %%ymm0, \\k(%[to])\n vmovups %%ymm1, \\k+32(%[to])\n.endif\n"
               ".if %c[mode] == 2\n"
               " vmovntps %%ymm0, \\k(%[to])\n vmovntps %%ymm1, \\k+32(%[to])\n.endif\n"
               ".else\n"
               ".irp j,0,16,32,48\n movups \\k+\\j(%[from]), %%xmm0\n"
               ".if %c[mode] == 1\n movups %%xmm0, \\k+\\j(%[to])\n.endif\n"
               ".if %c[mode] == 2\n movntps %%xmm0, \\k+\\j(%[to])\n.endif\n"
               ".endr\n.endif\n.endr\n"
               "add $512, %[from]\nadd $512, %[to]\nsub $512, %[bytes]\njg 1b\n"
               ".if %c[mode] == 2\n sfence\n.endif\n"
               ".if %c[bits] > 128\n vzeroupper\n.endif\n"
               : [from] "+r"(from), [to] "+r"(to), [bytes] "+r"(bytes)
               : [bits] "i"(Bits), [mode] "i"(Mode)
               : "cc", "memory", "xmm0", "xmm1");
}

template <int Bits> probe_loops loops_of_width() {
  return {.f32 = {multiply_add<Bits>, 2.0 * 28 * Bits / 32},
          .read = {move_bytes<Bits, 0>},
          .copy = {move_bytes<Bits, 1>},
          .stream = {move_bytes<Bits, 2>}};
}

// The widest loops that processor and system support.
inline probe_loops machine_loops() {
  if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("fma"))
    return loops_of_width<128>();
  const bool wide = __builtin_cpu_supports("avx512f");
  probe_loops made = wide ? loops_of_width<512>() : loops_of_width<256>();
  made.i8 = {byte_dot<256>, 2.0 * 8 * 32};
  if (__builtin_cpu_supports("avx512vnni")) made.i8 = {byte_dot<512>, 2.0 * 24 * 64};
  return made;
}

#else

using vector_register = float __attribute__((vector_size(16)));

inline void multiply_add(std::int64_t turns) {
  vector_register sums[24];
  for (vector_register& s : sums) s = vector_register{1, 1, 1, 1};
  vector_register half{0.5f, 0.5f, 0.5f, 0.5f};
  for (; turns > 0; --turns) {
    asm volatile("" : : "r"(&half) : "memory");
    for (vector_register& s : sums) s = s * half + half;
  }
  asm volatile("" : : "r"(&sums) : "memory");
}

template <bool Write> void move_bytes(const char* from, char* to, std::int64_t bytes) {
  using line = std::uint64_t __attribute__((vector_size(64)));
  line sum{};
  for (std::int64_t i = 0; i < bytes; i += 64) {
    const line value = *reinterpret_cast<const line*>(from + i);
    if constexpr (Write) {
      *reinterpret_cast<line*>(to + i) = value;
    } else {
      sum ^= value;
    }
  }
  asm volatile("" : : "r"(&sum) : "memory");
}

inline probe_loops machine_loops() {
  return {.f32 = {multiply_add, 2.0 * 24 * 4},
          .read = {move_bytes<false>},
          .copy = {move_bytes<true>},
          .stream = {move_bytes<true>}};
}

#endif

}  // namespace adze::bench::detail
