/* layout.c - (batch, rows, columns) -> (batch, columns, rows): between NCHW and NHWC. */
#include "kernels/kernels.h"
#include "parallel.h"

void fc_transpose(int64_t batch, int64_t rows, int64_t columns, const float *x, float *y, const fc_context *ctx) {
    (void)ctx;
    for (int64_t b = 0; b < batch; b++)
        for (int64_t j = 0; j < columns; j++)
            for (int64_t i = 0; i < rows; i++) y[(b * columns + j) * rows + i] = x[(b * rows + i) * columns + j];
}
