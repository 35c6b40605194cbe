// AMX: eight tile registers of 16 rows of 64 bytes, and products of them. Written as assembly of one instruction each,
// because the compiler's own intrinsics don't say that they read and write memory.
#pragma once

#include <cstdint>

namespace handful {

// While one lives, this thread's tile registers are eight whole tiles. oneDNN looks at the registers' shape before it
// uses them, so both may take turns.
class TileRegisters {
 public:
  TileRegisters() {
    struct alignas(64) Shape {
      uint8_t palette, start_row, reserved[14];
      uint16_t bytes_of_a_row[16];
      uint8_t rows[16];
    } shape{1, 0, {}, {64, 64, 64, 64, 64, 64, 64, 64}, {16, 16, 16, 16, 16, 16, 16, 16}};
    asm volatile("ldtilecfg %0" ::"m"(shape) : "memory");
  }
  ~TileRegisters() { asm volatile("tilerelease" ::: "memory"); }
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;
};

template <int T>
inline void tile_zero() {
  asm volatile("tilezero %%tmm%c0" ::"i"(T));
}

// 16 rows of 64 bytes, `stride` bytes apart.
template <int T>
inline void tile_load(const void* from, int64_t stride) {
  asm volatile("tileloadd (%1,%2,1), %%tmm%c0" ::"i"(T), "r"(from), "r"(stride) : "memory");
}

template <int T>
inline void tile_store(void* to, int64_t stride) {
  asm volatile("tilestored %%tmm%c0, (%1,%2,1)" ::"i"(T), "r"(to), "r"(stride) : "memory");
}

// SUM [16][16] float += A [16][32] bfloat16 . B [16 pairs][16][2] bfloat16.
template <int SUM, int A, int B>
inline void tile_multiply_bf16() {
  asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(SUM), "i"(A), "i"(B));
}

// SUM [16][16] int32 += A [16][64] int8 . B [16 fours][16][4] int8.
template <int SUM, int A, int B>
inline void tile_multiply_int8() {
  asm volatile("tdpbssd %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(SUM), "i"(A), "i"(B));
}

}  // namespace handful
