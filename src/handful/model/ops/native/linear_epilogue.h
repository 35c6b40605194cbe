// From sums to results: scale, bias, activation, gate, rounding. Compiled for the lanes that were included before it, and
// what rounds for HANDFUL_TARGET: a processor's own rounding is a call where the function around it may not use it.
#pragma once

#include "handful.h"
#include "linear.h"

namespace handful::HANDFUL_LEVEL {

// e^x to about 2 units in the last place; x is clamped to where e^x is a normal number. NaN stays NaN.
HANDFUL_LANES inline Floats exp16(Floats x) {
  const Floats bounded = most(all(-87.0f), least(all(88.0f), x));  // x second: what comes back when it is NaN
  const Floats power = whole(bounded * all(1.44269504f));
  Floats r = subtract_product(bounded, power, all(0.693359375f));
  r = subtract_product(r, power, all(-2.12194440e-4f));
  Floats p = all(1.9875691500e-4f);  // minimax polynomial of Cephes' expf
  p = multiply_add(p, r, all(1.3981999507e-3f));
  p = multiply_add(p, r, all(8.3334519073e-3f));
  p = multiply_add(p, r, all(4.1665795894e-2f));
  p = multiply_add(p, r, all(1.6666665459e-1f));
  p = multiply_add(p, r, all(5.0000001201e-1f));
  p = multiply_add(p, r * r, r + all(1.0f));
  return times_power_of_2(p, power);
}

// x / (1 + e^-z): silu with z = x, gelu_tanh with z = 2 sqrt(2 / pi) (x + 0.044715 x^3).
HANDFUL_LANES inline Floats sigmoid_times(Floats x, Floats z) {
  return x * reciprocal(all(1.0f) + exp16(all(0.0f) - z));
}

HANDFUL_LANES inline Floats gelu_tanh16(Floats x) {
  const Floats cubic = multiply_add(x * x, all(0.0713548162726f), all(1.59576912161f));
  return sigmoid_times(x, x * cubic);
}

// x Phi(x), with the error function of Abramowitz and Stegun 7.1.26 (absolute error below 2e-7).
HANDFUL_LANES inline Floats gelu16(Floats x) {
  const Floats one = all(1.0f), z = magnitude(x) * all(0.70710678f);
  const Floats t = divide(one, multiply_add(z, all(0.3275911f), one));
  Floats p = all(1.061405429f);
  p = multiply_add(p, t, all(-1.453152027f));
  p = multiply_add(p, t, all(1.421413741f));
  p = multiply_add(p, t, all(-0.284496736f));
  p = multiply_add(p, t, all(0.254829592f));
  const Floats tail = p * t * exp16(all(0.0f) - z * z);
  const Floats half_tail = all(0.5f) * tail;  // 1 - Phi(|x|)
  return x * select(is_negative(x), half_tail, one - half_tail);
}

HANDFUL_LANES inline Floats activate16(Floats x, int32_t activation) {
  switch (activation) {
    case kGelu: return gelu16(x);
    case kGeluTanh: return gelu_tanh16(x);
    case kRelu: return most(all(0.0f), x);  // NaN stays NaN
    case kSilu: return sigmoid_times(x, x);
    default: return x;
  }
}

// Where results go: [rows][num_out] without gaps, added to `residual` of the same shape and type if there is one.
struct Output {
  char* out;
  const char* residual;
  int32_t type;
};

// How results are rounded to bfloat16 where the processor can't. (RoundByProcessor: lanes_avx512.h)
struct RoundByHand {
  HANDFUL_LANE_FUNCTION static void put(char* to, Floats x, Mask real, int32_t type) { store16(to, x, real, type); }
};

namespace {

// 16 results to byte `offset`; those that aren't real are not written.
template <class Round>
HANDFUL_TARGET inline void put_real(Floats x, const Output& to, int64_t offset, Mask real) {
  if (to.residual != nullptr) x = x + load16(to.residual + offset, real, to.type);
  Round::put(to.out + offset, x, real, to.type);
}

// 16 results to `at` (an index into the whole of the output); `left` columns are real, the rest is not written.
template <class Round>
HANDFUL_TARGET inline void put16(Floats x, const Output& to, int64_t at, int64_t left) {
  const int64_t offset = at * type_bytes(to.type);
  if (left >= 16) put_real<Round>(x, to, offset, 0xffff);  // a constant, so the store is a plain one
  else put_real<Round>(x, to, offset, first16(left));
}

// 16 sums of a row of a panel, with their scale and bias: whole numbers of an int8 product, or those of bfloat16.
HANDFUL_LANES inline Floats scaled16(const Layer& layer, int64_t column, const int32_t* sums, float row_scale) {
  const Floats scale = all(row_scale) * load(layer.scales + column);
  return multiply_add(to_floats(load_ints(sums)), scale, load(layer.bias + column));
}

HANDFUL_LANES inline Floats scaled16(const Layer& layer, int64_t column, const float* sums, float) {
  return load(sums) + load(layer.bias + column);
}

// One row of one panel: its 32 sums -> scale, bias, activation, gate, residual -> results.
template <class Round, class Sum>
HANDFUL_TARGET inline void finish(const Layer& layer, int64_t row, int64_t panel, const Sum* sums, float row_scale,
                                 const Output& to) {
  const int64_t at = panel * kPanel;
  const Floats x = scaled16(layer, at, sums, row_scale), y = scaled16(layer, at + 16, sums + 16, row_scale);
  const int64_t start = row * layer.num_out, column = layer.gated ? panel * 16 : at;
  const int64_t left = layer.num_out - column;
  if (layer.gated) {
    put16<Round>(activate16(x, layer.activation) * y, to, start + column, left);
    return;
  }
  put16<Round>(activate16(x, layer.activation), to, start + column, left);
  if (left > 16) put16<Round>(activate16(y, layer.activation), to, start + column + 16, left - 16);
}

}  // namespace

}  // namespace handful::HANDFUL_LEVEL
