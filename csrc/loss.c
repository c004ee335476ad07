/* loss.c - losses that compare element with element. Chunks of fixed size, whose sums are added in order. */
#include "kernels/kernels.h"
#include "parallel.h"

enum { CHUNK = 8192 };

typedef struct loss_task {
    fc_loss_kind kind;
    const fc_kernels *kernels;
    int64_t size;
    const float *x, *t;
    float scale, *gradient;
    double *losses; /* one a chunk */
} loss_task;

static void run_loss(void *arg, int64_t begin, int64_t end, int thread) {
    const loss_task *l = arg;
    (void)thread;
    for (int64_t i = begin; i < end; i++) {
        const int64_t at = i * CHUNK, size = fc_min(CHUNK, l->size - at);
        l->kernels->loss_row(l->kind, size, l->x + at, l->t + at, l->scale, l->gradient + at, l->losses + i);
    }
}

int64_t fc_loss_workspace_bytes(int64_t size) { return fc_ceil_div(size, CHUNK) * (int64_t)sizeof(double); }

double fc_loss_run(fc_loss_kind kind, int64_t size, const float *x, const float *t, float scale, float *gradient,
                   void *workspace, const fc_context *ctx) {
    loss_task l = {kind, ctx->kernels, size, x, t, scale, gradient, workspace};
    const int64_t chunks = fc_ceil_div(size, CHUNK);
    double loss = 0.0;
    /* Three arrays; the logistic loss takes as long as 32 bytes of memory traffic. */
    fc_parallel(chunks, fc_threads_for_memory(size * (kind == FC_LOGISTIC ? 32 : 12), ctx), run_loss, &l);
    for (int64_t i = 0; i < chunks; i++) loss += l.losses[i];
    return loss;
}
