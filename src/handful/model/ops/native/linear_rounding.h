// Weights to whole numbers, so that a row's errors cancel out in what its inputs have most of.
//
// a_j (16 numbers for column j) are the inputs' principal directions, in units of all else (directions.py), and e_j is what
// rounding adds to column j's weight. Columns are rounded from the first to the last. Each is moved beforehand by what makes
// the errors behind it, e = sum of e_i a_i, smallest, if all columns to come were free to move along with it:
//
//   w_j - b_j . e,   b_j = (I + sum over i >= j of a_i a_i^T)^-1 a_j
//
// This is optimal brain quantisation in GPTQ's order (Frantar et al. 2022, arXiv 2210.17323) for inputs whose second moments
// are those of 16 directions and the same in all others.
//
// Compiled for the lanes that were included before it.
#pragma once

#include <vector>

#include "handful.h"

namespace handful::HANDFUL_LEVEL {
namespace {

constexpr int kDirections = 16;

// b [count][16] of a [count][16]: from the last column to the first the inverse grows by one term (Sherman and Morrison).
HANDFUL_LANES void corrections(const float* a, int64_t count, float* b) {
  alignas(64) float inverse[kDirections][16] = {}, moved[16];
  for (int i = 0; i < kDirections; ++i) inverse[i][i] = 1.0f;
  for (int64_t j = count - 1; j >= 0; --j) {
    const float* column = a + j * kDirections;
    Floats product = all(0.0f);
    for (int i = 0; i < kDirections; ++i) product = multiply_add(all(column[i]), load(inverse[i]), product);
    const Floats correction = product * all(1.0f / (1.0f + sum_of_lanes(product * load(column))));
    store(b + j * kDirections, correction);
    store(moved, product);
    for (int i = 0; i < kDirections; ++i)
      store(inverse[i], subtract_product(load(inverse[i]), all(moved[i]), correction));
  }
}

// Columns of 16 rows, a lane each.
struct Errors {
  Floats along[kDirections];  // e of each row
};

HANDFUL_LANE_FUNCTION Floats round_column(Floats weights, const float* a, const float* b, Errors& errors) {
  Floats parts[4] = {weights, all(0.0f), all(0.0f), all(0.0f)};  // side by side: none waits for the one before
#pragma GCC unroll 16
  for (int i = 0; i < kDirections; ++i) parts[i % 4] = subtract_product(parts[i % 4], all(b[i]), errors.along[i]);
  const Floats moved = (parts[0] + parts[1]) + (parts[2] + parts[3]);
  const Floats rounded = most(least(whole(moved), all(127.0f)), all(-127.0f));
  const Floats error = rounded - weights;
#pragma GCC unroll 16
  for (int i = 0; i < kDirections; ++i) errors.along[i] = multiply_add(all(a[i]), error, errors.along[i]);
  return rounded;
}

// Rows [16][count] in units of their scales, in place; `count` is a multiple of 16, a and b [count][16].
HANDFUL_LANES void round_together(float* rows, int64_t count, const float* a, const float* b) {
  Errors errors;
  for (int i = 0; i < kDirections; ++i) errors.along[i] = all(0.0f);
  for (int64_t first = 0; first < count; first += 16) {
    Ints block[16];
    alignas(64) float columns[16][16];
    for (int r = 0; r < 16; ++r) block[r] = load_ints(rows + r * count + first);
    transpose(block);
    for (int c = 0; c < 16; ++c) {
      const int64_t at = (first + c) * kDirections;
      store(columns[c], round_column(as_floats(block[c]), a + at, b + at, errors));
    }
    for (int c = 0; c < 16; ++c) block[c] = load_ints(columns[c]);
    transpose(block);
    for (int r = 0; r < 16; ++r) store_ints(rows + r * count + first, block[r]);
  }
}

}  // namespace
}  // namespace handful::HANDFUL_LEVEL
