/* conv2d_winograd_weight.c - the gradient in 3 x 3 weights by Winograd's algorithm (Lavin and Gray 2015, with weights and
 * outputs exchanged): a quarter of the direct algorithm's multiplications.
 *
 *     dw = G' [ sum over tiles of (B' x B) * (A dy A') ] G
 *
 * A tile is m x m output pixels and the (m + 2) x (m + 2) input pixels they see, zeros outside the image. Tiles go in
 * chunks: a chunk is transformed into planes v and d, then each plane is summed as outer products over the chunk's tiles.
 * Items of work are panels of input channels x panels of output channels. Of a single chunk the sums of an item become
 * weights while they are in L2; else they are kept from chunk to chunk, and wide layers are cut into parts, each with
 * transforms of its own, so that the sums of a part stay in L3.
 *
 * Layouts: v[panel][plane][tile][panel_rows], d[panel][plane][tile][tile_columns], m[item][plane][panel_rows][tile_columns].
 */
#include "conv2d_winograd.h"

enum {
    TAPS = 9, MOST_POINTS = 6, MOST_PLANES = MOST_POINTS * MOST_POINTS,
    /* v and d, if there is one chunk and if there are several. With more tiles a panel of d leaves L1. */
    SINGLE_BYTES = 12 << 20, CHUNK_BYTES = 4 << 20, MOST_TILES = 128,
    /* Channels of a part, either side, where there are several chunks: 9.4 MB of sums. A second transform of the other
     * side costs 2 % then. */
    MOST_CHANNELS = 256,
    /* Panels of output channels that share a panel of input channels in L1. */
    GROUP = 4,
    /* Tiles whose panels are transformed one after the other: 36 streams are written then, not 36 a panel. */
    BLOCK = 8,
    /* From here on x and dy come from beyond L2, and a tile two ahead is fetched: 64 channels at 112 x 112 0.68 instead of
     * 1.4 ms for the transforms; from L2 it costs a third more. */
    FETCH_BYTES = 2 << 20, AHEAD = 2,
    /* Lines that another core wrote or read cost so much that two threads took longer to transform a chunk than one
     * (64 channels at 56 x 56: 61 us, one thread 42). So each transforms the panels of v that it will sum, and up to
     * so many threads each transform all of d for themselves. */
    MOST_COPIES = 2
};

/* What follows from the geometry and the instruction set alone. */
typedef struct sizes {
    winograd_map map;
    int64_t tiles, chunk, chunks, copies; /* copies of d */
    int64_t planes, c_most, k_most;    /* channels of a part */
    int64_t v_plane, d_plane, m_plane; /* floats from one plane to the next */
    int64_t v_floats, d_floats, m_floats, item_floats, w_floats, zeros;
} sizes;

/* A range of input channels and one of output channels, within a group. */
typedef struct part { int64_t group, c, c_count, k, k_count; } part;

typedef struct weight_task {
    const fc_conv2d *conv;
    const fc_context *ctx;
    const float *dy, *x, *zeros;
    float *dweight, *dbias;
    sizes size;
    float *v, *d, *m, *w; /* w of a thread: [c][tap][tile_columns] */
    part part;
    int64_t first, count; /* the chunk's tiles */
    int64_t shares;       /* of the panels of input channels */
    bool fetch;
} weight_task;

/* An odd number of cache lines: 36 streams a power of two apart would share few sets of L1. */
static int64_t plane_floats(int64_t floats) {
    const int64_t line = FC_ALIGNMENT / (int64_t)sizeof(float);
    return (fc_ceil_div(floats, line) | 1) * line;
}

/* `total` channels in nearly equal parts of whole panels. */
static int64_t part_channels(int64_t total, int64_t panel) {
    return fc_round_up(fc_ceil_div(total, fc_ceil_div(total, MOST_CHANNELS)), panel);
}

