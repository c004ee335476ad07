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
        {0.0221, 0.36, 0, 0.25, 0.966, 4.73e+03},
        {0.0288, 0.108, 0.228, 0.187, 0.908, 4.86e+03},
        {0.0241, 0.133, 0.252, 0.255, 1.06, 4.45e+03},
    },
    [FORWARD] = {
        {0.0208, 0.517, 0.154, 0.00791, 0.186, 4.79e+03},
        {0.0239, 0.177, 0.307, 0.0202, 0.204, 5.01e+03},
        {0.022, 0.186, 0.293, 0.0117, 0.235, 4.57e+03},
    },
    [BACKWARD_INPUT] = {
        {0.0207, 0, 0.88, 0.355, 0.389, 6.38e+03},
        {0.0269, 0.0283, 0.41, 0.165, 0.137, 6.65e+03},
        {0.0233, 0.00447, 0.448, 0.182, 0.346, 6.52e+03},
    },
    [BACKWARD_WEIGHT] = {
        {0.0194, 0, 0.31, 0.265, 1.09, 5.39e+03},
        {0.0255, 0.225, 0.211, 0.126, 0.151, 5.26e+03},
        {0.0225, 0.233, 0.169, 0.189, 0.516, 5.21e+03},
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
