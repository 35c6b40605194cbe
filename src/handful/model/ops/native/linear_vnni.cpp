// The product of bytes with AVX-512 VNNI on processors that round to bfloat16 by hand.

#define HANDFUL_TARGET HANDFUL_AVX512_VNNI
#define HANDFUL_ROUND handful::avx512::RoundByHand
#include "linear_vnni.h"
// (the order matters: it is written over the product)
#include "linear_largest.h"

void handful::multiply_vnni(const Layer& layer, const LinearCall& call) { multiply(layer, call); }

void handful::largest_vnni(const Layer& layer, const Screen& screen, const LinearCall& call, int64_t* found) {
  largest(layer, screen, call, found);
}