static void choose_chunks(sizes *s, const fc_kernels *kernels) {
    const int64_t plane_bytes = s->planes * (int64_t)sizeof(float);
    s->chunks = 1;
    s->chunk = s->tiles;
    if (s->tiles <= MOST_TILES && s->tiles * plane_bytes * (s->c_most + s->k_most) <= SINGLE_BYTES) return;
    s->c_most = fc_min(s->c_most, part_channels(s->c_most, kernels->panel_rows));
    s->k_most = fc_min(s->k_most, part_channels(s->k_most, kernels->tile_columns));
    const int64_t fitting = CHUNK_BYTES / (plane_bytes * (s->c_most + s->k_most));
    s->chunks = fc_ceil_div(s->tiles, fc_min(MOST_TILES, fitting));
    s->chunk = fc_ceil_div(s->tiles, s->chunks);
}

static sizes find_sizes(const fc_conv2d *c, int outputs, const fc_context *ctx) {
    const fc_kernels *kernels = ctx->kernels;
    sizes s = {.map = winograd_forward_map(c, outputs), .c_most = conv2d_in_depth(c), .k_most = conv2d_out_depth(c)};
    s.tiles = winograd_tiles(&s.map);
    s.planes = winograd_elements(&s.map);
    choose_chunks(&s, kernels);
    const int64_t c_panels = fc_ceil_div(s.c_most, kernels->panel_rows);
    const int64_t k_panels = fc_ceil_div(s.k_most, kernels->tile_columns);
    s.v_plane = plane_floats(s.chunk * kernels->panel_rows);
    s.d_plane = plane_floats(s.chunk * kernels->tile_columns);
    s.m_plane = plane_floats(kernels->panel_rows * kernels->tile_columns);
    s.v_floats = c_panels * s.planes * s.v_plane;
    s.copies = ctx->num_threads <= MOST_COPIES ? ctx->num_threads : 1;
    s.d_floats = k_panels * s.planes * s.d_plane;
    s.item_floats = s.planes * s.m_plane;
    s.m_floats = s.item_floats * (s.chunks > 1 ? c_panels * k_panels : ctx->num_threads * GROUP);
    s.w_floats = plane_floats(kernels->panel_rows * TAPS * kernels->tile_columns);
    s.zeros = fc_max(c->in_channels, c->out_channels);
    return s;
}

static int64_t floats_bytes(int64_t floats) { return fc_round_up(floats * (int64_t)sizeof(float), FC_ALIGNMENT); }

int64_t conv2d_winograd_weight_bytes(const fc_conv2d *c, int outputs, const fc_context *ctx) {
    const sizes s = find_sizes(c, outputs, ctx);
    return floats_bytes(s.v_floats) + floats_bytes(s.copies * s.d_floats) + floats_bytes(s.m_floats) +
           floats_bytes(ctx->num_threads * s.w_floats) + floats_bytes(s.zeros);
}

/* ---------------------------------------------------------------------------------------------------- transforms */

/* The output pixels of a tile, zeros past the map's edge. */
static void point_at_outputs(const weight_task *t, int64_t index, const float **pixel) {
    const winograd_map *map = &t->size.map;
    const winograd_place at = winograd_tile(map, index);
    for (int i = 0; i < map->outputs; i++)
        for (int j = 0; j < map->outputs; j++) {
            const int64_t p = at.row + i, q = at.column + j;
            const bool inside = p < map->out_height && q < map->out_width;
            pixel[i * map->outputs + j] =
                inside ? t->dy + ((at.image * map->out_height + p) * map->out_width + q) * t->conv->out_channels : t->zeros;
        }
}

/* Panels of one operand of a block of tiles; pixel is [count][pixels]. */
static void transform_panels(const weight_task *t, void (*transform)(const fc_winograd_planes *), const float *const *pixel,
                             int64_t pixels, int64_t count, int64_t first_channel, int64_t channels, int64_t panel,
                             float *planes, int64_t plane) {
    fc_winograd_planes tile = {.outputs = t->size.map.outputs, .planes_step = plane};
    for (int64_t c = 0; c < channels; c += panel, planes += t->size.planes * plane) {
        tile.channels = fc_min(panel, channels - c);
        tile.offset = first_channel + c;
        for (int64_t i = 0; i < count; i++) {
            const int64_t later = (i + AHEAD) % count;
            tile.pixel = pixel + i * pixels;
            tile.ahead = t->fetch ? pixel + later * pixels : NULL;
            tile.ahead_offset = tile.offset + (later > i ? 0 : panel);
            tile.planes = planes + i * panel;
            transform(&tile);
        }
    }
}

