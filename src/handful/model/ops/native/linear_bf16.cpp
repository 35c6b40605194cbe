// The product of bfloat16 with AVX-512 BF16: pairs are multiplied and added up in float32.

#include "handful.h"
#include "lanes_avx512.h"
#include "linear.h"
#define HANDFUL_TARGET HANDFUL_AVX512_BF16

namespace {

struct Number {
  using Sum = float;
  using Sums = __m512;
  using Round = handful::avx512::RoundByProcessor;
  static constexpr bool kScaled = false;
  static constexpr int kMostRows = 14, kVectors = 28;
  static constexpr int32_t kZeroByte = 0;  // there are no bytes

  HANDFUL_TARGET static inline Sums start(const handful::Layer&, int64_t) { return _mm512_setzero_ps(); }
  HANDFUL_TARGET static inline Sums multiply_add(Sums sums, __m512i x, __m512i weights) {
    return _mm512_dpbf16_ps(sums, reinterpret_cast<__m512bh>(x), reinterpret_cast<__m512bh>(weights));
  }
  HANDFUL_TARGET static inline void put(Sum* to, Sums sums) { _mm512_store_ps(to, sums); }
};

}  // namespace

// (the order matters: the walk needs the arithmetic)
#include "linear_lanes.h"

void handful::multiply_bf16(const Layer& layer, const LinearCall& call) { multiply(layer, call); }
