// The attention kernel in float32: one element a lane, fused multiply-add.

// GCC 12 warns of its own intrinsics, whose "undefined" arguments are never read.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#include "handful.h"
#define HANDFUL_TARGET HANDFUL_AVX512

namespace {

struct Elements {
  using Type = float;
  static constexpr int kPerLane = 1;

  HANDFUL_TARGET static inline __mmask16 mask(int count) {
    return static_cast<__mmask16>(count >= 16 ? 0xffffu : (1u << count) - 1);
  }
  HANDFUL_TARGET static inline __m512i load(const Type* from, int count) {
    return _mm512_maskz_loadu_epi32(mask(count), from);
  }
  HANDFUL_TARGET static inline __m512i zip(const Type* first, const Type*, int count) { return load(first, count); }
  HANDFUL_TARGET static inline __m512 multiply_add(__m512 sum, __m512i a, __m512i b) {
    return _mm512_fmadd_ps(_mm512_castsi512_ps(a), _mm512_castsi512_ps(b), sum);
  }
  HANDFUL_TARGET static inline void store_pair(uint32_t* to, __m512 first, __m512 second) {
    _mm512_storeu_ps(to, first);
    _mm512_storeu_ps(to + 16, second);
  }
  HANDFUL_TARGET static inline void store(Type* to, __m512 x, int count) { _mm512_mask_storeu_ps(to, mask(count), x); }

  // 2^f for |f| <= 1/2 to 2e-9 before rounding, and exactly 1 at 0: least largest relative error, by our own fit.
  HANDFUL_TARGET static inline __m512 exp2_fraction(__m512 f) {
    __m512 y = _mm512_fmadd_ps(_mm512_set1_ps(1.5353362e-4f), f, _mm512_set1_ps(1.3398874e-3f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(9.618437e-3f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(5.5503324e-2f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(2.4022648e-1f));
    y = _mm512_fmadd_ps(y, f, _mm512_set1_ps(6.9314718e-1f));
    return _mm512_fmadd_ps(y, f, _mm512_set1_ps(1.0f));
  }
};

}  // namespace

#include "attention_tile.h"
// (the order matters: the walk needs the arithmetic)
#include "attention_kernel.h"

HANDFUL_API int handful_attention_f32(const handful::Plan* plan, const handful::Call* call) {
  return attend_step(*plan, *call);
}
