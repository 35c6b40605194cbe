// Products with AMX, of bytes or of bfloat16: 32 rows by a panel of 32 columns in four tiles of sums.
//
// While the tiles of one block of sums grow, the block before it is finished by the vector units, a few rows a step,
// and the next panel is fetched. A thread takes a group of panels over rows that stay in its second-level cache. Very
// deep products are taken in chunks of their depth, so that the rows of a task are many all the same; between chunks
// the sums wait in memory, as tiles.

#include <algorithm>
#include <type_traits>
#include <vector>

#include "amx.h"
#include "handful.h"
#include "lanes_avx512.h"
#include "linear.h"
// (the order matters: the epilogue is written over the lanes)
#define HANDFUL_TARGET HANDFUL_AVX512_BF16
#include "linear_epilogue.h"
#include "team.h"

namespace handful {
namespace {

using avx512::finish;
using avx512::Output;
using avx512::RoundByProcessor;

constexpr int64_t kTileRows = 16, kTileBytes = 1024, kStepBytes = 2 * kTileBytes;  // a step of a panel: two tiles
constexpr int64_t kDeepSteps = 96;         // above that a product is taken in chunks
constexpr int64_t kChunkSteps = 40;        // of at most so many steps
constexpr int64_t kRowBytes = 640 * 1024;  // of a chunk of all rows of a task
constexpr int64_t kSumBytes = 256 * 1024;  // of the sums that wait between chunks

struct Bytes {
  using Sum = int32_t;
  template <int SUM, int A, int B>
  static void multiply() { tile_multiply_int8<SUM, A, B>(); }
};

struct Halves {
  using Sum = float;
  template <int SUM, int A, int B>
  static void multiply() { tile_multiply_bf16<SUM, A, B>(); }
};

// Sums that wait to be finished: `count` rows from `row`, in one panel.
template <class Sum>
struct Waiting {
  alignas(64) Sum sums[32][kPanel];
  int64_t row = 0, panel = 0, count = 0, done = 0;
};

// The part of a depth that a block takes at a time.
struct Chunk {
  int64_t first, end;  // steps
  bool starts, ends;   // whether it is the depth's first, its last
};

// What a block fetches ahead: `lines` cache lines a step.
struct Ahead {
  const char* from;
  int64_t lines;
};

template <class Number>
class Product {
 public:
  Product(const Layer& layer, const LinearCall& call)
      : layer(layer), call(call), to{call.out, call.residual, call.out_type}, steps(layer.row_bytes() / 64) {}

  // Rows [row, end) by panels [panel, end_panel); rows begin at whole tiles.
  HANDFUL_AVX512_BF16 void run(int64_t row, int64_t end, int64_t panel, int64_t end_panel) {
    const int64_t blocks = (end - row + 31) / 32, chunks = num_chunks();
    if (chunks > 1) sums.resize((end_panel - panel) * blocks * 4 * kTileBytes + 64);
    for (int64_t c = 0; c < chunks; c++) {
      const Chunk chunk{steps * c / chunks, steps * (c + 1) / chunks, c == 0, c + 1 == chunks};
      char* between = aligned(sums.data());
      for (int64_t p = panel; p < end_panel; p++) {
        const int64_t next = p + 1 < end_panel ? p + 1 : p, lines = (32 + blocks - 1) / blocks;
        Ahead ahead{panel_at(next) + chunk.first * kStepBytes, lines};
        for (int64_t at = row; at < end; at += 32, between += 4 * kTileBytes) {
          if (end - at > kTileRows) block<true>(at, p, chunk, ahead, between);
          else block<false>(at, p, chunk, ahead, between);
          ahead.from += (chunk.end - chunk.first) * lines * 64;
        }
      }
    }
  }

  HANDFUL_AVX512_BF16 void finish_rest() { finish_rows(waiting[now], 32); }

  int64_t num_chunks() const { return steps > kDeepSteps ? (steps + kChunkSteps - 1) / kChunkSteps : 1; }

 private:
  using Sum = typename Number::Sum;
  const Layer& layer;
  const LinearCall& call;
  const Output to;
  const int64_t steps;
  Waiting<Sum> waiting[2];
  int now = 0;
  std::vector<char> sums;  // [panels][blocks][4] tiles, between chunks

  static char* aligned(char* at) { return at + (64 - reinterpret_cast<uintptr_t>(at) % 64) % 64; }

  const char* panel_at(int64_t panel) const { return layer.panels + panel * steps * kStepBytes; }

  HANDFUL_AVX512_BF16 void finish_rows(Waiting<Sum>& from, int64_t count) {
    for (const int64_t end = std::min(from.count, from.done + count); from.done < end; from.done++) {
      const int64_t row = from.row + from.done;
      const float scale = std::is_same<Number, Bytes>::value ? call.scales[row] : 1.0f;
      finish<RoundByProcessor>(layer, row, from.panel, from.sums[from.done], scale, to);
    }
  }

