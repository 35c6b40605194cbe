// Rows against a tile in bytes (attention_bytes_pack.h says what those hold): whole products, a softmax in between.
//
// The softmax is in whole numbers of 16 bits, 32 a vector. Scores are in steps of 1/64 of a factor of 2: 2 to the part
// below a factor of 2 is looked up, the rest is a shift. That is off by 0.3% (half a step 0.5%), less than what a factor
// loses when it becomes a byte. A factor has 15 bits, 7 of them behind the point, so that the sum of probabilities is
// that of factors before they lose digits.
#pragma once

#include <cmath>

#include "attention_bytes_pack.h"

namespace {

constexpr int kPointShift = 7, kStepShift = 6;  // bits of a factor behind its point; 2^6 steps are a factor of 2
constexpr float kProbability = 1.0f / (kMostFactor * (1 << kPointShift) * kCountOfOne);  // of a factor times a count

inline float scale_of_query(const Shape& shape, const uint32_t* q, int row) {
  float scale;
  std::memcpy(&scale, q + (row + 1) * Bytes::query_lanes(shape) - 1, sizeof(scale));
  return scale;
}

// Rows of bytes without a sign, and columns of bytes with one, in steps of a lane each.
struct ByteProduct {
  const uint32_t* rows;     // [][steps], row_stride apart
  const uint32_t* columns;  // [steps][16 columns a vector], column_stride apart
  const int32_t* starts;    // [columns] what the sums begin at
  int64_t steps, row_stride, column_stride;
};

// Sums [R][16 C] of products, which `finish` takes where they are. One loop, neither inlined nor unrolled for a known
// number of steps: GCC then keeps all sums in registers, which makes it 2.3 times faster. The empty `asm` is for the same:
// without it they would move to memory within the loop, for `finish` to find them there.
template <int R, int C, class Finish>
HANDFUL_TARGET __attribute__((noipa)) void multiply_bytes(const ByteProduct& p, const Finish& finish) {
  Ints sum[R][C];
#pragma GCC unroll 4
  for (int c = 0; c < C; ++c) {
    const Ints start = load_ints(p.starts + c * kLanes);
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) sum[r][c] = start;
  }
  const int64_t steps = p.steps, row_stride = p.row_stride, column_stride = p.column_stride;
#pragma GCC unroll 1
  for (int64_t step = 0; step < steps; ++step) {
    Ints column[C];
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) column[c] = load_ints(p.columns + step * column_stride + c * kLanes);
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const Ints x = all_ints(static_cast<int>(p.rows[r * row_stride + step]));
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c) sum[r][c] = _mm512_dpbusd_epi32(sum[r][c], x, column[c]);
    }
  }
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int c = 0; c < C; ++c) asm("" : "+v"(sum[r][c]));
  finish(sum);
}

// The largest lane of each of 8 vectors, in the first 8 lanes: halves are folded together until a lane is left of each.
HANDFUL_TARGET inline __attribute__((always_inline)) Floats largest_of_each(const Floats* x) {
  Floats y[4], z[2];
  for (int i = 0; i < 4; ++i)  // within 128 bits: rows 2i and 2i + 1 by turns
    y[i] = most(_mm512_unpacklo_ps(x[2 * i], x[2 * i + 1]), _mm512_unpackhi_ps(x[2 * i], x[2 * i + 1]));
  for (int i = 0; i < 2; ++i)  // within 128 bits: rows 4i .. 4i + 3
    z[i] = most(_mm512_shuffle_ps(y[2 * i], y[2 * i + 1], 0x44), _mm512_shuffle_ps(y[2 * i], y[2 * i + 1], 0xee));
  // its 128-bit parts: rows 0 .. 3 twice, rows 4 .. 7 twice
  const Floats w = most(_mm512_shuffle_f32x4(z[0], z[1], 0x44), _mm512_shuffle_f32x4(z[0], z[1], 0xee));
  return most(_mm512_shuffle_f32x4(w, w, 0x88), _mm512_shuffle_f32x4(w, w, 0xdd));
}

// What a row's softmax needs in a tile: its query's scale, the tile's largest (as score plus level, in steps), and what
// the sums so far and those of the tile are to be multiplied by.
struct Turn {
  alignas(64) float scale[kLanes], top[kLanes], shrink[kLanes], grow[kLanes];
};

