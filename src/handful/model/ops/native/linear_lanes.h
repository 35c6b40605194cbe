// Products with AVX-512 of packed weights and rows, 32 bits of both at a time (`Number`: four bytes, or two numbers in
// bfloat16), results finished in registers. Included once for each kind of number, with its HANDFUL_TARGET.
//
// A tile is ROWS rows by PANELS panels of 32 columns, its sums in at most 28 registers through the whole of the depth.
// A task is one block of rows, small enough for the second-level cache, by one group of panels; threads take tasks as
// they come free. A row's sums grow in one order, so they depend neither on other rows nor on the tiling.
#pragma once

#include <algorithm>
#include <vector>

#include "handful.h"
#include "linear.h"
#include "linear_epilogue.h"

namespace {

using namespace handful;

constexpr int kMaxRows = 14;
constexpr int64_t kBlockBytes = 384 * 1024, kBlockRows = 252;
constexpr int64_t kLaneBytes = 4, kStepBytes = kPanel * kLaneBytes;  // a step of a panel: a lane of each column

struct Product {
  const Layer& layer;
  const char* x;        // [rows][row_bytes], packed
  const float* scales;  // [rows], of bytes
  Output to;

  int64_t steps() const { return layer.row_bytes() / kLaneBytes; }
  int64_t panel_bytes() const { return steps() * kStepBytes; }
};

template <int ROWS, int PANELS>
HANDFUL_TARGET void tile(const Product& p, int64_t row, int64_t panel, const char* ahead) {
  const Layer& layer = p.layer;
  const int64_t steps = p.steps(), panel_bytes = p.panel_bytes(), row_bytes = layer.row_bytes();
  const char* weights = layer.panels + panel * panel_bytes;
  const char* x = p.x + row * row_bytes;
  Number::Sums sums[ROWS][PANELS * 2];
#pragma GCC unroll 8
  for (int n = 0; n < PANELS * 2; n++) {
    const Number::Sums start = Number::start(layer, panel * kPanel + n * 16);
#pragma GCC unroll 14
    for (int r = 0; r < ROWS; r++) sums[r][n] = start;
  }
  for (int64_t step = 0; step < steps; step++) {
    _mm_prefetch(ahead + step * 64, _MM_HINT_T0);
    __m512i w[PANELS * 2];
#pragma GCC unroll 8
    for (int n = 0; n < PANELS * 2; n++) {
      w[n] = _mm512_loadu_si512(weights + (n / 2) * panel_bytes + step * kStepBytes + (n % 2) * 64);
    }
#pragma GCC unroll 14
    for (int r = 0; r < ROWS; r++) {
      const __m512i lane = _mm512_set1_epi32(*reinterpret_cast<const int32_t*>(x + r * row_bytes + step * kLaneBytes));
#pragma GCC unroll 8
      for (int n = 0; n < PANELS * 2; n++) sums[r][n] = Number::multiply_add(sums[r][n], lane, w[n]);
    }
  }
  alignas(64) Number::Sum found[ROWS][PANELS * 2][16];
#pragma GCC unroll 14
  for (int r = 0; r < ROWS; r++) {
#pragma GCC unroll 8
    for (int n = 0; n < PANELS * 2; n++) Number::store(found[r][n], sums[r][n]);
  }
  for (int n = 0; n < PANELS; n++) {
    for (int r = 0; r < ROWS; r++) {
      const float scale = Number::kScaled ? p.scales[row + r] : 1.0f;
      finish<Number::Round>(layer, row + r, panel + n, found[r][n * 2], scale, p.to);
    }
  }
}

using Tile = void (*)(const Product&, int64_t, int64_t, const char*);
template <int PANELS>
constexpr Tile kTiles[kMaxRows + 1] = {};
template <>
constexpr Tile kTiles<1>[kMaxRows + 1] = {nullptr,    tile<1, 1>, tile<2, 1>,  tile<3, 1>,  tile<4, 1>,
                                          tile<5, 1>, tile<6, 1>, tile<7, 1>,  tile<8, 1>,  tile<9, 1>,
                                          tile<10, 1>, tile<11, 1>, tile<12, 1>, tile<13, 1>, tile<14, 1>};
template <>
constexpr Tile kTiles<2>[kMaxRows + 1] = {nullptr,    tile<1, 2>, tile<2, 2>, tile<3, 2>,
                                          tile<4, 2>, tile<5, 2>, tile<6, 2>, tile<7, 2>};
template <>
constexpr Tile kTiles<4>[kMaxRows + 1] = {nullptr, tile<1, 4>, tile<2, 4>, tile<3, 4>};

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
  const int64_t num_tiles = (rows + kMaxRows - 1) / kMaxRows;
  const int64_t tallest = (rows + num_tiles - 1) / num_tiles;
  const int64_t side_by_side = tallest <= 3 ? 4 : tallest <= 7 ? 2 : 1;
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
  const int64_t groups = std::min<int64_t>(panels, call.threads * 4);
#pragma omp parallel num_threads(call.threads) if (row_blocks * groups > 1)
  {
    std::vector<float> scratch(layer.padded_in);
#pragma omp for schedule(static)
    for (int64_t r = 0; r < rows; r++) prepare_row(layer, call, {kZeroByte, false}, r, scratch.data());
#pragma omp for schedule(dynamic, 1)
    for (int64_t task = 0; task < row_blocks * groups; task++) {
      const int64_t r = task % row_blocks, g = task / row_blocks;
      block(p, rows * r / row_blocks, rows * (r + 1) / row_blocks, panels * g / groups, panels * (g + 1) / groups);
    }
  }
}

}  // namespace
