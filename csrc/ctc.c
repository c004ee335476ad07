/* ctc.c - the CTC loss of sequences of logits (steps, batch, classes) and its gradient: one thread a sequence. */
#include "kernels/kernels.h"
#include "parallel.h"

#include <math.h>

/* Whole vectors of every instruction set. */
enum { CTC_VECTOR = 16 };

/* Sequences that a thread takes through the recurrence in turn. */
enum { CTC_TOGETHER = 2 };

/* Sums of exponentials of a row, the largest being about 1, are below 2^60: so many of them have a product in the
 * range of doubles. */
enum { CTC_PRODUCT = 16 };

static const float nothing = -0x1p100f; /* the exponent of a probability of 0, as in ctc_rows.inc */

typedef struct ctc_task {
    const fc_ctc *ctc;
    const fc_kernels *kernels;
    const float *x;
    float *gradient;
    double *losses; /* [batch] */
    char *scratch;  /* CTC_TOGETHER a thread */
    int64_t scratch_size;
} ctc_task;

static int64_t longest(const int64_t *lengths, int64_t count) {
    int64_t most = 0;
    for (int64_t i = 0; i < count; i++) most = fc_max(most, lengths[i]);
    return most;
}

static int64_t state_width(int64_t labels) { return fc_round_up(labels + 1, CTC_VECTOR); }

/* Six rows of states and a vector beside skip; sums, blanks, emissions and alphas of steps, and alphas before them. */
static int64_t scratch_bytes(int64_t steps, int64_t labels) {
    const int64_t width = state_width(labels);
    if ((double)steps * (double)width > 1e16) return INT64_MAX / 1024; /* which no one has */
    const int64_t floats = 6 * width + CTC_VECTOR + steps * (3 + 6 * width) + 4 * width;
    return fc_round_up(floats * (int64_t)sizeof(float), FC_ALIGNMENT);
}

static fc_ctc_sequence sequence_of(float *scratch, int64_t steps, int64_t labels) {
    const int64_t width = state_width(labels);
    fc_ctc_sequence s = {.steps = steps, .labels = labels, .width = width, .now = scratch};
    s.skip = s.now + 4 * width;
    s.logits = s.skip + width + CTC_VECTOR;
    s.emissions = s.logits + width;
    s.alphas = s.emissions + 2 * width * steps;
    s.blanks = s.alphas + 4 * width * (steps + 1);
    s.sums = s.blanks + 2 * steps;
    return s;
}

static int64_t losses_bytes(const fc_ctc *ctc) {
    return fc_round_up(ctc->batch * (int64_t)sizeof(double), FC_ALIGNMENT);
}

static int64_t longest_bytes(const fc_ctc *ctc) {
    return scratch_bytes(longest(ctc->lengths, ctc->batch), longest(ctc->target_lengths, ctc->batch));
}

int64_t fc_ctc_workspace_bytes(const fc_ctc *ctc, const fc_context *ctx) {
    return losses_bytes(ctc) + ctx->num_threads * CTC_TOGETHER * longest_bytes(ctc);
}

int64_t fc_ctc_bad_target(const fc_ctc *ctc) {
    for (int64_t n = 0; n < ctc->batch; n++) {
        const int64_t begin = ctc->target_starts[n], end = begin + ctc->target_lengths[n];
        for (int64_t i = begin; i < end; i++)
            if (ctc->targets[i] < 0 || ctc->targets[i] >= ctc->classes || ctc->targets[i] == ctc->blank) return i;
    }
    return -1;
}

/* What holds for every step: which labels may follow the one before without a blank; that the rest are no states. */
static void set_targets(fc_ctc_sequence *s) {
    for (int64_t j = 0; j < s->width + CTC_VECTOR; j++) {
        const bool follows = 2 <= j && j <= s->labels && s->label[j - 1] != s->label[j - 2];
        s->skip[j] = follows ? 0.0f : nothing;
    }
    for (int64_t j = 0; j < s->width; j++) s->logits[j] = -INFINITY;
}

/* A state that is certainly at the j-th blank. */
static void start_at(float *state, int64_t width, int64_t j) {
    for (int64_t i = 0; i < width; i++) {
        state[i] = state[2 * width + i] = 1.0f;
        state[width + i] = state[3 * width + i] = nothing;
    }
    state[3 * width + j] = 0.0f;
}

