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

/* A barrier inside a task of fc_parallel over `members` items: a thread has come to round number `round` (0, 1, ...) with all
 * of its items, and waits for the others. It takes some 0.2 us where a region takes 2. Serial runs hold all items. */
typedef struct fc_barrier { int64_t members, arrived; } fc_barrier;
void fc_barrier_wait(fc_barrier *barrier, int64_t items, int64_t round);

/* Below this a second thread costs more than it brings: a region costs about 2 us when hot, 250 k multiply-adds take 5. */
enum { FC_SERIAL_MULTIPLY_ADDS = 250000, FC_SERIAL_BYTES = 128 * 1024 };

/* The number of threads worth using. */
static inline int fc_threads_for_arithmetic(int64_t multiply_adds, const fc_context *ctx) {
    return multiply_adds < FC_SERIAL_MULTIPLY_ADDS ? 1 : ctx->num_threads;
}
static inline int fc_threads_for_memory(int64_t bytes, const fc_context *ctx) {
    return bytes < FC_SERIAL_BYTES ? 1 : ctx->num_threads;
}

/* From this size on a result is stored past the caches, which then need not be filled with what is overwritten: a sum of two
 * arrays of 16 MB comes at 86 GB/s instead of 64, of 64 MB at 67 instead of 47 (L3 of 32 MB). With the next op on the result,
 * which it then has to fetch from memory, both together take 1.04 ms instead of 1.20 at 16 MB, but 0.74 instead of 0.71 at
 * 12 MB and 0.44 instead of 0.32 at 8 MB. */
enum { FC_STREAM_BYTES = 16 * 1024 * 1024 };

/* Norms decide by operands and result together, most of a third-level cache. With less, whatever writes or reads that memory
 * next would pay for it: 19 MB backward took 300 us instead of 330, and the forward pass after it, to the same memory, 380
 * instead of 200. */
enum { FC_STREAM_TRAFFIC = 24 * 1024 * 1024 };

#endif
