/* ctc.c - the CTC loss of sequences of logits (steps, batch, classes) and its gradient: one thread a sequence. */
#include "kernels/kernels.h"
#include "parallel.h"

#include <math.h>

/* Vectors of every instruction set, and room for one before and one after the states. */
enum { CTC_VECTOR = 16 };

/* Sums of exponentials of a row lie in [1, 2^60]: so many of them have a product in the range of doubles. */
enum { CTC_PRODUCT = 16 };

static const float nothing = -0x1p100f; /* the exponent of a probability of 0, as in ctc_rows.inc */

typedef struct ctc_task {
    const fc_ctc *ctc;
    const fc_kernels *kernels;
    const float *x;
    float *gradient;
    double *losses; /* [batch] */
    char *scratch;  /* one a thread */
    int64_t scratch_size;
} ctc_task;

static int64_t longest(const int64_t *lengths, int64_t count) {
    int64_t most = 0;
    for (int64_t i = 0; i < count; i++) most = fc_max(most, lengths[i]);
    return most;
}

/* Floats of what a sequence keeps of each step: sums, blanks, emissions and alphas. */
static int64_t step_floats(int64_t width) { return 1 + 2 + (2 + 4) * width; }

static int64_t state_width(int64_t labels) { return fc_round_up(labels + 1, CTC_VECTOR); }

/* Four rows of states with a vector at both ends, skip and logits; then the steps. */
static int64_t scratch_bytes(int64_t steps, int64_t labels) {
    const int64_t width = state_width(labels), states = 6 * width + 9 * CTC_VECTOR;
    if ((double)steps * (double)width > 1e16) return INT64_MAX / 1024; /* which no one has */
    return fc_round_up((states + steps * step_floats(width)) * (int64_t)sizeof(float), FC_ALIGNMENT);
}

static fc_ctc_sequence sequence_of(float *scratch, int64_t steps, int64_t labels) {
    const int64_t width = state_width(labels);
    fc_ctc_sequence s = {.steps = steps, .labels = labels, .width = width};
    for (int i = 0; i < 4; i++) s.now[i] = scratch + i * (width + 2 * CTC_VECTOR) + CTC_VECTOR;
    s.skip = scratch + 4 * (width + 2 * CTC_VECTOR);
    s.logits = s.skip + width + CTC_VECTOR;
    s.emissions = s.logits + width;
    s.alphas = s.emissions + 2 * width * steps;
    s.blanks = s.alphas + 4 * width * steps;
    s.sums = s.blanks + 2 * steps;
    return s;
}

static int64_t losses_bytes(const fc_ctc *ctc) { return fc_round_up(ctc->batch * (int64_t)sizeof(double), FC_ALIGNMENT); }

static int64_t thread_bytes(const fc_ctc *ctc) {
    return scratch_bytes(longest(ctc->lengths, ctc->batch), longest(ctc->target_lengths, ctc->batch));
}

int64_t fc_ctc_workspace_bytes(const fc_ctc *ctc, const fc_context *ctx) {
    return losses_bytes(ctc) + ctx->num_threads * thread_bytes(ctc);
}

int64_t fc_ctc_bad_target(const fc_ctc *ctc) {
    for (int64_t n = 0; n < ctc->batch; n++) {
        const int64_t begin = ctc->target_starts[n], end = begin + ctc->target_lengths[n];
        for (int64_t i = begin; i < end; i++)
            if (ctc->targets[i] < 0 || ctc->targets[i] >= ctc->classes || ctc->targets[i] == ctc->blank) return i;
    }
    return -1;
}

/* What holds for every step: which labels may follow the one before without a blank, and that the rest are no states. */
static void set_targets(fc_ctc_sequence *s) {
    for (int64_t j = 0; j < s->width + CTC_VECTOR; j++) {
        const bool follows = 2 <= j && j <= s->labels && s->label[j - 1] != s->label[j - 2];
        s->skip[j] = follows ? 0.0f : nothing;
    }
    for (int64_t j = 0; j < s->width; j++) s->logits[j] = -INFINITY;
}

