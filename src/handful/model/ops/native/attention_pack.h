// Packing: 64 keys and values, gathered from the slots of a KV memory, into the order that attention_tile.h reads.
#pragma once

#include "attention_shape.h"

namespace {

HANDFUL_TARGET inline int64_t packed_key_lanes(const Shape& shape) { return int64_t{shape.q_steps} * kTileKeys; }

HANDFUL_TARGET inline int64_t packed_value_lanes(const Shape& shape) {
  return int64_t{kTileKeys / Elements::kPerLane} * shape.padded_dim;
}

// Where the keys (or values) of one key head lie: token slots, and elements from one slot to the next. `num_known`
// slots follow, those of later tiles and reads too.
struct Source {
  const Elements::Type* base;
  const int64_t* slots;
  int64_t slot_stride, num_known;
  const Elements::Type* at(int64_t key) const { return base + slots[key] * slot_stride; }
};

// A layer's memory has left the caches since the last step, and its rows are too scattered for the processor to guess:
// while a tile is packed, the next one is fetched, and be it that of the next read.
HANDFUL_TARGET inline void prefetch_rows(const Shape& shape, const Source& from, int64_t first, int count) {
  constexpr int kLine = 64 / sizeof(Elements::Type);
  const int64_t end = first + count < from.num_known ? first + count : from.num_known;
  for (int64_t key = first; key < end; ++key)
    for (int done = 0; done < shape.head_dim; done += kLine)
      _mm_prefetch(reinterpret_cast<const char*>(from.at(key) + done), _MM_HINT_T0);
}

// Keys missing from the last 16 are zeros; whole 16s that are missing are left as they are and never read.
HANDFUL_TARGET inline void pack_keys(const Shape& shape, const Source& from, int num_keys, uint32_t* to) {
  constexpr int kWidth = kLanes * Elements::kPerLane;
  for (int first = 0; first < num_keys; first += kLanes) {
    const int count = num_keys - first < kLanes ? num_keys - first : kLanes;
    prefetch_rows(shape, from, first + num_keys, kLanes);
    for (int step = 0; step < shape.q_steps; step += kLanes) {
      const int done = step * Elements::kPerLane;
      const int width = shape.head_dim - done < kWidth ? shape.head_dim - done : kWidth;
      Ints x[16];
      for (int i = 0; i < kLanes; ++i)
        x[i] = i < count ? Elements::load(from.at(first + i) + done, width) : all_ints(0);
      transpose(x);
      const int steps = shape.q_steps - step < kLanes ? shape.q_steps - step : kLanes;
      for (int i = 0; i < steps; ++i) store_ints(to + (step + i) * kTileKeys + first, x[i]);
    }
  }
}

// Values missing from the last product are zeros, since a probability of 0 times whatever lies there may be NaN.
HANDFUL_TARGET inline void pack_values(const Shape& shape, const Source& from, int num_keys, uint32_t* to) {
  for (int key = 0; key < num_keys; key += Elements::kPerLane, to += shape.padded_dim) {
    prefetch_rows(shape, from, key + num_keys, Elements::kPerLane);
    const Elements::Type* first = from.at(key);
    const Elements::Type* second = key + 1 < num_keys ? from.at(key + 1) : nullptr;
    for (int c = 0; c < shape.num_vectors; ++c) {
      const int done = c * kLanes;
      const int count = shape.head_dim - done < kLanes ? shape.head_dim - done : kLanes;
      store_ints(to + done, Elements::zip(first + done, second ? second + done : nullptr, count));
    }
  }
  const int steps = (num_keys + Elements::kPerLane - 1) / Elements::kPerLane;
  const int missing = rounded_up(steps, kProductSteps) - steps;
  std::memset(to, 0, static_cast<size_t>(missing) * shape.padded_dim * sizeof(uint32_t));
}

HANDFUL_TARGET inline void pack_query_lanes(const Shape& shape, const Elements::Type* from, uint32_t* to) {
  constexpr int kWidth = kLanes * Elements::kPerLane;
  for (int step = 0; step < shape.q_steps; step += kLanes) {
    const int left = shape.head_dim - step * Elements::kPerLane, lanes = shape.q_steps - step;
    const Ints x = Elements::load(from + step * Elements::kPerLane, left < kWidth ? left : kWidth);
    store_ints(to + step, x, first16(lanes));
  }
}

}  // namespace
