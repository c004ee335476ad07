/* response_norm.c - local response norm of (pixels, channels). Pixels do not depend on each other. */
#include "kernels/kernels.h"
#include "parallel.h"

/* Elements of an item: 64 KB, beside which clearing the scratch is nothing. */
enum { ITEM_FLOATS = 16384 };

typedef struct response_task {
    fc_response_norm_block block; /* of all pixels */
    const fc_context *ctx;
    int64_t item_pixels, scratch_floats; /* of a thread */
    float *scratch;
} response_task;

static int64_t scratch_bytes(const fc_response_norm *norm, bool backward) {
    const int64_t rows = FC_RESPONSE_PIXELS * (backward ? 3 : 1);
    return rows * fc_response_row(norm->channels, norm->size) * (int64_t)sizeof(float);
}

int64_t fc_response_norm_workspace_bytes(const fc_response_norm *norm, bool backward, const fc_context *ctx) {
    return ctx->num_threads * scratch_bytes(norm, backward);
}

static void run_items(void *arg, int64_t begin, int64_t end, int thread) {
    const response_task *t = arg;
    for (int64_t i = begin; i < end; i++) {
        fc_response_norm_block block = t->block;
        const int64_t pixel = i * t->item_pixels, at = pixel * block.channels;
        block.pixels = fc_min(t->item_pixels, block.pixels - pixel);
        block.x += at;
        block.y += at;
        block.scratch = t->scratch + thread * t->scratch_floats;
        if (block.dy) {
            block.dy += at;
            t->ctx->kernels->response_norm_gradient_rows(&block);
        } else {
            t->ctx->kernels->response_norm_rows(&block);
        }
    }
}

static void run(const fc_response_norm *norm, const float *dy, const float *x, float *y, void *workspace,
                const fc_context *ctx) {
    response_task t = {.ctx = ctx, .scratch = workspace};
    if (norm->pixels == 0 || norm->channels == 0) return;
    t.block = (fc_response_norm_block){.pixels = norm->pixels, .channels = norm->channels, .before = norm->size / 2,
                                       .after = (norm->size - 1) / 2, .alpha = norm->alpha / (float)norm->size,
                                       .beta = norm->beta, .k = norm->k, .x = x, .dy = dy, .y = y};
    t.item_pixels = fc_max(FC_RESPONSE_PIXELS, ITEM_FLOATS / norm->channels / FC_RESPONSE_PIXELS * FC_RESPONSE_PIXELS);
    t.scratch_floats = scratch_bytes(norm, dy != NULL) / (int64_t)sizeof(float);
    /* A result takes as long as about 16 bytes of memory traffic. */
    const int threads = fc_threads_for_memory(norm->pixels * norm->channels * 16, ctx);
    fc_parallel(fc_ceil_div(norm->pixels, t.item_pixels), threads, run_items, &t);
}

void fc_response_norm_forward(const fc_response_norm *norm, const float *x, float *y, void *workspace,
                              const fc_context *ctx) {
    run(norm, NULL, x, y, workspace, ctx);
}

void fc_response_norm_backward(const fc_response_norm *norm, const float *dy, const float *x, float *dx,
                               void *workspace, const fc_context *ctx) {
    run(norm, dy, x, dx, workspace, ctx);
}
