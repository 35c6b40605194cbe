// Rows times a Hadamard matrix, block by block. Every value of a block becomes sums and differences of all of them, so one
// that is far larger than the rest no longer sets the scale alone.
//
// Bits of the index are mixed in pairs, each pair by the regular matrix of 4 (rows with one minus or three), so that a part
// that all values have in common doesn't become one large number either: the usual order, but where a pair's second bit is
// set, sum and difference (its sign turned) change places. A last bit without a partner is mixed as usual.
//
// Compiled for the lanes that were included before it.
#pragma once

#include "handful.h"

namespace handful::HANDFUL_LEVEL {

HANDFUL_LANE_FUNCTION Floats hadamard16(Floats x) {
  return add_in_pairs<8>(add_in_pairs<4>(add_in_pairs<2>(add_in_pairs<1>(x))));
}

// V vectors among themselves, lane by lane; V is 2, 4 or 8, so its first two bits are a pair and the third has none.
template <int V>
HANDFUL_LANE_FUNCTION void mix_vectors(Floats* x) {
#pragma GCC unroll 3
  for (int apart = 1; apart < V; apart *= 2) {
#pragma GCC unroll 8
    for (int i = 0; i < V; ++i) {
      if (i & apart) continue;
      const Floats a = x[i], b = x[i + apart];
      const bool turned = apart == 1 && (i & 2);
      x[i] = turned ? b - a : a + b, x[i + apart] = turned ? a + b : a - b;
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

// In place. `count` is a multiple of `size`, which is a power of two from 64 to 512.
HANDFUL_LANES inline void hadamard(float* x, int64_t count, int64_t size) {
  for (int64_t i = 0; i < count; i += 64) {
    Floats vectors[] = {load(x + i), load(x + i + 16), load(x + i + 32), load(x + i + 48)};
    hadamard<4>(vectors);
    for (int v = 0; v < 4; ++v) store(x + i + 16 * v, vectors[v]);
  }
  mix_blocks_of_64(x, count, size);
}

}  // namespace handful::HANDFUL_LEVEL
