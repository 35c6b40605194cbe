// Rows on their way to being multiplied, with AVX-512: bytes, or rounded to bfloat16.

#include "lanes_avx512.h"
// (the order matters: rows are written over the lanes)
#include "linear_rows.h"

namespace handful::avx512 {
namespace {

// Where products in bfloat16 are computed, the processor can also round to it.
HANDFUL_AVX512_BF16 void narrow(const Layer& layer, const float* x, char* to, int64_t step) {
  for (int64_t i = 0; i < layer.padded_in; i += 16) {
    RoundByProcessor::put(to + i / 32 * step + i % 32 * 2, load(x + i), 0xffff, kBFloat16);
  }
}

}  // namespace

void prepare_rows(const Layer& layer, const LinearCall& call, RowOrder order, int64_t first, int64_t end) {
  if (layer.type == kInt8) return prepare_bytes(layer, call, order, first, end);
  std::vector<float> values(layer.padded_in);
  for (int64_t row = first; row < end; row++) {
    read_row(layer, call, row, values.data());
    narrow(layer, values.data(), call.packed + order.start(row, layer.row_bytes()), order.step());
  }
}

}  // namespace handful::avx512
