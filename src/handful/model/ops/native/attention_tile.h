// The arithmetic with vectors of 16 lanes: a few query rows against one tile of 64 packed keys.
#pragma once

#include "attention_shape.h"

namespace {

constexpr int kBlockRows = 6;  // with kSideBySide vectors of sums each: 24 of 32 registers, or 12 of 16
constexpr int kProductSteps = 1;  // lanes of q, keys and values are taken one by one

// What a thread needs before its tiles: nothing.
struct TileUnit {};

// scores[r][16 FIRST .. 16 (FIRST + C)) = q . k, unscaled.
template <int R, int FIRST, int C>
HANDFUL_TARGET inline void score_vectors(const Shape& shape, const uint32_t* q, const uint32_t* keys, float* scores) {
  Floats sum[R][C];
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c) sum[r][c] = all(0.0f);
  const int64_t steps = shape.q_steps;  // 64 bits, like all that counts in addresses: nothing is extended in the loop
  for (int64_t step = 0; step < steps; ++step) {
    Ints key[C];
    for (int c = 0; c < C; ++c) key[c] = load_ints(keys + step * kTileKeys + (FIRST + c) * kLanes);
    for (int r = 0; r < R; ++r) {
      const Ints asked = all_ints(static_cast<int>(q[r * steps + step]));
      for (int c = 0; c < C; ++c) sum[r][c] = Elements::multiply_add(sum[r][c], key[c], asked);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c) store(scores + r * kTileKeys + (FIRST + c) * kLanes, sum[r][c]);
}

// scores[r][0 .. 16 C), as many vectors at a time as registers hold.
template <int R, int C, int FIRST = 0>
HANDFUL_TARGET inline void score_block(const Shape& shape, const uint32_t* q, const uint32_t* keys, float* scores) {
  constexpr int kOnce = C - FIRST < kSideBySide ? C - FIRST : kSideBySide;
  score_vectors<R, FIRST, kOnce>(shape, q, keys, scores);
  if constexpr (FIRST + kOnce < C) score_block<R, C, FIRST + kOnce>(shape, q, keys, scores);
}

// out[r] = out[r] * shrink[r] + p[r] . v, for C vectors of dimensions from `first`.
template <int R, int C>
HANDFUL_TARGET inline void value_block(const Shape& shape, const PackedTile& tile, int first, const uint32_t* p,
                                       const float* shrink, const States& states) {
  float* out = states.out + first;
  Floats sum[R][C];
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c) sum[r][c] = load(out + r * shape.padded_dim + c * kLanes) * all(shrink[r]);
  const int64_t steps = (tile.num_keys + Elements::kPerLane - 1) / Elements::kPerLane, stride = shape.padded_dim;
  const uint32_t* values = tile.values + first;
  for (int64_t step = 0; step < steps; ++step) {
    Ints value[C];
    for (int c = 0; c < C; ++c) value[c] = load_ints(values + step * stride + c * kLanes);
    for (int r = 0; r < R; ++r) {
      const Ints weight = all_ints(static_cast<int>(p[r * kTileKeys + step]));
      for (int c = 0; c < C; ++c) sum[r][c] = Elements::multiply_add(sum[r][c], value[c], weight);
    }
  }
  for (int r = 0; r < R; ++r)
    for (int c = 0; c < C; ++c) store(out + r * shape.padded_dim + c * kLanes, sum[r][c]);
}

// Scores c of row r; what the row doesn't see is `kLowest`. Words are read only if there are any.
template <bool Masked>
HANDFUL_TARGET inline Floats visible_score(const float* scores, const uint64_t* words, int r, int c) {
  const Floats score = load(scores + r * kTileKeys + c * kLanes);
  if constexpr (!Masked) return score;
  else return select(static_cast<Mask>(words[r] >> (c * kLanes)), score, all(kLowest));
}

// Raise each row's maximum to this tile's; `shrink` is what sums so far are to be multiplied by.
template <int R, int C, bool Masked>
HANDFUL_TARGET inline void raise_tops(const Shape& shape, const float* scores, const uint64_t* words,
                                      const States& states, float* shrink) {
  alignas(64) float before[kLanes] = {}, after[kLanes] = {};
  for (int r = 0; r < R; ++r) {
    Floats best = visible_score<Masked>(scores, words, r, 0);
    for (int c = 1; c < C; ++c) best = most(best, visible_score<Masked>(scores, words, r, c));
    before[r] = states.tops[r];
    const float top = most_of_lanes(best) * shape.scale_log2;
    after[r] = top > before[r] ? top : before[r];
    states.tops[r] = after[r];
  }
  store(shrink, exp2_negative(load(before) - load(after)));
}

