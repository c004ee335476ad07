/* conv2d_choose.c - which algorithm "auto" takes: of those that apply, the one with the least estimated time.
 *
 * Only 3 x 3 convolutions of stride 1 leave a choice, between direct and Winograd's F(4x4) and F(2x2). Elsewhere depthwise
 * takes what it supports (it uses all lanes where direct uses one in sixteen) and direct the rest. The estimate is a sum of
 * counts, each with a measured time: docs/decisions/0005-choice-of-algorithm.md has the measurements, and
 * `python -m bench.crossover --fit` makes the table anew.
 */
#include "conv2d.h"

/* With fewer channels than this on either side Winograd's products leave most lanes idle. */
enum { FEWEST_CHANNELS = 8 };

/* Forward from an array packs the weights first; forward with constant weights does not. */
typedef enum estimate_kind { PACKING_FORWARD, FORWARD, BACKWARD_INPUT, BACKWARD_WEIGHT, ESTIMATE_COUNT } estimate_kind;

/* Nanoseconds: of a multiply-add; of a transformed element of the pass's input and of its output; of a transformed
 * weight; of a call. Of direct, input and output count pixels times channels and weights are as they are. */
typedef struct estimate { double multiply_add, input, output, weight, call; } estimate;

static const estimate estimates[ESTIMATE_COUNT][3] = {
    /* direct, F(4x4), F(2x2) */
    [PACKING_FORWARD] = {{0.0088, 0.05, 0.05, 0.5, 1000}, {0.0088, 0.03, 0.03, 0.5, 2000}, {0.0088, 0.03, 0.03, 0.5, 2000}},
    [FORWARD] = {{0.0088, 0.05, 0.05, 0.05, 1000}, {0.0088, 0.03, 0.03, 0.1, 2000}, {0.0088, 0.03, 0.03, 0.1, 2000}},
    [BACKWARD_INPUT] = {{0.0088, 0.05, 0.05, 0.5, 1000}, {0.0088, 0.03, 0.03, 0.5, 2000}, {0.0088, 0.03, 0.03, 0.5, 2000}},
    [BACKWARD_WEIGHT] = {{0.0088, 0.05, 0.05, 0.5, 1000}, {0.0088, 0.03, 0.03, 0.5, 2000}, {0.0088, 0.03, 0.03, 0.5, 2000}},
};

/* The counts above for F(m x m, 3 x 3); m == 0: direct. */
static double estimate_time(const fc_conv2d *c, estimate_kind kind, int m) {
    const estimate *t = &estimates[kind][m == 0 ? 0 : m == 4 ? 1 : 2];
    const bool back = kind == BACKWARD_INPUT;
    const double depth = (double)(back ? conv2d_out_depth(c) : conv2d_in_depth(c));
    const double columns = (double)(back ? conv2d_in_depth(c) : conv2d_out_depth(c));
    const double rounded = (double)fc_round_up(back ? conv2d_in_depth(c) : conv2d_out_depth(c), 16);
    const int64_t rows = back ? c->in_height : c->out_height, width = back ? c->in_width : c->out_width;
    const double elements = m ? (m + 2.0) * (m + 2.0) : 9.0;
    const double places = (double)c->batch * (m ? (double)(fc_ceil_div(rows, m) * fc_ceil_div(width, m)) : (double)(rows * width));
    const double moved = m ? elements * places : places;
    const double sum = elements * places * depth * rounded * t->multiply_add + moved * depth * t->input +
                       moved * columns * t->output + elements * depth * columns * t->weight;
    return (double)c->groups * sum + t->call;
}

static estimate_kind kind_of(const fc_conv2d *c, fc_pass pass) {
    if (pass == FC_BACKWARD_INPUT) return BACKWARD_INPUT;
    if (pass == FC_BACKWARD_WEIGHT) return BACKWARD_WEIGHT;
    return c->constant_weights ? FORWARD : PACKING_FORWARD;
}

fc_conv2d_algorithm conv2d_choose(const fc_conv2d *c, fc_pass pass) {
    if (conv2d_depthwise.supports(c)) return FC_CONV2D_DEPTHWISE;
    if (c->exact || !conv2d_winograd.supports(c)) return FC_CONV2D_DIRECT;
    if (fc_min(conv2d_in_depth(c), conv2d_out_depth(c)) < FEWEST_CHANNELS) return FC_CONV2D_DIRECT;
    const estimate_kind kind = kind_of(c, pass);
    const double direct = estimate_time(c, kind, 0), large = estimate_time(c, kind, 4), small = estimate_time(c, kind, 2);
    if (direct <= large && direct <= small) return FC_CONV2D_DIRECT;
    return large <= small ? FC_CONV2D_WINOGRAD : FC_CONV2D_WINOGRAD_2X2;
}
