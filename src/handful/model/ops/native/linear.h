// Products with packed weights: what preparing rows, multiplying and finishing share. Layout and meaning: linear.py.
#pragma once

#include <cstdint>

#include "handful.h"

namespace handful {

enum Activation : int32_t { kNone = 0, kGelu = 1, kGeluTanh = 2, kRelu = 3, kSilu = 4 };
enum Norm : int32_t { kNoNorm = 0, kLayerNorm = 1, kRmsNorm = 2 };

constexpr int64_t kPanel = 32;     // columns of a panel: two registers of 16; gated: 16 of the gate, then 16 of up
constexpr int64_t kRowsToPrepare = 16;  // by a thread at a time
constexpr int64_t kPanelsToScreen = 32;
constexpr int32_t kZeroByte = 128;  // what 0 is in activations without a sign, which is what VNNI multiplies

// One packed layer. Arrays by column are padded to whole panels, arrays by input to padded_in.
struct Layer {
  const char* panels;        // [panels][padded_in * bytes / 4][32][4 / bytes]
  const float* scales;       // int8: of the weight's columns
  const int32_t* offsets;    // int8: -128 * the column's sum: what the +128 of the activations adds, taken back
  const float* bias;         // zeros where the layer has none
  const float* norm_weight;  // not read where there is no norm
  const float* norm_bias;
  int64_t in;
  int64_t padded_in;  // a multiple of 64
  int64_t num_out;    // columns of the result (gated: half of the product's)
  int32_t type;       // of the weights: kInt8 or kBFloat16
  int32_t activation;
  int32_t gated;
  int32_t norm;  // of the input, before it is quantised or rounded
  int32_t rotation;  // int8: the size of the blocks that a Hadamard matrix mixes behind the norm; 0 for none
  float norm_eps;

  int64_t row_bytes() const { return padded_in * type_bytes(type); }
  int64_t num_panels() const { return gated ? (num_out + 15) / 16 : (num_out + kPanel - 1) / kPanel; }
};

// What one product reads and writes.
struct LinearCall {
  const char* x;         // [rows][in], `stride` bytes from row to row
  const char* residual;  // null, or [rows][num_out] without gaps
  char* out;             // [rows][num_out]
  char* packed;          // room for the rows as they are multiplied: whole blocks of 16 rows of row_bytes
  float* scales;         // int8: room for their scales
  int64_t rows, stride;
  int32_t type;      // of x
  int32_t out_type;  // of out and residual
  int32_t threads;
  int32_t features;  // instruction sets that may be used
};

// Four bits q of each of a layer's weights (int8, not gated), by which most columns are left out where only the largest
// result is wanted.
struct Screen {
  const char* nibbles;     // [panels][padded_in / 8][32][4]: 8 + q, step 2i in the lower half of a byte, then 2i + 1
  const int32_t* offsets;  // of columns: -128 * the sum of their nibbles
  const float* losses;     // of columns: the length of what the lower bits hold, times the scale
};

// Where the 64-byte pieces of a packed row go: one behind the other, or in AMX's order, 16 rows by 64 bytes.
struct RowOrder {
  int32_t zero_byte;  // int8: what 0 becomes
  bool in_tiles;

  int64_t start(int64_t row, int64_t row_bytes) const {
    return in_tiles ? row / 16 * 16 * row_bytes + row % 16 * 64 : row * row_bytes;
  }
  int64_t step() const { return in_tiles ? 16 * 64 : 64; }
};

// Rows [num_out][in] of `type`, column i times factors[i] (or null), blocks of `rotation` mixed by a Hadamard matrix
// over their size (or 0: as they are) -> bytes, their scales and their sums. Rounded to nearest, or along `directions`
// (linear_rounding.h; [in, padded to 16][16]).
struct Quantising {
  const char* rows;
  const float* factors;
  const float* directions;
  char* bytes;
  float* scales;
  int32_t* sums;
  int64_t num_out, in;
  int32_t type, rotation, threads;
  int32_t features;  // instruction sets that may be used
};

namespace avx512 {
// Rows [first, end), normed if the layer norms, as they are multiplied; int8: with their scales.
void prepare_rows(const Layer& layer, const LinearCall& call, RowOrder order, int64_t first, int64_t end);
void quantise_weights(const Quantising& call);
}  // namespace avx512

namespace avx2 {
void prepare_rows(const Layer& layer, const LinearCall& call, RowOrder order, int64_t first, int64_t end);  // int8 alone
void quantise_weights(const Quantising& call);
}  // namespace avx2

// Which of a row's results is the largest: linear_largest.h.
void largest_vnni(const Layer& layer, const Screen& screen, const LinearCall& call, int64_t* found);
void largest_avx_vnni(const Layer& layer, const Screen& screen, const LinearCall& call, int64_t* found);
void largest_avx2(const Layer& layer, const Screen& screen, const LinearCall& call, int64_t* found);

void multiply_vnni(const Layer& layer, const LinearCall& call);
void multiply_vnni_bf16(const Layer& layer, const LinearCall& call);  // rounds results to bfloat16 as multiply_amx does
void multiply_avx_vnni(const Layer& layer, const LinearCall& call);
void multiply_avx2(const Layer& layer, const LinearCall& call);
void multiply_bf16(const Layer& layer, const LinearCall& call);
void multiply_amx(const Layer& layer, const LinearCall& call);

}  // namespace handful

HANDFUL_API void handful_linear(const handful::Layer* layer, const handful::LinearCall* call);
HANDFUL_API void handful_largest(const handful::Layer* layer, const handful::Screen* screen,
                                 const handful::LinearCall* call, int64_t* found);
