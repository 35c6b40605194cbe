// Packing in bytes, for attention_bytes.h: AVX-512 VNNI multiplies four pairs of them a lane, twice as many as of bfloat16.
// For reads that many rows share, since making bytes of a tile costs as much as some fifty rows save by it.
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
constexpr float kSteps = 64.0f;  // of a score to a factor of 2
constexpr float kLeastShare = 1.0f / 128;  // of the largest scale of a tile's values: none is finer
constexpr float kCountOfOne = 256.0f;      // 256 / kLeastShare = 2^15 is the largest count (less 1, as it has to fit)

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

}  // namespace
