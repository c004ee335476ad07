/* ctc_beam.c - prefix beam search over CTC log-probabilities (Graves 2012; Hannun et al. 2014): one thread a sequence.
 *
 * A prefix is a node of a tree. Of each prefix in the beam two sums over its alignments are kept: those that end in a
 * blank, and those that end in its last label. A step extends each by every class, merges what is the same, and keeps
 * the best. */
#include "parallel.h"

#include <math.h>

typedef struct prefix { int32_t parent, label, child, sibling, beam; } prefix; /* beam: its place there, or -1 */
typedef struct beam { double blank, label, total; int64_t prefix; } beam;      /* logarithms */
typedef struct candidate { double score; int32_t beam, label; } candidate;     /* label: -1 for the prefix itself */

typedef struct beam_search {
    int64_t classes, blank, width, most_labels; /* most_labels: the best classes, all that can follow one prefix */
    int64_t prefixes, beams, kept, labels;
    prefix *prefix;
    beam *now, *next;
    candidate *best;     /* [width], the first the best */
    int32_t *best_label; /* [most_labels] */
} beam_search;

typedef struct beam_task {
    const fc_ctc_beam *decode;
    const float *log_probabilities;
    int64_t *labels, *counts;
    double *scores;
    char *scratch;
    int64_t scratch_size;
} beam_task;

static int64_t label_limit(const fc_ctc_beam *decode) { return fc_min(decode->classes - 1, decode->width + 1); }

static int64_t most_prefixes(const fc_ctc_beam *decode) { return 1 + decode->steps * decode->width; }

static int64_t scratch_bytes(const fc_ctc_beam *decode) {
    return fc_round_up(most_prefixes(decode) * (int64_t)sizeof(prefix), FC_ALIGNMENT) +
           2 * fc_round_up(decode->width * (int64_t)sizeof(beam), FC_ALIGNMENT) +
           fc_round_up(decode->width * (int64_t)sizeof(candidate), FC_ALIGNMENT) +
           fc_round_up(label_limit(decode) * (int64_t)sizeof(int32_t), FC_ALIGNMENT);
}

int64_t fc_ctc_beam_workspace_bytes(const fc_ctc_beam *decode, const fc_context *ctx) {
    return ctx->num_threads * scratch_bytes(decode);
}

static double log_add(double a, double b) {
    const double most = a > b ? a : b, least = a > b ? b : a;
    return least == -INFINITY ? most : most + log1p(exp(least - most));
}

static int64_t add_prefix(beam_search *s, int64_t parent, int32_t label) {
    s->prefix[s->prefixes] = (prefix){(int32_t)parent, label, .child = -1, .sibling = -1, .beam = -1};
    if (parent >= 0) {
        s->prefix[s->prefixes].sibling = s->prefix[parent].child;
        s->prefix[parent].child = (int32_t)s->prefixes;
    }
    return s->prefixes++;
}

/* The prefix extended by a label, or -1 where the tree does not have it. */
static int64_t find_child(const beam_search *s, int64_t parent, int32_t label) {
    int64_t child = s->prefix[parent].child;
    while (child >= 0 && s->prefix[child].label != label) child = s->prefix[child].sibling;
    return child;
}

static void start_search(beam_search *s, const fc_ctc_beam *decode, char *scratch) {
    fc_arena arena = {scratch};
    *s = (beam_search){.classes = decode->classes, .blank = decode->blank, .width = decode->width};
    s->most_labels = label_limit(decode);
    s->prefix = fc_take(&arena, most_prefixes(decode) * (int64_t)sizeof(prefix));
    s->now = fc_take(&arena, s->width * (int64_t)sizeof(beam));
    s->next = fc_take(&arena, s->width * (int64_t)sizeof(beam));
    s->best = fc_take(&arena, s->width * (int64_t)sizeof(candidate));
    s->best_label = fc_take(&arena, s->most_labels * (int64_t)sizeof(int32_t));
    s->now[0] = (beam){.blank = 0.0, .label = -INFINITY, .total = 0.0, .prefix = add_prefix(s, -1, -1)};
    s->prefix[0].beam = 0;
    s->beams = 1;
}

/* The log-probability of those alignments of a beam after which a label counts: a blank keeps it from repeating one. */
static double extended(const beam_search *s, const beam *b, int32_t label, const float *p) {
    return (s->prefix[b->prefix].label == label ? b->blank : b->total) + (double)p[label];
}

/* The prefixes of the beam one step on, without those they are extended to. */
static void stay(beam_search *s, const float *p) {
    for (int64_t i = 0; i < s->beams; i++) {
        const beam *b = s->now + i;
        const prefix *at = s->prefix + b->prefix;
        double label = -INFINITY;
        if (at->parent >= 0) {
            label = b->label + (double)p[at->label];
            const int32_t from = s->prefix[at->parent].beam;
            if (from >= 0) label = log_add(label, extended(s, s->now + from, at->label, p));
        }
        const double blank = b->total + (double)p[s->blank];
        s->next[i] = (beam){.blank = blank, .label = label, .total = log_add(blank, label), .prefix = b->prefix};
    }
}

