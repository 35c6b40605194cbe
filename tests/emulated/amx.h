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

template <int SUM, int A, int B>
inline void tile_multiply_bf16() {
  for (int m = 0; m < 16; m++)
    for (int n = 0; n < 16; n++) {
      float sum;
      std::memcpy(&sum, tile(SUM).rows[m] + 4 * n, 4);
      for (int k = 0; k < 16; k++)
        for (int i = 0; i < 2; i++)
          sum = std::fma(widened(tile(A).rows[m] + 4 * k + 2 * i), widened(tile(B).rows[k] + 4 * n + 2 * i), sum);
      std::memcpy(tile(SUM).rows[m] + 4 * n, &sum, 4);
    }
}

template <int SUM, int A, int B>
inline void tile_multiply_int8() {
  for (int m = 0; m < 16; m++)
    for (int n = 0; n < 16; n++) {
      int32_t sum;
      std::memcpy(&sum, tile(SUM).rows[m] + 4 * n, 4);
      for (int k = 0; k < 16; k++)
        for (int i = 0; i < 4; i++)
          sum += static_cast<int8_t>(tile(A).rows[m][4 * k + i]) * static_cast<int8_t>(tile(B).rows[k][4 * n + i]);
      std::memcpy(tile(SUM).rows[m] + 4 * n, &sum, 4);
    }
}

}  // namespace handful
