/* common.h - small helpers shared by every level of the C core. No state. */
#ifndef FASTCONV_COMMON_H
#define FASTCONV_COMMON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline int64_t fc_min(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t fc_max(int64_t a, int64_t b) { return a > b ? a : b; }
static inline int64_t fc_ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
static inline int64_t fc_round_up(int64_t a, int64_t b) { return fc_ceil_div(a, b) * b; }

/* Floor and ceiling of a / b for b > 0 and any sign of a. */
static inline int64_t fc_floor_div(int64_t a, int64_t b) { return a >= 0 ? a / b : -((-a + b - 1) / b); }
static inline int64_t fc_ceil_div_signed(int64_t a, int64_t b) { return -fc_floor_div(-a, b); }

/* Checked arithmetic for plan functions: false on overflow. */
static inline bool fc_mul_ok(int64_t a, int64_t b, int64_t *out) { return !__builtin_mul_overflow(a, b, out); }
static inline bool fc_add_ok(int64_t a, int64_t b, int64_t *out) { return !__builtin_add_overflow(a, b, out); }

/* The product of `count` extents fits the address space as floats (with room for strides). */
static inline bool fc_extent_ok(const int64_t *extents, int count) {
    int64_t product = 1;
    for (int i = 0; i < count; i++) {
        if (extents[i] < 0 || !fc_mul_ok(product, fc_max(extents[i], 1), &product)) return false;
    }
    return product <= INT64_MAX / 64;
}

/* The i-th of `parts` nearly equal ranges of [0, total): sizes differ by at most one. */
static inline void fc_split(int64_t total, int64_t parts, int64_t i, int64_t *begin, int64_t *end) {
    int64_t size = total / parts, extra = total % parts;
    *begin = i * size + fc_min(i, extra);
    *end = *begin + size + (i < extra ? 1 : 0);
}

/* Workspaces are carved into 64-byte aligned pieces, so that no two threads share a cache line. */
enum { FC_ALIGNMENT = 64 };

typedef struct fc_arena { char *next; } fc_arena;

static inline void *fc_take(fc_arena *arena, int64_t bytes) {
    void *piece = arena->next;
    arena->next += fc_round_up(bytes, FC_ALIGNMENT);
    return piece;
}

/* Floats from p up to the next cache line: 0 where one begins there. */
static inline int64_t fc_floats_to_line(const float *p) {
    return (int64_t)(-(uintptr_t)p % FC_ALIGNMENT / sizeof(float));
}

/* Orders the streaming stores of this thread (v_stream) before whatever follows: at the end of a task. */
static inline void fc_stream_end(void) {
#if defined(__x86_64__)
    __builtin_ia32_sfence();
#endif
}

#endif
