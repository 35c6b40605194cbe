// Rotary positions with AVX2.

#include "lanes_avx2.h"
// (the order matters: the rotation is written over the lanes)
#include "rotary.h"

HANDFUL_API void handful_rotate_avx2(const handful::Rotation* call) { handful::avx2::rotate(*call); }
