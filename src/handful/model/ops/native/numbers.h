// 16 numbers at a time between memory (float32 or bfloat16) and a register of float32. AVX-512.
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "handful.h"

namespace handful {

enum Type : int32_t { kFloat32 = 0, kBFloat16 = 1, kInt8 = 2 };

inline int64_t type_bytes(int32_t type) { return type == kFloat32 ? 4 : type == kBFloat16 ? 2 : 1; }

// The first `count` of 16 lanes; none if that is negative.
inline __mmask16 first16(int64_t count) {
  return count >= 16 ? 0xffff : count <= 0 ? 0 : static_cast<__mmask16>((1u << count) - 1);
}

// Lanes that aren't real are 0.
HANDFUL_AVX512 inline __m512 load16(const char* from, __mmask16 real, int32_t type) {
  if (type == kFloat32) return _mm512_maskz_loadu_ps(real, from);
  const __m512i wide = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(real, from));
  return _mm512_castsi512_ps(_mm512_slli_epi32(wide, 16));
}

// Round to nearest even; NaN stays NaN.
HANDFUL_AVX512 inline __m256i to_bfloat16(__m512 x) {
  const __m512i bits = _mm512_castps_si512(x);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7fff)), odd);
  rounded = _mm512_mask_mov_epi32(rounded, _mm512_cmp_ps_mask(x, x, _CMP_UNORD_Q), _mm512_set1_epi32(0x7fc00000));
  return _mm512_cvtepi32_epi16(_mm512_srli_epi32(rounded, 16));
}

// Lanes that aren't real are not written.
HANDFUL_AVX512 inline void store16(char* to, __m512 x, __mmask16 real, int32_t type) {
  if (type == kFloat32) _mm512_mask_storeu_ps(to, real, x);
  else _mm256_mask_storeu_epi16(to, real, to_bfloat16(x));
}

// The same with the processor's own rounding (which takes numbers below 2^-126 for 0): a tenth of the instructions.
HANDFUL_AVX512_BF16 inline void store16_bf16(char* to, __m512 x, __mmask16 real, int32_t type) {
  if (type == kFloat32) _mm512_mask_storeu_ps(to, real, x);
  else _mm256_mask_storeu_epi16(to, real, reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x)));
}

}  // namespace handful
