// Products of packed weights and rows, 32 bits of both at a time (`Number`: four bytes, or two numbers in bfloat16),
// results finished in registers. Included once for each kind of number, behind its lanes and with its HANDFUL_TARGET.
//
// A tile is ROWS rows by PANELS panels of 32 columns. Registers hold the sums of Number::kVectors vectors of 16 through
// the whole of the depth; where a tile has more, it is taken in several passes. A task is one block of rows, small
// enough for the second-level cache, by one group of panels; threads take tasks as they come free. A row's sums grow in
// one order, so they depend neither on other rows nor on the tiling.
#pragma once

#include <algorithm>
#include <array>
#include <utility>

#include "handful.h"
#include "linear.h"
#include "linear_epilogue.h"
#include "team.h"

namespace {

using namespace handful;
using namespace handful::HANDFUL_LEVEL;

constexpr int kMostRows = Number::kMostRows;
constexpr int64_t kBlockBytes = kSecondLevel * 3 / 8, kBlockRows = 252;
constexpr int64_t kLaneBytes = 4, kStepBytes = kPanel * kLaneBytes;  // a step of a panel: a lane of each column

struct Product {
  const Layer& layer;
  const char* x;        // [rows][row_bytes], packed
  const float* scales;  // [rows], of bytes
  Output to;

  int64_t steps() const { return layer.row_bytes() / kLaneBytes; }
  int64_t panel_bytes() const { return steps() * kStepBytes; }
};

// The vectors of a row that a pass takes, when there are so many rows: 1, 2, 4 or 8.
constexpr int vectors_of_a_pass(int rows) {
  int count = 8;
  while (count > 1 && count * rows > Number::kVectors) count /= 2;
  return count;
}

// The most panels that a tile of so many rows has: those of one pass, but at least one.
constexpr int panels_of_a_tile(int rows) { return std::max(vectors_of_a_pass(rows) / 2, 1); }

// Vectors [FIRST, FIRST + COUNT) of the rows of a tile through the whole of the depth. found: [ROWS][VECTORS][16].
template <int ROWS, int VECTORS, int FIRST, int COUNT>
HANDFUL_TARGET inline void pass(const Product& p, int64_t row, int64_t panel, const char* ahead, Number::Sum* found) {
  const int64_t steps = p.steps(), panel_bytes = p.panel_bytes(), row_bytes = p.layer.row_bytes();
  const char* weights = p.layer.panels + panel * panel_bytes;
  const char* x = p.x + row * row_bytes;
  Number::Sums sums[ROWS][COUNT];
#pragma GCC unroll 8
  for (int n = 0; n < COUNT; n++) {
    const Number::Sums start = Number::start(p.layer, panel * kPanel + (FIRST + n) * 16);
#pragma GCC unroll 14
    for (int r = 0; r < ROWS; r++) sums[r][n] = start;
  }
  for (int64_t step = 0; step < steps; step++) {
    _mm_prefetch(ahead + step * 64, _MM_HINT_T0);
    Ints w[COUNT];
#pragma GCC unroll 8
    for (int n = 0; n < COUNT; n++) {
      w[n] = load_ints(weights + (FIRST + n) / 2 * panel_bytes + step * kStepBytes + (FIRST + n) % 2 * 64);
    }
#pragma GCC unroll 14
    for (int r = 0; r < ROWS; r++) {
      const Ints lane = all_ints(*reinterpret_cast<const int32_t*>(x + r * row_bytes + step * kLaneBytes));
#pragma GCC unroll 8
      for (int n = 0; n < COUNT; n++) sums[r][n] = Number::multiply_add(sums[r][n], lane, w[n]);
    }
  }
#pragma GCC unroll 14
  for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 8
    for (int n = 0; n < COUNT; n++) Number::put(found + (r * VECTORS + FIRST + n) * 16, sums[r][n]);
  }
}

