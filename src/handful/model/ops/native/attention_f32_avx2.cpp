// The attention kernel in float32 with AVX2.

#include "lanes_avx2.h"
// (the order matters: each is written over those before it)
#include "attention_elements_f32.h"
#include "attention_tile.h"
// (the walk needs the arithmetic)
#include "attention_kernel.h"

HANDFUL_API int handful_attention_f32_avx2(const handful::Plan* plan, const handful::Call* call) {
  return attend_step<Exact>(*plan, *call);
}
