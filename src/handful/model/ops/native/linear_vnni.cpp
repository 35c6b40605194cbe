// The product of bytes with AVX-512 VNNI: sums are exact integers.

#include <immintrin.h>

#include "handful.h"
#include "linear.h"
#include "linear_epilogue.h"
#define HANDFUL_TARGET HANDFUL_AVX512_VNNI

namespace {

struct Number {
  using Sum = int32_t;
  using Sums = __m512i;
  using Round = handful::RoundByHand;
  static constexpr bool kScaled = true;

  HANDFUL_TARGET static inline Sums start(const handful::Layer& layer, int64_t column) {
    return _mm512_loadu_si512(layer.offsets + column);
  }
  HANDFUL_TARGET static inline Sums multiply_add(Sums sums, __m512i x, __m512i weights) {
    return _mm512_dpbusd_epi32(sums, x, weights);
  }
  HANDFUL_TARGET static inline void store(Sum* to, Sums sums) { _mm512_store_si512(to, sums); }
};

}  // namespace

#include "linear_lanes.h"

void handful::multiply_vnni(const Layer& layer, const LinearCall& call) { multiply(layer, call); }
