// Weights on their way into panels (linear.h): rows quantised to bytes, and laid out by 32 bits of a column. AVX-512.

// GCC 12 warns of its own intrinsics, whose "undefined" arguments are never read.
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#include <immintrin.h>

#include <cstring>
#include <vector>

#include "hadamard.h"
#include "handful.h"
#include "linear.h"
#include "numbers.h"

namespace handful {

// Rows [num_out][row_bytes] without gaps -> panels [panels][padded_bytes / 4][32][4]; gated: gate above up.
struct Packing {
  const char* rows;
  char* panels;
  int64_t num_out, row_bytes, padded_bytes;
  int32_t gated, threads;
};

// Rows [num_out][in] of `type`, column i times factors[i] (or null), blocks of `rotation` mixed by a Hadamard matrix
// over their size (or 0: as they are) -> bytes, their scales and their sums.
struct Quantising {
  const char* rows;
  const float* factors;
  char* bytes;
  float* scales;
  int32_t* sums;
  int64_t num_out, in;
  int32_t type, rotation, threads;
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

int32_t sum_of(const int8_t* bytes, int64_t count) {
  int32_t sum = 0;
  for (int64_t i = 0; i < count; i++) sum += bytes[i];
  return sum;
}

HANDFUL_AVX512 void load_row(const Quantising& call, int64_t row, float* to) {
  const char* from = call.rows + row * call.in * type_bytes(call.type);
  for (int64_t i = 0; i < call.in; i += 16) {
    const __mmask16 real = first16(call.in - i);
    __m512 x = load16(from + i * type_bytes(call.type), real, call.type);
    if (call.factors) x = _mm512_mul_ps(x, _mm512_maskz_loadu_ps(real, call.factors + i));
    _mm512_mask_storeu_ps(to + i, real, x);
  }
  if (!call.rotation) return;
  hadamard(to, call.in, call.rotation);
  const __m512 scale = _mm512_set1_ps(1.0f / static_cast<float>(call.rotation));  // a power of two: exact
  for (int64_t i = 0; i < call.in; i += 16) _mm512_storeu_ps(to + i, _mm512_mul_ps(_mm512_loadu_ps(to + i), scale));
}

}  // namespace
}  // namespace handful

HANDFUL_API void handful_pack(const handful::Packing* call) {
  using namespace handful;
  const int64_t columns = call->gated ? call->num_out / 2 : call->num_out, width = call->gated ? 16 : kPanel;
  const int64_t panels = (columns + width - 1) / width;
#pragma omp parallel for schedule(static) num_threads(call->threads)
  for (int64_t panel = 0; panel < panels; panel++) {
    for (int64_t c = 0; c < kPanel; c++) {
      const int64_t row = row_of(*call, panel, c);
      const char* from = row < 0 ? nullptr : call->rows + row * call->row_bytes;
      char* to = call->panels + panel * kPanel * call->padded_bytes + c * 4;
      pack_column(from, call->row_bytes, call->padded_bytes, to);
    }
  }
}

HANDFUL_API void handful_quantise(const handful::Quantising* call) {
  using namespace handful;
#pragma omp parallel num_threads(call->threads)
  {
    const int64_t padded = (call->in + 15) / 16 * 16;
    std::vector<float> values(padded);
    std::vector<char> bytes(padded);
#pragma omp for schedule(static)
    for (int64_t row = 0; row < call->num_out; row++) {
      load_row(*call, row, values.data());
      call->scales[row] = quantise(values.data(), padded, 0, bytes.data(), 64);
      call->sums[row] = sum_of(reinterpret_cast<const int8_t*>(bytes.data()), call->in);
      std::memcpy(call->bytes + row * call->in, bytes.data(), call->in);
    }
  }
}