/* Among equal ones the first comes first. NaN and impossible ones are left out. */
static void insert(beam_search *s, double score, int64_t beam, int32_t label) {
    if (!(score > -INFINITY) || (s->kept == s->width && score <= s->best[s->kept - 1].score)) return;
    int64_t at = s->kept < s->width ? s->kept++ : s->width - 1;
    for (; at > 0 && s->best[at - 1].score < score; at--) s->best[at] = s->best[at - 1];
    s->best[at] = (candidate){score, (int32_t)beam, label};
}

/* The most probable labels, the first the best. After one prefix width + 1 are enough: all but its last label have
 * the order of their probabilities. */
static void choose_labels(beam_search *s, const float *p) {
    s->labels = 0;
    for (int64_t c = 0; c < s->classes; c++) {
        if (c == s->blank || (s->labels == s->most_labels && !(p[c] > p[s->best_label[s->labels - 1]]))) continue;
        int64_t at = s->labels < s->most_labels ? s->labels++ : s->most_labels - 1;
        for (; at > 0 && p[s->best_label[at - 1]] < p[c]; at--) s->best_label[at] = s->best_label[at - 1];
        s->best_label[at] = (int32_t)c;
    }
}

static void extend(beam_search *s, const float *p) {
    for (int64_t i = 0; i < s->beams; i++) {
        const beam *b = s->now + i;
        for (int64_t k = 0; k < s->labels; k++) {
            const int32_t label = s->best_label[k];
            const double score = extended(s, b, label, p);
            if (s->kept == s->width && score <= s->best[s->width - 1].score) {
                if (s->prefix[b->prefix].label == label) continue;
                break; /* the next ones are less probable */
            }
            const int64_t child = find_child(s, b->prefix, label);
            if (child < 0 || s->prefix[child].beam < 0) insert(s, score, i, label);
        }
    }
}

/* The best candidates become the beam. */
static void move_on(beam_search *s) {
    for (int64_t i = 0; i < s->beams; i++) s->prefix[s->now[i].prefix].beam = -1;
    for (int64_t i = 0; i < s->kept; i++) {
        const candidate *c = s->best + i;
        const int64_t parent = s->next[c->beam].prefix;
        if (c->label < 0) {
            s->now[i] = s->next[c->beam];
        } else {
            const int64_t child = find_child(s, parent, c->label);
            s->now[i] = (beam){.blank = -INFINITY, .label = c->score, .total = c->score};
            s->now[i].prefix = child < 0 ? add_prefix(s, parent, c->label) : child;
        }
        s->prefix[s->now[i].prefix].beam = (int32_t)i;
    }
    s->beams = s->kept;
}

static void search_step(beam_search *s, const float *p) {
    s->kept = 0;
    stay(s, p);
    for (int64_t i = 0; i < s->beams; i++) insert(s, s->next[i].total, i, -1);
    choose_labels(s, p);
    extend(s, p);
    move_on(s);
}

static int64_t write_labels(const beam_search *s, int64_t at, int64_t *labels) {
    int64_t count = 0;
    for (int64_t i = at; s->prefix[i].parent >= 0; i = s->prefix[i].parent) count++;
    for (int64_t i = at, left = count; left > 0; i = s->prefix[i].parent) labels[--left] = s->prefix[i].label;
    return count;
}

static void decode_sequence(const beam_task *t, int64_t n, char *scratch) {
    const fc_ctc_beam *decode = t->decode;
    beam_search s;
    start_search(&s, decode, scratch);
    for (int64_t step = 0; step < decode->lengths[n]; step++)
        search_step(&s, t->log_probabilities + (step * decode->batch + n) * decode->classes);
    for (int64_t k = 0; k < decode->top; k++) {
        const int64_t at = n * decode->top + k;
        const bool found = k < s.beams;
        t->counts[at] = k == 0 ? 0 : -1;
        if (found) t->counts[at] = write_labels(&s, s.now[k].prefix, t->labels + at * decode->steps);
        t->scores[at] = found ? s.now[k].total : NAN;
    }
}

static void decode_sequences(void *arg, int64_t begin, int64_t end, int thread) {
    const beam_task *t = arg;
    for (int64_t n = begin; n < end; n++) decode_sequence(t, n, t->scratch + thread * t->scratch_size);
}

void fc_ctc_beam_run(const fc_ctc_beam *decode, const float *log_probabilities, int64_t *labels, int64_t *counts,
                     double *scores, void *workspace, const fc_context *ctx) {
    beam_task t = {decode, log_probabilities, labels, counts, scores, workspace, scratch_bytes(decode)};
    /* A candidate takes as long as about 32 bytes of memory traffic. */
    const int64_t bytes = decode->batch * decode->steps * (decode->classes + 8 * decode->width) * 32;
    fc_parallel(decode->batch, fc_threads_for_memory(bytes, ctx), decode_sequences, &t);
}
