/* pad.c - borders of NHWC maps of up to three spatial axes: constant, reflected, replicated or wrapped around.
 *
 * Every output line (the pixels of one row) is a copy of one input line, or constant; the pixels of the input lie in
 * it side by side, and only those of the border are looked up one by one. Backward gathers: each input line adds up
 * the output lines that copied it, in ascending order, of each its inner part before its border, so lines are
 * independent and the sum's order is fixed. The first inner part is copied: a constant border is then a copy both ways.
 */
#include "parallel.h"

typedef struct pad_task {
    const fc_pad *pad;
    const float *from; /* x, or dy */
    float *to;         /* y, or dx */
} pad_task;

static int64_t padded_size(const fc_pad *p, int axis) { return p->before[axis] + p->size[axis] + p->after[axis]; }

/* Where in the input element `i` of the padded axis comes from; -1: the constant. */
static int64_t source(const fc_pad *p, int axis, int64_t i) {
    const int64_t size = p->size[axis], at = i - p->before[axis];
    if (at >= 0 && at < size) return at;
    switch (p->mode) {
    case FC_PAD_REFLECT: return at < 0 ? -at : 2 * (size - 1) - at;
    case FC_PAD_REPLICATE: return at < 0 ? 0 : size - 1;
    case FC_PAD_CIRCULAR: return at < 0 ? at + size : at - size;
    default: return -1;
    }
}

static void fill(float *to, int64_t count, float value) {
    for (int64_t i = 0; i < count; i++) to[i] = value;
}

/* A call of memcpy takes longer than the few floats of a colour. */
static void copy_pixel(int64_t channels, const float *from, float *to) {
    switch (channels) {
    case 1: *to = *from; return;
    case 3: memcpy(to, from, 3 * sizeof(float)); return;
    case 4: memcpy(to, from, 4 * sizeof(float)); return;
    default: memcpy(to, from, (size_t)channels * sizeof(float));
    }
}

/* Pixels [begin, end) of an output line. */
static void copy_border(const fc_pad *p, const float *line, float *to, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
        const int64_t w = source(p, 2, i);
        if (w < 0)
            fill(to + i * p->channels, p->channels, p->value);
        else
            copy_pixel(p->channels, line + w * p->channels, to + i * p->channels);
    }
}

/* Item: line of the output. */
static void pad_lines(void *arg, int64_t begin, int64_t end, int thread) {
    const pad_task *t = arg;
    const fc_pad *p = t->pad;
    const int64_t channels = p->channels, width = padded_size(p, 2), inner = p->before[2], size = p->size[2];
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const int64_t n = item / padded_size(p, 1) / padded_size(p, 0);
        const int64_t d = source(p, 0, item / padded_size(p, 1) % padded_size(p, 0));
        const int64_t h = source(p, 1, item % padded_size(p, 1));
        float *to = t->to + item * width * channels;
        if (d < 0 || h < 0) {
            fill(to, width * channels, p->value);
            continue;
        }
        const float *line = t->from + ((n * p->size[0] + d) * p->size[1] + h) * size * channels;
        copy_border(p, line, to, 0, inner);
        memcpy(to + inner * channels, line, (size_t)(size * channels) * sizeof(float));
        copy_border(p, line, to, inner + size, width);
    }
}

static void add(const float *from, int64_t count, float *to) {
    for (int64_t i = 0; i < count; i++) to[i] += from[i];
}

/* Pixels [begin, end) of a dy line to where they came from. */
static void add_border(const fc_pad *p, const float *from, float *to, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
        const int64_t w = source(p, 2, i);
        if (w >= 0) add(from + i * p->channels, p->channels, to + w * p->channels);
    }
}

static void add_line(const fc_pad *p, bool first, const float *from, float *to) {
    const int64_t inner = p->before[2], size = p->size[2];
    if (first)
        memcpy(to, from + inner * p->channels, (size_t)(size * p->channels) * sizeof(float));
    else
        add(from + inner * p->channels, size * p->channels, to);
    if (p->mode == FC_PAD_CONSTANT) return;
    add_border(p, from, to, 0, inner);
    add_border(p, from, to, inner + size, padded_size(p, 2));
}

/* Of the elements of a padded axis that may be copies of number `at`, before + 1 + after, the c-th. */
static int64_t candidate(const fc_pad *p, int axis, int64_t at, int64_t c) {
    const int64_t before = p->before[axis];
    return c < before ? c : c == before ? before + at : p->size[axis] + c - 1;
}

/* Item: line of the input. */
static void unpad_lines(void *arg, int64_t begin, int64_t end, int thread) {
    const pad_task *t = arg;
    const fc_pad *p = t->pad;
    const int64_t line = p->size[2] * p->channels, padded_line = padded_size(p, 2) * p->channels;
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        const int64_t n = item / p->size[1] / p->size[0], d = item / p->size[1] % p->size[0], h = item % p->size[1];
        float *to = t->to + item * line;
        bool first = true;
        for (int64_t a = 0; a <= p->before[0] + p->after[0]; a++) {
            const int64_t i = candidate(p, 0, d, a);
            if (source(p, 0, i) != d) continue;
            for (int64_t b = 0; b <= p->before[1] + p->after[1]; b++) {
                const int64_t j = candidate(p, 1, h, b), row = (n * padded_size(p, 0) + i) * padded_size(p, 1) + j;
                if (source(p, 1, j) != h) continue;
                add_line(p, first, t->from + row * padded_line, to);
                first = false;
            }
        }
    }
}

static int threads_for(const fc_pad *p, const fc_context *ctx) {
    const int64_t size = padded_size(p, 0) * padded_size(p, 1) * padded_size(p, 2) * p->channels;
    return fc_threads_for_memory(2 * p->batch * size * (int64_t)sizeof(float), ctx);
}

void fc_pad_forward(const fc_pad *p, const float *x, float *y, const fc_context *ctx) {
    pad_task t = {p, x, y};
    fc_parallel(p->batch * padded_size(p, 0) * padded_size(p, 1), threads_for(p, ctx), pad_lines, &t);
}

void fc_pad_backward(const fc_pad *p, const float *dy, float *dx, const fc_context *ctx) {
    pad_task t = {p, dy, dx};
    fc_parallel(p->batch * p->size[0] * p->size[1], threads_for(p, ctx), unpad_lines, &t);
}
