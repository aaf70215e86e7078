// The kernels of PaiNN on the host, for what the macros say.
#include "emulation.hpp"

#define TEXT(x) #x
#define OF(x) TEXT(x)
#define IDLE_MD_PROGRAM                                                                               \
  OF(IDLE_MD_REAL) " " OF(IDLE_MD_FEATURES) " " OF(IDLE_MD_HEAD) " " OF(IDLE_MD_TERMS) " "            \
  OF(IDLE_MD_TABULATED) " " OF(IDLE_MD_BLOCK) " " OF(IDLE_MD_THREADS) " " OF(IDLE_MD_SLICES) " "  \
  OF(IDLE_MD_TF32)
#include "kernels/painn.cu"
