// 16 numbers at a time with AVX2: two registers of 8. The words of lanes_avx512.h, where they are explained.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "handful.h"

#define HANDFUL_LEVEL avx2
#define HANDFUL_LANES HANDFUL_AVX2
#define HANDFUL_LANE_FUNCTION HANDFUL_AVX2 inline __attribute__((always_inline))

namespace handful::avx2 {

struct Floats {
  __m256 low, high;
};
struct Ints {
  __m256i low, high;
};
using Mask = uint16_t;  // of lanes, the first in the lowest bit

constexpr int kSideBySide = 1;
constexpr int64_t kSecondLevel = 512 * 1024;

inline Mask first16(int64_t count) {
  return count >= 16 ? 0xffff : count <= 0 ? 0 : static_cast<Mask>((1u << count) - 1);
}

// A mask as lanes of ones and zeros.
HANDFUL_LANE_FUNCTION Ints lanes_of(Mask mask) {
  const __m256i low = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128), high = _mm256_slli_epi32(low, 8);
  const __m256i bits = _mm256_set1_epi32(mask);
  return {_mm256_cmpeq_epi32(_mm256_and_si256(bits, low), low),
          _mm256_cmpeq_epi32(_mm256_and_si256(bits, high), high)};
}

HANDFUL_LANE_FUNCTION Floats operator+(Floats a, Floats b) { return {a.low + b.low, a.high + b.high}; }
HANDFUL_LANE_FUNCTION Floats operator-(Floats a, Floats b) { return {a.low - b.low, a.high - b.high}; }
HANDFUL_LANE_FUNCTION Floats operator*(Floats a, Floats b) { return {a.low * b.low, a.high * b.high}; }

HANDFUL_LANE_FUNCTION Floats all(float x) { return {_mm256_set1_ps(x), _mm256_set1_ps(x)}; }
HANDFUL_LANE_FUNCTION Ints all_ints(int32_t x) { return {_mm256_set1_epi32(x), _mm256_set1_epi32(x)}; }
HANDFUL_LANE_FUNCTION Floats load(const float* from) { return {_mm256_loadu_ps(from), _mm256_loadu_ps(from + 8)}; }
HANDFUL_LANE_FUNCTION Ints load_ints(const void* from) {
  const __m256i* at = static_cast<const __m256i*>(from);
  return {_mm256_loadu_si256(at), _mm256_loadu_si256(at + 1)};
}
HANDFUL_LANE_FUNCTION void store(float* to, Floats x) {
  _mm256_storeu_ps(to, x.low);
  _mm256_storeu_ps(to + 8, x.high);
}
HANDFUL_LANE_FUNCTION void store_ints(void* to, Ints x) {
  _mm256_storeu_si256(static_cast<__m256i*>(to), x.low);
  _mm256_storeu_si256(static_cast<__m256i*>(to) + 1, x.high);
}

HANDFUL_LANE_FUNCTION Floats load(const float* from, Mask real) {
  if (real == 0xffff) return load(from);
  const Ints lanes = lanes_of(real);
  return {_mm256_maskload_ps(from, lanes.low), _mm256_maskload_ps(from + 8, lanes.high)};
}
HANDFUL_LANE_FUNCTION Ints load_ints(const void* from, Mask real) {
  const Floats x = load(static_cast<const float*>(from), real);
  return {_mm256_castps_si256(x.low), _mm256_castps_si256(x.high)};
}
HANDFUL_LANE_FUNCTION void store(float* to, Floats x, Mask real) {
  if (real == 0xffff) return store(to, x);
  const Ints lanes = lanes_of(real);
  _mm256_maskstore_ps(to, lanes.low, x.low);
  _mm256_maskstore_ps(to + 8, lanes.high, x.high);
}
HANDFUL_LANE_FUNCTION Floats as_floats(Ints x) { return {_mm256_castsi256_ps(x.low), _mm256_castsi256_ps(x.high)}; }
HANDFUL_LANE_FUNCTION void store_ints(void* to, Ints x, Mask real) { store(static_cast<float*>(to), as_floats(x), real); }

