/* A BERT encoder in int8 for processors with AVX-512 VNNI: token ids in, pooled vectors out.

   Called from native_engine.py, which keeps the structures below in step. Weights and space are
   the caller's. Texts are packed one behind another, so padding costs nothing, and every number of
   a text is computed in an order that depends on nothing else: its vector is the same, to the bit,
   in every batch and with any number of threads. */
#include "attention.h"
#include "products.h"
#include "rows.h"
#include "workers.h"

enum { INTERFACE = 1 }; /* grows when a structure or a meaning changes */

typedef struct {
    Linear query, key, value, attended, inner, outer;
    Norm middle, end;
    const float *inner_gain, *inner_shift; /* from gelu to the levels of the outer product */
} Layer;

/* The last layer with [CLS] pooling. The keys' weights are (dim, hidden) for each head. */
typedef struct {
    HalfLinear query, key, value, attended, inner, outer;
    Norm middle, end;
} LastLayer;

typedef struct {
    size_t hidden, heads, inner, layers;
    const int8_t *words;
    const float *word_scales, *places;
    Norm start;
    const Layer *layer;
    const LastLayer *last; /* NULL: pooled is what `shares` says */
    const float *shares;   /* of the embeddings and of each layer in the mean over tokens */
    float eps;
} Model;

typedef struct {
    const int32_t *ids; /* (texts, width), padded */
    const int32_t *lengths;
    size_t texts, width;
    float *out; /* (texts, hidden) */
} Batch;

typedef struct {
    size_t *starts;                            /* (texts + 1,): where each text's tokens are */
    float *rows;                               /* (tokens, hidden) */
    uint8_t *levels, *inner;                   /* (tokens, hidden or inner) */
    float *first, *query, *mixed, *last_inner; /* the last layer's, for [CLS] of each text */
    float *heads; /* (tokens, 3 dim) of one head, each worker's own from here on */
    AttentionSpace attention;
} Space;

/* Hand out the next part of the space; with no space, only count. */
static void *taken(char *space, size_t *used, size_t bytes)
{
    void *part = space ? space + *used : NULL;
    *used += rounded_up(bytes, 64);
    return part;
}

/* Lay out the space of a batch as one rank sees it; return how many bytes all ranks need. */
static size_t lay_out(const Model *model, size_t texts, size_t width, size_t tokens, size_t rank,
                      size_t ranks, char *memory, Space *space)
{
    const size_t dim = model->hidden / model->heads, rows = tokens + SPARE_ROWS;
    const size_t some = texts + SPARE_ROWS, padded = rounded_up(width, LANES);
    size_t used = 0;
    space->starts = taken(memory, &used, (texts + 1) * sizeof(size_t));
    space->rows = taken(memory, &used, rows * model->hidden * sizeof(float));
    space->levels = taken(memory, &used, rows * model->hidden);
    space->inner = taken(memory, &used, rows * model->inner);
    space->first = taken(memory, &used, some * model->hidden * sizeof(float));
    space->query = taken(memory, &used, some * model->hidden * sizeof(float));
    space->mixed = taken(memory, &used, some * model->hidden * model->heads * sizeof(float));
    space->last_inner = taken(memory, &used, some * model->inner * sizeof(float));
    for (size_t r = 0; r < ranks; r++) {
        Space other, *to = r == rank ? space : &other;
        to->heads = taken(memory, &used, rows * 3 * dim * sizeof(float));
        to->attention.query = taken(memory, &used, (width + SPARE_ROWS) * dim * sizeof(int16_t));
        to->attention.key = taken(memory, &used, padded * dim * sizeof(int16_t));
        to->attention.value = taken(memory, &used, padded * dim * sizeof(int16_t));
        to->attention.scores = taken(memory, &used, TILE * padded * sizeof(float));
        to->attention.shares = taken(memory, &used, TILE * padded * sizeof(int16_t));
    }
    return used;
}

static void embed_tokens(const Model *model, const Batch *batch, const Space *space, Range range)
{
    for (size_t text = 0; text < batch->texts; text++)
        for (size_t row = space->starts[text]; row < space->starts[text + 1]; row++) {
            if (row < range.from || row >= range.to) continue;
            const size_t place = row - space->starts[text];
            const size_t id = batch->ids[text * batch->width + place];
            float *to = space->rows + row * model->hidden;
            embed(model->words + id * model->hidden, model->word_scales[id],
                  model->places + place * model->hidden, to, model->hidden);
            normalise(to, model->hidden, model->eps, &model->start,
                      space->levels + row * model->hidden);
        }
}

static void normalise_rows(const Model *model, const Norm *norm, const Space *space, Range range)
{
    for (size_t row = range.from; row < range.to; row++)
        normalise(space->rows + row * model->hidden, model->hidden, model->eps, norm,
                  space->levels + row * model->hidden);
}

/* Heads one by one: their queries, keys and values stay in the cache until they are mixed. The
   mixture goes to `inner`, which nothing else needs here: other heads still read `levels`. */
