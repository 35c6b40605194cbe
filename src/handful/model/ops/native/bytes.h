// Numbers as bytes with one scale: byte = zero_byte + round(x / scale), scale = max |x| / 127.
//
// Zeros (nothing above 2^-100) have scale 0. With NaN or infinity among them the scale is NaN, so that all that comes of
// these numbers is NaN and nothing else is touched.
//
// Compiled for the lanes that were included before it.
#pragma once

#include <cmath>
#include <cstring>
#include <limits>

#include "handful.h"

namespace handful::HANDFUL_LEVEL {
namespace {

constexpr float kSmallest = 7.8886091e-31f;  // 2^-100; 127 / x overflows not far below

// The largest |x|, found on the bits so that NaN and infinity are larger than all.
HANDFUL_LANES float largest(const float* x, int64_t size) {
  Ints found = all_ints(0);
  for (int64_t i = 0; i < size; i += 16) found = most_ints(found, bits_of_magnitude(load(x + i)));
  const int32_t bits = most_of_lanes(found);
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

struct Scale {
  float value, inverse;
};

// The scale of numbers whose largest magnitude has these bits, `least` at least, and what they are to be multiplied by.
inline Scale scale_under(int32_t bits, float least = 0.0f) {
  float top;
  std::memcpy(&top, &bits, sizeof(top));
  if (!std::isfinite(top)) return {std::numeric_limits<float>::quiet_NaN(), 0.0f};
  if (top / 127.0f < least) return {least, 1.0f / least};
  return top > kSmallest ? Scale{top / 127.0f, 127.0f / top} : Scale{0.0f, 0.0f};
}

// Of `count` values (a multiple of 16).
HANDFUL_LANES inline Scale scale_of(const float* x, int64_t count, float least = 0.0f) {
  const float top = largest(x, count);
  int32_t bits;
  std::memcpy(&bits, &top, sizeof(bits));
  return scale_under(bits, least);
}

// `count` values (a multiple of 16) in units of their scale, in place. Returns the scale.
HANDFUL_LANES inline float to_units(float* x, int64_t count) {
  const Scale scale = scale_of(x, count);
  const Mask real = first16(scale.inverse > 0.0f ? 16 : 0);
  for (int64_t i = 0; i < count; i += 16) store(x + i, load(x + i, real) * all(scale.inverse));
  return scale.value;
}

// `count` values (a multiple of 16) as bytes, 64 at a time `step` apart. Returns their scale, `least` at least.
HANDFUL_LANES float quantise(const float* x, int64_t count, int32_t zero_byte, char* to, int64_t step,
                             float least = 0.0f) {
  const Scale scale = scale_of(x, count, least);
  const Mask real = scale.inverse > 0.0f ? 0xffff : 0;
  const Floats inverse = all(scale.inverse);
  int64_t i = 0;
  for (; i + 64 <= count; i += 64) {
    const Floats a = load(x + i, real) * inverse, b = load(x + i + 16, real) * inverse;
    const Floats c = load(x + i + 32, real) * inverse, d = load(x + i + 48, real) * inverse;
    store_64_bytes(to + i / 64 * step, a, b, c, d, zero_byte);
  }
  for (; i < count; i += 16) store_bytes(to + i / 64 * step + i % 64, load(x + i, real) * inverse, zero_byte);
  return scale.value;
}

}  // namespace
}  // namespace handful::HANDFUL_LEVEL
