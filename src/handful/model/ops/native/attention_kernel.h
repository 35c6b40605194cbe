// The walk: which rows meet which tiles, on which thread. See attention.h for what a step is. Included once for each
// element type and processor, behind its arithmetic.
//
// A unit of work is a range of the step's rows under one key head; all its query heads' rows are stacked. It takes its
// rows through a read's packed keys and values in chunks, so that a tile is read from the first-level cache by a chunk,
// and through no more tiles at a time than stay in the cache of a core. What has more rows than a unit is packed before,
// once; a unit packs the rest itself. Units know nothing of each other.
#pragma once

#include <algorithm>
#include <atomic>
#include <vector>

#include "attention_exact.h"
#include "attention_shape.h"
#include "team.h"

namespace {

using handful::Call;
using handful::Plan;
using handful::Read;

constexpr int64_t kPackedBytes = kSecondLevel * 3 / 8;  // packed keys and values at a time
constexpr int64_t kMostStackedRows = 512;        // of a unit: bounds its states (0.2 MB with heads of 64)
constexpr int64_t kLeastStackedRows = 48;        // below that, packing anew for each unit costs too much
constexpr int64_t kUnitsPerThread = 8;
constexpr int64_t kTokensToStore = 64, kTilesToPack = 4;  // by a thread at a time
constexpr int64_t kMostAheadBytes = 64 << 20;    // of tiles that are packed before the units begin

// A unit's memory, kept by its thread from call to call.
struct Scratch {
  char* memory = nullptr;
  int64_t size = 0;
  ~Scratch() { std::free(memory); }

  bool reserve(int64_t bytes) {
    if (bytes <= size) return true;
    std::free(memory);
    memory = static_cast<char*>(std::aligned_alloc(64, static_cast<size_t>((bytes + 63) / 64 * 64)));
    size = memory ? bytes : 0;
    return memory != nullptr;
  }
};

thread_local Scratch scratch, ahead_scratch;

// Packed tiles of a read under one key head, one behind the other: its keys, then its values.
struct Packed {
  const uint32_t* lanes;
  int64_t first_tile, end_tile;
};

// What was packed before the units began: where the tiles of each read begin, key head by key head, or null.
using Ahead = std::vector<uint32_t*>;

struct Unit {
  const Plan& plan;
  const Call& call;
  const Shape& shape;
  const Ahead& ahead;
  int64_t kv_head, first_row, end_row;
  int64_t group;        // query heads of a key head
  States states;        // of its rows, in each its query heads
  uint32_t* own;        // room for tiles that it packs itself
  uint32_t* q;          // a chunk's queries

  int64_t num_states() const { return (end_row - first_row) * group; }
};

// The rows of a read that fall into a unit, and the tiles that any of them sees.
struct Part {
  const Read& read;
  int64_t number;  // of the read
  int64_t first_row, num_rows;
  int64_t first_tile, end_tile;

