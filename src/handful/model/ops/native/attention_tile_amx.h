// The arithmetic with AMX: up to 16 query rows against one tile of 64 packed keys, in bfloat16.
//
// A row's maximum is raised only when a score is more than 2^8 times as probable as it: the sums stay exact in float32
// whatever the maximum is, and most tiles need no scaling of what was summed before.
#pragma once

#include "amx.h"
#include "attention_shape.h"

namespace {

using handful::tile_load;
using handful::tile_multiply_bf16;
using handful::tile_store;
using handful::tile_zero;

constexpr int kBlockRows = 16;
constexpr int kProductSteps = 16;   // lanes of q, keys and values that one product takes
constexpr float kRaiseBy = 8.0f;    // in log2
constexpr int kProbabilityLanes = kTileKeys / 2;

using TileUnit = handful::TileRegisters;

// scores [16][64] = q . k for C times 16 keys, unscaled.
template <int C>
HANDFUL_TARGET inline void score_block(const Shape& shape, const uint32_t* q, const uint32_t* keys, float* scores) {
  tile_zero<0>();
  if (C > 1) tile_zero<1>();
  if (C > 2) tile_zero<2>();
  if (C > 3) tile_zero<3>();
  constexpr int64_t kKeyStride = kTileKeys * 4;
  for (int step = 0; step < shape.q_steps; step += kProductSteps) {
    const uint32_t* column = keys + step * kTileKeys;
    tile_load<4>(q + step, int64_t{shape.q_steps} * 4);
    tile_load<5>(column, kKeyStride);
    tile_multiply_bf16<0, 4, 5>();
    if (C > 1) tile_load<6>(column + kLanes, kKeyStride), tile_multiply_bf16<1, 4, 6>();
    if (C > 2) tile_load<7>(column + 2 * kLanes, kKeyStride), tile_multiply_bf16<2, 4, 7>();
    if (C > 3) tile_load<5>(column + 3 * kLanes, kKeyStride), tile_multiply_bf16<3, 4, 5>();
  }
  constexpr int64_t kScoreStride = kTileKeys * 4;
  tile_store<0>(scores, kScoreStride);
  if (C > 1) tile_store<1>(scores + kLanes, kScoreStride);
  if (C > 2) tile_store<2>(scores + 2 * kLanes, kScoreStride);
  if (C > 3) tile_store<3>(scores + 3 * kLanes, kScoreStride);
}

// out [16][16 C dimensions, padded_dim apart] += p [16][64] . values.
template <int C>
HANDFUL_TARGET inline void value_block(const Shape& shape, int steps, const uint32_t* values, const uint32_t* p,
                                       float* out) {
  const int64_t stride = int64_t{shape.padded_dim} * 4;
  tile_load<0>(out, stride);
  if (C > 1) tile_load<1>(out + kLanes, stride);
  if (C > 2) tile_load<2>(out + 2 * kLanes, stride);
  if (C > 3) tile_load<3>(out + 3 * kLanes, stride);
  for (int step = 0; step < steps; step += kProductSteps) {
    const uint32_t* row = values + int64_t{step} * shape.padded_dim;
    tile_load<4>(p + step, kProbabilityLanes * 4);
    tile_load<5>(row, stride);
    tile_multiply_bf16<0, 4, 5>();
    if (C > 1) tile_load<6>(row + kLanes, stride), tile_multiply_bf16<1, 4, 6>();
    if (C > 2) tile_load<7>(row + 2 * kLanes, stride), tile_multiply_bf16<2, 4, 7>();
    if (C > 3) tile_load<5>(row + 3 * kLanes, stride), tile_multiply_bf16<3, 4, 5>();
  }
  tile_store<0>(out, stride);
  if (C > 1) tile_store<1>(out + kLanes, stride);
  if (C > 2) tile_store<2>(out + 2 * kLanes, stride);
  if (C > 3) tile_store<3>(out + 3 * kLanes, stride);
}

// The largest value of each of 16 vectors, as one vector: halves are folded together until a lane is left of each.
HANDFUL_TARGET inline __m512 largest_of_each(const __m512* x) {
  __m512 y[8], z[4], w[2];
  for (int i = 0; i < 8; ++i)  // within 128 bits: rows 2i and 2i + 1 by turns
    y[i] = _mm512_max_ps(_mm512_unpacklo_ps(x[2 * i], x[2 * i + 1]), _mm512_unpackhi_ps(x[2 * i], x[2 * i + 1]));
  for (int i = 0; i < 4; ++i)  // within 128 bits: rows 4i .. 4i + 3
    z[i] = _mm512_max_ps(_mm512_shuffle_ps(y[2 * i], y[2 * i + 1], 0x44),
                         _mm512_shuffle_ps(y[2 * i], y[2 * i + 1], 0xee));
  for (int i = 0; i < 2; ++i)
    w[i] = _mm512_max_ps(_mm512_shuffle_f32x4(z[2 * i], z[2 * i + 1], 0x44),
                         _mm512_shuffle_f32x4(z[2 * i], z[2 * i + 1], 0xee));
  // 128-bit parts of w[i]: rows 8i .. 8i + 3 twice, rows 8i + 4 .. 8i + 7 twice
  return _mm512_max_ps(_mm512_shuffle_f32x4(w[0], w[1], 0x88), _mm512_shuffle_f32x4(w[0], w[1], 0xdd));
}

// Scores c of row r; what the row doesn't see is `kLowest`. Words are read only if there are any.
template <bool Masked>
HANDFUL_TARGET inline __m512 visible_score(const float* scores, const uint64_t* words, int r, int c) {
  const __m512 score = _mm512_load_ps(scores + r * kTileKeys + c * kLanes);
  if (!Masked) return score;
  const __mmask16 seen = static_cast<__mmask16>(words[r] >> (c * kLanes));
  return _mm512_mask_mov_ps(_mm512_set1_ps(kLowest), seen, score);
}

// Raise the rows' maxima where this tile makes it worth while, and scale what those rows have summed so far.
template <int C, bool Masked>
HANDFUL_TARGET inline void raise_tops(const Shape& shape, int count, const float* scores, const uint64_t* words,
                                      const States& states) {
  __m512 most[kBlockRows];
#pragma GCC unroll 16
  for (int r = 0; r < kBlockRows; ++r) {
    most[r] = visible_score<Masked>(scores, words, r, 0);
#pragma GCC unroll 4
    for (int c = 1; c < C; ++c) most[r] = _mm512_max_ps(most[r], visible_score<Masked>(scores, words, r, c));
  }
  const __mmask16 real = static_cast<__mmask16>((1u << count) - 1);
  const __m512 before = _mm512_maskz_loadu_ps(real, states.tops);
  const __m512 found = _mm512_mul_ps(largest_of_each(most), _mm512_set1_ps(shape.scale_log2));
  __mmask16 raised = _mm512_mask_cmp_ps_mask(real, found, _mm512_add_ps(before, _mm512_set1_ps(kRaiseBy)), _CMP_GT_OQ);
  if (!raised) return;
  alignas(64) float shrink[kLanes];
  _mm512_store_ps(shrink, exp2_negative(_mm512_sub_ps(before, found)));
  _mm512_mask_storeu_ps(states.tops, raised, found);
  for (; raised; raised &= raised - 1) {
    const int r = __builtin_ctz(raised);
    const __m512 factor = _mm512_set1_ps(shrink[r]);
    float* out = states.out + r * shape.padded_dim;
    for (int done = 0; done < shape.padded_dim; done += kLanes)
      _mm512_storeu_ps(out + done, _mm512_mul_ps(_mm512_loadu_ps(out + done), factor));
    _mm512_storeu_ps(states.sums + r * kLanes, _mm512_mul_ps(_mm512_loadu_ps(states.sums + r * kLanes), factor));
  }
}

// Scores become probabilities (against the running maximum) in bfloat16; their sums grow in float32.
template <int C, bool Masked>
HANDFUL_TARGET inline void softmax_block(const Shape& shape, int count, const float* scores, const uint64_t* words,
                                         const States& states, uint32_t* p) {
  const __m512 scale = _mm512_set1_ps(shape.scale_log2);
  for (int r = 0; r < count; ++r) {
    const __m512 top = _mm512_set1_ps(states.tops[r]);
    __m512 e[4];
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) {
      if (c >= C) {
        e[c] = _mm512_setzero_ps();
        continue;
      }
      e[c] = exp2_negative(_mm512_fmsub_ps(_mm512_load_ps(scores + r * kTileKeys + c * kLanes), scale, top));
      if (Masked) e[c] = _mm512_maskz_mov_ps(static_cast<__mmask16>(words[r] >> (c * kLanes)), e[c]);
    }
    const __m512 total = _mm512_add_ps(_mm512_add_ps(e[0], e[1]), _mm512_add_ps(e[2], e[3]));
    float* sums = states.sums + r * kLanes;
    _mm512_storeu_ps(sums, _mm512_add_ps(_mm512_loadu_ps(sums), total));
    Elements::put_pair(p + r * kProbabilityLanes, e[0], e[1]);
    if (C > 2) Elements::put_pair(p + r * kProbabilityLanes + kLanes, e[2], e[3]);
  }
}