// Sums of products become scores plus levels, in steps, and each row's largest is found lane by lane.
template <int R, bool Masked>
struct Score {
  const ByteTile& tile;
  const uint64_t* words;
  const Turn& turn;
  float* scores;  // [R][64]
  float* best;    // [8][16]

  HANDFUL_LANE_FUNCTION void operator()(const Ints (&sum)[R][4]) const {
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const Floats query_scale = all(turn.scale[r]);
      Floats most_yet;
#pragma GCC unroll 4
      for (int c = 0; c < 4; ++c) {
        const Floats scale = load(tile.scales + c * kLanes), level = load(tile.levels + c * kLanes);
        Floats score = multiply_add(to_floats(sum[r][c]) * scale, query_scale, level);
        if constexpr (Masked) score = select(static_cast<Mask>(words[r] >> (c * kLanes)), score, all(kLowest));
        store(scores + r * kTileKeys + c * kLanes, score);
        most_yet = c ? most(most_yet, score) : score;
      }
      store(best + r * kLanes, most_yet);
    }
  }
};

// Each row's maximum is raised to this tile's.
template <int R>
HANDFUL_TARGET inline void raise_byte_tops(const float* best, const States& states, Turn& turn) {
  constexpr int kRows = 8;
  static_assert(R <= kRows);
  Floats found_by_row[kRows];
#pragma GCC unroll 8
  for (int r = 0; r < kRows; ++r) found_by_row[r] = r < R ? load(best + r * kLanes) : all(kLowest);
  const Mask real = first16(R);
  const Floats top = largest_of_each(found_by_row), found = top * all(1.0f / kSteps);
  const Floats before = load(states.tops, real), after = most(before, found);
  store(states.tops, after, real);
  store(turn.top, top);
  store(turn.shrink, exp2_negative(before - after));
  store(turn.grow, exp2_negative(found - after));
}

// The largest factor times 2^(-i / 64): factors of scores that are i steps below the tile's largest.
struct Powers {
  alignas(64) int16_t of_step[64];

  Powers() {
    for (int i = 0; i < 64; ++i)
      of_step[i] = static_cast<int16_t>(std::lround(kMostFactor * (1 << kPointShift) * std::exp2(-i / kSteps)));
  }
};
inline const Powers powers;

// Steps below the largest, 32 of them, become factors. What is not seen is 2^15 steps below, which shifts out all digits.
HANDFUL_LANE_FUNCTION Ints factors_of(Ints first, Ints second, Ints low_powers, Ints high_powers) {
  const Ints below = _mm512_packs_epi32(first, second);
  const Ints power = _mm512_permutex2var_epi16(low_powers, below, high_powers);  // of the lowest 6 bits
  return _mm512_srlv_epi16(power, _mm512_srli_epi16(below, kStepShift));
}

// Scores become factors as bytes, and their probabilities grow the sums.
template <int R>
HANDFUL_TARGET inline void byte_softmax(const ByteTile& tile, const float* scores, const States& states,
                                        const Turn& turn, uint32_t* p) {
  const Ints low_powers = load_ints(powers.of_step), high_powers = load_ints(powers.of_step + 32);
  const Ints count[] = {load_ints(tile.counts), load_ints(tile.counts + 32)};
  for (int r = 0; r < R; ++r) {
    const Floats top = all(turn.top[r]);
    Ints below[4];
#pragma GCC unroll 4
    for (int c = 0; c < 4; ++c) below[c] = _mm512_cvtps_epi32(top - load(scores + r * kTileKeys + c * kLanes));
    const Ints low = factors_of(below[0], below[1], low_powers, high_powers);
    const Ints high = factors_of(below[2], below[3], low_powers, high_powers);
    const Ints total = _mm512_dpwssd_epi32(_mm512_dpwssd_epi32(all_ints(0), low, count[0]), high, count[1]);
    float* sums = states.sums + r * kLanes;
    const Floats grown = _mm512_cvtepu32_ps(total) * all(turn.grow[r] * kProbability);  // no sign: below 2^32
    store(sums, multiply_add(load(sums), all(turn.shrink[r]), grown));
    const Ints rounding = _mm512_set1_epi16(1 << (15 - kPointShift));
    store_ints(p + r * kKeyGroups,
               _mm512_packus_epi16(_mm512_mulhrs_epi16(low, rounding), _mm512_mulhrs_epi16(high, rounding)));
  }
}

