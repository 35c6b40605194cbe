// The attention kernel in bfloat16 with AVX-512.

#include "attention_elements_bf16.h"
#include "attention_tile.h"
#include "attention_bytes.h"
// (the order matters: the walk needs the arithmetic)
#include "attention_kernel.h"

HANDFUL_API int handful_attention_bf16(const handful::Plan* plan, const handful::Call* call) {
  return attend_step<Bytes>(*plan, *call);
}
