/* parallel.h - how a driver uses threads. */
#ifndef FASTCONV_PARALLEL_H
#define FASTCONV_PARALLEL_H

#include "common.h"
#include "fastconv.h"

/* Work on the items [begin, end) as thread number `thread`. */
typedef void (*fc_range_task)(void *arg, int64_t begin, int64_t end, int thread);

/* for (i = 0; i < count; i++) task(arg, i, i + 1, thread): the items in contiguous ranges, one a thread.
 * Items write disjoint outputs and do not depend on the ranges, so results are bitwise the same for any thread count. */
void fc_parallel(int64_t count, int num_threads, fc_range_task task, void *arg);

/* Below this a second thread costs more than it brings: a region costs about 2 us when hot, 250 k multiply-adds take 5. */
enum { FC_SERIAL_MULTIPLY_ADDS = 250000, FC_SERIAL_BYTES = 128 * 1024 };

/* The number of threads worth using. */
static inline int fc_threads_for_arithmetic(int64_t multiply_adds, const fc_context *ctx) {
    return multiply_adds < FC_SERIAL_MULTIPLY_ADDS ? 1 : ctx->num_threads;
}
static inline int fc_threads_for_memory(int64_t bytes, const fc_context *ctx) {
    return bytes < FC_SERIAL_BYTES ? 1 : ctx->num_threads;
}

/* Orders the streaming stores of this thread (v_stream) before whatever follows: at the end of a task. */
static inline void fc_stream_end(void) {
#if defined(__x86_64__)
    __builtin_ia32_sfence();
#endif
}

#endif