  // TALL: 32 rows, else 16.
  template <bool TALL>
  HANDFUL_AVX512_BF16 void block(int64_t row, int64_t panel, const Chunk& chunk, const Ahead& ahead, char* between) {
    if (chunk.starts) zero_sums<TALL>();
    else load_sums<TALL>(between);
    const char* a = call.packed + row * layer.row_bytes();
    const char* low = a + kTileRows * layer.row_bytes();
    const char* b = panel_at(panel);
    Waiting<Sum>& before = waiting[now];
    const int64_t count = chunk.end - chunk.first, rows_a_step = (before.count - before.done + count - 1) / count;
    const char* line = ahead.from;
    for (int64_t step = chunk.first; step < chunk.end; step++) {
      for (int64_t i = 0; i < ahead.lines; i++, line += 64) _mm_prefetch(line, _MM_HINT_T0);
      tile_load<4>(a + step * kTileBytes, 64);
      tile_load<6>(b + step * kStepBytes, 128);
      Number::template multiply<0, 4, 6>();
      tile_load<7>(b + step * kStepBytes + 64, 128);
      Number::template multiply<1, 4, 7>();
      if (TALL) {
        tile_load<5>(low + step * kTileBytes, 64);
        Number::template multiply<2, 5, 6>();
        Number::template multiply<3, 5, 7>();
      }
      finish_rows(before, rows_a_step);
    }
    if (chunk.ends) keep<TALL>(row, panel);
    else store_sums<TALL>(between);
  }

  template <bool TALL>
  static void zero_sums() {
    tile_zero<0>(), tile_zero<1>();
    if (TALL) tile_zero<2>(), tile_zero<3>();
  }

  template <bool TALL>
  static void load_sums(const char* from) {
    tile_load<0>(from, 64), tile_load<1>(from + kTileBytes, 64);
    if (TALL) tile_load<2>(from + 2 * kTileBytes, 64), tile_load<3>(from + 3 * kTileBytes, 64);
  }

  template <bool TALL>
  static void store_sums(char* to) {
    tile_store<0>(to, 64), tile_store<1>(to + kTileBytes, 64);
    if (TALL) tile_store<2>(to + 2 * kTileBytes, 64), tile_store<3>(to + 3 * kTileBytes, 64);
  }

  // The tiles are whole sums: they wait to be finished.
  template <bool TALL>
  void keep(int64_t row, int64_t panel) {
    now = 1 - now;
    Waiting<Sum>& found = waiting[now];
    constexpr int64_t kRow = sizeof(found.sums[0]);
    tile_store<0>(found.sums[0], kRow), tile_store<1>(found.sums[0] + 16, kRow);
    if (TALL) tile_store<2>(found.sums[16], kRow), tile_store<3>(found.sums[16] + 16, kRow);
    found.row = row, found.panel = panel, found.done = 0;
    found.count = std::min<int64_t>(TALL ? 32 : 16, call.rows - row);
  }
};

// How a product is split into tasks: rows in whole pairs of tiles, panels in groups.
struct Split {
  int64_t rows, row_blocks, groups;
};

Split split(const Layer& layer, const LinearCall& call, int64_t chunks) {
  const int64_t chunk_bytes = layer.row_bytes() / chunks, panels = layer.num_panels();
  const int64_t most = std::max<int64_t>(kRowBytes / chunk_bytes / 32 * 32, 32);
  const int64_t row_blocks = (call.rows + most - 1) / most;
  const int64_t rows = ((call.rows + row_blocks - 1) / row_blocks + 31) / 32 * 32;
  const int64_t fitting = chunks > 1 ? std::max<int64_t>(kSumBytes / (rows * kPanel * 4), 1) : panels;
  return {rows, row_blocks, std::max((panels + fitting - 1) / fitting, std::min<int64_t>(panels, call.threads * 4))};
}

template <class Number>
void multiply(const Layer& layer, const LinearCall& call) {
  const Split tasks = split(layer, call, Product<Number>(layer, call).num_chunks());
  const int64_t panels = layer.num_panels();
  share_out_rows(call.rows, kRowsToPrepare, call.threads,
                 [&](int64_t first, int64_t end) { avx512::prepare_rows(layer, call, {0, true}, first, end); });
  Turns turns(tasks.row_blocks * tasks.groups);
  together(std::min<int64_t>(call.threads, tasks.row_blocks * tasks.groups), [&] {
    const TileRegisters registers;
    Product<Number> product(layer, call);
    for (int64_t task = turns.take(); task >= 0; task = turns.take()) {
      const int64_t first = task % tasks.row_blocks * tasks.rows, g = task / tasks.row_blocks;
      const int64_t end = std::min(first + tasks.rows, call.rows);
      if (first < end) product.run(first, end, panels * g / tasks.groups, panels * (g + 1) / tasks.groups);
    }
    product.finish_rest();
  });
}

}  // namespace

void multiply_amx(const Layer& layer, const LinearCall& call) {
  if (layer.type == kInt8) multiply<Bytes>(layer, call);
  else multiply<Halves>(layer, call);
}

}  // namespace handful