/* BLOCK tiles of the chunk: share number `share` of the panels of v, and the panels [k, k_end) of d. */
static void transform_block(const weight_task *t, int64_t block, int64_t share, int64_t k, int64_t k_end, float *d) {
    const fc_kernels *kernels = t->ctx->kernels;
    const part *part = &t->part;
    const int64_t planes = t->size.planes, pixels = t->size.map.outputs * t->size.map.outputs;
    const int64_t rows = kernels->panel_rows, columns = kernels->tile_columns;
    const int64_t first = block * BLOCK, count = fc_min(BLOCK, t->count - first);
    const float *pixel[BLOCK * MOST_PLANES];
    int64_t c, c_end;
    fc_split(fc_ceil_div(part->c_count, rows), t->shares, share, &c, &c_end);
    for (int64_t i = 0; i < count; i++)
        winograd_point_at_pixels(&t->size.map, t->first + first + i, t->x, t->zeros, pixel + i * planes);
    transform_panels(t, kernels->winograd_input, pixel, planes, count,
                     part->group * t->size.map.in_depth + part->c + c * rows,
                     fc_min(c_end * rows, part->c_count) - c * rows, rows,
                     t->v + c * planes * t->size.v_plane + first * rows, t->size.v_plane);
    for (int64_t i = 0; i < count; i++) point_at_outputs(t, t->first + first + i, pixel + i * pixels);
    transform_panels(t, kernels->winograd_dy, pixel, pixels, count,
                     part->group * t->size.map.out_depth + part->k + k * columns,
                     fc_min(k_end * columns, part->k_count) - k * columns, columns,
                     d + k * planes * t->size.d_plane + first * columns, t->size.d_plane);
}

/* Item: (share of the panels, block of tiles). */
static void transform_tiles(void *arg, int64_t begin, int64_t end, int thread) {
    const weight_task *t = arg;
    const int64_t blocks = fc_ceil_div(t->count, BLOCK);
    (void)thread;
    for (int64_t item = begin; item < end; item++) {
        int64_t k, k_end;
        fc_split(fc_ceil_div(t->part.k_count, t->ctx->kernels->tile_columns), t->shares, item / blocks, &k, &k_end);
        transform_block(t, item % blocks, item / blocks, k, k_end, t->d);
    }
}

/* ---------------------------------------------------------------------------------------------- what is not finite */

/* The direct sums of one tap, of a few input channels x one panel of output channels, from c and k on. */
static void sum_directly(const weight_task *t, int64_t tap, int64_t c, int rows, int64_t k, int columns, float *sums) {
    const fc_conv2d *conv = t->conv;
    const int64_t r = tap / 3 - conv->pad_top, s = tap % 3 - conv->pad_left;
    const int64_t begin = fc_max(0, -s), end = fc_min(conv->out_width, conv->in_width - s);
    fc_outer outer = {.x_offset = c, .w_offset = k, .x_step = conv->in_channels, .w_step = conv->out_channels,
                      .y = sums, .y_stride = t->ctx->kernels->tile_columns};
    t->ctx->kernels->outer_tile(&outer, rows, columns); /* no run: zeros */
    outer.accumulate = true;
    outer.runs = 1;
    for (int64_t row = 0; row < conv->batch * conv->out_height && begin < end; row++) {
        const int64_t n = row / conv->out_height, h = row % conv->out_height + r;
        if (h < 0 || h >= conv->in_height) continue;
        const struct fc_run run = {t->x + ((n * conv->in_height + h) * conv->in_width + begin + s) * conv->in_channels,
                                   t->dy + (row * conv->out_width + begin) * conv->out_channels, end - begin};
        outer.run = &run;
        t->ctx->kernels->outer_tile(&outer, rows, columns);
    }
}

static bool is_finite(const float *w, int64_t step) {
    float zero = 0.0f;
    for (int tap = 0; tap < TAPS; tap++) zero += 0.0f * w[tap * step];
    return zero == 0.0f;
}

/* The transforms spread a NaN or an infinity over a whole filter, and make infinities of numbers near the largest: such
 * filters are summed directly. Nothing else is, so a NaN changes no bit of any other filter. */
