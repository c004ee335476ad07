/* avx512.c - AVX-512 F, BW, DQ, VL: 32 registers of 16 lanes; see gemm_tile.inc for the 10 rows. */
#include "target.h"
#if defined(__x86_64__)
#define FC_ISA avx512
#define FC_LANES 16
#define FC_GEMM_ROWS 10
#define FC_TILE_ROWS 8
#define FC_PANEL_ROWS 16
#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma"))), apply_to = function)
#else
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")
#endif
#include "../kernels/all.inc"
#if defined(__clang__)
#pragma clang attribute pop
#endif
#endif
