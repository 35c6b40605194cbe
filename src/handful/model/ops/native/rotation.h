// What a rotation of heads reads and writes (rotary.py mirrors it).
#pragma once

#include <cstdint>

namespace handful {

// Heads [rows][heads][head_dim], `stride` elements from row to row; cos and signed sin [rows][head_dim]; all of `type`.
struct Rotation {
  char* x;
  const char* cos;
  const char* sin;
  int64_t rows, stride, heads, head_dim, dims;
  int32_t type, threads;
};

}  // namespace handful
