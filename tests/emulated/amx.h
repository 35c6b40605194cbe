// AMX in plain C++: the same tiles and products as the real amx.h has, for processors that have none.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

namespace handful {

struct Tile {
  alignas(64) unsigned char rows[16][64];
};

inline thread_local Tile tiles[8];
inline thread_local bool are_configured = false;

inline Tile& tile(int number) {
  if (!are_configured) std::fputs("a tile is used before the registers have a shape\n", stderr), std::abort();
  return tiles[number];
}

class TileRegisters {
 public:
  TileRegisters() {
    are_configured = true;
    std::memset(tiles, 0, sizeof(tiles));
  }
  ~TileRegisters() { are_configured = false; }
  TileRegisters(const TileRegisters&) = delete;
  TileRegisters& operator=(const TileRegisters&) = delete;
};

template <int T>
inline void tile_zero() {
  std::memset(&tile(T), 0, sizeof(Tile));
}

template <int T>
inline void tile_load(const void* from, int64_t stride) {
  for (int row = 0; row < 16; row++)
    std::memcpy(tile(T).rows[row], static_cast<const char*>(from) + row * stride, 64);
}

template <int T>
inline void tile_store(void* to, int64_t stride) {
  for (int row = 0; row < 16; row++) std::memcpy(static_cast<char*>(to) + row * stride, tile(T).rows[row], 64);
}

inline float widened(const unsigned char* at) {
  uint16_t half;
  std::memcpy(&half, at, 2);
  const uint32_t bits = static_cast<uint32_t>(half) << 16;
  float value;
  std::memcpy(&value, &bits, 4);
  return std::fpclassify(value) == FP_SUBNORMAL ? 0.0f : value;
}

// Every SUM [16][16] and what it adds up: 64 / SIZE numbers of SIZE bytes, of a row of A and a column of B.
template <int SIZE, class Sum, class Add>
inline void multiply(Tile& sums, const Tile& a, const Tile& b, Add add) {
  for (int m = 0; m < 16; m++)
    for (int n = 0; n < 16; n++) {
      Sum sum;
      std::memcpy(&sum, sums.rows[m] + 4 * n, 4);
      for (int at = 0; at < 64; at += SIZE) sum = add(sum, a.rows[m] + at, b.rows[at / 4] + 4 * n + at % 4);
      std::memcpy(sums.rows[m] + 4 * n, &sum, 4);
    }
}

template <int SUM, int A, int B>
inline void tile_multiply_bf16() {
  const auto add = [](float sum, const unsigned char* a, const unsigned char* b) {
    return std::fma(widened(a), widened(b), sum);
  };
  multiply<2, float>(tile(SUM), tile(A), tile(B), add);
}

template <int SUM, int A, int B>
inline void tile_multiply_int8() {
  const auto add = [](int32_t sum, const unsigned char* a, const unsigned char* b) {
    return sum + static_cast<int8_t>(*a) * static_cast<int8_t>(*b);
  };
  multiply<1, int32_t>(tile(SUM), tile(A), tile(B), add);
}

}  // namespace handful