// `out` [16][padded_dim] of the rows.
HANDFUL_TARGET inline void add_values(const Shape& shape, const PackedTile& tile, const uint32_t* p, float* out) {
  const int steps = (tile.num_keys + 1) / 2;
  for (int vector = 0; vector < shape.num_vectors; vector += 4) {
    const uint32_t* values = tile.values + vector * kLanes;
    float* to = out + vector * kLanes;
    switch (shape.num_vectors - vector) {
      case 1: value_block<1>(shape, steps, values, p, to); break;
      case 2: value_block<2>(shape, steps, values, p, to); break;
      case 3: value_block<3>(shape, steps, values, p, to); break;
      default: value_block<4>(shape, steps, values, p, to);
    }
  }
}

template <int C, bool Masked>
HANDFUL_TARGET inline void attend_rows(int count, const Shape& shape, const PackedTile& tile, const uint32_t* q,
                                       const uint64_t* words, const States& states) {
  alignas(64) float scores[kBlockRows * kTileKeys];
  alignas(64) uint32_t p[kBlockRows * kProbabilityLanes];
  score_block<C>(shape, q, tile.keys, scores);
  raise_tops<C, Masked>(shape, count, scores, words, states);
  softmax_block<C, Masked>(shape, count, scores, words, states, p);
  if (count == kBlockRows) return add_values(shape, tile, p, states.out);
  // The rows behind are another block's, or nobody's: a product takes 16, so these go through memory of their own.
  alignas(64) float out[kBlockRows * kMostDimensions];
  const size_t bytes = static_cast<size_t>(count) * shape.padded_dim * sizeof(float);
  std::memcpy(out, states.out, bytes);
  add_values(shape, tile, p, out);
  std::memcpy(states.out, out, bytes);
}

