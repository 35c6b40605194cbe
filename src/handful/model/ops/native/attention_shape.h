// What the arithmetic and the packing of the attention share. Included once for each element type and processor
// (`Elements`, `HANDFUL_TARGET`, and the lanes before them), so everything is in an unnamed namespace.
//
// Packed, all in 32-bit lanes of `kPerLane` elements (so that one loop serves both types):
//   keys    [steps over head_dim][64 keys]              scores of 16 keys grow in one register
//   values  [steps over the keys][head_dim, padded]     outputs of 16 dimensions grow in one register
//   q, p    [row][steps]                                broadcast lane by lane
// These are also the operands of an AMX product of bfloat16: q and p its rows, keys and values its columns by pairs.
#pragma once

#include <cstdlib>
#include <cstring>

#include "attention.h"

namespace {

using namespace handful::HANDFUL_LEVEL;
using handful::kMostDimensions;
using handful::kTileKeys;

constexpr int kLanes = 16;
constexpr int kChunkRows = 96;  // stacked rows that share a tile while it is in the first-level cache
constexpr float kLowest = -1e30f;  // stands for "no score yet"; finite, so that differences of it are no NaN

inline int rounded_up(int count, int step) { return (count + step - 1) / step * step; }

// Shapes that stay the same for a whole call.
struct Shape {
  int head_dim, num_vectors, padded_dim;  // padded_dim = 16 * num_vectors >= head_dim
  int q_steps;                            // lanes of a query or key, in whole products
  float scale_log2;                       // the scores' scale, times log2(e)
};

struct PackedTile {
  const uint32_t* keys;
  const uint32_t* values;
  int num_keys;
};

// The running softmax of stacked rows (rows by heads) that follow one another: sums of p * v, of p by lane, maximum.
struct States {
  float* out;   // [rows][padded_dim]
  float* sums;  // [rows][16]
  float* tops;  // [rows]

  HANDFUL_TARGET States from(const Shape& shape, int64_t row) const {
    return {out + row * shape.padded_dim, sums + row * kLanes, tops + row};
  }
};

HANDFUL_TARGET inline int64_t state_floats(const Shape& shape) { return shape.padded_dim + kLanes + 1; }

// 2^x for x up to 8; far below 0, 0.
HANDFUL_TARGET inline Floats exp2_negative(Floats x) {
  const Floats power = whole(x);
  return times_power_of_2(Elements::exp2_fraction(x - power), power);
}

}  // namespace