HANDFUL_LANE_FUNCTION Floats select(Mask first, Floats a, Floats b) {
  const Floats lanes = as_floats(lanes_of(first));
  return {_mm256_blendv_ps(b.low, a.low, lanes.low), _mm256_blendv_ps(b.high, a.high, lanes.high)};
}
HANDFUL_LANE_FUNCTION Mask is_negative(Floats x) {
  const __m256 zero = _mm256_setzero_ps();
  const int low = _mm256_movemask_ps(_mm256_cmp_ps(x.low, zero, _CMP_LT_OQ));
  return static_cast<Mask>(low | _mm256_movemask_ps(_mm256_cmp_ps(x.high, zero, _CMP_LT_OQ)) << 8);
}
HANDFUL_LANE_FUNCTION Floats multiply_add(Floats a, Floats b, Floats c) {
  return {_mm256_fmadd_ps(a.low, b.low, c.low), _mm256_fmadd_ps(a.high, b.high, c.high)};
}
HANDFUL_LANE_FUNCTION Floats multiply_subtract(Floats a, Floats b, Floats c) {
  return {_mm256_fmsub_ps(a.low, b.low, c.low), _mm256_fmsub_ps(a.high, b.high, c.high)};
}
HANDFUL_LANE_FUNCTION Floats subtract_product(Floats c, Floats a, Floats b) {
  return {_mm256_fnmadd_ps(a.low, b.low, c.low), _mm256_fnmadd_ps(a.high, b.high, c.high)};
}
HANDFUL_LANE_FUNCTION Floats least(Floats a, Floats b) {
  return {_mm256_min_ps(a.low, b.low), _mm256_min_ps(a.high, b.high)};
}
HANDFUL_LANE_FUNCTION Floats most(Floats a, Floats b) {
  return {_mm256_max_ps(a.low, b.low), _mm256_max_ps(a.high, b.high)};
}
HANDFUL_LANE_FUNCTION Floats magnitude(Floats x) {
  const __m256 sign = _mm256_set1_ps(-0.0f);
  return {_mm256_andnot_ps(sign, x.low), _mm256_andnot_ps(sign, x.high)};
}
HANDFUL_LANE_FUNCTION Floats divide(Floats a, Floats b) { return {a.low / b.low, a.high / b.high}; }
HANDFUL_LANE_FUNCTION Floats reciprocal(Floats x) { return divide(all(1.0f), x); }
HANDFUL_LANE_FUNCTION Floats whole(Floats x) {
  constexpr int kNearest = _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC;
  return {_mm256_round_ps(x.low, kNearest), _mm256_round_ps(x.high, kNearest)};
}
// The power's bits are made by hand: 2^-127 and below become 0.
HANDFUL_LANE_FUNCTION __m256 times_power_of_2(__m256 x, __m256 power) {
  const __m256i exponent = _mm256_cvtps_epi32(_mm256_max_ps(_mm256_set1_ps(-127.0f), power));
  return x * _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(exponent, _mm256_set1_epi32(127)), 23));
}
HANDFUL_LANE_FUNCTION Floats times_power_of_2(Floats x, Floats power) {
  return {times_power_of_2(x.low, power.low), times_power_of_2(x.high, power.high)};
}
HANDFUL_LANE_FUNCTION float sum_of_lanes(Floats x) {
  const __m256 eight = x.low + x.high;
  const __m128 four = _mm256_castps256_ps128(eight) + _mm256_extractf128_ps(eight, 1);
  const __m128 two = four + _mm_movehl_ps(four, four);
  return two[0] + two[1];
}
HANDFUL_LANE_FUNCTION float most_of_lanes(Floats x) {
  const __m256 eight = _mm256_max_ps(x.low, x.high);
  const __m128 four = _mm_max_ps(_mm256_castps256_ps128(eight), _mm256_extractf128_ps(eight, 1));
  const __m128 two = _mm_max_ps(four, _mm_movehl_ps(four, four));
  return _mm_cvtss_f32(_mm_max_ss(two, _mm_shuffle_ps(two, two, 1)));
}

