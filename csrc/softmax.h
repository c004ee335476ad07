/* softmax.h - how softmax and cross-entropy block an array (outer, columns, inner). */
#ifndef FASTCONV_SOFTMAX_H
#define FASTCONV_SOFTMAX_H

#include "kernels/kernels.h"

enum {
    SOFTMAX_CHUNK = 4096,     /* an item is as many rows as make about this many elements */
    SOFTMAX_VECTOR = 16,      /* rows and neighbours in multiples of the widest vector: a cache line */
    SOFTMAX_PAGE = 1024,      /* FC_SOFTMAX_WIDEST neighbours of an axis that is not the last are taken together where
                               * columns are no less than a page apart (150 columns 64 KB apart: 0.6 of the time), */
    SOFTMAX_NEAR = 6144,      /* elsewhere as many as make so many floats of scratch: L1; */
    SOFTMAX_SCRATCH = 1 << 16 /* floats of scratch, the most: where a cache line of neighbours has more, they stay
                               * in y. */
};

/* From so many bytes of operands on, results go past the caches: with 32 MB of L3 they would drive out the operands
 * and be read from memory before they are written. Arrays of 16 MB, 1.5 times as fast; of 8 MB, as fast. */
enum { SOFTMAX_STREAM_BYTES = 32 * 1024 * 1024 };

/* How many neighbours a kernel of an axis that is not the last takes at a time, of `arrays` operands in scratch. */
static inline int64_t softmax_width(int64_t columns, int64_t inner, int arrays) {
    const int64_t budget = inner < SOFTMAX_PAGE ? SOFTMAX_NEAR : SOFTMAX_SCRATCH;
    const int64_t fits = budget / (columns * arrays) / SOFTMAX_VECTOR * SOFTMAX_VECTOR;
    const int64_t most = fc_min(FC_SOFTMAX_WIDEST, fc_round_up(inner, SOFTMAX_VECTOR));
    return fc_max(SOFTMAX_VECTOR, fc_min(fits, most));
}

/* Whole rows of so many contiguous elements in an item of work; multiples of a vector of rows where rows are short. */
static inline int64_t softmax_rows_per_item(int64_t columns, int64_t short_columns) {
    const int64_t rows = fc_max(1, SOFTMAX_CHUNK / columns);
    return columns <= short_columns ? fc_round_up(rows, SOFTMAX_VECTOR) : rows;
}

#endif
