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
#include "linear_rounding.h"
#include "team.h"

namespace handful::HANDFUL_LEVEL {
namespace {

// A row of activations as it is handed over.
struct Source {
  const char* x;
  int64_t size;
  int32_t type;

  // 16 numbers from `i` on; zeros behind the last.
  HANDFUL_LANE_FUNCTION Floats at(int64_t i) const {
    const char* from = x + i * type_bytes(type);
    if (size - i >= 16) return load16(from, 0xffff, type);  // a constant, so the load is a plain one
    return load16(from, first16(size - i), type);
  }
};

// What a row's norm takes from its numbers, and by what it multiplies what is left.
struct Moments {
  Floats mean, factor;
};

HANDFUL_LANES inline Moments moments(const Layer& layer, const Source& from) {
  const float count = static_cast<float>(layer.in);
  Floats mean = all(0.0f);
  if (layer.norm == kLayerNorm) {
    Floats sum = mean;
    for (int64_t i = 0; i < layer.padded_in; i += 16) sum = sum + from.at(i);
    mean = all(sum_of_lanes(sum) / count);
  }
  Floats squares[4] = {all(0.0f), all(0.0f), all(0.0f), all(0.0f)};  // side by side: none waits for the one before
  for (int64_t i = 0; i < layer.padded_in; i += 64) {
    for (int64_t part = 0; part < 4; ++part) {
      const int64_t at = i + part * 16, left = layer.in - at;
      Floats away = from.at(at) - mean;
      if (left < 16) away = select(first16(left), away, all(0.0f));
      squares[part] = multiply_add(away, away, squares[part]);
    }
  }
  const Floats sum = (squares[0] + squares[1]) + (squares[2] + squares[3]);
  return {mean, all(1.0f / std::sqrt(sum_of_lanes(sum) / count + layer.norm_eps))};
}

// A row as floats, normed and mixed.
HANDFUL_LANES void read_row(const Layer& layer, const LinearCall& call, int64_t row, float* to) {
  const Source from{call.x + row * call.stride, layer.in, call.type};
  const bool normed = layer.norm != kNoNorm;
  const Moments found = normed ? moments(layer, from) : Moments{all(0.0f), all(1.0f)};
  for (int64_t i = 0; i < layer.padded_in; i += 64) {
    Floats x[4];
    for (int64_t part = 0; part < 4; ++part) {
      const int64_t at = i + part * 16;
      x[part] = from.at(at);
      if (!normed) continue;
      const Floats unit = (x[part] - found.mean) * found.factor;
      // the padding's weight and bias are 0
      x[part] = multiply_add(unit, load(layer.norm_weight + at), load(layer.norm_bias + at));
    }
    if (layer.rotation) hadamard<4>(x);
    for (int64_t part = 0; part < 4; ++part) store(to + i + part * 16, x[part]);
  }
  if (layer.rotation) mix_blocks_of_64(to, layer.padded_in, layer.rotation);
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

// Rounds a row that is in units of its scale; returns the sum of its bytes.
HANDFUL_LANES int32_t write_weights(const Quantising& call, int64_t row, const float* values) {
  char* to = call.bytes + row * call.in;
  alignas(64) char bytes[16];
  int32_t sum = 0;
  for (int64_t i = 0; i < call.in; i += 16) {
    store_bytes(bytes, load(values + i), 0);
    const int64_t count = std::min<int64_t>(16, call.in - i);
    for (int64_t lane = 0; lane < count; ++lane) sum += static_cast<int8_t>(bytes[lane]);
    std::memcpy(to + i, bytes, count);
  }
  return sum;
}

}  // namespace

void quantise_weights(const Quantising& call) {
  const int64_t padded = (call.in + 15) / 16 * 16;
  std::vector<float> back(call.directions ? padded * kDirections : 0);
  if (call.directions) corrections(call.directions, padded, back.data());
  share_out_rows(call.num_out, kRowsToPrepare, call.threads, [&](int64_t first, int64_t end) {
    std::vector<float> values(kRowsToPrepare * padded);  // rows behind the last are zeros
    for (int64_t row = first; row < end; row++) {
      float* to = values.data() + (row - first) * padded;
      read_weights(call, row, to);
      call.scales[row] = to_units(to, padded);
    }
    static_assert(kRowsToPrepare == 16, "a row a lane");
    if (call.directions) round_together(values.data(), padded, call.directions, back.data());
    for (int64_t row = first; row < end; row++)
      call.sums[row] = write_weights(call, row, values.data() + (row - first) * padded);
  });
}

}  // namespace handful::HANDFUL_LEVEL
