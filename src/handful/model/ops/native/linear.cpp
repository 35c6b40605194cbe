// One linear layer: which product it takes.

#include "linear.h"

#include "handful.h"

// Below this, tiles of 16 rows would be mostly empty. The sums of bytes are exact, so both products give the same bits.
constexpr int64_t kLeastRowsOfTiles = 12;

HANDFUL_API void handful_linear(const handful::Layer* layer, const handful::LinearCall* call) {
  using namespace handful;
  if (call->rows == 0) return;
  if (layer->type == kBFloat16 || (call->tiles && call->rows >= kLeastRowsOfTiles)) {
    multiply_amx(*layer, *call);
  } else {
    multiply_vnni(*layer, *call);
  }
}
