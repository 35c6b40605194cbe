// The product of bytes with AVX-512 VNNI on processors that round to bfloat16 themselves.

#define HANDFUL_TARGET HANDFUL_AVX512_BF16_VNNI
#define HANDFUL_ROUND handful::avx512::RoundByProcessor
#include "linear_vnni.h"

void handful::multiply_vnni_bf16(const Layer& layer, const LinearCall& call) { multiply(layer, call); }
