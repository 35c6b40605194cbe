// Rows on their way to being multiplied, with AVX2: bytes.

#include "lanes_avx2.h"
// (the order matters: rows are written over the lanes)
#include "linear_rows.h"

void handful::avx2::prepare_rows(const Layer& layer, const LinearCall& call, RowOrder order, int64_t first,
                                 int64_t end) {
  prepare_bytes(layer, call, order, first, end);
}
