// bfloat16 for the attention: two neighbouring elements fill a 32-bit lane, vdpbf16ps multiplies and adds pairs.
#pragma once

#include "handful.h"
#include "lanes_avx512.h"
#define HANDFUL_TARGET HANDFUL_AVX512_BF16_VNNI

namespace {

struct Elements {
  using Type = uint16_t;
  static constexpr int kPerLane = 2;

  HANDFUL_TARGET static inline __mmask32 mask(int count) { return count >= 32 ? ~0u : (1u << count) - 1; }

  // Up to 32 elements as 16 lanes of pairs; those behind `count` are 0.
  HANDFUL_TARGET static inline __m512i load(const Type* from, int count) {
    return _mm512_maskz_loadu_epi16(mask(count), from);
  }
  // Up to 16 elements as numbers; those behind `count` are 0.
  HANDFUL_TARGET static inline __m512 floats(const Type* from, int count) {
    const __m256i narrow = _mm256_maskz_loadu_epi16(static_cast<__mmask16>(mask(count)), from);
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(narrow), 16));
  }
  // Up to 16 elements of two rows, element i of both in lane i. The second row may be missing (null).
  HANDFUL_TARGET static inline __m512i zip(const Type* first, const Type* second, int count) {
    const __mmask16 lanes = static_cast<__mmask16>(mask(count));
    const __m512i low = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, first));
    if (!second) return low;
    const __m512i high = _mm512_cvtepu16_epi32(_mm256_maskz_loadu_epi16(lanes, second));
    return _mm512_or_si512(low, _mm512_slli_epi32(high, 16));
  }
  HANDFUL_TARGET static inline __m512 multiply_add(__m512 sum, __m512i a, __m512i b) {
    return _mm512_dpbf16_ps(sum, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }
  // 16 * kPerLane probabilities as the lanes that multiply_add takes.
  HANDFUL_TARGET static inline void put_pair(uint32_t* to, __m512 first, __m512 second) {
    _mm512_storeu_si512(to, reinterpret_cast<__m512i>(_mm512_cvtne2ps_pbh(second, first)));
  }
  HANDFUL_TARGET static inline void put(Type* to, __m512 x, int count) {
    const __m256i narrow = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(x));
    if (count >= 16) _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), narrow);
    else _mm256_mask_storeu_epi16(to, static_cast<__mmask16>(mask(count)), narrow);
  }
  // 2^f for |f| <= 1/2 to 1e-4 (bfloat16 keeps 4e-3), and exactly 1 at 0: least largest relative error, by our own fit.
  HANDFUL_TARGET static inline __m512 exp2_fraction(__m512 f) {
    __m512 y = _mm512_fmadd_ps(_mm512_set1_ps(5.500893e-2f), f, _mm512_set1_ps(2.4221095e-1f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(6.932829e-1f));
    return _mm512_fmadd_ps(y, f, _mm512_set1_ps(1.0f));
  }
};

}  // namespace
