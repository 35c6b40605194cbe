// Which of a row's results is the largest, reading half of the weights: four bits of each say which columns can't have
// it, and the product is only computed of the others' panels. Included behind linear_lanes.h, for bytes.
//
// With w the bytes of a column, q their upper four bits, rounded, and e = w - 16 q what that loses, a result differs from
// what q gives by e . x. Rounding knows nothing of x, so that this is as large as the product of unrelated vectors:
// normally distributed, with standard deviation |e| |x| / sqrt(n). (Measured with both of handful's own models: 1.00, the
// largest of 16 million 5.2.) A column that is kReach of them short of the largest result is left out.
#pragma once

#include <cmath>
#include <limits>
#include <vector>

#include "linear_lanes.h"

namespace {

constexpr float kReach = 8.0f;  // standard deviations: one in 10^15
constexpr int kMostScreened = 8;  // rows
constexpr int64_t kNibbleBytes = 64;  // 16 columns of two steps

// A row of bytes: its scale, 8 times the sum of its bytes, and how far a result may be off for each unit of a column's.
struct ScreenedRow {
  float scale, shift, reach;
};

inline ScreenedRow screened_row(const Layer& layer, const char* bytes, float scale) {
  int64_t sum = 0, squares = 0;
  for (int64_t i = 0; i < layer.padded_in; i++) {
    const int32_t byte = Number::kZeroByte ? static_cast<uint8_t>(bytes[i]) : static_cast<int8_t>(bytes[i]);
    const int32_t x = byte - Number::kZeroByte;
    sum += x, squares += x * x;
  }
  const double deviation = std::sqrt(static_cast<double>(squares) / static_cast<double>(layer.in));
  return {scale, static_cast<float>(8 * sum), kReach * scale * static_cast<float>(deviation)};
}

struct Screening {
  const Layer& layer;   // of bytes
  const Layer& upper;   // the same with the offsets of four bits
  const Screen& screen;
  const char* x;        // [rows][row_bytes], packed
  const ScreenedRow* rows;
  float *about, *most;  // [rows][panels]: the largest result by four bits, and what it may be
};

// What four bits say of ROWS rows and a panel.
template <int ROWS>
HANDFUL_TARGET void screen_panel(const Screening& s, int64_t panel) {
  const int64_t pairs = s.layer.padded_in / 8, row_bytes = s.layer.row_bytes();
  const char* nibbles = s.screen.nibbles + panel * pairs * 2 * kNibbleBytes;
  const char* ahead = nibbles + pairs * 2 * kNibbleBytes;
  Number::Sums sums[ROWS][2];
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; r++)
    for (int n = 0; n < 2; n++) sums[r][n] = Number::start(s.upper, panel * kPanel + n * 16);
  for (int64_t pair = 0; pair < pairs; pair++) {
    Ints low[2], high[2];
#pragma GCC unroll 2
    for (int n = 0; n < 2; n++) {
      const int64_t at = (pair * 2 + n) * kNibbleBytes;
      const Ints both = load_ints(nibbles + at);
      _mm_prefetch(ahead + at, _MM_HINT_T0);
      low[n] = low_nibbles(both), high[n] = high_nibbles(both);
    }
#pragma GCC unroll 8
    for (int r = 0; r < ROWS; r++) {
      const int32_t* x = reinterpret_cast<const int32_t*>(s.x + r * row_bytes) + pair * 2;
      const Ints first = all_ints(x[0]), second = all_ints(x[1]);
#pragma GCC unroll 2
      for (int n = 0; n < 2; n++)
        sums[r][n] = Number::multiply_add(Number::multiply_add(sums[r][n], first, low[n]), second, high[n]);
    }
  }
#pragma GCC unroll 8
  for (int r = 0; r < ROWS; r++) {
    const ScreenedRow& row = s.rows[r];
    Floats about[2], most_of_them[2];
    for (int n = 0; n < 2; n++) {
      const int64_t column = panel * kPanel + n * 16;
      const Floats scale = load(s.layer.scales + column) * all(16.0f * row.scale);
      const Mask real = first16(s.layer.num_out - column);
      about[n] = multiply_add(to_floats(sums[r][n]) - all(row.shift), scale, load(s.layer.bias + column));
      about[n] = select(real, about[n], all(std::numeric_limits<float>::lowest()));
      most_of_them[n] = multiply_add(load(s.screen.losses + column), all(row.reach), about[n]);
    }
    const int64_t to = r * s.layer.num_panels() + panel;
    s.about[to] = most_of_lanes(most(about[0], about[1]));
    s.most[to] = most_of_lanes(most(most_of_them[0], most_of_them[1]));
  }
}

