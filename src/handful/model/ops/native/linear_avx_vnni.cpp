// The product of bytes with AVX-VNNI (256 bits): sums are exact integers.

#include "handful.h"
#include "lanes_avx2.h"
#include "linear.h"
// (the order matters: each is written over those before it)
#include "linear_epilogue.h"
#define HANDFUL_TARGET HANDFUL_AVX_VNNI

namespace {

using handful::avx2::Ints;

struct Number {
  using Sum = int32_t;
  using Sums = Ints;
  using Round = handful::avx2::RoundByHand;
  static constexpr bool kScaled = true;
  static constexpr int kMostRows = 6, kVectors = 6;
  static constexpr int32_t kZeroByte = handful::kZeroByte;

  HANDFUL_TARGET static inline Sums start(const handful::Layer& layer, int64_t column) {
    return handful::avx2::load_ints(layer.offsets + column);
  }
  HANDFUL_TARGET static inline Sums multiply_add(Sums sums, Ints x, Ints weights) {
    return {_mm256_dpbusd_avx_epi32(sums.low, x.low, weights.low),
            _mm256_dpbusd_avx_epi32(sums.high, x.high, weights.high)};
  }
  HANDFUL_TARGET static inline void put(Sum* to, Sums sums) { handful::avx2::store_ints(to, sums); }
};

}  // namespace

#include "linear_lanes.h"

void handful::multiply_avx_vnni(const Layer& layer, const LinearCall& call) { multiply(layer, call); }
