// 16 numbers at a time with AVX-512: one register. lanes_avx2.h says the same words with two registers of 8.
//
// What is written over them (HANDFUL_LANES marks its functions) is compiled once for each, in the namespace
// handful::HANDFUL_LEVEL. + - * of Floats are the compiler's own.
#pragma once

// GCC 12 warns of its own intrinsics, whose "undefined" arguments are never read.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#include "handful.h"

#define HANDFUL_LEVEL avx512
#define HANDFUL_LANES HANDFUL_AVX512
#define HANDFUL_LANE_FUNCTION HANDFUL_AVX512 inline __attribute__((always_inline))

namespace handful::avx512 {

using Floats = __m512;
using Ints = __m512i;
using Mask = __mmask16;  // of lanes, the first in the lowest bit

constexpr int kSideBySide = 4;                  // vectors of 16 sums that registers hold for each of 6 rows
constexpr int64_t kSecondLevel = 1024 * 1024;  // cache of a core, at least

// The first `count` of 16 lanes; none if that is negative.
inline Mask first16(int64_t count) {
  return count >= 16 ? 0xffff : count <= 0 ? 0 : static_cast<Mask>((1u << count) - 1);
}

HANDFUL_LANE_FUNCTION Floats all(float x) { return _mm512_set1_ps(x); }
HANDFUL_LANE_FUNCTION Ints all_ints(int32_t x) { return _mm512_set1_epi32(x); }
HANDFUL_LANE_FUNCTION Floats load(const float* from) { return _mm512_loadu_ps(from); }
HANDFUL_LANE_FUNCTION Ints load_ints(const void* from) { return _mm512_loadu_si512(from); }
HANDFUL_LANE_FUNCTION void store(float* to, Floats x) { _mm512_storeu_ps(to, x); }
HANDFUL_LANE_FUNCTION void store_ints(void* to, Ints x) { _mm512_storeu_si512(to, x); }

// Lanes outside the mask are 0 in what is loaded; they are not written.
HANDFUL_LANE_FUNCTION Floats load(const float* from, Mask real) { return _mm512_maskz_loadu_ps(real, from); }
HANDFUL_LANE_FUNCTION Ints load_ints(const void* from, Mask real) { return _mm512_maskz_loadu_epi32(real, from); }
HANDFUL_LANE_FUNCTION void store(float* to, Floats x, Mask real) { _mm512_mask_storeu_ps(to, real, x); }
HANDFUL_LANE_FUNCTION void store_ints(void* to, Ints x, Mask real) { _mm512_mask_storeu_epi32(to, real, x); }

HANDFUL_LANE_FUNCTION Floats select(Mask first, Floats a, Floats b) { return _mm512_mask_mov_ps(b, first, a); }
HANDFUL_LANE_FUNCTION Mask is_negative(Floats x) { return _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ); }
HANDFUL_LANE_FUNCTION Floats multiply_add(Floats a, Floats b, Floats c) { return _mm512_fmadd_ps(a, b, c); }
HANDFUL_LANE_FUNCTION Floats multiply_subtract(Floats a, Floats b, Floats c) { return _mm512_fmsub_ps(a, b, c); }
HANDFUL_LANE_FUNCTION Floats subtract_product(Floats c, Floats a, Floats b) { return _mm512_fnmadd_ps(a, b, c); }
// Of a NaN and a number, the second operand.
HANDFUL_LANE_FUNCTION Floats least(Floats a, Floats b) { return _mm512_min_ps(a, b); }
HANDFUL_LANE_FUNCTION Floats most(Floats a, Floats b) { return _mm512_max_ps(a, b); }
HANDFUL_LANE_FUNCTION Floats magnitude(Floats x) { return _mm512_abs_ps(x); }
HANDFUL_LANE_FUNCTION Floats divide(Floats a, Floats b) { return _mm512_div_ps(a, b); }
// 1 / x, and one step of Newton's: 2^-28, in a third of a division's time.
HANDFUL_LANE_FUNCTION Floats reciprocal(Floats x) {
  const Floats about = _mm512_rcp14_ps(x);
  return about * _mm512_fnmadd_ps(x, about, _mm512_set1_ps(2.0f));
}
HANDFUL_LANE_FUNCTION Floats whole(Floats x) {
  return _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
}
// x 2^power, where `power` is a whole number up to 127; 0 far below -126.
HANDFUL_LANE_FUNCTION Floats times_power_of_2(Floats x, Floats power) { return _mm512_scalef_ps(x, power); }
HANDFUL_LANE_FUNCTION float sum_of_lanes(Floats x) { return _mm512_reduce_add_ps(x); }
HANDFUL_LANE_FUNCTION float most_of_lanes(Floats x) { return _mm512_reduce_max_ps(x); }

HANDFUL_LANE_FUNCTION Floats to_floats(Ints x) { return _mm512_cvtepi32_ps(x); }
HANDFUL_LANE_FUNCTION Floats as_floats(Ints x) { return _mm512_castsi512_ps(x); }
// The bits of |x|, which order NaN and infinity above all numbers.
HANDFUL_LANE_FUNCTION Ints bits_of_magnitude(Floats x) {
  return _mm512_and_si512(_mm512_castps_si512(x), _mm512_set1_epi32(0x7fffffff));
}
HANDFUL_LANE_FUNCTION Ints low_nibbles(Ints x) { return _mm512_and_si512(x, _mm512_set1_epi8(15)); }
HANDFUL_LANE_FUNCTION Ints high_nibbles(Ints x) { return low_nibbles(_mm512_srli_epi16(x, 4)); }
HANDFUL_LANE_FUNCTION Ints most_ints(Ints a, Ints b) { return _mm512_max_epi32(a, b); }
HANDFUL_LANE_FUNCTION int32_t most_of_lanes(Ints x) { return _mm512_reduce_max_epi32(x); }