/* -log of the probability of all alignments, which is m * 2^e after the forward pass. */
static double loss_of(fc_ctc_sequence *s) {
    const float *end = s->alphas + 4 * s->width * s->steps + s->labels, *label = end, *blank = end + 2 * s->width;
    double logarithm = 0.0, product = 1.0;
    for (int64_t t = 0; t < s->steps; t++) {
        product *= (double)s->sums[t] * 0x1p-32;
        if ((t + 1) % CTC_PRODUCT == 0) logarithm += log(product), product = 1.0;
    }
    const float e = fmaxf(label[s->width], blank[s->width]);
    const double a = ldexp((double)label[0], (int)fmaxf(label[s->width] - e, -1000.0f));
    const double b = ldexp((double)blank[0], (int)fmaxf(blank[s->width] - e, -1000.0f));
    s->exponent = e;
    if (e <= 0.5f * nothing) return isnan(logarithm + product) ? NAN : INFINITY;
    const double loss = logarithm + log(product) - (log(a + b) + M_LN2 * (double)e);
    return loss < 0.0 ? 0.0 : loss; /* rounding errors: a probability is at most 1 */
}

static void fill_rows(const fc_ctc_sequence *s, int64_t begin, int64_t end, float value) {
    for (int64_t t = begin; t < end; t++)
        for (int64_t c = 0; c < s->classes; c++) s->y[t * s->step + c] = value;
}

static fc_ctc_sequence begin_sequence(const ctc_task *task, int64_t n, void *scratch) {
    const fc_ctc *ctc = task->ctc;
    const int64_t at = n * ctc->classes;
    fc_ctc_sequence s = sequence_of(scratch, ctc->lengths[n], ctc->target_lengths[n]);
    s.classes = ctc->classes, s.step = ctc->batch * ctc->classes, s.blank = ctc->blank;
    s.label = ctc->targets + ctc->target_starts[n];
    s.x = task->x + at, s.y = task->gradient + at;
    s.scale = ctc->mean ? (float)(1.0 / (double)(ctc->batch * fc_max(1, s.labels))) : 1.0f;
    set_targets(&s);
    task->kernels->ctc_emissions(&s);
    start_at(s.alphas, s.width, 0);
    return s;
}

/* True if the way back remains to be gone. */
static bool end_sequence(const fc_ctc *ctc, fc_ctc_sequence *s, double *loss) {
    const double one = loss_of(s);
    const bool zeroed = ctc->zero_infinity && isinf(one);
    *loss = zeroed ? 0.0 : ctc->mean ? one / (double)(ctc->batch * fc_max(1, s->labels)) : one;
    fill_rows(s, s->steps, ctc->steps, 0.0f);
    start_at(s->now, s->width, s->labels);
    if (!isfinite(one)) fill_rows(s, 0, s->steps, zeroed ? 0.0f : NAN);
    return isfinite(one);
}

static void run_sequences(void *arg, int64_t begin, int64_t end, int thread) {
    const ctc_task *t = arg;
    fc_ctc_sequence s[CTC_TOGETHER];
    for (int64_t n = begin; n < end; n += CTC_TOGETHER) {
        const int count = (int)fc_min(CTC_TOGETHER, end - n);
        int left = 0;
        for (int i = 0; i < count; i++)
            s[i] = begin_sequence(t, n + i, t->scratch + (CTC_TOGETHER * thread + i) * t->scratch_size);
        t->kernels->ctc_forward(count, s);
        for (int i = 0; i < count; i++)
            if (end_sequence(t->ctc, s + i, t->losses + n + i)) s[left++] = s[i];
        t->kernels->ctc_backward(left, s);
    }
}

double fc_ctc_run(const fc_ctc *ctc, const float *x, float *gradient, void *workspace, const fc_context *ctx) {
    ctc_task t = {.ctc = ctc, .kernels = ctx->kernels, .x = x, .gradient = gradient, .losses = workspace};
    t.scratch = (char *)workspace + losses_bytes(ctc);
    t.scratch_size = longest_bytes(ctc);
    double loss = 0.0;
    /* A class takes as long as an exponential, 16 bytes of memory traffic; a label about three times that. */
    const int64_t bytes = ctc->steps * ctc->batch * (16 * ctc->classes + 48 * longest(ctc->target_lengths, ctc->batch));
    fc_parallel(ctc->batch, fc_threads_for_memory(bytes, ctx), run_sequences, &t);
    for (int64_t n = 0; n < ctc->batch; n++) loss += t.losses[n];
    return loss;
}
