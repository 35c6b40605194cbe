// The product of bytes with AVX-512 VNNI: sums are exact integers.

#include "handful.h"
#include "lanes_avx512.h"
#include "linear.h"
// (the order matters: each is written over those before it)
#include "linear_epilogue.h"
#define HANDFUL_TARGET HANDFUL_AVX512_VNNI

namespace {

struct Number {
  using Sum = int32_t;
  using Sums = __m512i;
  using Round = handful::avx512::RoundByHand;
  static constexpr bool kScaled = true;
  static constexpr int kMostRows = 14, kVectors = 28;
  static constexpr int32_t kZeroByte = handful::kZeroByte;

  HANDFUL_TARGET static inline Sums start(const handful::Layer& layer, int64_t column) {
    return _mm512_loadu_si512(layer.offsets + column);
  }
  HANDFUL_TARGET static inline Sums multiply_add(Sums sums, __m512i x, __m512i weights) {
    return _mm512_dpbusd_epi32(sums, x, weights);
  }
  HANDFUL_TARGET static inline void put(Sum* to, Sums sums) { _mm512_store_si512(to, sums); }
};

}  // namespace

#include "linear_lanes.h"

void handful::multiply_vnni(const Layer& layer, const LinearCall& call) { multiply(layer, call); }
