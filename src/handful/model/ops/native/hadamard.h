// Rows times a Hadamard matrix, block by block: H[i][j] = 1 or -1 by the parity of i & j. Every value of a block becomes
// sums and differences of all of them, so one that is far larger than the rest no longer sets the scale alone.
// Compiled for the lanes that were included before it.
#pragma once

#include "handful.h"

namespace handful::HANDFUL_LEVEL {

HANDFUL_LANE_FUNCTION Floats hadamard16(Floats x) {
  return add_in_pairs<8>(add_in_pairs<4>(add_in_pairs<2>(add_in_pairs<1>(x))));
}

// V vectors among themselves, lane by lane; V is a power of two.
template <int V>
HANDFUL_LANE_FUNCTION void mix_vectors(Floats* x) {
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

// 16 V numbers in registers.
template <int V>
HANDFUL_LANE_FUNCTION void hadamard(Floats* x) {
#pragma GCC unroll 8
  for (int i = 0; i < V; ++i) x[i] = hadamard16(x[i]);
  mix_vectors<V>(x);
}

// V pieces at a time, `apart` numbers long each.
template <int V>
HANDFUL_LANES inline void mix_pieces(float* x, int64_t count, int64_t apart) {
  for (int64_t block = 0; block < count; block += V * apart) {
    for (int64_t i = block; i < block + apart; i += 16) {
      Floats pieces[V];
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) pieces[v] = load(x + i + v * apart);
      mix_vectors<V>(pieces);
#pragma GCC unroll 8
      for (int v = 0; v < V; ++v) store(x + i + v * apart, pieces[v]);
    }
  }
}

// Blocks of 64 that are mixed already become mixed blocks of `size`.
HANDFUL_LANES inline void mix_blocks_of_64(float* x, int64_t count, int64_t size) {
  int64_t apart = 64;
  for (; 8 * apart <= size; apart *= 8) mix_pieces<8>(x, count, apart);
  if (4 * apart <= size) mix_pieces<4>(x, count, apart);
  else if (2 * apart <= size) mix_pieces<2>(x, count, apart);
}

// In place. `count` is a multiple of `size`, which is a power of two of at least 64.
HANDFUL_LANES inline void hadamard(float* x, int64_t count, int64_t size) {
  for (int64_t i = 0; i < count; i += 64) {
    Floats vectors[] = {load(x + i), load(x + i + 16), load(x + i + 32), load(x + i + 48)};
    hadamard<4>(vectors);
    for (int v = 0; v < 4; ++v) store(x + i + 16 * v, vectors[v]);
  }
  mix_blocks_of_64(x, count, size);
}

}  // namespace handful::HANDFUL_LEVEL
