// Rows of activations, normed if the layer asks for it, as they are multiplied: rounded to bfloat16, or as bytes with
// one scale a row: byte = zero_byte + round(x / scale), scale = max |x| / 127.
//
// Bytes: a row of zeros (nothing above 2^-100) has scale 0. A row with NaN or infinity in it has scale NaN, so that all
// its results are NaN and no other row's are touched.

#include <immintrin.h>

#include <cmath>
#include <limits>

#include "hadamard.h"
#include "handful.h"
#include "linear.h"
#include "numbers.h"

namespace handful {
namespace {

constexpr float kSmallest = 7.8886091e-31f;  // 2^-100; 127 / x overflows not far below

HANDFUL_AVX512 void normalise(const Layer& layer, float* x) {
  const float count = static_cast<float>(layer.in);
  __m512 mean = _mm512_setzero_ps();
  if (layer.norm == kLayerNorm) {
    __m512 sum = mean;
    for (int64_t i = 0; i < layer.padded_in; i += 16) sum = _mm512_add_ps(sum, _mm512_loadu_ps(x + i));
    mean = _mm512_set1_ps(_mm512_reduce_add_ps(sum) / count);
  }
  __m512 squares = _mm512_setzero_ps();
  for (int64_t i = 0; i < layer.in; i += 16) {
    const __m512 away = _mm512_maskz_sub_ps(first16(layer.in - i), _mm512_loadu_ps(x + i), mean);
    squares = _mm512_fmadd_ps(away, away, squares);
  }
  const __m512 factor = _mm512_set1_ps(1.0f / std::sqrt(_mm512_reduce_add_ps(squares) / count + layer.norm_eps));
  for (int64_t i = 0; i < layer.padded_in; i += 16) {
    const __m512 unit = _mm512_mul_ps(_mm512_sub_ps(_mm512_loadu_ps(x + i), mean), factor);
    const __m512 weight = _mm512_loadu_ps(layer.norm_weight + i), bias = _mm512_loadu_ps(layer.norm_bias + i);
    _mm512_storeu_ps(x + i, _mm512_fmadd_ps(unit, weight, bias));  // the padding's weight and bias are 0
  }
}

// The largest |x|, found on the bits so that NaN and infinity are larger than all.
HANDFUL_AVX512 float largest(const float* x, int64_t size) {
  __m512i found = _mm512_setzero_si512();
  for (int64_t i = 0; i < size; i += 16) {
    const __m512i bits = _mm512_castps_si512(_mm512_loadu_ps(x + i));
    found = _mm512_max_epu32(found, _mm512_and_si512(bits, _mm512_set1_epi32(0x7fffffff)));
  }
  const uint32_t bits = _mm512_reduce_max_epu32(found);
  float value;
  __builtin_memcpy(&value, &bits, sizeof(value));
  return value;
}

// Where products in bfloat16 are computed, the processor can also round to it.
HANDFUL_AVX512_BF16 void narrow(const Layer& layer, const float* x, char* to, int64_t step) {
  for (int64_t i = 0; i < layer.padded_in; i += 16) {
    char* at = to + i / 32 * step + i % 32 * 2;
    store16_bf16(at, _mm512_loadu_ps(x + i), 0xffff, kBFloat16);
  }
}

}  // namespace

HANDFUL_AVX512 float quantise(const float* x, int64_t count, int32_t zero_byte, char* to, int64_t step) {
  const float top = largest(x, count);
  const bool used = std::isfinite(top) && top > kSmallest;
  const __mmask16 all = used ? 0xffff : 0;
  const __m512 inverse = _mm512_set1_ps(used ? 127.0f / top : 0.0f);
  const __m512i zero = _mm512_set1_epi32(zero_byte);
  for (int64_t i = 0; i < count; i += 16) {
    const __m512i rounded = _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_maskz_loadu_ps(all, x + i), inverse));
    const __m128i bytes = _mm512_cvtepi32_epi8(_mm512_add_epi32(rounded, zero));
    _mm_storeu_si128(reinterpret_cast<__m128i*>(to + i / 64 * step + i % 64), bytes);
  }
  if (!std::isfinite(top)) return std::numeric_limits<float>::quiet_NaN();
  return used ? top / 127.0f : 0.0f;
}

HANDFUL_AVX512 void prepare_row(const Layer& layer, const LinearCall& call, RowOrder order, int64_t row,
                                float* scratch) {
  const char* x = call.x + row * call.stride;
  for (int64_t i = 0; i < layer.padded_in; i += 16) {
    _mm512_storeu_ps(scratch + i, load16(x + i * type_bytes(call.type), first16(layer.in - i), call.type));
  }
  if (layer.norm != kNoNorm) normalise(layer, scratch);
  if (layer.rotation) hadamard(scratch, layer.padded_in, layer.rotation);
  char* to = call.packed + order.start(row, layer.row_bytes());
  if (layer.type == kInt8) {
    call.scales[row] = quantise(scratch, layer.padded_in, order.zero_byte, to, order.step());
  } else {
    narrow(layer, scratch, to, order.step());
  }
}

}  // namespace handful
