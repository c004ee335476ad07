/* ctc.h - the part of the public C API, fastconv.h, that is about CTC: the loss and decoding. */
#ifndef FASTCONV_CTC_H
#define FASTCONV_CTC_H

#include "fastconv.h"

/* Connectionist temporal classification (Graves et al. 2006) of logits x (steps, batch, classes): the sum of
 * -log(probability of all alignments of sequence n to its target), and its gradient, which may be x. Sequence n has
 * lengths[n] steps, and the labels targets[target_starts[n] ...], target_lengths[n] of them. With `mean`, losses and
 * gradients are over max(1, target_lengths[n]) * batch; with zero_infinity, both are 0 where no alignment is
 * possible, else inf and NaN. */
typedef struct fc_ctc {
    int64_t steps, batch, classes, blank;
    const int64_t *lengths, *targets, *target_starts, *target_lengths;
    bool mean, zero_infinity;
} fc_ctc;

/* -1, or the place in `targets` of a label outside [0, classes) or equal to blank. */
int64_t fc_ctc_bad_target(const fc_ctc *ctc);
int64_t fc_ctc_workspace_bytes(const fc_ctc *ctc, const fc_context *ctx);
double fc_ctc_run(const fc_ctc *ctc, const float *x, float *gradient, void *workspace, const fc_context *ctx);

/* The `top` <= width most probable labellings of each sequence by prefix beam search: labels [batch][top][steps],
 * counts [batch][top] of them, -1 where there are fewer labellings, and the logarithms of their probabilities. A
 * sequence without any, as NaN makes it, has one of no labels and score NaN. steps * width < 2^31. */
typedef struct fc_ctc_beam {
    int64_t steps, batch, classes, blank, width, top;
    const int64_t *lengths; /* [batch] */
} fc_ctc_beam;

int64_t fc_ctc_beam_workspace_bytes(const fc_ctc_beam *decode, const fc_context *ctx);
void fc_ctc_beam_run(const fc_ctc_beam *decode, const float *log_probabilities, int64_t *labels, int64_t *counts,
                     double *scores, void *workspace, const fc_context *ctx);

#endif