  int64_t entry(int64_t row) const { return read.first_entry + row - read.first_row; }
};

// How many tiles of a form are packed at a time.
template <class Form>
inline int64_t most_tiles(const Shape& shape) {
  const int64_t fitting = kPackedBytes / (Form::tile_lanes(shape) * 4);
  return std::max(fitting, int64_t{1});
}

template <class Form>
inline int64_t packed_room(const Shape& shape) {
  return most_tiles<Form>(shape) * Form::tile_lanes(shape) * 4;
}

inline int64_t tiles_of(const Read& read) { return (read.num_keys + kTileKeys - 1) / kTileKeys; }

inline Part part_of(const Unit& unit, int64_t number) {
  const Read& read = unit.plan.reads[number];
  const Plan& plan = unit.plan;
  const int64_t first = read.first_row > unit.first_row ? read.first_row : unit.first_row;
  const int64_t behind = read.first_row + read.num_rows, end = behind < unit.end_row ? behind : unit.end_row;
  if (first >= end) return {read, number, first, 0, 0, 0};
  const Part part{read, number, first, end - first, 0, tiles_of(read)};
  if (read.first_word >= 0) return part;
  int64_t low = read.num_keys, high = 0;
  for (int64_t entry = part.entry(first); entry < part.entry(end); ++entry) {
    if (plan.low[entry] < low) low = plan.low[entry];
    if (plan.high[entry] > high) high = plan.high[entry];
  }
  return {read, number, first, end - first, low / kTileKeys, (high + kTileKeys - 1) / kTileKeys};
}

// The keys of a tile that a row sees, as bits.
inline uint64_t visible_keys(const Plan& plan, const Part& part, int64_t row, int64_t tile) {
  const int64_t start = tile * kTileKeys, entry = part.entry(row);
  if (part.read.first_word >= 0) {
    const int64_t words = (part.read.num_keys + kTileKeys - 1) / kTileKeys;
    return plan.words[part.read.first_word + (row - part.read.first_row) * words + tile];
  }
  int64_t low = plan.low[entry] - start, high = plan.high[entry] - start;
  low = low < 0 ? 0 : low;
  high = high > kTileKeys ? kTileKeys : high;
  if (low >= high) return 0;
  return (~uint64_t{0} >> (kTileKeys - high)) & (~uint64_t{0} << low);
}

inline int keys_of_tile(const Read& read, int64_t tile) {
  const int64_t left = read.num_keys - tile * kTileKeys;
  return static_cast<int>(left < kTileKeys ? left : kTileKeys);
}

template <class Form>
HANDFUL_TARGET inline void pack_tile(const Plan& plan, const Call& call, const Shape& shape, const Read& read,
                                     int64_t kv_head, int64_t tile, uint32_t* to) {
  const int64_t stride = call.num_kv_heads * call.head_dim, head = kv_head * call.head_dim;
  const Read& last = plan.reads[plan.num_reads - 1];
  const int64_t first_key = read.first_key + tile * kTileKeys, known_keys = last.first_key + last.num_keys - first_key;
  const int64_t* slots = plan.key_slots + first_key;
  const Source keys{static_cast<const Elements::Type*>(call.keys) + head, slots, stride, known_keys};
  const Source values{static_cast<const Elements::Type*>(call.values) + head, slots, stride, known_keys};
  Form::pack(shape, keys, values, keys_of_tile(read, tile), to);
}

// Some tiles of a read for a unit: from those that are packed already, or packed now.
template <class Form>
HANDFUL_TARGET inline Packed packed_tiles(const Unit& unit, const Part& part, int64_t first_tile, int64_t end_tile) {
  const int64_t lanes = Form::tile_lanes(unit.shape);
  if (const uint32_t* ahead = unit.ahead[static_cast<size_t>(part.number)])
    return {ahead + (unit.kv_head * tiles_of(part.read) + first_tile) * lanes, first_tile, end_tile};
  for (int64_t tile = first_tile; tile < end_tile; ++tile) {
    uint32_t* to = unit.own + (tile - first_tile) * lanes;
    pack_tile<Form>(unit.plan, unit.call, unit.shape, part.read, unit.kv_head, tile, to);
  }
  return {unit.own, first_tile, end_tile};
}

inline const Elements::Type* query_at(const Unit& unit, const Part& part, int64_t stacked) {
  const int64_t row = part.first_row + stacked / unit.group, head = stacked % unit.group;
  const int64_t token = unit.plan.asking ? unit.plan.asking[row] : row;
  const int64_t at = token * unit.call.q_stride + (unit.kv_head * unit.group + head) * unit.call.head_dim;
  return static_cast<const Elements::Type*>(unit.call.q) + at;
}

HANDFUL_TARGET inline void prefetch_queries(const Unit& unit, const Part& part, int64_t first, int64_t end) {
  for (int64_t i = first; i < end; ++i)
    for (int64_t done = 0; done < unit.call.head_dim; done += 64 / static_cast<int64_t>(sizeof(Elements::Type)))
      _mm_prefetch(reinterpret_cast<const char*>(query_at(unit, part, i) + done), _MM_HINT_T0);
}

// The keys that all of some rows see: [low, high) of the read, nothing where bits say what is seen.
struct Sight {
  int64_t low, high;
};

inline Sight seen_by_all(const Plan& plan, const Part& part, int64_t first_row, int64_t end_row) {
  if (part.read.first_word >= 0) return {0, 0};
  Sight sight{0, part.read.num_keys};
  for (int64_t entry = part.entry(first_row); entry < part.entry(end_row); ++entry) {
    if (plan.low[entry] > sight.low) sight.low = plan.low[entry];
    if (plan.high[entry] < sight.high) sight.high = plan.high[entry];
  }
  return sight;
}

// Rows that are a single chunk are through with a tile before the next has come by itself.
template <class Form>
HANDFUL_TARGET inline void prefetch_tile(const Shape& shape, const uint32_t* lanes) {
  for (int64_t lane = 0; lane < Form::tile_lanes(shape); lane += kLanes)
    _mm_prefetch(reinterpret_cast<const char*>(lanes + lane), _MM_HINT_T0);
}

// A chunk of stacked rows (row by row, in each its query heads) from stacked row `first`, through some tiles.
template <class Form>
HANDFUL_TARGET inline void attend_chunk(const Unit& unit, const Part& part, const Packed& packed, int64_t first) {
  const Shape& shape = unit.shape;
  const int64_t left = part.num_rows * unit.group - first;
  const int count = static_cast<int>(left < kChunkRows ? left : kChunkRows);
  prefetch_queries(unit, part, first + count, first + (left < 2 * kChunkRows ? left : 2 * kChunkRows));
  uint32_t* q = unit.q;
  for (int i = 0; i < count; ++i)
    Form::pack_query(shape, query_at(unit, part, first + i), q + i * Form::query_lanes(shape));
  const States states = unit.states.from(shape, (part.first_row - unit.first_row) * unit.group + first);
  const int64_t row = part.first_row + first / unit.group, last = part.first_row + (first + count - 1) / unit.group;
  const Sight sight = seen_by_all(unit.plan, part, row, last + 1);
  const bool is_only = first == 0 && left <= kChunkRows;
  for (int64_t tile = packed.first_tile; tile < packed.end_tile; ++tile) {
    const uint32_t* keys = packed.lanes + (tile - packed.first_tile) * Form::tile_lanes(shape);
    if (is_only && tile + 1 < packed.end_tile) prefetch_tile<Form>(shape, keys + Form::tile_lanes(shape));
    const int num_keys = keys_of_tile(part.read, tile);
    if (sight.low <= tile * kTileKeys && (tile + 1) * kTileKeys <= sight.high) {
      Form::attend(count, shape, keys, num_keys, q, nullptr, states);
      continue;
    }
    uint64_t words[kChunkRows] = {};
    for (int i = 0; i < count; ++i) {
      const int64_t mine = part.first_row + (first + i) / unit.group;
      const bool same_row = i && (first + i) % unit.group;
      words[i] = same_row ? words[i - 1] : visible_keys(unit.plan, part, mine, tile);
    }
    Form::attend(count, shape, keys, num_keys, q, words, states);
  }
}

// A unit's rows of one read through all its tiles.
template <class Form>
HANDFUL_TARGET inline void attend_part(const Unit& unit, const Part& part) {
  const int64_t stacked = part.num_rows * unit.group, step = most_tiles<Form>(unit.shape);
  for (int64_t tile = part.first_tile; tile < part.end_tile; tile += step) {
    const int64_t end = tile + step < part.end_tile ? tile + step : part.end_tile;
    const Packed packed = packed_tiles<Form>(unit, part, tile, end);
    for (int64_t first = 0; first < stacked; first += kChunkRows) attend_chunk<Form>(unit, part, packed, first);
  }
}

HANDFUL_TARGET inline void write_out(const Unit& unit) {
  const Shape& shape = unit.shape;
  Elements::Type* out = static_cast<Elements::Type*>(unit.call.out);
  for (int64_t row = unit.first_row; row < unit.end_row; ++row)
    for (int64_t head = 0; head < unit.group; ++head) {
      const States state = unit.states.from(shape, (row - unit.first_row) * unit.group + head);
      const Floats factor = all(1.0f / sum_of_lanes(load(state.sums)));
      Elements::Type* to = out + (row * unit.call.num_heads + unit.kv_head * unit.group + head) * shape.head_dim;
      for (int done = 0; done < shape.head_dim; done += kLanes)
        Elements::put(to + done, load(state.out + done) * factor, shape.head_dim - done);
    }
}

template <class Bytes>
HANDFUL_TARGET void run_unit(const Unit& unit) {
  const size_t num_states = static_cast<size_t>(unit.num_states());
  std::memset(unit.states.out, 0, num_states * unit.shape.padded_dim * sizeof(float));
  std::memset(unit.states.sums, 0, num_states * kLanes * sizeof(float));
  for (size_t i = 0; i < num_states; ++i) unit.states.tops[i] = kLowest;
  for (int64_t number = 0; number < unit.plan.num_reads; ++number) {
    const Part part = part_of(unit, number);
    if (unit.call.in_bytes && part.read.in_bytes) attend_part<Bytes>(unit, part);
    else attend_part<Exact>(unit, part);
  }
  write_out(unit);
}

inline void store_new(const Plan& plan, const Call& call, int64_t token) {
  const int64_t width = call.num_kv_heads * call.head_dim, to = plan.new_slots[token] * width;
  const size_t bytes = static_cast<size_t>(width) * sizeof(Elements::Type);
  using Type = Elements::Type;
  std::memcpy(static_cast<Type*>(call.keys) + to, static_cast<const Type*>(call.k) + token * call.k_stride, bytes);
  std::memcpy(static_cast<Type*>(call.values) + to, static_cast<const Type*>(call.v) + token * call.v_stride, bytes);
}

inline int64_t rows_of_a_unit(const Plan& plan, const Call& call) {
  const int64_t group = call.num_heads / call.num_kv_heads, stacked = plan.num_rows * group;
  int64_t size = stacked * call.num_kv_heads / (kUnitsPerThread * call.num_threads);
  if (size < kLeastStackedRows) size = kLeastStackedRows;
  if (size > kMostStackedRows) size = kMostStackedRows;
  return (size + group - 1) / group;
}

inline Shape shape_of(const Call& call) {
  const int head_dim = static_cast<int>(call.head_dim), num_vectors = (head_dim + kLanes - 1) / kLanes;
  const int steps = (head_dim + Elements::kPerLane - 1) / Elements::kPerLane;
  const float scale_log2 = static_cast<float>(call.scale * 1.4426950408889634);
  return {head_dim, num_vectors, num_vectors * kLanes, rounded_up(steps, kProductSteps), scale_log2};
}

// Whether a read's tiles are in bytes, and kept.
inline bool is_kept(const Call& call, const Read& read) { return call.in_bytes && read.in_bytes && read.kept; }

// What is kept where it is, and the reads that have more rows than a unit, one behind the other, as long as there is room.
template <class Bytes>
inline Ahead lay_out_ahead(const Plan& plan, const Call& call, const Shape& shape, int64_t size) {
  std::vector<int64_t> starts(static_cast<size_t>(plan.num_reads), -1);
  int64_t lanes = 0;
  for (int64_t number = 0; number < plan.num_reads; ++number) {
    const Read& read = plan.reads[number];
    if (read.num_rows <= size || is_kept(call, read)) continue;
    const int64_t tile = call.in_bytes && read.in_bytes ? Bytes::tile_lanes(shape) : Exact::tile_lanes(shape);
    const int64_t more = call.num_kv_heads * tiles_of(read) * tile;
    if ((lanes + more) * 4 > kMostAheadBytes) continue;
    starts[static_cast<size_t>(number)] = lanes;
    lanes += more;
  }
  Ahead ahead(starts.size(), nullptr);
  const bool room = ahead_scratch.reserve(lanes * 4);
  for (size_t number = 0; number < ahead.size(); ++number) {
    const Read& read = plan.reads[number];
    const int64_t of_a_layer = call.num_kv_heads * tiles_of(read) * Bytes::tile_lanes(shape);
    if (is_kept(call, read)) ahead[number] = read.kept + call.layer * of_a_layer;
    else if (room && starts[number] >= 0)
      ahead[number] = reinterpret_cast<uint32_t*>(ahead_scratch.memory) + starts[number];
  }
  return ahead;
}

template <class Form>
inline void pack_ahead(const Plan& plan, const Call& call, const Shape& shape, const Read& read, uint32_t* to) {
  const int64_t tiles = tiles_of(read), lanes = Form::tile_lanes(shape);
  handful::share_out_rows(call.num_kv_heads * tiles, kTilesToPack, call.num_threads, [&](int64_t first, int64_t end) {
    for (int64_t i = first; i < end; ++i)
      pack_tile<Form>(plan, call, shape, read, i / tiles, i % tiles, to + i * lanes);
  });
}

// Which units are whose. Neighbours are under one key head, so a thread takes units that follow one another, and the
// tiles it reads stay in its cache; when its own are done it takes what others have left.
struct Shares {
  int64_t num_units;
  std::vector<std::atomic<int64_t>> next;  // of each share, the unit to be taken