static void repair(const weight_task *t, int64_t c, int64_t rows, int64_t k, int64_t columns, float *w) {
    const fc_kernels *kernels = t->ctx->kernels;
    const int64_t width = kernels->tile_columns;
    float sums[FC_MAX_TILE_ROWS * FC_MAX_TILE_COLUMNS];
    for (int64_t i = 0; i < rows; i += kernels->tile_rows) {
        bool spoiled[FC_MAX_TILE_ROWS * FC_MAX_TILE_COLUMNS], any = false;
        const int64_t height = fc_min(kernels->tile_rows, rows - i);
        for (int64_t j = 0; j < height * width; j++)
            any |= spoiled[j] = j % width < columns && !is_finite(w + (i + j / width) * TAPS * width + j % width, width);
        for (int64_t tap = 0; tap < TAPS && any; tap++) {
            sum_directly(t, tap, c + i, (int)height, k, (int)columns, sums);
            for (int64_t j = 0; j < height * width; j++)
                if (spoiled[j]) w[((i + j / width) * TAPS + tap) * width + j % width] = sums[j];
        }
    }
}

/* ---------------------------------------------------------------------------------------------------------- sums */

/* Where the weights of (c, k), counted from the part's first, lie. */
static float *weights_at(const weight_task *t, int64_t c, int64_t k) {
    const int64_t row = t->part.group * t->size.map.out_depth + t->part.k + k;
    return t->dweight + (row * t->size.map.in_depth + t->part.c + c) * TAPS;
}

/* The weights of one item from its sums. */
static void finish_weights(const weight_task *t, const float *m, int64_t c, int64_t k, float *w) {
    const fc_kernels *kernels = t->ctx->kernels;
    const part *part = &t->part;
    const int64_t rows = fc_min(kernels->panel_rows, part->c_count - c);
    const int64_t columns = fc_min(kernels->tile_columns, part->k_count - k);
    bool finite;
    kernels->winograd_filters(t->size.map.outputs, m, t->size.m_plane, rows, (int)columns, w, &finite);
    if (!finite)
        repair(t, part->group * t->size.map.in_depth + part->c + c, rows,
               part->group * t->size.map.out_depth + part->k + k, columns, w);
    kernels->transpose_block(rows * TAPS, columns, w, kernels->tile_columns, weights_at(t, c, k),
                             t->size.map.in_depth * TAPS);
}

/* dbias is the sum of d in the plane of the points (1, 1): there d is the sum of the tile's outputs. */
static void sum_bias(const weight_task *t, const float *d, int64_t k) {
    static const float one = 1.0f;
    const int64_t columns = t->ctx->kernels->tile_columns;
    const struct fc_run run = {&one, d + (t->size.map.outputs + 3) * t->size.d_plane, t->count};
    const fc_outer outer = {.runs = 1, .run = &run, .w_step = columns, .accumulate = t->first > 0,
                            .y = t->dbias + t->part.group * t->size.map.out_depth + t->part.k + k};
    t->ctx->kernels->outer_tile(&outer, 1, (int)fc_min(columns, t->part.k_count - k));
}

/* Items [begin, end): a panel of input channels x a panel of output channels. */
static void sum_items(const weight_task *t, int64_t begin, int64_t end, int thread, const float *d) {
    const sizes *s = &t->size;
    const fc_kernels *kernels = t->ctx->kernels;
    const int64_t width = kernels->tile_columns, k_panels = fc_ceil_div(t->part.k_count, width);
    const bool last = t->first + t->count == s->tiles;
    fc_winograd_sums sums = {.planes = s->planes, .tiles = t->count, .accumulate = t->first > 0, .v_plane = s->v_plane,
                             .d_plane = s->d_plane, .d_panel = s->planes * s->d_plane, .m_plane = s->m_plane,
                             .m_panel = s->item_floats, .fetch_stride = s->map.in_depth * TAPS};
    for (int64_t item = begin, stop; item < end; item = stop) {
        const int64_t c_panel = item / k_panels, k_panel = item % k_panels;
        const int64_t c = c_panel * kernels->panel_rows, k = k_panel * width;
        const int64_t rows = fc_min(kernels->panel_rows, t->part.c_count - c);
        stop = fc_min(fc_min(end, (c_panel + 1) * k_panels), item + GROUP);
        sums.v = t->v + c_panel * s->planes * s->v_plane;
        sums.d = d + k_panel * s->planes * s->d_plane;
        sums.m = t->m + (s->chunks > 1 ? item : thread * GROUP) * s->item_floats;
        sums.fetch = last ? weights_at(t, c, k) : NULL;
        sums.fetch_run = rows * TAPS;
        kernels->winograd_sums(&sums, (int)rows, fc_min(t->part.k_count - k, (stop - item) * width));
        for (int64_t i = 0; i < stop - item; i++) {
            if (last) finish_weights(t, sums.m + i * s->item_floats, c, k + i * width, t->w + thread * s->w_floats);
            if (t->dbias && t->part.c + c == 0) sum_bias(t, sums.d + i * sums.d_panel, k + i * width);
        }
    }
}

