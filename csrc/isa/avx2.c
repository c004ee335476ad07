/* avx2.c - AVX2 with FMA: 16 registers of 8 lanes hold a tile of 6 x 2 sums, two weights and a broadcast. */
#include "target.h"
#if defined(__x86_64__)
#define FC_ISA avx2
#define FC_LANES 8
#define FC_GEMM_ROWS 6
#define FC_TILE_ROWS 6
#define FC_PANEL_ROWS 24
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx2,fma")
#endif
#include "../kernels/all.inc"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