HANDFUL_LANE_FUNCTION Floats to_floats(Ints x) { return {_mm256_cvtepi32_ps(x.low), _mm256_cvtepi32_ps(x.high)}; }
HANDFUL_LANE_FUNCTION Ints bits_of_magnitude(Floats x) {
  const Floats found = magnitude(x);
  return {_mm256_castps_si256(found.low), _mm256_castps_si256(found.high)};
}
HANDFUL_LANE_FUNCTION Ints low_nibbles(Ints x) {
  const __m256i mask = _mm256_set1_epi8(15);
  return {_mm256_and_si256(x.low, mask), _mm256_and_si256(x.high, mask)};
}
HANDFUL_LANE_FUNCTION Ints high_nibbles(Ints x) {
  return low_nibbles({_mm256_srli_epi16(x.low, 4), _mm256_srli_epi16(x.high, 4)});
}
HANDFUL_LANE_FUNCTION Ints most_ints(Ints a, Ints b) {
  return {_mm256_max_epi32(a.low, b.low), _mm256_max_epi32(a.high, b.high)};
}
HANDFUL_LANE_FUNCTION int32_t most_of_lanes(Ints x) {
  const __m256i eight = _mm256_max_epi32(x.low, x.high);
  const __m128i four = _mm_max_epi32(_mm256_castsi256_si128(eight), _mm256_extracti128_si256(eight, 1));
  const __m128i two = _mm_max_epi32(four, _mm_shuffle_epi32(four, 0x4e));
  return _mm_cvtsi128_si32(_mm_max_epi32(two, _mm_shuffle_epi32(two, 1)));
}

// The low 16 bits of each lane.
HANDFUL_LANE_FUNCTION __m256i low_halves(__m256i low, __m256i high) {
  const __m256i mask = _mm256_set1_epi32(0xffff);
  const __m256i packed = _mm256_packus_epi32(_mm256_and_si256(low, mask), _mm256_and_si256(high, mask));
  return _mm256_permute4x64_epi64(packed, 0xd8);  // packing takes its operands by turns
}

HANDFUL_LANE_FUNCTION void store_bytes(char* to, Floats x, int32_t zero) {
  const __m256i offset = _mm256_set1_epi32(zero);
  const __m256i halves = low_halves(_mm256_add_epi32(_mm256_cvtps_epi32(x.low), offset),
                                    _mm256_add_epi32(_mm256_cvtps_epi32(x.high), offset));
  const __m256i bytes = _mm256_and_si256(halves, _mm256_set1_epi16(0xff));
  const __m128i packed = _mm_packus_epi16(_mm256_castsi256_si128(bytes), _mm256_extracti128_si256(bytes, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(to), packed);
}

// Four vectors, rounded, as 64 bytes + zero.
HANDFUL_LANE_FUNCTION void store_64_bytes(char* to, Floats a, Floats b, Floats c, Floats d, int32_t zero) {
  store_bytes(to, a, zero), store_bytes(to + 16, b, zero), store_bytes(to + 32, c, zero), store_bytes(to + 48, d, zero);
}

// Of bfloat16 there are no masked loads and stores: what isn't whole goes through memory. Masks are of first lanes.
HANDFUL_LANE_FUNCTION Floats load16(const char* from, Mask real, int32_t type) {
  if (type == kFloat32) return load(reinterpret_cast<const float*>(from), real);
  alignas(32) char some[32] = {};
  if (real != 0xffff) from = static_cast<char*>(std::memcpy(some, from, __builtin_popcount(real) * 2));
  const __m128i* at = reinterpret_cast<const __m128i*>(from);
  const __m256i low = _mm256_cvtepu16_epi32(_mm_loadu_si128(at)), high = _mm256_cvtepu16_epi32(_mm_loadu_si128(at + 1));
  return as_floats({_mm256_slli_epi32(low, 16), _mm256_slli_epi32(high, 16)});
}

HANDFUL_LANE_FUNCTION __m256i high_half_rounded(__m256 x) {
  const __m256i bits = _mm256_castps_si256(x);
  const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
  const __m256i rounded = _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7fff)), odd);
  const __m256i unordered = _mm256_castps_si256(_mm256_cmp_ps(x, x, _CMP_UNORD_Q));
  return _mm256_srli_epi32(_mm256_blendv_epi8(rounded, _mm256_set1_epi32(0x7fc00000), unordered), 16);
}