template <size_t... ROWS>
constexpr std::array<void (*)(const Screening&, int64_t), kMostScreened + 1> screens(std::index_sequence<ROWS...>) {
  return {nullptr, screen_panel<static_cast<int>(ROWS) + 1>...};
}
constexpr auto kScreens = screens(std::make_index_sequence<kMostScreened>());

// The largest of a row's results in a panel, the first NaN before all; those that came before are `best`.
struct Best {
  float value = -std::numeric_limits<float>::infinity();
  int64_t column = 0;

  void see(const float* results, int64_t first, int64_t end) {
    for (int64_t column = first; column < end; column++) {
      const float result = results[column];
      const bool is_first_nan = std::isnan(result) && !std::isnan(value);
      if (result > value || is_first_nan) value = result, this->column = column;
    }
  }
};

// The column of each row's largest result, the first of equals. Of `call.out` ([rows][num_out] float32) only the results
// that were computed are written.
void largest(const Layer& layer, const Screen& screen, const LinearCall& call, int64_t* found) {
  const int64_t panels = layer.num_panels(), rows = call.rows;
  prepare_rows(layer, call, {Number::kZeroByte, false}, 0, rows);
  std::vector<ScreenedRow> screened;
  for (int64_t r = 0; r < rows; r++)
    screened.push_back(screened_row(layer, call.packed + r * layer.row_bytes(), call.scales[r]));
  Layer upper = layer;
  upper.offsets = screen.offsets;
  std::vector<float> about(rows * panels), most(rows * panels);
  const Screening s{layer, upper, screen, call.packed, screened.data(), about.data(), most.data()};
  share_out_rows(panels, kPanelsToScreen, call.threads, [&](int64_t first, int64_t end) {
    for (int64_t panel = first; panel < end; panel++) kScreens[rows](s, panel);
  });

  const Product product{layer, call.packed, call.scales, {call.out, nullptr, kFloat32}};
  const float* results = reinterpret_cast<const float*>(call.out);
  const int64_t num_tiles = (rows + kMostRows - 1) / kMostRows;
  const auto see = [&](Best& best, int64_t r, int64_t panel) {
    best.see(results + r * layer.num_out, panel * kPanel, std::min(layer.num_out, (panel + 1) * kPanel));
  };
  std::vector<float> least(rows);  // what the largest result is at least
  for (int64_t r = 0; r < rows; r++) {
    const float* mine = about.data() + r * panels;
    const int64_t panel = std::max_element(mine, mine + panels) - mine;
    columns<1>(product, 0, rows, panel, num_tiles);
    Best best;
    see(best, r, panel);
    least[r] = best.value;
  }
  std::vector<int64_t> left;
  for (int64_t panel = 0; panel < panels; panel++) {
    bool may_be = false;  // so it is where a row is no number
    for (int64_t r = 0; r < rows; r++) may_be |= !(most[r * panels + panel] < least[r]);
    if (may_be) left.push_back(panel);
  }
  share_out(static_cast<int64_t>(left.size()), call.threads,
            [&](int64_t i) { columns<1>(product, 0, rows, left[static_cast<size_t>(i)], num_tiles); });
  for (int64_t r = 0; r < rows; r++) {
    Best best;
    for (const int64_t panel : left) see(best, r, panel);
    found[r] = best.column;
  }
}

}  // namespace
