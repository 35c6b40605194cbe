// One linear layer: which product it takes.

#include "linear.h"

#include "handful.h"

// Below this, tiles of 16 rows would be mostly empty. The sums of bytes are exact, so all products give the same bits;
// in bfloat16 they would not, so there the number of rows decides nothing.
constexpr int64_t kLeastRowsOfTiles = 12;

HANDFUL_API void handful_linear(const handful::Layer* layer, const handful::LinearCall* call) {
  using namespace handful;
  if (call->rows == 0) return;
  const bool tiles = call->features & kAmx;
  if (tiles && (layer->type == kBFloat16 || call->rows >= kLeastRowsOfTiles)) return multiply_amx(*layer, *call);
  if (layer->type == kBFloat16) return multiply_bf16(*layer, *call);
  if (call->features & kAvx512Vnni && call->features & kAvx512Bf16) return multiply_vnni_bf16(*layer, *call);
  if (call->features & kAvx512Vnni) return multiply_vnni(*layer, *call);
  if (call->features & kAvxVnni) return multiply_avx_vnni(*layer, *call);
  multiply_avx2(*layer, *call);
}

HANDFUL_API void handful_largest(const handful::Layer* layer, const handful::Screen* screen,
                                 const handful::LinearCall* call, int64_t* found) {
  using namespace handful;
  if (call->features & kAvx512Vnni) return largest_vnni(*layer, *screen, *call, found);
  if (call->features & kAvxVnni) return largest_avx_vnni(*layer, *screen, *call, found);
  largest_avx2(*layer, *screen, *call, found);
}