// Four vectors, rounded (from -128 to 127), as 64 bytes + zero (0 or 128), in one piece: they will be read in one.
HANDFUL_LANE_FUNCTION void store_64_bytes(char* to, Floats a, Floats b, Floats c, Floats d, int32_t zero) {
  const Ints low = _mm512_packs_epi32(_mm512_cvtps_epi32(a), _mm512_cvtps_epi32(b));
  const Ints turned = _mm512_packs_epi16(low, _mm512_packs_epi32(_mm512_cvtps_epi32(c), _mm512_cvtps_epi32(d)));
  const Ints order = _mm512_setr_epi32(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  const Ints ordered = _mm512_permutexvar_epi32(order, turned);
  store_ints(to, _mm512_xor_si512(ordered, _mm512_set1_epi8(static_cast<char>(zero))));
}
// The low bytes of round(x) + zero.
HANDFUL_LANE_FUNCTION void store_bytes(char* to, Floats x, int32_t zero) {
  const __m512i rounded = _mm512_add_epi32(_mm512_cvtps_epi32(x), _mm512_set1_epi32(zero));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), _mm512_cvtepi32_epi8(rounded));
}

// Lanes that aren't real are 0.
HANDFUL_LANE_FUNCTION Floats load16(const char* from, Mask real, int32_t type) {
  if (type == kFloat32) return _mm512_maskz_loadu_ps(real, from);
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(real, from));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

// Round to nearest even; NaN stays NaN.
HANDFUL_LANE_FUNCTION __m256i to_bfloat16(Floats x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
  rounded = _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), _mm512_set1_epi32(0x7fc00000));
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
}

// Lanes that aren't real are not written.
HANDFUL_LANE_FUNCTION void store16(char* to, Floats x, Mask real, int32_t type) {
  if (type == kFloat32) _mm512_mask_storeu_ps(to, real, x);
  else _mm256_mask_storeu_epi16(to, real, to_bfloat16(x));
}

// The same with the processor's own rounding (which takes numbers below 2^-126 for 0): a tenth of the instructions.
struct RoundByProcessor {
  HANDFUL_AVX512_BF16 static inline __attribute__((always_inline)) void put(char* to, Floats x, Mask real,
                                                                            int32_t type) {
    if (type == kFloat32) _mm512_mask_storeu_ps(to, real, x);
    else _mm256_mask_storeu_epi16(to, real, reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)));
  }
};

// Pairs of lanes `S` apart, a step of hadamard.h: the first bits of its pairs are S = 1 and 4.
template <int S>
HANDFUL_LANE_FUNCTION Floats add_in_pairs(Floats x) {
  constexpr Mask kSecond = S == 1 ? 0x6666 : S == 2 ? 0xcccc : S == 4 ? 0x0ff0 : 0xff00;
  Floats swapped;
  if constexpr (S == 1) swapped = _mm512_shuffle_ps(x, x, 0xb1);
  else if constexpr (S == 2) swapped = _mm512_shuffle_ps(x, x, 0x4e);
  else if constexpr (S == 4) swapped = _mm512_shuffle_f32x4(x, x, 0xb1);
  else swapped = _mm512_shuffle_f32x4(x, x, 0x4e);
  const Floats sign = _mm512_mask_blend_ps(kSecond, _mm512_set1_ps(1.0f), _mm512_set1_ps(-1.0f));
  return _mm512_fmadd_ps(x, sign, swapped);
}

// 16 rows of 16 lanes become columns.
HANDFUL_LANES inline void transpose(Ints* x) {
  Ints y[16];
  for (int i = 0; i < 16; i += 2) {
    y[i] = _mm512_unpacklo_epi32(x[i], x[i + 1]);
    y[i + 1] = _mm512_unpackhi_epi32(x[i], x[i + 1]);
  }
  for (int i = 0; i < 16; i += 4) {  // lane group g of x[i + j] now holds column 4 g + j of rows i .. i + 3
    x[i] = _mm512_unpacklo_epi64(y[i], y[i + 2]);
    x[i + 1] = _mm512_unpackhi_epi64(y[i], y[i + 2]);
    x[i + 2] = _mm512_unpacklo_epi64(y[i + 1], y[i + 3]);
    x[i + 3] = _mm512_unpackhi_epi64(y[i + 1], y[i + 3]);
  }
  for (int j = 0; j < 4; ++j) {
    const Ints a = _mm512_shuffle_i32x4(x[j], x[4 + j], 0x88), b = _mm512_shuffle_i32x4(x[j], x[4 + j], 0xdd);
    const Ints c = _mm512_shuffle_i32x4(x[8 + j], x[12 + j], 0x88), d = _mm512_shuffle_i32x4(x[8 + j], x[12 + j], 0xdd);
    y[j] = _mm512_shuffle_i32x4(a, c, 0x88);
    y[8 + j] = _mm512_shuffle_i32x4(a, c, 0xdd);
    y[4 + j] = _mm512_shuffle_i32x4(b, d, 0x88);
    y[12 + j] = _mm512_shuffle_i32x4(b, d, 0xdd);
  }
  for (int i = 0; i < 16; ++i) x[i] = y[i];
}

}  // namespace handful::avx512
