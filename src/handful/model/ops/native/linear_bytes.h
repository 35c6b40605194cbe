// What products of bytes (`Number` of linear_lanes.h) have in common: sums are exact integers. Included behind the lanes
// of the processor, with its HANDFUL_TARGET; HANDFUL_ROUND says how results become bfloat16.
#pragma once

#include "handful.h"
#include "linear.h"
#include "linear_epilogue.h"

namespace {

using handful::HANDFUL_LEVEL::Ints;

struct Bytes {
  using Sum = int32_t;
  using Sums = Ints;
  using Round = HANDFUL_ROUND;
  static constexpr bool kScaled = true;

  HANDFUL_TARGET static inline void put(Sum* to, Sums sums) { handful::HANDFUL_LEVEL::store_ints(to, sums); }
};

// VNNI's: activations have no sign, and a sum starts at what that adds too much.
struct UnsignedBytes : Bytes {
  static constexpr int32_t kZeroByte = handful::kZeroByte;

  HANDFUL_TARGET static inline Sums start(const handful::Layer& layer, int64_t column) {
    return handful::HANDFUL_LEVEL::load_ints(layer.offsets + column);
  }
};

}  // namespace
