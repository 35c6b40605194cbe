// All instruction sets, whatever this processor has: in place of the library's own file of this name.

#include "handful.h"

HANDFUL_API int handful_features() {
  using namespace handful;
  return kAvx512 | kAvx512Bf16 | kAvx512Vnni | kAmx | kAvx2 | kAvxVnni;
}

HANDFUL_API int handful_interface() { return HANDFUL_INTERFACE; }
