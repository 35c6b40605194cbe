// Rows of activations, normed if the layer asks for it, on their way to being multiplied, and as bytes with one scale a
// row (bytes.h). Weights become bytes in the same way.
//
// Compiled for the lanes that were included before it.
#pragma once

#include <cmath>
#include <vector>

#include "bytes.h"
#include "hadamard.h"
#include "handful.h"
#include "linear.h"
#include "team.h"

namespace handful::HANDFUL_LEVEL {
namespace {

HANDFUL_LANES void normalise(const Layer& layer, float* x) {
  const float count = static_cast<float>(layer.in);
  Floats mean = all(0.0f);
  if (layer.norm == kLayerNorm) {
    Floats sum = mean;
    for (int64_t i = 0; i < layer.padded_in; i += 16) sum = sum + load(x + i);
    mean = all(sum_of_lanes(sum) / count);
  }
  Floats squares = all(0.0f);
  for (int64_t i = 0; i < layer.in; i += 16) {
    const Floats away = select(first16(layer.in - i), load(x + i) - mean, all(0.0f));
    squares = multiply_add(away, away, squares);
  }
  const Floats factor = all(1.0f / std::sqrt(sum_of_lanes(squares) / count + layer.norm_eps));
  for (int64_t i = 0; i < layer.padded_in; i += 16) {
    const Floats unit = (load(x + i) - mean) * factor;
    // the padding's weight and bias are 0
    store(x + i, multiply_add(unit, load(layer.norm_weight + i), load(layer.norm_bias + i)));
  }
}

// A row as floats, normed and mixed.
HANDFUL_LANES void read_row(const Layer& layer, const LinearCall& call, int64_t row, float* to) {
  const char* x = call.x + row * call.stride;
  for (int64_t i = 0; i < layer.padded_in; i += 16) {
    store(to + i, load16(x + i * type_bytes(call.type), first16(layer.in - i), call.type));
  }
  if (layer.norm != kNoNorm) normalise(layer, to);
  if (layer.rotation) hadamard(to, layer.padded_in, layer.rotation);
}

void prepare_bytes(const Layer& layer, const LinearCall& call, RowOrder order, int64_t first, int64_t end) {
  std::vector<float> values(layer.padded_in);
  for (int64_t row = first; row < end; row++) {
    read_row(layer, call, row, values.data());
    char* to = call.packed + order.start(row, layer.row_bytes());
    call.scales[row] = quantise(values.data(), layer.padded_in, order.zero_byte, to, order.step());
  }
}

// A row of a weight, scaled and mixed.
HANDFUL_LANES void read_weights(const Quantising& call, int64_t row, float* to) {
  const char* from = call.rows + row * call.in * type_bytes(call.type);
  for (int64_t i = 0; i < call.in; i += 16) {
    const Mask real = first16(call.in - i);
    Floats x = load16(from + i * type_bytes(call.type), real, call.type);
    if (call.factors) x = x * load(call.factors + i, real);
    store(to + i, x, real);
  }
  if (!call.rotation) return;
  hadamard(to, call.in, call.rotation);
  const Floats scale = all(1.0f / static_cast<float>(call.rotation));  // a power of two: exact
  for (int64_t i = 0; i < call.in; i += 16) store(to + i, load(to + i) * scale);
}

inline int32_t sum_of(const int8_t* bytes, int64_t count) {
  int32_t sum = 0;
  for (int64_t i = 0; i < count; i++) sum += bytes[i];
  return sum;
}

}  // namespace

void quantise_weights(const Quantising& call) {
  const int64_t padded = (call.in + 15) / 16 * 16;
  share_out_rows(call.num_out, kRowsToPrepare, call.threads, [&](int64_t first, int64_t end) {
    std::vector<float> values(padded);
    std::vector<char> bytes(padded);
    for (int64_t row = first; row < end; row++) {
      read_weights(call, row, values.data());
      call.scales[row] = quantise(values.data(), padded, 0, bytes.data(), 64);
      call.sums[row] = sum_of(reinterpret_cast<const int8_t*>(bytes.data()), call.in);
      std::memcpy(call.bytes + row * call.in, bytes.data(), call.in);
    }
  });
}

}  // namespace handful::HANDFUL_LEVEL