/* The state before the first step, or after the last: certainly at the j-th blank. */
static void start_at(const fc_ctc_sequence *s, int64_t j) {
    for (int64_t i = -CTC_VECTOR; i < s->width + CTC_VECTOR; i++) {
        s->now[0][i] = s->now[2][i] = 1.0f;
        s->now[1][i] = s->now[3][i] = nothing;
    }
    s->now[3][j] = 0.0f;
}

/* -log of the probability of all alignments, which is m * 2^e after the forward pass. */
static double loss_of(const fc_ctc_sequence *s, float *exponent) {
    const int64_t j = s->labels;
    double logarithm = 0.0, product = 1.0;
    for (int64_t t = 0; t < s->steps; t++) {
        product *= (double)s->sums[t];
        if ((t + 1) % CTC_PRODUCT == 0) logarithm += log(product), product = 1.0;
    }
    const float e = fmaxf(s->now[1][j], s->now[3][j]);
    const double a = ldexp((double)s->now[0][j], (int)fmaxf(s->now[1][j] - e, -1000.0f));
    const double b = ldexp((double)s->now[2][j], (int)fmaxf(s->now[3][j] - e, -1000.0f));
    *exponent = e;
    if (e <= 0.5f * nothing) return isnan(logarithm + product) ? NAN : INFINITY;
    const double loss = logarithm + log(product) - (log(a + b) + M_LN2 * (double)e);
    return loss < 0.0 ? 0.0 : loss; /* rounding errors: a probability is at most 1 */
}

static void fill_rows(const fc_ctc *ctc, int64_t begin, int64_t end, float value, float *y) {
    for (int64_t t = begin; t < end; t++) {
        float *row = y + t * ctc->batch * ctc->classes;
        for (int64_t c = 0; c < ctc->classes; c++) row[c] = value;
    }
}

static double run_sequence(const ctc_task *task, int64_t n, char *scratch) {
    const fc_ctc *ctc = task->ctc;
    const int64_t at = n * ctc->classes;
    float exponent, *y = task->gradient + at;
    fc_ctc_sequence s = sequence_of((float *)scratch, ctc->lengths[n], ctc->target_lengths[n]);
    s.classes = ctc->classes, s.step = ctc->batch * ctc->classes, s.blank = ctc->blank;
    s.label = ctc->targets + ctc->target_starts[n];
    const double factor = ctc->mean ? 1.0 / (double)(ctc->batch * fc_max(1, s.labels)) : 1.0;
    s.scale = (float)factor;
    set_targets(&s);
    task->kernels->ctc_emissions(&s, task->x + at, y);
    start_at(&s, 0);
    task->kernels->ctc_forward(&s);
    const double loss = loss_of(&s, &exponent);
    const bool zeroed = ctc->zero_infinity && isinf(loss);
    if (isfinite(loss)) {
        start_at(&s, s.labels);
        task->kernels->ctc_backward(&s, exponent, y);
    } else {
        fill_rows(ctc, 0, s.steps, zeroed ? 0.0f : NAN, y);
    }
    fill_rows(ctc, s.steps, ctc->steps, 0.0f, y);
    return zeroed ? 0.0 : loss * factor;
}

static void run_sequences(void *arg, int64_t begin, int64_t end, int thread) {
    const ctc_task *t = arg;
    for (int64_t n = begin; n < end; n++) t->losses[n] = run_sequence(t, n, t->scratch + thread * t->scratch_size);
}

double fc_ctc_run(const fc_ctc *ctc, const float *x, float *gradient, void *workspace, const fc_context *ctx) {
    ctc_task t = {.ctc = ctc, .kernels = ctx->kernels, .x = x, .gradient = gradient, .losses = workspace};
    t.scratch = (char *)workspace + losses_bytes(ctc);
    t.scratch_size = thread_bytes(ctc);
    double loss = 0.0;
    /* A class takes as long as an exponential, 16 bytes of memory traffic; a label about three times that. */
    const int64_t bytes = ctc->steps * ctc->batch * (16 * ctc->classes + 48 * longest(ctc->target_lengths, ctc->batch));
    fc_parallel(ctc->batch, fc_threads_for_memory(bytes, ctx), run_sequences, &t);
    for (int64_t n = 0; n < ctc->batch; n++) loss += t.losses[n];
    return loss;
}
