// The product of bytes with AVX-512 VNNI, behind its HANDFUL_TARGET and HANDFUL_ROUND.
#pragma once

#include "lanes_avx512.h"
// (the order matters: each is written over those before it)
#include "linear_bytes.h"

namespace {

struct Number : UnsignedBytes {
  static constexpr int kMostRows = 14, kVectors = 28;

  HANDFUL_TARGET static inline Sums multiply_add(Sums sums, Ints x, Ints weights) {
    return _mm512_dpbusd_epi32(sums, x, weights);
  }
};

}  // namespace

#include "linear_lanes.h"
