// The product of bytes with AVX-VNNI (256 bits).

#include "lanes_avx2.h"
// (the order matters: each is written over those before it)
#define HANDFUL_TARGET HANDFUL_AVX_VNNI
#define HANDFUL_ROUND handful::avx2::RoundByHand
#include "linear_bytes.h"

namespace {

struct Number : UnsignedBytes {
  static constexpr int kMostRows = 6, kVectors = 6;

  HANDFUL_TARGET static inline Sums multiply_add(Sums sums, Ints x, Ints weights) {
    return {_mm256_dpbusd_avx_epi32(sums.low, x.low, weights.low),
            _mm256_dpbusd_avx_epi32(sums.high, x.high, weights.high)};
  }
};

}  // namespace

#include "linear_largest.h"

void handful::multiply_avx_vnni(const Layer& layer, const LinearCall& call) { multiply(layer, call); }

void handful::largest_avx_vnni(const Layer& layer, const Screen& screen, const LinearCall& call, int64_t* found) {
  largest(layer, screen, call, found);
}
