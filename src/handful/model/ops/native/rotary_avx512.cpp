// Rotary positions with AVX-512.

#include "lanes_avx512.h"
// (the order matters: the rotation is written over the lanes)
#include "rotary.h"

HANDFUL_API void handful_rotate_avx512(const handful::Rotation* call) { handful::avx512::rotate(*call); }
