// Weights on their way into panels (linear.h): rows quantised to bytes, and laid out by 32 bits of a column.

#include <cstring>

#include "handful.h"
#include "linear.h"
#include "team.h"

namespace handful {

// Rows [num_out][row_bytes] without gaps -> panels [panels][padded_bytes / 4][32][4]; gated: gate above up.
struct Packing {
  const char* rows;
  char* panels;
  int64_t num_out, row_bytes, padded_bytes;
  int32_t gated, threads;
};

namespace {

// Which row stands in column `c` of a panel; -1 where it is padding.
int64_t row_of(const Packing& call, int64_t panel, int64_t c) {
  if (!call.gated) return panel * kPanel + c < call.num_out ? panel * kPanel + c : -1;
  const int64_t half = call.num_out / 2, row = panel * 16 + c % 16;
  return row < half ? row + (c < 16 ? 0 : half) : -1;
}

void pack_column(const char* row, int64_t row_bytes, int64_t padded_bytes, char* to) {
  constexpr int64_t kStep = kPanel * 4;
  const int64_t whole = row ? row_bytes / 4 : 0;
  for (int64_t i = 0; i < whole; i++) std::memcpy(to + i * kStep, row + i * 4, 4);
  for (int64_t i = whole; i < padded_bytes / 4; i++) std::memset(to + i * kStep, 0, 4);
  if (row && row_bytes % 4) std::memcpy(to + whole * kStep, row + whole * 4, row_bytes % 4);
}

}  // namespace
}  // namespace handful

HANDFUL_API void handful_pack(const handful::Packing* call) {
  using namespace handful;
  const int64_t columns = call->gated ? call->num_out / 2 : call->num_out, width = call->gated ? 16 : kPanel;
  const int64_t panels = (columns + width - 1) / width;
  share_out(panels, call->threads, [&](int64_t panel) {
    for (int64_t c = 0; c < kPanel; c++) {
      const int64_t row = row_of(*call, panel, c);
      const char* from = row < 0 ? nullptr : call->rows + row * call->row_bytes;
      char* to = call->panels + panel * kPanel * call->padded_bytes + c * 4;
      pack_column(from, call->row_bytes, call->padded_bytes, to);
    }
  });
}

HANDFUL_API void handful_quantise(const handful::Quantising* call) {
  if (call->features & handful::kAvx512) handful::avx512::quantise_weights(*call);
  else handful::avx2::quantise_weights(*call);
}