  Shares(int64_t units, int64_t count) : num_units(units), next(static_cast<size_t>(count)) {
    for (int64_t share = 0; share < count; ++share) next[static_cast<size_t>(share)] = begin(share);
  }
  int64_t count() const { return static_cast<int64_t>(next.size()); }
  int64_t begin(int64_t share) const { return num_units * share / count(); }

  // A unit of this share or, when it has none, of the next that has; num_units if there are none.
  int64_t take(int64_t share) {
    for (int64_t turn = 0; turn < count(); ++turn) {
      const int64_t from = (share + turn) % count();
      const int64_t found = next[static_cast<size_t>(from)].fetch_add(1, std::memory_order_relaxed);
      if (found < begin(from + 1)) return found;
    }
    return num_units;
  }
};

// A step's attention in one layer; `Bytes` is the form of what may be taken in bytes. Returns 0, or 1 when there was no
// memory for it.
template <class Bytes>
inline int attend_step(const Plan& plan, const Call& call) {
  const Shape shape = shape_of(call);
  const int64_t group = call.num_heads / call.num_kv_heads, size = rows_of_a_unit(plan, call);
  const int64_t row_blocks = (plan.num_rows + size - 1) / size;
  const int64_t num_states = size * group;
  const int64_t out_floats = num_states * shape.padded_dim, sum_floats = num_states * kLanes;
  const int64_t state_bytes = (num_states * state_floats(shape) + kLanes) / kLanes * kLanes * 4;
  const int64_t packed_bytes = std::max(packed_room<Exact>(shape), packed_room<Bytes>(shape));
  const int64_t query_lanes = std::max(Exact::query_lanes(shape), Bytes::query_lanes(shape));
  const int64_t bytes = state_bytes + packed_bytes + int64_t{kChunkRows} * query_lanes * 4;
  handful::share_out_rows(plan.num_tokens, kTokensToStore, call.num_threads, [&](int64_t first, int64_t last) {
    for (int64_t token = first; token < last; ++token) store_new(plan, call, token);
  });
  const Ahead ahead = lay_out_ahead<Bytes>(plan, call, shape, size);
  for (int64_t number = 0; number < plan.num_reads; ++number) {
    const Read& read = plan.reads[number];
    uint32_t* const to = ahead[static_cast<size_t>(number)];
    if (!to || (is_kept(call, read) && read.filled)) continue;
    if (call.in_bytes && read.in_bytes) pack_ahead<Bytes>(plan, call, shape, read, to);
    else pack_ahead<Exact>(plan, call, shape, read, to);
  }
  if (plan.num_rows == 0) return 0;
  Shares shares(row_blocks * call.num_kv_heads, call.num_threads);
  handful::Turns turns(call.num_threads);  // a thread's first share
  std::atomic<bool> failed{false};
  handful::together(std::min(call.num_threads, shares.num_units), [&] {
    [[maybe_unused]] const TileUnit tile_unit;
    const bool ready = scratch.reserve(bytes);
    float* floats = reinterpret_cast<float*>(scratch.memory);
    const States states{floats, floats + out_floats, floats + out_floats + sum_floats};
    uint32_t* own = reinterpret_cast<uint32_t*>(scratch.memory + state_bytes);
    uint32_t* q = own + packed_bytes / 4;
    const int64_t share = turns.take();
    for (int64_t number = shares.take(share); number < shares.num_units; number = shares.take(share)) {
      if (!ready) {
        failed = true;
        continue;
      }
      const int64_t first = number % row_blocks * size, end = std::min(first + size, plan.num_rows);
      run_unit<Bytes>(Unit{plan, call, shape, ahead, number / row_blocks, first, end, group, states, own, q});
    }
  });
  return failed;
}

}  // namespace
