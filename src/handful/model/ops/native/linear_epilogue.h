// From sums to results: scale, bias, activation, gate, rounding. AVX-512.
#pragma once

#include <immintrin.h>

#include "handful.h"
#include "linear.h"
#include "numbers.h"

namespace handful {

// e^x to about 2 units in the last place; x is clamped to where e^x is a normal number. NaN stays NaN.
HANDFUL_AVX512 inline __m512 exp16(__m512 x) {
  // min and max give their second operand when one is NaN, so x stands there.
  const __m512 bounded = _mm512_max_ps(_mm512_set1_ps(-87.0f), _mm512_min_ps(_mm512_set1_ps(88.0f), x));
  const __m512 power = _mm512_roundscale_ps(_mm512_mul_ps(bounded, _mm512_set1_ps(1.44269504f)), 8);
  __m512 r = _mm512_fnmadd_ps(power, _mm512_set1_ps(0.693359375f), bounded);
  r = _mm512_fnmadd_ps(power, _mm512_set1_ps(-2.12194440e-4f), r);
  __m512 p = _mm512_set1_ps(1.9875691500e-4f);  // minimax polynomial of Cephes' expf
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.3981999507e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(8.3334519073e-3f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(4.1665795894e-2f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(1.6666665459e-1f));
  p = _mm512_fmadd_ps(p, r, _mm512_set1_ps(5.0000001201e-1f));
  p = _mm512_fmadd_ps(p, _mm512_mul_ps(r, r), _mm512_add_ps(r, _mm512_set1_ps(1.0f)));
  return _mm512_scalef_ps(p, power);
}

// x / (1 + e^-z): silu with z = x, gelu_tanh with z = 2 sqrt(2 / pi) (x + 0.044715 x^3).
HANDFUL_AVX512 inline __m512 sigmoid_times(__m512 x, __m512 z) {
  const __m512 e = exp16(_mm512_sub_ps(_mm512_setzero_ps(), z));
  const __m512 below = _mm512_add_ps(_mm512_set1_ps(1.0f), e);
  const __m512 about = _mm512_rcp14_ps(below);  // and one step of Newton's: 2^-28, in a third of a division's time
  const __m512 inverse = _mm512_mul_ps(about, _mm512_fnmadd_ps(below, about, _mm512_set1_ps(2.0f)));
  return _mm512_mul_ps(x, inverse);
}

HANDFUL_AVX512 inline __m512 gelu_tanh16(__m512 x) {
  const __m512 slope = _mm512_set1_ps(1.59576912161f), curve = _mm512_set1_ps(0.0713548162726f);
  const __m512 cubic = _mm512_fmadd_ps(_mm512_mul_ps(x, x), curve, slope);
  return sigmoid_times(x, _mm512_mul_ps(x, cubic));
}

// x Phi(x), with the error function of Abramowitz and Stegun 7.1.26 (absolute error below 2e-7).
HANDFUL_AVX512 inline __m512 gelu16(__m512 x) {
  const __m512 one = _mm512_set1_ps(1.0f);
  const __m512 z = _mm512_mul_ps(_mm512_abs_ps(x), _mm512_set1_ps(0.70710678f));
  const __m512 t = _mm512_div_ps(one, _mm512_fmadd_ps(z, _mm512_set1_ps(0.3275911f), one));
  __m512 p = _mm512_set1_ps(1.061405429f);
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-1.453152027f));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(1.421413741f));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(-0.284496736f));
  p = _mm512_fmadd_ps(p, t, _mm512_set1_ps(0.254829592f));
  const __m512 bell = exp16(_mm512_sub_ps(_mm512_setzero_ps(), _mm512_mul_ps(z, z)));
  const __m512 tail = _mm512_mul_ps(_mm512_mul_ps(p, t), bell);
  const __m512 half_tail = _mm512_mul_ps(_mm512_set1_ps(0.5f), tail);  // 1 - Phi(|x|)
  const __mmask16 negative = _mm512_cmp_ps_mask(x, _mm512_setzero_ps(), _CMP_LT_OQ);
  return _mm512_mul_ps(x, _mm512_mask_mov_ps(_mm512_sub_ps(one, half_tail), negative, half_tail));
}

