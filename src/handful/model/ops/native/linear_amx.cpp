// Products with AMX, of bytes or of bfloat16: 32 rows by a panel of 32 columns in four tiles of sums.
//
// While the tiles of one block of sums grow, the block before it is finished by the vector units, a few rows a step,
// and the next panel is fetched; so neither the epilogue nor the memory stands in the way of the products. A thread
// takes a group of panels over rows that stay in its second-level cache.

#include <immintrin.h>

#include <algorithm>
#include <type_traits>
#include <vector>

#include "amx.h"
#include "handful.h"
#include "linear.h"
#include "linear_epilogue.h"

namespace handful {
namespace {

constexpr int64_t kTileRows = 16, kTileBytes = 1024, kStepBytes = 2 * kTileBytes;  // a step of a panel: two tiles
constexpr int64_t kBlockBytes = 640 * 1024;

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

template <class Number>
struct Product {
  using Sum = typename Number::Sum;
  const Layer& layer;
  const LinearCall& call;
  const Output to;
  Waiting<Sum> waiting[2];
  int now = 0;

  Product(const Layer& layer, const LinearCall& call)
      : layer(layer), call(call), to{call.out, call.residual, call.out_type} {}

  HANDFUL_AVX512 void finish_rows(Waiting<Sum>& from, int64_t count) {
    for (const int64_t end = std::min(from.count, from.done + count); from.done < end; from.done++) {
      const int64_t row = from.row + from.done;
      const float scale = std::is_same<Number, Bytes>::value ? call.scales[row] : 1.0f;
      finish(layer, row, from.panel, from.sums[from.done], scale, to);
    }
  }

  // TALL: 32 rows, else 16. `ahead` is fetched, `lines` cache lines a step.
  template <bool TALL>
  HANDFUL_AVX512 void block(int64_t row, int64_t panel, const char* ahead, int64_t lines) {
    const int64_t steps = layer.row_bytes() / 64;
    const char* a = call.packed + row * layer.row_bytes();
    const char* low = a + kTileRows * layer.row_bytes();
    const char* b = layer.panels + panel * steps * kStepBytes;
    Waiting<Sum>& before = waiting[now];
    const int64_t rows_a_step = (before.count + steps - 1) / steps;
    tile_zero<0>(), tile_zero<1>();
    if (TALL) tile_zero<2>(), tile_zero<3>();
    for (int64_t step = 0; step < steps; step++) {
      for (int64_t i = 0; i < lines; i++) _mm_prefetch(ahead + (step * lines + i) * 64, _MM_HINT_T0);
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
    now = 1 - now;
    Waiting<Sum>& found = waiting[now];
    tile_store<0>(found.sums[0], sizeof(found.sums[0]));
    tile_store<1>(found.sums[0] + 16, sizeof(found.sums[0]));
    if (TALL) {
      tile_store<2>(found.sums[16], sizeof(found.sums[0]));
      tile_store<3>(found.sums[16] + 16, sizeof(found.sums[0]));
    }
    found.row = row, found.panel = panel, found.done = 0;
    found.count = std::min<int64_t>(TALL ? 32 : 16, call.rows - row);
  }

  // Rows [row, end) by panels [panel, end_panel); rows begin at whole tiles.
  void run(int64_t row, int64_t end, int64_t panel, int64_t end_panel) {
    const int64_t panel_bytes = layer.row_bytes() * kPanel, blocks = (end - row + 31) / 32;
    const int64_t lines = (32 + blocks - 1) / blocks, fetched = lines * layer.row_bytes();
    for (; panel < end_panel; panel++) {
      const char* ahead = layer.panels + (panel + 1 < end_panel ? panel + 1 : panel) * panel_bytes;
      for (int64_t at = row; at < end; at += 32, ahead += fetched) {
        if (end - at > kTileRows) block<true>(at, panel, ahead, lines);
        else block<false>(at, panel, ahead, lines);
      }
    }
  }
};

template <class Number>
void multiply(const Layer& layer, const LinearCall& call) {
  const int64_t panels = layer.num_panels(), row_tiles = (call.rows + kTileRows - 1) / kTileRows;
  const int64_t most_tiles = std::max<int64_t>(kBlockBytes / layer.row_bytes() / 32 * 2, 2);
  const int64_t row_blocks = (row_tiles + most_tiles - 1) / most_tiles;
  const int64_t block_tiles = ((row_tiles + row_blocks - 1) / row_blocks + 1) / 2 * 2;
  const int64_t groups = std::min<int64_t>(panels, call.threads * 4);
#pragma omp parallel num_threads(call.threads) if (row_blocks * groups > 1)
  {
    std::vector<float> scratch(layer.padded_in);
#pragma omp for schedule(static)
    for (int64_t r = 0; r < call.rows; r++) prepare_row(layer, call, {0, true}, r, scratch.data());
    const TileRegisters registers;
    Product<Number> product(layer, call);
#pragma omp for schedule(dynamic, 1)
    for (int64_t task = 0; task < row_blocks * groups; task++) {
      const int64_t first = task % row_blocks * block_tiles * kTileRows, g = task / row_blocks;
      const int64_t end = std::min(first + block_tiles * kTileRows, call.rows);
      if (first < end) product.run(first, end, panels * g / groups, panels * (g + 1) / groups);
    }
    product.finish_rows(product.waiting[product.now], 32);
  }
}

}  // namespace

void multiply_amx(const Layer& layer, const LinearCall& call) {
  if (layer.type == kInt8) multiply<Bytes>(layer, call);
  else multiply<Halves>(layer, call);
}

}  // namespace handful
