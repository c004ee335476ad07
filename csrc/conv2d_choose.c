/* conv2d_choose.c - which algorithm "auto" takes: of those that apply, the one with the least estimated time.
 *
 * Only 3 x 3 convolutions of stride 1 leave a choice, between direct and Winograd's F(4x4) and F(2x2). Elsewhere depthwise
 * takes what it supports (it uses all lanes where direct uses one in sixteen) and direct the rest. The estimate is a sum of
 * counts, each with a measured time: docs/decisions/0005-choice-of-algorithm.md has the measurements, and
 * `python -m bench.crossover --fit` makes the table anew.
 */
#include "conv2d.h"

/* With fewer channels on either side, products of tiles leave most lanes idle, and direct has kernels of its own. */
enum { FEWEST_CHANNELS = 12 };

/* Depthwise by Winograd gains 3 % at a width of 28, 8 at 56, 15 at 112, and loses 3 to 8 with 512 channels at 14 and 1024
 * at 7, whose columns lie in one or two sets of L1. */
enum { MIXED_WIDTH = 16 };

/* Weights beyond 8 MB come from memory at each call, not from the caches. */
static const double NEAR_WEIGHTS = 1 << 21;

/* Forward from an array packs the weights first; forward with constant weights does not. */
typedef enum estimate_kind { PACKING_FORWARD, FORWARD, BACKWARD_INPUT, BACKWARD_WEIGHT, ESTIMATE_COUNT } estimate_kind;

/* Nanoseconds: of a multiply-add; of a transformed element of the pass's input and of its output; of a transformed weight,
 * and more of one that is not near; of a call. Of direct, input and output count pixels times channels and weights are as
 * they are. */
typedef struct estimate { double multiply_add, input, output, weight, far_weight, call; } estimate;

static const estimate estimates[ESTIMATE_COUNT][3] = { /* direct, F(4x4), F(2x2) */
    [PACKING_FORWARD] = {
        {0.0176, 0.112, 0, 0.176, 0.65, 4.19e+03},
        {0.0207, 0.104, 0.159, 0.0878, 0.0968, 5.06e+03},
        {0.0187, 0.128, 0.169, 0.104, 0.244, 4.61e+03},
    },
    [FORWARD] = {
        {0.0172, 0.134, 0.0272, 0.0272, 0.108, 3.77e+03},
        {0.0184, 0.135, 0.189, 0.0214, 0.158, 4.43e+03},
        {0.0179, 0.143, 0.176, 0.0143, 0.189, 4.04e+03},
    },
    [BACKWARD_INPUT] = {
        {0.0176, 0, 0.105, 0.123, 0.132, 5.91e+03},
        {0.0203, 0.0882, 0.188, 0.0764, 0.0598, 5.84e+03},
        {0.0184, 0.0628, 0.237, 0.0719, 0.165, 5.41e+03},
    },
    [BACKWARD_WEIGHT] = {
        {0.016, 0.349, 0.198, 0.158, 1.02, 5.13e+03},
        {0.0196, 0.187, 0.112, 0.1, 0.0987, 4.88e+03},
        {0.0184, 0.174, 0.0908, 0.15, 0.335, 4.93e+03},
    },
};

/* The counts above for F(m x m, 3 x 3); m == 0: direct. */
static double estimate_time(const fc_conv2d *c, estimate_kind kind, int m) {
    const estimate *t = &estimates[kind][m == 0 ? 0 : m == 4 ? 1 : 2];
    const bool back = kind == BACKWARD_INPUT;
    const double depth = (double)(back ? conv2d_out_depth(c) : conv2d_in_depth(c));
    const double columns = (double)(back ? conv2d_in_depth(c) : conv2d_out_depth(c));
    const double rounded = (double)fc_round_up((int64_t)columns, 16);
    const int64_t rows = back ? c->in_height : c->out_height, width = back ? c->in_width : c->out_width;
    const double elements = m ? (m + 2.0) * (m + 2.0) : 9.0;
    const double places = (double)(c->batch * fc_ceil_div(rows, m ? m : 1) * fc_ceil_div(width, m ? m : 1));
    const double moved = m ? elements * places : places, weights = elements * depth * columns;
    const double sum = elements * places * depth * rounded * t->multiply_add + moved * depth * t->input +
                       moved * columns * t->output + weights * t->weight +
                       (weights > NEAR_WEIGHTS ? weights - NEAR_WEIGHTS : 0) * t->far_weight;
    return (double)c->groups * sum + t->call;
}

static estimate_kind kind_of(const fc_conv2d *c, fc_pass pass) {
    if (pass == FC_BACKWARD_INPUT) return BACKWARD_INPUT;
    if (pass == FC_BACKWARD_WEIGHT) return BACKWARD_WEIGHT;
    return c->constant_weights ? FORWARD : PACKING_FORWARD;
}

fc_conv2d_algorithm conv2d_choose(const fc_conv2d *c, fc_pass pass) {
    if (conv2d_depthwise.supports(c)) {
        const bool mixed = !c->exact && pass != FC_BACKWARD_WEIGHT && conv2d_winograd_depthwise.supports(c);
        return mixed && c->out_width >= MIXED_WIDTH ? FC_CONV2D_WINOGRAD_DEPTHWISE : FC_CONV2D_DEPTHWISE;
    }
    if (c->exact || !conv2d_winograd.supports(c)) return FC_CONV2D_DIRECT;
    if (fc_min(conv2d_in_depth(c), conv2d_out_depth(c)) < FEWEST_CHANNELS) return FC_CONV2D_DIRECT;
    const estimate_kind kind = kind_of(c, pass);
    const double direct = estimate_time(c, kind, 0), large = estimate_time(c, kind, 4);
    /* Near ties mostly went to the larger tiles. */
    const double small = 1.05 * estimate_time(c, kind, 2);
    if (direct <= large && direct <= small) return FC_CONV2D_DIRECT;
    return large <= small ? FC_CONV2D_WINOGRAD : FC_CONV2D_WINOGRAD_2X2;
}
