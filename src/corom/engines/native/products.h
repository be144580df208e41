/* Matrix products: int8 for all tokens, float16 weights for the few rows of the last layer. */
#pragma once

#include "vectors.h"

/* y = scale * (weight . levels) + bias. The weights of 32 outputs are a panel: (width / 4, 32, 4). */
typedef struct {
    const int8_t *weight;
    const float *scale, *bias;
} Linear;

/* y = weight . x + bias. A panel is (width, 32) float16. */
typedef struct {
    const uint16_t *weight;
    const float *bias;
} HalfLinear;

typedef enum { STORED, ADDED, ACTIVATED } Output;

/* Where outputs go: floats stored or added, or the levels of gain * gelu(y) + shift. */
typedef struct {
    void *out;
    size_t stride;
    const float *gain, *shift;
} Target;

/* Each step for all of a group before the next step: one value's steps wait for one another, and
   the processor looks only a few values ahead. */
enum { GROUP = 4 };
#define EACH UNROLL for (int i = 0; i < GROUP; i++)

/* x Phi(x) = max(x, 0) - t Phi(-t) with t = |x|; the latter is a polynomial fitted up to 3.85, and
   constant beyond. Right to 2e-4, where a level of the int8 grid behind it is a hundred times that. */
INLINE void gelu(__m512 x[GROUP])
{
    static const float factors[] = {-1.0775720700621605e-2f, 6.190822646021843e-2f,
                                    -1.508816033601761e-1f,  5.680510401725769e-2f,
                                    3.8240528106689453e-1f,  -4.9873989820480347e-1f};
    enum { LEAST_OF_BOTH_WITHOUT_SIGN = 10 };
    __m512 t[GROUP], sum[GROUP];
    EACH t[i] = _mm512_range_ps(x[i], _mm512_set1_ps(3.85f), LEAST_OF_BOTH_WITHOUT_SIGN);
    EACH sum[i] = _mm512_set1_ps(7.087094709277153e-4f);
    UNROLL for (size_t k = 0; k < sizeof factors / sizeof *factors; k++)
        EACH sum[i] = _mm512_fmadd_ps(sum[i], t[i], _mm512_set1_ps(factors[k]));
    EACH x[i] = _mm512_fmadd_ps(sum[i], t[i], _mm512_max_ps(x[i], _mm512_setzero_ps()));
}

INLINE void activate(float *row, size_t from, size_t to)
{
    for (size_t at = from; at < to; at += LANES * GROUP) {
        __m512 x[GROUP];
        EACH x[i] = _mm512_maskz_loadu_ps(at + i * LANES < to ? 0xffff : 0, row + at + i * LANES);
        gelu(x);
        EACH _mm512_mask_storeu_ps(row + at + i * LANES, at + i * LANES < to ? 0xffff : 0, x[i]);
    }
}

/* Two rows of one panel: halves of the first, halves of the second. */
INLINE void put(const Output output, const Target *to, size_t row, size_t column, __m512 y[GROUP])
{
    size_t at[GROUP], half[GROUP];
    EACH half[i] = column + i % 2 * LANES;
    EACH at[i] = (row + i / 2) * to->stride + half[i];
    if (output == ACTIVATED) {
        gelu(y);
        EACH y[i] = _mm512_fmadd_ps(y[i], loaded(to->gain + half[i]), loaded(to->shift + half[i]));
        EACH store_levels((uint8_t *)to->out + at[i], y[i]);
        return;
    }
    float *out = to->out;
    if (output == ADDED) EACH y[i] = _mm512_add_ps(y[i], loaded(out + at[i]));
    EACH _mm512_storeu_ps(out + at[i], y[i]);
}

