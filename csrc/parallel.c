/* parallel.c - the only file that knows about threads: OpenMP, and what happens after a fork. */
#include "parallel.h"

#include "kernels/kernels.h"
#ifdef _OPENMP
#include <omp.h>
#endif
#if defined(__unix__) || defined(__APPLE__)
#include <pthread.h>
#include <sched.h>
#define HAS_ATFORK 1
static void yield_core(void) { sched_yield(); }
#else
static void yield_core(void) {}
#endif

/* Leaves the core's units to the thread beside this one. */
static inline void relax(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

/* libgomp's worker threads do not exist in a forked child, and a region entered there waits for them for ever. So the
 * child stays serial and enters no region. */
static bool forked_child = false;

#ifdef HAS_ATFORK
static void enter_child(void) { forked_child = true; }

__attribute__((constructor)) static void watch_forks(void) { pthread_atfork(NULL, NULL, enter_child); }
#endif

bool fc_is_forked_child(void) { return forked_child; }

bool fc_has_openmp(void) {
#ifdef _OPENMP
    return true;
#else
    return false;
#endif
}

void fc_parallel(int64_t count, int num_threads, fc_range_task task, void *arg) {
    int threads = (int)fc_min(num_threads, count);
    if (count <= 0) return;
#ifdef _OPENMP
    if (threads > 1 && !forked_child && !omp_in_parallel()) {
#pragma omp parallel num_threads(threads)
        {
            /* OpenMP may grant fewer threads than asked for. */
            int64_t begin, end;
            fc_split(count, omp_get_num_threads(), omp_get_thread_num(), &begin, &end);
            if (begin < end) task(arg, begin, end, omp_get_thread_num());
        }
        return;
    }
#endif
    (void)threads;
    task(arg, 0, count, 0);
}

/* Arrivals are only counted up, so no thread can miss a round. A core that more threads want is given up after a while. */
void fc_barrier_wait(fc_barrier *barrier, int64_t items, int64_t round) {
    enum { PATIENCE = 4000 };
    __atomic_fetch_add(&barrier->arrived, items, __ATOMIC_ACQ_REL);
    for (int spins = 0; __atomic_load_n(&barrier->arrived, __ATOMIC_ACQUIRE) < (round + 1) * barrier->members; spins++) {
        if (spins < PATIENCE) relax();
        else yield_core();
    }
}

/* ----------------------------------------------------------------------------------------------------- FMA peak */

typedef struct peak_task { int64_t iterations; float *sink; const fc_context *ctx; } peak_task;

static void run_peak(void *arg, int64_t begin, int64_t end, int thread) {
    peak_task *t = arg;
    (void)thread;
    for (int64_t i = begin; i < end; i++) t->ctx->kernels->fma_peak_loop(t->iterations, t->sink + 16 * i);
}

int64_t fc_fma_peak_flops(int64_t iterations, const fc_context *ctx) {
    return iterations * 12 * 2 * ctx->kernels->lanes * ctx->num_threads;
}

void fc_fma_peak(int64_t iterations, float *sink, const fc_context *ctx) {
    peak_task t = {iterations, sink, ctx};
    fc_parallel(ctx->num_threads, ctx->num_threads, run_peak, &t);
}
