// A read's tiles in the elements' own type: what attention_pack.h packs, attention_tile.h or attention_tile_amx.h
// multiplies. attention_bytes_pack.h offers the same functions.
#pragma once

#include "attention_pack.h"

namespace {

struct Exact {
  static int64_t tile_lanes(const Shape& shape) { return packed_key_lanes(shape) + packed_value_lanes(shape); }
  static int64_t query_lanes(const Shape& shape) { return shape.q_steps; }

  HANDFUL_TARGET static inline void pack(const Shape& shape, const Source& keys, const Source& values, int num_keys,
                                         uint32_t* to) {
    pack_keys(shape, keys, num_keys, to);
    pack_values(shape, values, num_keys, to + packed_key_lanes(shape));
  }
  HANDFUL_TARGET static inline void pack_query(const Shape& shape, const Elements::Type* from, uint32_t* to) {
    pack_query_lanes(shape, from, to);
  }
  HANDFUL_TARGET static inline void attend(int num_rows, const Shape& shape, const uint32_t* tile, int num_keys,
                                           const uint32_t* q, const uint64_t* words, const States& states) {
    attend_tile(num_rows, shape, {tile, tile + packed_key_lanes(shape), num_keys}, q, words, states);
  }
};

}  // namespace