template <int ROWS, int PANELS>
HANDFUL_TARGET void tile(const Product& p, int64_t row, int64_t panel, const char* ahead) {
  constexpr int kAll = PANELS * 2, kOnce = std::min(kAll, vectors_of_a_pass(ROWS));
  alignas(64) Number::Sum found[ROWS][kAll][16];
  pass<ROWS, kAll, 0, kOnce>(p, row, panel, ahead, found[0][0]);
  if constexpr (kOnce < kAll) pass<ROWS, kAll, kOnce, kOnce>(p, row, panel, ahead + p.steps() * 64, found[0][0]);
  for (int n = 0; n < PANELS; n++) {
    for (int r = 0; r < ROWS; r++) {
      const float scale = Number::kScaled ? p.scales[row + r] : 1.0f;
      finish<Number::Round>(p.layer, row + r, panel + n, found[r][n * 2], scale, p.to);
    }
  }
}

using Tile = void (*)(const Product&, int64_t, int64_t, const char*);

template <int ROWS, int PANELS>
constexpr Tile tile_if() {
  if constexpr (PANELS <= panels_of_a_tile(ROWS)) return tile<ROWS, PANELS>;
  else return nullptr;
}

// Tiles of so many panels by their rows; those that would have too many are null.
template <int PANELS, size_t... ROWS>
constexpr std::array<Tile, kMostRows + 1> tiles(std::index_sequence<ROWS...>) {
  std::array<Tile, kMostRows + 1> made{};
  ((made[ROWS + 1] = tile_if<ROWS + 1, PANELS>()), ...);
  return made;
}
template <int PANELS>
constexpr std::array<Tile, kMostRows + 1> kTiles = tiles<PANELS>(std::make_index_sequence<kMostRows>());

template <int PANELS>
void columns(const Product& p, int64_t first_row, int64_t end_row, int64_t panel, int64_t num_tiles) {
  const int64_t rows = end_row - first_row;
  const int64_t half = p.panel_bytes() / 2;
  const char* next = p.layer.panels + (panel + PANELS) * half * 2;
  for (int64_t t = 0; t < num_tiles; t++) {
    const int64_t from = first_row + rows * t / num_tiles, to = first_row + rows * (t + 1) / num_tiles;
    kTiles<PANELS>[to - from](p, from, panel, t < 2 ? next + t * half : next);
  }
}

// Rows [first_row, end_row) by panels [panel, end_panel), a group of panels outermost: it stays in the cache.
void block(const Product& p, int64_t first_row, int64_t end_row, int64_t panel, int64_t end_panel) {
  const int64_t rows = end_row - first_row;
  const int64_t num_tiles = (rows + kMostRows - 1) / kMostRows;
  const int64_t tallest = (rows + num_tiles - 1) / num_tiles;
  const int64_t side_by_side = panels_of_a_tile(static_cast<int>(tallest));
  while (panel < end_panel) {
    const int64_t left = std::min(side_by_side, end_panel - panel);
    if (left >= 4) {
      columns<4>(p, first_row, end_row, panel, num_tiles);
      panel += 4;
    } else if (left >= 2) {
      columns<2>(p, first_row, end_row, panel, num_tiles);
      panel += 2;
    } else {
      columns<1>(p, first_row, end_row, panel, num_tiles);
      panel += 1;
    }
  }
}

void multiply(const Layer& layer, const LinearCall& call) {
  const Product p{layer, call.packed, call.scales, {call.out, call.residual, call.out_type}};
  const int64_t panels = layer.num_panels(), rows = call.rows;
  const int64_t block_rows = std::max<int64_t>(std::min(kBlockBytes / layer.row_bytes(), kBlockRows), 1);
  const int64_t row_blocks = (rows + block_rows - 1) / block_rows;
  // Whole tiles of panels, so that none is narrower than it could be.
  const int64_t wide = panels_of_a_tile(static_cast<int>(std::min<int64_t>(rows, kMostRows)));
  const int64_t tiles = (panels + wide - 1) / wide, groups = std::min<int64_t>(tiles, call.threads * 4);
  share_out_rows(rows, kRowsToPrepare, call.threads, [&](int64_t first, int64_t end) {
    prepare_rows(layer, call, {Number::kZeroByte, false}, first, end);
  });
  share_out(row_blocks * groups, call.threads, [&](int64_t task) {
    const int64_t r = task % row_blocks, g = task / row_blocks;
    const int64_t first = tiles * g / groups * wide, end = std::min(tiles * (g + 1) / groups * wide, panels);
    block(p, rows * r / row_blocks, rows * (r + 1) / row_blocks, first, end);
  });
}

}  // namespace
