/* baseline.c - what every CPU of the architecture has: SSE2 on x86-64, NEON on arm64. 16 registers hold 6 x 2 sums. */
#include "target.h"
#define FC_ISA baseline
#define FC_LANES 4
#define FC_GEMM_ROWS 6
#define FC_TILE_ROWS 6
#define FC_PANEL_ROWS 12
#include "../kernels/all.inc"
