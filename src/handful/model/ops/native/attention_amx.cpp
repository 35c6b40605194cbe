// The attention kernel in bfloat16 with AMX.

#include "attention_elements_bf16.h"
#include "attention_tile_amx.h"
// (the order matters: the walk needs the arithmetic)
#include "attention_kernel.h"

HANDFUL_API int handful_attention_amx(const handful::Plan* plan, const handful::Call* call) {
  return attend_step<Exact>(*plan, *call);
}
