// A read's tiles in bytes: AVX-512 VNNI multiplies four pairs of them a lane, twice as many as of bfloat16. For reads
// that many rows share, since making bytes of a tile costs as much as some fifty rows save by it.
//
// Queries and keys are mixed by the same Hadamard matrix, which leaves their products as they are and spreads what is
// large in a few dimensions (arXiv 2404.00456); then each is bytes with a scale of its own (bytes.h), and so is each
// value. What a key adds to a row's sum is its probability times its value's scale, times a value of bytes. That factor
// is a whole number from 0 to 255, where 255 is the tile's largest: tiles far from a row's most probable key keep their
// digits, and so do keys beside a probable one whose value is next to nothing, as the first token's is in most models.
//
// Packed, a tile after the other, in lanes of four bytes:
//   keys      [head_dim / 4][64 keys]
//   values    [16][head_dim, padded]      step s holds the keys 16 (s % 4) + 4 (s / 4) and the three behind: the order
//                                         in which packs_epi32 and packus_epi16 leave a row's factors
//   starts    [64] int32                  what sums of products begin at: queries are bytes without a sign, 128 too large
//   scales    [64] float                  of the keys, times the scores' scale (in steps) and what the mixing multiplied
//   levels    [64] float                  log2 of the values' scales, relative to the tile's largest, in steps
//   counts    [64] int16, in their order  what a factor counts as a probability
//   unit      [1] float                   what a product of a factor and a value counts
// A query is [head_dim / 4] lanes and its scale.
//
// The softmax is in whole numbers of 16 bits, 32 a vector. Scores are in steps of 1/64 of a factor of 2: 2 to the part
// below a factor of 2 is looked up, the rest is a shift. That is off by 0.3% (half a step 0.5%), less than what a factor
// loses when it becomes a byte. A factor has 15 bits, 7 of them behind the point, so that the sum of probabilities is
// that of factors before they lose digits.
#pragma once

#include <algorithm>
#include <cmath>

#include "attention_exact.h"
#include "bytes.h"
#include "hadamard.h"

namespace {

constexpr int kKeyGroups = kTileKeys / 4;
constexpr int kQueryZero = 128;
constexpr float kMostFactor = 255.0f;
constexpr int kPointShift = 7, kStepShift = 6;  // bits of a factor behind its point; 2^6 steps are a factor of 2
constexpr float kSteps = 64.0f;
constexpr float kLeastShare = 1.0f / 128;  // of the largest scale of a tile's values: none is finer
constexpr float kCountOfOne = 256.0f;      // 256 / kLeastShare = 2^15 is the largest count (less 1, as it has to fit)
constexpr float kProbability = 1.0f / (kMostFactor * (1 << kPointShift) * kCountOfOne);  // of a factor times a count

struct Bytes {
  static int64_t steps(const Shape& shape) { return (shape.head_dim + 3) / 4; }
  static int64_t key_lanes(const Shape& shape) { return steps(shape) * kTileKeys; }
  static int64_t value_lanes(const Shape& shape) { return int64_t{kKeyGroups} * shape.padded_dim; }
  static int64_t tile_lanes(const Shape& shape) {
    return key_lanes(shape) + value_lanes(shape) + 3 * kTileKeys + kTileKeys / 2 + kLanes;
  }
  static int64_t query_lanes(const Shape& shape) { return steps(shape) + 1; }