static void attend_heads(const Model *model, const Layer *layer, size_t texts, const Space *space,
                         Range heads)
{
    const size_t dim = model->hidden / model->heads, panels = dim / PANEL, hidden = model->hidden;
    const size_t tokens = space->starts[texts];
    const Linear *linears[3] = {&layer->query, &layer->key, &layer->value};
    const Target to = {space->heads, 3 * dim, NULL, NULL};
    for (size_t head = heads.from; head < heads.to; head++) {
        for (size_t part = 0; part < 3; part++)
            multiply(space->levels, tokens, hidden, linears[part], head * panels,
                     (head + 1) * panels, to, part * dim);
        for (size_t text = 0; text < texts; text++) {
            const size_t start = space->starts[text];
            attend(space->heads + start * 3 * dim, space->starts[text + 1] - start, dim,
                   &space->attention, space->inner + start * hidden + head * dim, hidden);
        }
    }
}

static void run_layer(const Model *model, const Layer *layer, size_t texts, const Space *space,
                      const Worker *worker)
{
    const size_t hidden = model->hidden, tokens = space->starts[texts];
    const Range columns = share_of(hidden / PANEL, worker), rows = share_of(tokens, worker);
    const Range inner = share_of(model->inner / PANEL, worker);
    const Target sums = {space->rows, hidden, NULL, NULL};
    const Target acts = {space->inner, model->inner, layer->inner_gain, layer->inner_shift};

    attend_heads(model, layer, texts, space, share_of(model->heads, worker));
    meet(worker);
    multiply_and_add(space->inner, tokens, hidden, &layer->attended, columns.from, columns.to, sums,
                     columns.from * PANEL);
    meet(worker);
    normalise_rows(model, &layer->middle, space, rows);
    meet(worker);
    multiply_and_activate(space->levels, tokens, hidden, &layer->inner, inner.from, inner.to, acts,
                          inner.from * PANEL);
    meet(worker);
    multiply_and_add(space->inner, tokens, model->inner, &layer->outer, columns.from, columns.to,
                     sums, columns.from * PANEL);
    meet(worker);
    normalise_rows(model, &layer->end, space, rows);
    meet(worker);
}

/* Replace keys, (hidden), by the mixture of the rows they find: softmax(rows . key) times rows. */
static void mix_rows(const float *rows, size_t count, size_t hidden, float scale, float *key,
                     float *scores)
{
    float most = -INFINITY, sum = 0;
    for (size_t r = 0; r < count; r++) {
        __m512 dot = _mm512_setzero_ps(), other = dot;
        for (size_t i = 0; i < hidden; i += 2 * LANES) {
            dot = _mm512_fmadd_ps(loaded(rows + r * hidden + i), loaded(key + i), dot);
            other = _mm512_fmadd_ps(loaded(rows + r * hidden + i + LANES), loaded(key + i + LANES),
                                    other);
        }
        scores[r] = scale * _mm512_reduce_add_ps(_mm512_add_ps(dot, other));
        most = fmaxf(most, scores[r]);
    }
    for (size_t r = 0; r < count; r++) sum += scores[r] = expf(scores[r] - most);
    for (size_t i = 0; i < hidden; i += LANES) {
        __m512 mixed = _mm512_setzero_ps();
        for (size_t r = 0; r < count; r++)
            mixed = _mm512_fmadd_ps(_mm512_set1_ps(scores[r] / sum), loaded(rows + r * hidden + i),
                                    mixed);
        _mm512_storeu_ps(key + i, mixed);
    }
}

/* `to` (some, hidden) += and normalised: what both blocks of the last layer end with. */
static void add_rows(const Model *model, const Norm *norm, const float *rows, float *to,
                     Range texts)
{
    for (size_t row = texts.from; row < texts.to; row++) {
        float *sum = to + row * model->hidden;
        for (size_t i = 0; i < model->hidden; i++) sum[i] += rows[row * model->hidden + i];
        normalise(sum, model->hidden, model->eps, norm, NULL);
    }
}

/* The last layer for [CLS] alone: see graph.py, which says why its keys and values need not be
   computed for the other tokens. */