static void sum_tiles(void *arg, int64_t begin, int64_t end, int thread) {
    const weight_task *t = arg;
    sum_items(t, begin, end, thread, t->d);
}

/* Item: a share of the panels of input channels, with the thread's own d. */
static void run_shares(void *arg, int64_t begin, int64_t end, int thread) {
    const weight_task *t = arg;
    const int64_t k_panels = fc_ceil_div(t->part.k_count, t->ctx->kernels->tile_columns);
    float *d = t->d + thread * t->size.d_floats;
    for (int64_t share = begin; share < end; share++) {
        int64_t c, c_end;
        fc_split(fc_ceil_div(t->part.c_count, t->ctx->kernels->panel_rows), t->shares, share, &c, &c_end);
        for (int64_t block = 0; block < fc_ceil_div(t->count, BLOCK); block++)
            transform_block(t, block, share, 0, share == begin ? k_panels : 0, d);
        sum_items(t, c * k_panels, c_end * k_panels, thread, d);
    }
}

static void run_part(weight_task *t, int threads) {
    const int64_t c_panels = fc_ceil_div(t->part.c_count, t->ctx->kernels->panel_rows);
    const int64_t k_panels = fc_ceil_div(t->part.k_count, t->ctx->kernels->tile_columns);
    t->shares = fc_min(threads, c_panels);
    for (t->first = 0; t->first < t->size.tiles; t->first += t->count) {
        t->count = fc_min(t->size.chunk, t->size.tiles - t->first);
        if (threads <= t->size.copies && c_panels % threads == 0) {
            fc_parallel(t->shares, threads, run_shares, t);
            continue;
        }
        fc_parallel(t->shares * fc_ceil_div(t->count, BLOCK), threads, transform_tiles, t);
        fc_parallel(c_panels * k_panels, threads, sum_tiles, t);
    }
}

void conv2d_winograd_backward_weight(const fc_conv2d *c, int outputs, const float *dy, const float *x, float *dweight,
                                     float *dbias, void *workspace, const fc_context *ctx) {
    fc_arena arena = {workspace};
    weight_task t = {.conv = c, .ctx = ctx, .dy = dy, .x = x, .dweight = dweight, .dbias = dbias,
                     .size = find_sizes(c, outputs, ctx)};
    const int64_t in_depth = conv2d_in_depth(c), out_depth = conv2d_out_depth(c);
    const int64_t images = c->batch * c->in_height * c->in_width * c->in_channels + conv2d_pixels(c) * c->out_channels;
    const int threads = fc_threads_for_arithmetic(conv2d_multiply_adds(c) / 4, ctx);
    t.fetch = floats_bytes(images) > FETCH_BYTES;
    t.v = fc_take(&arena, floats_bytes(t.size.v_floats));
    t.d = fc_take(&arena, floats_bytes(t.size.copies * t.size.d_floats));
    t.m = fc_take(&arena, floats_bytes(t.size.m_floats));
    t.w = fc_take(&arena, floats_bytes(ctx->num_threads * t.size.w_floats));
    t.zeros = memset(fc_take(&arena, floats_bytes(t.size.zeros)), 0, (size_t)floats_bytes(t.size.zeros));
    for (int64_t group = 0; group < c->groups; group++)
        for (int64_t i = 0; i < in_depth; i += t.size.c_most)
            for (int64_t j = 0; j < out_depth; j += t.size.k_most) {
                t.part = (part){group, i, fc_min(t.size.c_most, in_depth - i), j, fc_min(t.size.k_most, out_depth - j)};
                run_part(&t, threads);
            }
}