  static void pack(const Shape& shape, const Source& keys, const Source& values, int num_keys, uint32_t* to);
  static void pack_query(const Shape& shape, const Elements::Type* from, uint32_t* to);
  static void attend(int num_rows, const Shape& shape, const uint32_t* tile, int num_keys, const uint32_t* q,
                     const uint64_t* words, const States& states);
};

struct ByteTile {
  const uint32_t* keys;
  const uint32_t* values;
  const int32_t* starts;
  const float* scales;
  const float* levels;
  const int16_t* counts;
  float unit;
};

inline ByteTile byte_tile(const Shape& shape, const uint32_t* lanes) {
  const uint32_t* values = lanes + Bytes::key_lanes(shape);
  const uint32_t* starts = values + Bytes::value_lanes(shape);
  const float* scales = reinterpret_cast<const float*>(starts + kTileKeys);
  const float* counts = scales + 2 * kTileKeys;
  return {lanes,  values, reinterpret_cast<const int32_t*>(starts), scales, scales + kTileKeys,
          reinterpret_cast<const int16_t*>(counts), counts[kTileKeys / 2]};
}

// The size of the Hadamard matrix: the largest power of two in head_dim, or 1 (nothing is mixed) if it is below 64.
inline int64_t mixing(const Shape& shape) {
  const int64_t size = shape.head_dim & -shape.head_dim;
  return size < 64 ? 1 : size;
}

// A row of 16 V elements as bytes, in registers. Returns its scale.
template <int V, bool Mixed>
HANDFUL_TARGET inline float bytes_of(const Elements::Type* from, int zero, char* to, float least) {
  Floats x[V];
#pragma GCC unroll 8
  for (int i = 0; i < V; ++i) x[i] = Elements::floats(from + i * kLanes, kLanes);
  if constexpr (Mixed) hadamard<V>(x);
  Ints found = bits_of_magnitude(x[0]);
#pragma GCC unroll 8
  for (int i = 1; i < V; ++i) found = most_ints(found, bits_of_magnitude(x[i]));
  const Scale scale = scale_under(most_of_lanes(found), least);
  const Floats factor = all(scale.inverse);
#pragma GCC unroll 8
  for (int i = 0; i < V; ++i) x[i] = x[i] * factor;
#pragma GCC unroll 2
  for (int i = 0; i < V; i += 4) store_64_bytes(to + i * kLanes, x[i], x[i + 1], x[i + 2], x[i + 3], zero);
  return scale.value;
}

// The same for any size.
template <bool Mixed>
HANDFUL_TARGET inline float bytes_of_any(const Shape& shape, const Elements::Type* from, int zero, char* to,
                                         float least) {
  alignas(64) float x[kMostDimensions];
  for (int done = 0; done < shape.padded_dim; done += kLanes)
    store(x + done, Elements::floats(from + done, shape.head_dim - done));
  if (Mixed && mixing(shape) > 1) hadamard(x, shape.head_dim, mixing(shape));
  return quantise(x, shape.padded_dim, zero, to, 64, least);
}

// A query, key (mixed) or value as bytes; returns its scale, which is `least` at least.
template <bool Mixed>
HANDFUL_TARGET inline float row_bytes(const Shape& shape, const Elements::Type* from, int zero, char* to,
                                      float least = 0.0f) {
  switch (shape.head_dim) {
    case 64: return bytes_of<4, Mixed>(from, zero, to, least);
    case 128: return bytes_of<8, Mixed>(from, zero, to, least);
    default: return bytes_of_any<Mixed>(shape, from, zero, to, least);
  }
}

// Keys behind the last are zeros.
HANDFUL_TARGET inline void pack_byte_keys(const Shape& shape, const Source& from, int num_keys, uint32_t* to,
                                          int32_t* starts, float* scales) {
  alignas(64) char bytes[kLanes][kMostDimensions];
  const float scale = shape.scale_log2 * kSteps / static_cast<float>(mixing(shape));
  const int64_t steps = Bytes::steps(shape);
  for (int first = 0; first < kTileKeys; first += kLanes) {
    prefetch_rows(shape, from, first + num_keys, kLanes);
    for (int i = 0; i < kLanes; ++i) {
      const bool real = first + i < num_keys;
      if (real) scales[first + i] = scale * row_bytes<true>(shape, from.at(first + i), 0, bytes[i]);
      else scales[first + i] = 0.0f, std::memset(bytes[i], 0, static_cast<size_t>(shape.padded_dim));
    }
    Ints sum = all_ints(0);
    for (int64_t step = 0; step < steps; step += kLanes) {
      Ints x[16];
      for (int i = 0; i < kLanes; ++i) x[i] = load_ints(bytes[i] + step * 4, first16(shape.padded_dim / 4 - step));
      transpose(x);
      const int64_t left = steps - step < kLanes ? steps - step : kLanes;
      for (int64_t i = 0; i < left; ++i) {
        store_ints(to + (step + i) * kTileKeys + first, x[i]);
        sum = _mm512_dpbusd_epi32(sum, _mm512_set1_epi8(static_cast<char>(kQueryZero)), x[i]);
      }
    }
    store_ints(starts + first, _mm512_sub_epi32(all_ints(0), sum));
  }
}

// 16 dimensions of four keys, a key's byte in each lane's first, second, third and fourth.
HANDFUL_TARGET inline Ints interleaved(const char* const* rows, int done) {
  Ints lanes = all_ints(0);
  for (int i = 3; i >= 0; --i) {
    const __m128i bytes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[i] + done));
    lanes = _mm512_or_si512(_mm512_slli_epi32(lanes, 8), _mm512_cvtepu8_epi32(bytes));
  }
  return lanes;
}

// Where the scales of a tile's keys and values go. Those of a key or value that is no number: NaN and 0.
struct PackedScales {
  float *keys, *values;
};