// Scores become probabilities (against the running maximum) in the elements' type; their sums grow in float32.
template <int R, int C, bool Masked>
HANDFUL_TARGET inline void softmax_block(const Shape& shape, const float* scores, const uint64_t* words,
                                         const States& states, const float* shrink, uint32_t* p) {
  const Floats scale = all(shape.scale_log2);
  for (int r = 0; r < R; ++r) {
    const Floats top = all(states.tops[r]);
    Floats e[C + 1];
    for (int c = 0; c < C; ++c) {
      e[c] = exp2_negative(multiply_subtract(load(scores + r * kTileKeys + c * kLanes), scale, top));
      if constexpr (Masked) e[c] = select(static_cast<Mask>(words[r] >> (c * kLanes)), e[c], all(0.0f));
    }
    e[C] = all(0.0f);
    float* sums = states.sums + r * kLanes;
    Floats total = e[0];
    for (int c = 1; c < C; ++c) total = total + e[c];
    store(sums, multiply_add(load(sums), all(shrink[r]), total));
    for (int c = 0; c < C; c += 2)
      Elements::put_pair(p + r * kTileKeys + c * kLanes / Elements::kPerLane, e[c], e[c + 1]);
  }
}

template <int R>
HANDFUL_TARGET inline void add_values(const Shape& shape, const PackedTile& tile, const uint32_t* p,
                                      const float* shrink, const States& states) {
  // As few passes as possible, of nearly equal width: 5 vectors are 3 + 2.
  int passes = (shape.num_vectors + kSideBySide - 1) / kSideBySide;
  for (int first = 0; passes > 0; --passes) {
    const int width = (shape.num_vectors - first + passes - 1) / passes, lane = first * kLanes;
    switch (width) {
      case 4: value_block<R, 4>(shape, tile, lane, p, shrink, states); break;
      case 3: value_block<R, 3>(shape, tile, lane, p, shrink, states); break;
      case 2: value_block<R, 2>(shape, tile, lane, p, shrink, states); break;
      default: value_block<R, 1>(shape, tile, lane, p, shrink, states);
    }
    first += width;
  }
}

template <int R, int C, bool Masked>
HANDFUL_TARGET inline void attend_rows(const Shape& shape, const PackedTile& tile, const uint32_t* q,
                                       const uint64_t* words, const States& states) {
  alignas(64) float scores[R * kTileKeys];
  alignas(64) uint32_t p[R * kTileKeys];
  alignas(64) float shrink[kLanes];
  score_block<R, C>(shape, q, tile.keys, scores);
  raise_tops<R, C, Masked>(shape, scores, words, states, shrink);
  softmax_block<R, C, Masked>(shape, scores, words, states, shrink, p);
  add_values<R>(shape, tile, p, shrink, states);
}

// R rows (each with its word of visible keys; null where all see all) against a tile.
template <int R>
HANDFUL_TARGET void attend_block(const Shape& shape, const PackedTile& tile, const uint32_t* q, const uint64_t* words,
                                 const States& states) {
  uint64_t all = ~uint64_t{0}, any = words ? 0 : all;
  for (int r = 0; words && r < R; ++r) all &= words[r], any |= words[r];
  if (!any) return;
  if (!~all) return attend_rows<R, 4, false>(shape, tile, q, words, states);
  switch ((tile.num_keys + kLanes - 1) / kLanes) {
    case 4: return attend_rows<R, 4, true>(shape, tile, q, words, states);
    case 3: return attend_rows<R, 3, true>(shape, tile, q, words, states);
    case 2: return attend_rows<R, 2, true>(shape, tile, q, words, states);
    default: return attend_rows<R, 1, true>(shape, tile, q, words, states);
  }
}

// Rows against a tile: their running softmax goes on. `words` (each row's visible keys) is null where all see all.
HANDFUL_TARGET inline void attend_tile(int num_rows, const Shape& shape, const PackedTile& tile, const uint32_t* q,
                                       const uint64_t* words, const States& states) {
  for (int first = 0; first < num_rows; first += kBlockRows) {
    const uint32_t* mine = q + first * shape.q_steps;
    const uint64_t* seen = words ? words + first : words;
    const States at = states.from(shape, first);
    switch (num_rows - first) {
      case 1: attend_block<1>(shape, tile, mine, seen, at); break;
      case 2: attend_block<2>(shape, tile, mine, seen, at); break;
      case 3: attend_block<3>(shape, tile, mine, seen, at); break;
      case 4: attend_block<4>(shape, tile, mine, seen, at); break;
      case 5: attend_block<5>(shape, tile, mine, seen, at); break;
      default: attend_block<6>(shape, tile, mine, seen, at);
    }
  }
}

}  // namespace
