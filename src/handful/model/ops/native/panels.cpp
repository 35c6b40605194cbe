// Weights on their way into panels (linear.h): rows quantised to bytes, laid out by 32 bits of a column, and the four
// upper bits of those that lie there.

#include <algorithm>
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

// Panels of bytes -> a screen's nibbles (linear.h), the sums of a column's and what squares their lower bits have.
struct Screening {
  const int8_t* panels;  // [panels][padded_in / 4][32][4]
  uint8_t* nibbles;
  int32_t* sums;
  float* squares;
  int64_t num_panels, padded_in;
  int32_t threads;
};

namespace {

void screen_panel(const Screening& call, int64_t panel) {
  constexpr int64_t kStep = kPanel * 4;
  const int8_t* from = call.panels + panel * kPanel * call.padded_in;
  uint8_t* to = call.nibbles + panel * kPanel * call.padded_in / 2;
  int32_t sums[kStep] = {}, squares[kStep] = {};
  for (int64_t pair = 0; pair < call.padded_in / 8; pair++, from += 2 * kStep, to += kStep) {
    for (int64_t i = 0; i < kStep; i++) {
      const int low = std::min((from[i] + 8) >> 4, 7), high = std::min((from[kStep + i] + 8) >> 4, 7);
      const int left = from[i] - 16 * low, right = from[kStep + i] - 16 * high;
      to[i] = static_cast<uint8_t>((low + 8) | (high + 8) << 4);
      sums[i] += low + high + 16;
      squares[i] += left * left + right * right;  // below 2^31 for 65,536 inputs
    }
  }
  for (int64_t c = 0; c < kPanel; c++) {
    call.sums[panel * kPanel + c] = sums[4 * c] + sums[4 * c + 1] + sums[4 * c + 2] + sums[4 * c + 3];
    call.squares[panel * kPanel + c] = static_cast<float>(squares[4 * c]) + static_cast<float>(squares[4 * c + 1]) +
                                       static_cast<float>(squares[4 * c + 2]) + static_cast<float>(squares[4 * c + 3]);
  }
}

}  // namespace
}  // namespace handful

HANDFUL_API void handful_screen(const handful::Screening* call) {
  using namespace handful;
  share_out(call->num_panels, call->threads, [&](int64_t panel) { screen_panel(*call, panel); });
}

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