/* `rows` rows times one panel, the sums in registers: 24 of them keep both units busy. */
INLINE void tile_times_panel(const int rows, const Output output, const uint8_t *input, size_t width,
                             const Linear *linear, size_t panel, const Target *to, size_t row,
                             size_t column)
{
    const int8_t *weight = linear->weight + panel * PANEL * width;
    const float *scale = linear->scale + panel * PANEL, *bias = linear->bias + panel * PANEL;
    __m512i sums[TILE][2];
    input += row * width;
    UNROLL for (int r = 0; r < rows; r++) sums[r][0] = sums[r][1] = _mm512_setzero_si512();
    for (size_t k = 0; k < width; k += 4, weight += 4 * PANEL) {
        /* The rows of the next tile, and weights a little ahead: 5 to 8 % faster. */
        _mm_prefetch(input + rows * (width + k), _MM_HINT_T0);
        _mm_prefetch(weight + 1024, _MM_HINT_T0);
        _mm_prefetch(weight + 1024 + 64, _MM_HINT_T0);
        const __m512i first = _mm512_load_si512(weight), second = _mm512_load_si512(weight + 64);
        UNROLL for (int r = 0; r < rows; r++) {
            const __m512i levels = _mm512_set1_epi32(*(const int32_t *)(input + r * width + k));
            DOT_BYTES(sums[r][0], levels, first);
            DOT_BYTES(sums[r][1], levels, second);
        }
    }
    const __m512 scales[] = {loaded(scale), loaded(scale + LANES)};
    const __m512 biases[] = {loaded(bias), loaded(bias + LANES)};
    UNROLL for (int r = 0; r < rows; r += GROUP / 2) {
        __m512 y[GROUP];
        EACH y[i] = _mm512_cvtepi32_ps(sums[r + i / 2][i % 2]);
        EACH y[i] = _mm512_fmadd_ps(y[i], scales[i % 2], biases[i % 2]);
        put(output, to, row + r, column, y);
    }
}

/* `rows` rows of levels (rows, width) times the panels from `first` to `end`; the outputs of the
   first panel go to `column`. A panel stays in the cache while all rows pass. */
INLINE void multiply_to(const Output output, const uint8_t *input, size_t rows, size_t width,
                     const Linear *linear, size_t first, size_t end, Target to, size_t column)
{
    const size_t bytes = PANEL * width, ahead = rounded_up(bytes * TILE / rows + 1, 64);
    for (size_t panel = first; panel < end; panel++, column += PANEL) {
        const int8_t *next = linear->weight + (panel + 1) * bytes;
        size_t asked = panel + 1 < end ? 0 : bytes;
        BY_TILES(row, rows, {
            for (const size_t until = asked + ahead; asked < until && asked < bytes; asked += 64)
                _mm_prefetch(next + asked, _MM_HINT_T1);
            tile_times_panel(tile, output, input, width, linear, panel, &to, row, column);
        })
    }
}

#define MULTIPLY(name, output)                                                                     \
    static __attribute__((noinline)) void name(const uint8_t *input, size_t rows, size_t width,    \
                                               const Linear *linear, size_t first, size_t end,     \
                                               Target to, size_t column)                           \
    {                                                                                              \
        multiply_to(output, input, rows, width, linear, first, end, to, column);                   \
    }
MULTIPLY(multiply, STORED)
MULTIPLY(multiply_and_add, ADDED)
MULTIPLY(multiply_and_activate, ACTIVATED)

INLINE void half_tile(const int rows, const float *input, size_t stride, size_t width,
                      const uint16_t *weight, const float *bias, float *out, size_t out_stride)
{
    __m512 sums[TILE][2];
    UNROLL for (int r = 0; r < rows; r++) {
        sums[r][0] = bias ? loaded(bias) : _mm512_setzero_ps();
        sums[r][1] = bias ? loaded(bias + LANES) : _mm512_setzero_ps();
    }
    for (size_t k = 0; k < width; k++, weight += PANEL) {
        const __m512 first = _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)weight));
        const __m512 second = _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)(weight + LANES)));
        UNROLL for (int r = 0; r < rows; r++) {
            const __m512 x = _mm512_set1_ps(input[r * stride + k]);
            sums[r][0] = _mm512_fmadd_ps(x, first, sums[r][0]);
            sums[r][1] = _mm512_fmadd_ps(x, second, sums[r][1]);
        }
    }
    UNROLL for (int r = 0; r < rows; r++) {
        _mm512_storeu_ps(out + r * out_stride, sums[r][0]);
        _mm512_storeu_ps(out + r * out_stride + LANES, sums[r][1]);
    }
}

/* Rows of floats times the panels from `first` to `end`, whose outputs go to their own columns. */
static void multiply_halves(const float *input, size_t stride, size_t rows, size_t width,
                            const HalfLinear *linear, size_t first, size_t end, float *out,
                            size_t out_stride)
{
    for (size_t panel = first; panel < end; panel++) {
        const uint16_t *weight = linear->weight + panel * PANEL * width;
        const float *bias = linear->bias ? linear->bias + panel * PANEL : NULL;
        float *to = out + (panel - first) * PANEL;
        if (rows == 1) {
            half_tile(1, input, stride, width, weight, bias, to, out_stride);
            continue;
        }
        BY_TILES(row, rows, half_tile(tile, input + row * stride, stride, width, weight, bias,
                                      to + row * out_stride, out_stride))
    }
}