HANDFUL_AVX512 inline __m512 activate16(__m512 x, int32_t activation) {
  switch (activation) {
    case kGelu: return gelu16(x);
    case kGeluTanh: return gelu_tanh16(x);
    case kRelu: return _mm512_max_ps(_mm512_setzero_ps(), x);  // NaN stays NaN
    case kSilu: return sigmoid_times(x, x);
    default: return x;
  }
}

// Where results go: [rows][num_out] without gaps, added to `residual` of the same shape and type if there is one.
struct Output {
  char* out;
  const char* residual;
  int32_t type;
};

// How results are rounded to bfloat16: with AVX-512 alone, or by the processor.
struct RoundByHand {
  HANDFUL_AVX512 static void store(char* to, __m512 x, __mmask16 real, int32_t type) { store16(to, x, real, type); }
};
struct RoundByProcessor {
  HANDFUL_AVX512_BF16 static void store(char* to, __m512 x, __mmask16 real, int32_t type) {
    store16_bf16(to, x, real, type);
  }
};

// 16 results to byte `offset`; those that aren't real are not written.
template <class Round>
HANDFUL_AVX512 inline void put_real(__m512 x, const Output& to, int64_t offset, __mmask16 real) {
  if (to.residual != nullptr) x = _mm512_add_ps(x, load16(to.residual + offset, real, to.type));
  Round::store(to.out + offset, x, real, to.type);
}

// 16 results to `at` (an index into the whole of the output); `left` columns are real, the rest is not written.
template <class Round>
HANDFUL_AVX512 inline void put16(__m512 x, const Output& to, int64_t at, int64_t left) {
  const int64_t offset = at * type_bytes(to.type);
  if (left >= 16) put_real<Round>(x, to, offset, 0xffff);  // a constant, so the store is a plain one
  else put_real<Round>(x, to, offset, first16(left));
}

// 16 sums of a row of a panel, with their scale and bias: whole numbers of an int8 product, or those of bfloat16.
HANDFUL_AVX512 inline __m512 scaled16(const Layer& layer, int64_t column, const int32_t* sums, float row_scale) {
  const __m512 x = _mm512_cvtepi32_ps(_mm512_loadu_si512(sums));
  const __m512 scale = _mm512_mul_ps(_mm512_set1_ps(row_scale), _mm512_loadu_ps(layer.scales + column));
  return _mm512_fmadd_ps(x, scale, _mm512_loadu_ps(layer.bias + column));
}

HANDFUL_AVX512 inline __m512 scaled16(const Layer& layer, int64_t column, const float* sums, float) {
  return _mm512_add_ps(_mm512_loadu_ps(sums), _mm512_loadu_ps(layer.bias + column));
}

// One row of one panel: its 32 sums -> scale, bias, activation, gate, residual -> results.
template <class Round, class Sum>
HANDFUL_AVX512 inline void finish(const Layer& layer, int64_t row, int64_t panel, const Sum* sums, float row_scale,
                                  const Output& to) {
  const int64_t at = panel * kPanel;
  const __m512 x = scaled16(layer, at, sums, row_scale), y = scaled16(layer, at + 16, sums + 16, row_scale);
  const int64_t start = row * layer.num_out, column = layer.gated ? panel * 16 : at;
  const int64_t left = layer.num_out - column;
  if (layer.gated) {
    put16<Round>(_mm512_mul_ps(activate16(x, layer.activation), y), to, start + column, left);
    return;
  }
  put16<Round>(activate16(x, layer.activation), to, start + column, left);
  if (left > 16) put16<Round>(activate16(y, layer.activation), to, start + column + 16, left - 16);
}

}  // namespace handful