// out[r] = out[r] * shrink[r] + grow[r] * (p[r] . v), for C vectors of dimensions.
template <int R, int C>
struct AddValues {
  const Turn& turn;
  float unit;
  float* out;
  int64_t stride;

  HANDFUL_LANE_FUNCTION void operator()(const Ints (&sum)[R][C]) const {
#pragma GCC unroll 6
    for (int r = 0; r < R; ++r) {
      const Floats grow = all(turn.grow[r] * unit), shrink = all(turn.shrink[r]);
      float* to = out + r * stride;
#pragma GCC unroll 4
      for (int c = 0; c < C; ++c)
        store(to + c * kLanes, multiply_add(to_floats(sum[r][c]), grow, load(to + c * kLanes) * shrink));
    }
  }
};

template <int R, int C>
HANDFUL_TARGET inline void byte_values(const Shape& shape, const ByteTile& tile, int first, const uint32_t* p,
                                       const Turn& turn, const States& states) {
  alignas(64) static constexpr int32_t kZeros[kTileKeys] = {};
  const int64_t stride = shape.padded_dim;
  multiply_bytes<R, C>(ByteProduct{p, tile.values + first, kZeros, kKeyGroups, kKeyGroups, stride},
                       AddValues<R, C>{turn, tile.unit, states.out + first, stride});
}

template <int R, bool Masked>
HANDFUL_TARGET inline void attend_bytes(const Shape& shape, const ByteTile& tile, const uint32_t* q,
                                        const uint64_t* words, const States& states) {
  alignas(64) float scores[R * kTileKeys];
  alignas(64) float best[R * kLanes];
  alignas(64) uint32_t p[R * kKeyGroups];
  Turn turn;
#pragma GCC unroll 6
  for (int r = 0; r < R; ++r) turn.scale[r] = scale_of_query(shape, q, r);
  const int64_t steps = Bytes::steps(shape), lanes = Bytes::query_lanes(shape);
  multiply_bytes<R, kTileKeys / kLanes>(ByteProduct{q, tile.keys, tile.starts, steps, lanes, kTileKeys},
                                        Score<R, Masked>{tile, words, turn, scores, best});
  raise_byte_tops<R>(best, states, turn);
  byte_softmax<R>(tile, scores, states, turn, p);
  int passes = (shape.num_vectors + kSideBySide - 1) / kSideBySide;
  for (int first = 0; passes > 0; --passes) {
    const int width = (shape.num_vectors - first + passes - 1) / passes, lane = first * kLanes;
    switch (width) {
      case 4: byte_values<R, 4>(shape, tile, lane, p, turn, states); break;
      case 3: byte_values<R, 3>(shape, tile, lane, p, turn, states); break;
      case 2: byte_values<R, 2>(shape, tile, lane, p, turn, states); break;
      default: byte_values<R, 1>(shape, tile, lane, p, turn, states);
    }
    first += width;
  }
}

// R rows (each with its word of visible keys; null where all see all) against a tile.
template <int R>
HANDFUL_TARGET void attend_byte_block(const Shape& shape, const ByteTile& tile, const uint32_t* q,
                                      const uint64_t* words, const States& states) {
  uint64_t all = ~uint64_t{0}, any = words ? 0 : all;
  for (int r = 0; words && r < R; ++r) all &= words[r], any |= words[r];
  if (!any) return;
  if (~all) attend_bytes<R, true>(shape, tile, q, words, states);
  else attend_bytes<R, false>(shape, tile, q, words, states);
}

HANDFUL_TARGET inline void Bytes::attend(int num_rows, const Shape& shape, const uint32_t* lanes, int,
                                         const uint32_t* q, const uint64_t* words, const States& states) {
  const ByteTile tile = byte_tile(shape, lanes);
  for (int first = 0; first < num_rows; first += kBlockRows) {
    const uint32_t* mine = q + first * query_lanes(shape);
    const uint64_t* seen = words ? words + first : words;
    const States at = states.from(shape, first);
    switch (num_rows - first) {
      case 1: attend_byte_block<1>(shape, tile, mine, seen, at); break;
      case 2: attend_byte_block<2>(shape, tile, mine, seen, at); break;
      case 3: attend_byte_block<3>(shape, tile, mine, seen, at); break;
      case 4: attend_byte_block<4>(shape, tile, mine, seen, at); break;
      case 5: attend_byte_block<5>(shape, tile, mine, seen, at); break;
      default: attend_byte_block<6>(shape, tile, mine, seen, at);
    }
  }
}

}  // namespace
