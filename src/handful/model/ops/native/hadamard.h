// Rows times a Hadamard matrix, block by block: H[i][j] = 1 or -1 by the parity of i & j. Every value of a block becomes
// sums and differences of all of them, so one that is far larger than the rest no longer sets the scale alone. AVX-512.
#pragma once

#include <immintrin.h>

#include "handful.h"

namespace handful {

// Sums of pairs `S` lanes apart where the lane's bit S is 0, differences where it is 1. `swapped` is x with the pairs'
// halves exchanged.
template <int S>
HANDFUL_AVX512 inline __m512 add_in_pairs(__m512 x, __m512 swapped) {
  constexpr __mmask16 kSecond = S == 1 ? 0xaaaa : S == 2 ? 0xcccc : S == 4 ? 0xf0f0 : 0xff00;
  const __m512 turned = _mm512_mask_sub_ps(x, kSecond, _mm512_setzero_ps(), x);
  return _mm512_add_ps(swapped, turned);
}

HANDFUL_AVX512 inline __m512 hadamard16(__m512 x) {
  x = add_in_pairs<1>(x, _mm512_shuffle_ps(x, x, 0xb1));
  x = add_in_pairs<2>(x, _mm512_shuffle_ps(x, x, 0x4e));
  x = add_in_pairs<4>(x, _mm512_shuffle_f32x4(x, x, 0xb1));
  return add_in_pairs<8>(x, _mm512_shuffle_f32x4(x, x, 0x4e));
}

// In place. `count` is a multiple of `size`, which is a power of two of at least 64.
HANDFUL_AVX512 inline void hadamard(float* x, int64_t count, int64_t size) {
  for (int64_t i = 0; i < count; i += 64) {
    const __m512 a = hadamard16(_mm512_loadu_ps(x + i)), b = hadamard16(_mm512_loadu_ps(x + i + 16));
    const __m512 c = hadamard16(_mm512_loadu_ps(x + i + 32)), d = hadamard16(_mm512_loadu_ps(x + i + 48));
    const __m512 ab = _mm512_add_ps(a, b), cd = _mm512_add_ps(c, d);
    const __m512 a_b = _mm512_sub_ps(a, b), c_d = _mm512_sub_ps(c, d);
    _mm512_storeu_ps(x + i, _mm512_add_ps(ab, cd)), _mm512_storeu_ps(x + i + 16, _mm512_add_ps(a_b, c_d));
    _mm512_storeu_ps(x + i + 32, _mm512_sub_ps(ab, cd)), _mm512_storeu_ps(x + i + 48, _mm512_sub_ps(a_b, c_d));
  }
  for (int64_t apart = 64; apart < size; apart *= 2) {
    for (int64_t block = 0; block < count; block += 2 * apart) {
      for (int64_t i = block; i < block + apart; i += 16) {
        const __m512 a = _mm512_loadu_ps(x + i), b = _mm512_loadu_ps(x + i + apart);
        _mm512_storeu_ps(x + i, _mm512_add_ps(a, b)), _mm512_storeu_ps(x + i + apart, _mm512_sub_ps(a, b));
      }
    }
  }
}

}  // namespace handful