// Four values that follow one another; those behind the last are zeros. Their scales are `least` at least.
HANDFUL_TARGET inline void pack_byte_group(const Shape& shape, const Source& from, int num_keys, int group,
                                           uint32_t* to, const PackedScales& scales, float least) {
  alignas(64) char bytes[4][kMostDimensions];
  const char* const rows[] = {bytes[0], bytes[1], bytes[2], bytes[3]};
  for (int i = 0; i < 4; ++i) {
    const int key = 4 * group + i;
    scales.values[key] = 0.0f;
    if (key >= num_keys) {
      std::memset(bytes[i], 0, static_cast<size_t>(shape.padded_dim));
      continue;
    }
    const float scale = row_bytes<false>(shape, from.at(key), 0, bytes[i], least);
    if (std::isnan(scale)) scales.keys[key] = scale;
    else scales.values[key] = scale;
  }
  uint32_t* step = to + (group % 4 * 4 + group / 4) * shape.padded_dim;
  for (int done = 0; done < shape.padded_dim; done += kLanes) store_ints(step + done, interleaved(rows, done));
}

// Values with next to nothing in them are made a second time, less fine.
HANDFUL_TARGET inline void pack_byte_values(const Shape& shape, const Source& from, int num_keys, uint32_t* to,
                                            const PackedScales& scales) {
  for (int group = 0; group < kKeyGroups; ++group) {
    prefetch_rows(shape, from, 4 * group + num_keys, 4);
    pack_byte_group(shape, from, num_keys, group, to, scales, 0.0f);
  }
  const float least = largest(scales.values, kTileKeys) * kLeastShare;
  for (int group = 0; 4 * group < num_keys; ++group) {
    const float* mine = scales.values + 4 * group;
    if (std::min({mine[0], mine[1], mine[2], mine[3]}) >= least) continue;
    pack_byte_group(shape, from, num_keys, group, to, scales, least);
  }
}

// log2 of numbers above 0, to 1e-4: the exponent, and a polynomial by our own fit for what it leaves, from 1 to 2.
HANDFUL_TARGET inline Floats log2_of(Floats x) {
  const Floats m = _mm512_getmant_ps(x, _MM_MANT_NORM_1_2, _MM_MANT_SIGN_src);
  Floats y = multiply_add(all(-0.07844068f), m, all(0.6260322f));
  y = multiply_add(y, m, all(-2.0783352f));
  y = multiply_add(y, m, all(4.0292114f));
  return multiply_add(y, m, all(-2.4983531f)) + _mm512_getexp_ps(x);
}

// The values' scales become levels, and the counts and the unit follow from them. A value of zeros counts as one that is
// as small as they are taken. What sees a key that is no number, or its value, finds an infinite score and becomes none.
HANDFUL_TARGET inline void level_values(const PackedScales& scales, int16_t* counts, float* unit) {
  const float top = largest(scales.values, kTileKeys);
  Ints count[4];
  for (int c = 0; c < 4; ++c) {
    float *keys = scales.keys + c * kLanes, *levels = scales.values + c * kLanes;
    const Floats key = load(keys), share = most(divide(load(levels), all(top)), all(kLeastShare));
    const Mask known = _mm512_cmp_ps_mask(key, key, _CMP_ORD_Q);
    store(keys, select(known, key, all(0.0f)));
    store(levels, select(known, log2_of(share) * all(kSteps), all(std::numeric_limits<float>::infinity())));
    count[c] = _mm512_cvtps_epi32(divide(all(kCountOfOne), share));
  }
  store_ints(counts, _mm512_packs_epi32(count[0], count[1]));
  store_ints(counts + 2 * kLanes, _mm512_packs_epi32(count[2], count[3]));
  *unit = top / kMostFactor;
}

HANDFUL_TARGET inline void Bytes::pack(const Shape& shape, const Source& keys, const Source& values, int num_keys,
                                       uint32_t* to) {
  const ByteTile tile = byte_tile(shape, to);
  float* known = const_cast<float*>(tile.scales);
  const PackedScales scales{known, known + kTileKeys};
  float* counts = known + 2 * kTileKeys;
  pack_byte_keys(shape, keys, num_keys, to, const_cast<int32_t*>(tile.starts), scales.keys);
  pack_byte_values(shape, values, num_keys, to + key_lanes(shape), scales);
  level_values(scales, reinterpret_cast<int16_t*>(counts), counts + kTileKeys / 2);
}

HANDFUL_TARGET inline void Bytes::pack_query(const Shape& shape, const Elements::Type* from, uint32_t* to) {
  alignas(64) char bytes[kMostDimensions];
  const bool fits = shape.padded_dim == shape.head_dim;
  const float scale = row_bytes<true>(shape, from, kQueryZero, fits ? reinterpret_cast<char*>(to) : bytes);
  if (!fits) std::memcpy(to, bytes, static_cast<size_t>(steps(shape)) * 4);
  std::memcpy(to + steps(shape), &scale, sizeof(scale));
}

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
// number of steps: GCC then keeps all sums in registers, which makes it 2.3 times faster. Between two products a store
// costs as much as two of their steps, so the sums are not to go through memory.
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