HANDFUL_LANE_FUNCTION void store16(char* to, Floats x, Mask real, int32_t type) {
  if (type == kFloat32) return store(reinterpret_cast<float*>(to), x, real);
  alignas(32) __m256i narrow = low_halves(high_half_rounded(x.low), high_half_rounded(x.high));
  if (real == 0xffff) _mm256_storeu_si256(reinterpret_cast<__m256i*>(to), narrow);
  else std::memcpy(to, &narrow, __builtin_popcount(real) * 2);
}

template <int Minus>
HANDFUL_LANE_FUNCTION __m256 with_minus(__m256 x) {
  return _mm256_blend_ps(x, -x, Minus);
}
template <int S>
HANDFUL_LANE_FUNCTION Floats add_in_pairs(Floats x) {
  if constexpr (S == 1)
    return {_mm256_permute_ps(x.low, 0xb1) + with_minus<0x66>(x.low),
            _mm256_permute_ps(x.high, 0xb1) + with_minus<0x66>(x.high)};
  else if constexpr (S == 2)
    return {_mm256_permute_ps(x.low, 0x4e) + with_minus<0xcc>(x.low),
            _mm256_permute_ps(x.high, 0x4e) + with_minus<0xcc>(x.high)};
  else if constexpr (S == 4)
    return {_mm256_permute2f128_ps(x.low, x.low, 1) + with_minus<0xf0>(x.low),
            _mm256_permute2f128_ps(x.high, x.high, 1) + with_minus<0x0f>(x.high)};
  else return {x.low + x.high, x.low - x.high};
}

// 8 rows of 8 lanes become columns.
HANDFUL_LANE_FUNCTION void transpose(__m256i* x) {
  __m256i y[8];
  for (int i = 0; i < 8; i += 2) {
    y[i] = _mm256_unpacklo_epi32(x[i], x[i + 1]);
    y[i + 1] = _mm256_unpackhi_epi32(x[i], x[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {  // half g of x[i + j] now holds column 4 g + j of rows i .. i + 3
    x[i] = _mm256_unpacklo_epi64(y[i], y[i + 2]);
    x[i + 1] = _mm256_unpackhi_epi64(y[i], y[i + 2]);
    x[i + 2] = _mm256_unpacklo_epi64(y[i + 1], y[i + 3]);
    x[i + 3] = _mm256_unpackhi_epi64(y[i + 1], y[i + 3]);
  }
  for (int j = 0; j < 4; ++j) {
    y[j] = _mm256_permute2x128_si256(x[j], x[4 + j], 0x20);
    y[4 + j] = _mm256_permute2x128_si256(x[j], x[4 + j], 0x31);
  }
  for (int i = 0; i < 8; ++i) x[i] = y[i];
}

HANDFUL_LANES inline void transpose(Ints* x) {
  for (int rows = 0; rows < 16; rows += 8) {
    __m256i low[8], high[8];
    for (int i = 0; i < 8; ++i) low[i] = x[rows + i].low, high[i] = x[rows + i].high;
    transpose(low);
    transpose(high);
    for (int i = 0; i < 8; ++i) x[rows + i] = {low[i], high[i]};
  }
  // Quarters [0 1; 2 3] are turned within themselves: 1 and 2 change places, and halves of a row come together.
  for (int i = 0; i < 8; ++i) {
    const __m256i right = x[i].high;
    x[i].high = x[8 + i].low;
    x[8 + i] = {right, x[8 + i].high};
  }
}

}  // namespace handful::avx2
