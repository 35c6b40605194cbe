// Rows times a Hadamard matrix, block by block: H[i][j] = 1 or -1 by the parity of i & j. Every value of a block becomes
// sums and differences of all of them, so one that is far larger than the rest no longer sets the scale alone.
// Compiled for the lanes that were included before it.
#pragma once

#include "handful.h"

namespace handful::HANDFUL_LEVEL {

HANDFUL_LANE_FUNCTION Floats hadamard16(Floats x) {
  return add_in_pairs<8>(add_in_pairs<4>(add_in_pairs<2>(add_in_pairs<1>(x))));
}

// 16 V numbers in registers, V a power of two.
template <int V>
HANDFUL_LANE_FUNCTION void hadamard(Floats* x) {
#pragma GCC unroll 8
  for (int i = 0; i < V; ++i) x[i] = hadamard16(x[i]);
#pragma GCC unroll 3
  for (int apart = 1; apart < V; apart *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < V; ++i) {
      if (i & apart) continue;
      const Floats a = x[i], b = x[i + apart];
      x[i] = a + b, x[i + apart] = a - b;
    }
  }
}

// In place. `count` is a multiple of `size`, which is a power of two of at least 64.
HANDFUL_LANES inline void hadamard(float* x, int64_t count, int64_t size) {
  for (int64_t i = 0; i < count; i += 64) {
    const Floats a = hadamard16(load(x + i)), b = hadamard16(load(x + i + 16));
    const Floats c = hadamard16(load(x + i + 32)), d = hadamard16(load(x + i + 48));
    const Floats ab = a + b, cd = c + d, a_b = a - b, c_d = c - d;
    store(x + i, ab + cd), store(x + i + 16, a_b + c_d);
    store(x + i + 32, ab - cd), store(x + i + 48, a_b - c_d);
  }
  for (int64_t apart = 64; apart < size; apart *= 2) {
    for (int64_t block = 0; block < count; block += 2 * apart) {
      for (int64_t i = block; i < block + apart; i += 16) {
        const Floats a = load(x + i), b = load(x + i + apart);
        store(x + i, a + b), store(x + i + apart, a - b);
      }
    }
  }
}

}  // namespace handful::HANDFUL_LEVEL