// A block of at most 16 rows against a tile. `words` is null where every row sees every key.
HANDFUL_TARGET inline void attend_block(int count, const Shape& shape, const PackedTile& tile, const uint32_t* q,
                                        const uint64_t* words, const States& states) {
  uint64_t all = ~uint64_t{0}, any = words ? 0 : all;
  for (int r = 0; words && r < count; ++r) all &= words[r], any |= words[r];
  if (!any) return;
  if (!~all) return attend_rows<4, false>(count, shape, tile, q, words, states);
  switch ((tile.num_keys + kLanes - 1) / kLanes) {
    case 4: return attend_rows<4, true>(count, shape, tile, q, words, states);
    case 3: return attend_rows<3, true>(count, shape, tile, q, words, states);
    case 2: return attend_rows<2, true>(count, shape, tile, q, words, states);
    default: return attend_rows<1, true>(count, shape, tile, q, words, states);
  }
}

// Rows against a tile: their running softmax goes on. `words` (each row's visible keys) is null where all see all.
HANDFUL_TARGET void attend_tile(int num_rows, const Shape& shape, const PackedTile& tile, const uint32_t* q,
                                const uint64_t* words, const States& states) {
  for (int first = 0; first < num_rows; first += kBlockRows) {
    const int count = num_rows - first < kBlockRows ? num_rows - first : kBlockRows;
    const uint64_t* seen = words ? words + first : words;
    attend_block(count, shape, tile, q + first * shape.q_steps, seen, states.from(shape, first));
  }
}

}  // namespace
