// Rotary positions, in place: dimension i of a head is paired with i + dims / 2 (ops/rotary.py). Compiled for the lanes
// that were included before it.
#pragma once

#include "handful.h"
#include "rotation.h"
#include "team.h"

namespace handful::HANDFUL_LEVEL {

namespace {

constexpr int64_t kRowsToRotate = 32;  // by a thread at a time

HANDFUL_LANES void rotate_head(const Rotation& call, char* x, const char* cos, const char* sin) {
  const int64_t half = call.dims / 2, apart = half * type_bytes(call.type);
  for (int64_t i = 0; i < half; i += 16) {
    const Mask real = first16(half - i);
    const int64_t at = i * type_bytes(call.type);
    const Floats a = load16(x + at, real, call.type), b = load16(x + at + apart, real, call.type);
    const Floats low = a * load16(cos + at, real, call.type);
    const Floats high = b * load16(cos + at + apart, real, call.type);
    store16(x + at, multiply_add(b, load16(sin + at, real, call.type), low), real, call.type);
    store16(x + at + apart, multiply_add(a, load16(sin + at + apart, real, call.type), high), real, call.type);
  }
}

inline void rotate(const Rotation& call) {
  const int64_t bytes = type_bytes(call.type), head = call.head_dim * bytes;
  share_out_rows(call.rows, kRowsToRotate, call.threads, [&](int64_t first, int64_t end) {
    for (int64_t row = first; row < end; row++) {
      char* x = call.x + row * call.stride * bytes;
      for (int64_t i = 0; i < call.heads; i++) {
        rotate_head(call, x + i * head, call.cos + row * head, call.sin + row * head);
      }
    }
  });
}

}  // namespace
}  // namespace handful::HANDFUL_LEVEL
