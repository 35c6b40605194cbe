// The attention kernel in bfloat16 with AVX-512.

#include "attention_elements_bf16.h"
#include "attention_tile.h"
#include "attention_bytes.h"
// (the order matters: the walk needs the arithmetic)
#include "attention_kernel.h"

// Bytes of a tile of 64 keys under a key head, as they are kept.
HANDFUL_API int64_t handful_kept_tile_bytes(int64_t head_dim) {
  return Bytes::tile_lanes(shape_of({.head_dim = head_dim})) * 4;
}

HANDFUL_API int handful_attention_bf16(const handful::Plan* plan, const handful::Call* call) {
  return attend_step<Bytes>(*plan, *call);
}