static void run_last_layer(const Model *model, const Batch *batch, const Space *space,
                           const Worker *worker)
{
    const LastLayer *last = model->last;
    const size_t hidden = model->hidden, dim = hidden / model->heads, texts = batch->texts;
    const size_t wide = hidden * model->heads, panels = dim / PANEL;
    const Range columns = share_of(hidden / PANEL, worker), mine = share_of(texts, worker);
    const Range inner = share_of(model->inner / PANEL, worker),
                heads = share_of(model->heads, worker);
    const float scale = 1 / sqrtf((float)dim);

    for (size_t text = mine.from; text < mine.to; text++)
        for (size_t i = 0; i < hidden; i++)
            space->first[text * hidden + i] = space->rows[space->starts[text] * hidden + i];
    meet(worker);
    multiply_halves(space->first, hidden, texts, hidden, &last->query, columns.from, columns.to,
                    space->query + columns.from * PANEL, hidden);
    meet(worker);
    for (size_t head = heads.from; head < heads.to; head++) {
        const HalfLinear key = {last->key.weight + head * dim * hidden, NULL};
        float *mixed = space->mixed + head * hidden;
        multiply_halves(space->query + head * dim, hidden, texts, dim, &key, 0, hidden / PANEL,
                        mixed, wide);
        for (size_t text = 0; text < texts; text++) {
            const size_t start = space->starts[text];
            mix_rows(space->rows + start * hidden, space->starts[text + 1] - start, hidden, scale,
                     mixed + text * wide, space->attention.scores);
        }
        /* This head's queries are no longer needed: its values take their place. */
        multiply_halves(mixed, wide, texts, hidden, &last->value, head * panels,
                        (head + 1) * panels, space->query + head * dim, hidden);
    }
    meet(worker);
    multiply_halves(space->query, hidden, texts, hidden, &last->attended, columns.from, columns.to,
                    space->mixed + columns.from * PANEL, hidden);
    meet(worker);
    add_rows(model, &last->middle, space->mixed, space->first, mine);
    meet(worker);
    multiply_halves(space->first, hidden, texts, hidden, &last->inner, inner.from, inner.to,
                    space->last_inner + inner.from * PANEL, model->inner);
    for (size_t text = 0; text < texts; text++)
        activate(space->last_inner + text * model->inner, inner.from * PANEL, inner.to * PANEL);
    meet(worker);
    multiply_halves(space->last_inner, model->inner, texts, model->inner, &last->outer,
                    columns.from, columns.to, space->mixed + columns.from * PANEL, hidden);
    meet(worker);
    add_rows(model, &last->end, space->mixed, space->first, mine);
    for (size_t text = mine.from; text < mine.to; text++)
        for (size_t i = 0; i < hidden; i++)
            batch->out[text * hidden + i] = space->first[text * hidden + i];
}

/* Add a layer's part in the mean over tokens. */
static void add_mean(const Model *model, const Batch *batch, const Space *space, float share,
                     Range texts)
{
    for (size_t text = texts.from; share != 0 && text < texts.to; text++) {
        const size_t count = space->starts[text + 1] - space->starts[text];
        for (size_t i = 0; i < model->hidden; i++) {
            float sum = 0;
            for (size_t row = space->starts[text]; row < space->starts[text + 1]; row++)
                sum += space->rows[row * model->hidden + i];
            batch->out[text * model->hidden + i] += share * sum / count;
        }
    }
}

int corom_interface(void)
{
    return INTERFACE;
}

/* Whether this processor has what the kernels are made of. */
int corom_runs_here(void)
{
    __builtin_cpu_init();
    return __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl") &&
           __builtin_cpu_supports("avx512vnni") && __builtin_cpu_supports("fma") &&
           __builtin_cpu_supports("f16c");
}

/* The bytes a batch needs, whatever its threads do. */
size_t corom_space(const Model *model, size_t texts, size_t width, size_t tokens, size_t ranks)
{
    Space space;
    return lay_out(model, texts, width, tokens, 0, ranks, NULL, &space);
}

typedef struct {
    const Model *model;
    const Batch *batch;
    char *memory;
} Task;

/* Compute a batch as one of those that share it. */
static void encode(const Worker *worker, const void *given)
{
    const Task *task = given;
    const Model *model = task->model;
    const Batch *batch = task->batch;
    size_t tokens = 0;
    for (size_t text = 0; text < batch->texts; text++) tokens += batch->lengths[text];
    Space space;
    lay_out(model, batch->texts, batch->width, tokens, worker->rank, worker->ranks, task->memory,
            &space);
    if (worker->rank == 0) {
        space.starts[0] = 0;
        for (size_t text = 0; text < batch->texts; text++)
            space.starts[text + 1] = space.starts[text] + batch->lengths[text];
    }
    meet(worker);
    const Range texts = share_of(batch->texts, worker);
    embed_tokens(model, batch, &space, share_of(tokens, worker));
    meet(worker);
    if (!model->last) {
        for (size_t i = texts.from * model->hidden; i < texts.to * model->hidden; i++)
            batch->out[i] = 0;
        add_mean(model, batch, &space, model->shares[0], texts);
    }
    for (size_t layer = 0; layer < model->layers; layer++) {
        run_layer(model, model->layer + layer, batch->texts, &space, worker);
        if (!model->last) add_mean(model, batch, &space, model->shares[layer + 1], texts);
    }
    if (model->last) run_last_layer(model, batch, &space, worker);
}

/* `memory` is `corom_space` bytes, aligned to 64; `team` is NULL for the calling thread alone. */
void corom_encode(const Model *model, const Batch *batch, char *memory, Team *team)
{
    const Task task = {model, batch, memory};
    work_together(team, encode, &task);
}

/* One product alone, for measuring and testing: levels (rows + SPARE_ROWS, width) to floats. */
void corom_multiply(const Linear *linear, const uint8_t *levels, size_t rows, size_t width,
                    size_t outputs, float *out)
{
    const Target to = {out, outputs, NULL, NULL};
    multiply(levels, rows, width, linear, 0, outputs / PANEL, to, 0);
}
