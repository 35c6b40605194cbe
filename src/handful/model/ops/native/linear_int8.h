// int8 products: what quantising, multiplying and finishing share. Layout and meaning: ops/linear_int8.py.
#pragma once

#include <cstdint>

namespace handful {

enum Activation : int32_t { kNone = 0, kGelu = 1, kGeluTanh = 2, kRelu = 3, kSilu = 4 };
enum Norm : int32_t { kNoNorm = 0, kLayerNorm = 1, kRmsNorm = 2 };
enum Type : int32_t { kFloat32 = 0, kBFloat16 = 1 };

constexpr int64_t kPanel = 32;     // columns of a panel: two registers of 16; gated: 16 of the gate, then 16 of up
constexpr int32_t kZeroByte = 128;  // what 0 is in activations without a sign

inline int64_t type_bytes(int32_t type) { return type == kBFloat16 ? 2 : 4; }

// One packed layer. Arrays by column are padded to whole panels, arrays by input to padded_in.
struct Int8Linear {
  const int8_t* panels;      // [panels][padded_in / 4][32][4]
  const float* scales;       // of the weight's columns
  const int32_t* offsets;    // -128 * the column's sum: what the +128 of the activations adds, taken back
  const float* bias;         // zeros where the layer has none
  const float* norm_weight;  // null where there is no norm
  const float* norm_bias;
  int64_t in;
  int64_t padded_in;  // a multiple of 64
  int64_t num_out;    // columns of the result (gated: half of the product's)
  int32_t activation;
  int32_t gated;
  int32_t norm;  // of the input, before it is quantised
  float norm_eps;
};

// Activations [rows][in], `stride` bytes from row to row.
struct Input {
  const char* x;
  int64_t rows;
  int64_t stride;
  int32_t type;
};

// One row to layer.padded_in bytes; returns its scale. `scratch` holds padded_in floats.
float quantise_row(const Int8Linear& layer, const Input& input, int64_t row, int32_t zero_byte, float* scratch,
                   uint8_t* bytes);

}  // namespace handful
