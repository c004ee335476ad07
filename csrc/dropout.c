/* dropout.c - random masks and masked products.
 *
 * Chunks of CHUNK elements each start FC_RANDOM_LANES generators from states that depend on the key and the chunk's
 * number alone, so that masks are the same for any number of threads and on every instruction set. Seeding takes 64
 * rounds of splitmix64 a chunk, of 11 operations each, beside 1024 steps of all generators.
 */
#include "kernels/kernels.h"
#include "parallel.h"

enum { CHUNK = 16384, STATE = 4 * FC_RANDOM_LANES };

typedef struct dropout_task {
    const fc_context *ctx;
    const uint64_t *key;
    uint32_t least;
    float scale;
    int64_t size;
    const float *x;
    float *y;
    uint8_t *keep;
    const uint8_t *kept; /* of the backward pass */
} dropout_task;

/* The finaliser of splitmix64 (Steele, Lea and Flood 2014): a permutation of 64 bits. */
static uint64_t mixed(uint64_t z) {
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static void seed_chunk(const uint64_t key[2], int64_t chunk, uint32_t state[STATE]) {
    for (int i = 0; i < STATE / 2; i++) {
        const uint64_t number = (uint64_t)chunk * (STATE / 2) + (uint64_t)i + 1;
        const uint64_t word = mixed(key[1] ^ mixed(key[0] + number * 0x9e3779b97f4a7c15u));
        state[2 * i] = (uint32_t)word, state[2 * i + 1] = (uint32_t)(word >> 32);
    }
}

static void drop_chunks(void *arg, int64_t begin, int64_t end, int thread) {
    const dropout_task *t = arg;
    uint32_t state[STATE];
    (void)thread;
    for (int64_t chunk = begin; chunk < end; chunk++) {
        const int64_t at = chunk * CHUNK;
        seed_chunk(t->key, chunk, state);
        /* Signed comparison, which every instruction set has: as if the first bits of both sides were flipped. */
        t->ctx->kernels->dropout_row(state, (int32_t)(t->least ^ 0x80000000u), t->scale, fc_min(CHUNK, t->size - at),
                                     t->x + at, t->y + at, t->keep + at);
    }
}

static void mask_chunks(void *arg, int64_t begin, int64_t end, int thread) {
    const dropout_task *t = arg;
    const int64_t at = begin * CHUNK;
    (void)thread;
    t->ctx->kernels->masked_row(t->scale, fc_min(end * CHUNK, t->size) - at, t->x + at, t->kept + at, t->y + at);
}

void fc_dropout_forward(const uint64_t key[2], uint32_t least, float scale, int64_t size, const float *x, float *y,
                        uint8_t *keep, const fc_context *ctx) {
    dropout_task t = {.ctx = ctx, .key = key, .least = least, .scale = scale, .size = size, .x = x, .y = y,
                      .keep = keep};
    const int threads = fc_threads_for_memory(2 * size * (int64_t)sizeof(float), ctx);
    fc_parallel(fc_ceil_div(size, CHUNK), threads, drop_chunks, &t);
}

void fc_dropout_backward(float scale, int64_t size, const float *dy, const uint8_t *keep, float *dx,
                         const fc_context *ctx) {
    dropout_task t = {.ctx = ctx, .scale = scale, .size = size, .x = dy, .y = dx, .kept = keep};
    const int threads = fc_threads_for_memory(2 * size * (int64_t)sizeof(float), ctx);
    fc_parallel(fc_ceil_div(size, CHUNK), threads, mask_chunks, &t);
}
