// The product of bytes with AVX2 alone.
//
// vpmaddubsw multiplies bytes without a sign by bytes with one and adds two neighbours in 16 bits. The activation's sign
// goes over to the weight first: neither is ever -128, so a pair is at most 2 * 127 * 127 = 32,258, and nothing is lost.

#include "lanes_avx2.h"
// (the order matters: each is written over those before it)
#define HANDFUL_TARGET HANDFUL_AVX2
#define HANDFUL_ROUND handful::avx2::RoundByHand
#include "linear_bytes.h"

namespace {

struct Number : Bytes {
  static constexpr int kMostRows = 4, kVectors = 4;
  static constexpr int32_t kZeroByte = 0;

  HANDFUL_TARGET static inline Sums start(const handful::Layer&, int64_t) { return handful::avx2::all_ints(0); }
  HANDFUL_TARGET static inline __m256i multiply_add(__m256i sums, __m256i x, __m256i weights) {
    const __m256i pairs = _mm256_maddubs_epi16(_mm256_abs_epi8(x), _mm256_sign_epi8(weights, x));
    return _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)));
  }
  HANDFUL_TARGET static inline Sums multiply_add(Sums sums, Ints x, Ints weights) {
    return {multiply_add(sums.low, x.low, weights.low), multiply_add(sums.high, x.high, weights.high)};
  }
};

}  // namespace

#include "linear_largest.h"

void handful::multiply_avx2(const Layer& layer, const LinearCall& call) { multiply(layer, call); }

void handful::largest_avx2(const Layer& layer, const Screen& screen, const LinearCall& call, int64_t* found) {
  largest(layer, screen, call, found);
}
