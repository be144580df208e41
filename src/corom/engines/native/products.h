/* Matrix products: int8 for all tokens, float16 weights for the few rows of the last layer. */
#pragma once

#include "vectors.h"

/* y = scale * (weight . levels) + bias. A panel is the weights of 32: (width / 4, 32, 4). */
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

/* x Phi(x) = max(x, 0) - t Phi(-t) with t = |x|; the latter is a polynomial fitted up to 3.85, and
   constant beyond. Right to 2e-4: a level of the int8 grid behind it is a hundred times that. */
INLINE void gelu(__m512 x[GROUP])
{
    enum { FACTORS = 6, LEAST_OF_BOTH_WITHOUT_SIGN = 10 };
    static const float factors[FACTORS] = {-1.0775720700621605e-2f, 6.190822646021843e-2f,
                                           -1.508816033601761e-1f,  5.680510401725769e-2f,
                                           3.8240528106689453e-1f,  -4.9873989820480347e-1f};
    __m512 t[GROUP], sum[GROUP];
    TIMES (i, GROUP)
        t[i] = _mm512_range_ps(x[i], _mm512_set1_ps(3.85f), LEAST_OF_BOTH_WITHOUT_SIGN);
    TIMES (i, GROUP) sum[i] = _mm512_set1_ps(7.087094709277153e-4f);
    TIMES (k, FACTORS) {
        TIMES (i, GROUP) sum[i] = _mm512_fmadd_ps(sum[i], t[i], _mm512_set1_ps(factors[k]));
    }
    TIMES (i, GROUP) x[i] = _mm512_fmadd_ps(sum[i], t[i], _mm512_max_ps(x[i], _mm512_setzero_ps()));
}

INLINE void activate(float *row, size_t from, size_t to)
{
    for (size_t at = from; at < to; at += LANES * GROUP) {
        __m512 x[GROUP];
        TIMES (i, GROUP)
            x[i] = _mm512_maskz_loadu_ps(at + i * LANES < to ? 0xffff : 0, row + at + i * LANES);
        gelu(x);
        TIMES (i, GROUP)
            _mm512_mask_storeu_ps(row + at + i * LANES, at + i * LANES < to ? 0xffff : 0, x[i]);
    }
}

/* Two rows of one panel: halves of the first, halves of the second. */
INLINE void put(const Output output, const Target *to, size_t row, size_t column, __m512 y[GROUP])
{
    size_t at[GROUP], half[GROUP];
    TIMES (i, GROUP) half[i] = column + i % 2 * LANES;
    TIMES (i, GROUP) at[i] = (row + i / 2) * to->stride + half[i];
    if (output == ACTIVATED) {
        gelu(y);
        TIMES (i, GROUP)
            y[i] = _mm512_fmadd_ps(y[i], loaded(to->gain + half[i]), loaded(to->shift + half[i]));
        TIMES (i, GROUP) store_levels((uint8_t *)to->out + at[i], y[i]);
        return;
    }
    float *out = to->out;
    if (output == ADDED)
        TIMES (i, GROUP) y[i] = _mm512_add_ps(y[i], loaded(out + at[i]));
    TIMES (i, GROUP) _mm512_storeu_ps(out + at[i], y[i]);
}

/* How far ahead weights are asked for, in bytes: into the first cache, and from memory into the
   second. With the next rows asked for, too, many tokens are 5 to 8 % faster; one query of 24
   tokens, which reads every weight for two tiles only, takes three quarters of the time. */
enum { NEAR = 1024, FAR = 8192 };

/* `rows` rows times one panel, the sums in registers: 24 of them keep both units busy. */
INLINE void tile_times_panel(const int rows, const Output output, const uint8_t *input,
                             size_t width, const Linear *linear, size_t panel, const Target *to,
                             size_t row, size_t column)
{
    const int8_t *weight = linear->weight + panel * PANEL * width;
    const float *scale = linear->scale + panel * PANEL, *bias = linear->bias + panel * PANEL;
    __m512i sums[TILE][2];
    input += row * width;
    TIMES (r, rows) sums[r][0] = sums[r][1] = _mm512_setzero_si512();
    if (output == ADDED)
        TIMES (r, rows) {
            const float *out = (float *)to->out + (row + r) * to->stride + column;
            __builtin_prefetch(out, 1);
            __builtin_prefetch(out + LANES, 1);
        }
    for (size_t k = 0; k < width; k += 4, weight += 4 * PANEL) {
        _mm_prefetch(input + rows * (width + k), _MM_HINT_T0); /* the next tile's rows */
        _mm_prefetch(weight + NEAR, _MM_HINT_T0);
        _mm_prefetch(weight + NEAR + 64, _MM_HINT_T0);
        if (row == 0) {
            _mm_prefetch(weight + FAR, _MM_HINT_T1);
            _mm_prefetch(weight + FAR + 64, _MM_HINT_T1);
        }
        const __m512i first = _mm512_load_si512(weight), second = _mm512_load_si512(weight + 64);
        TIMES (r, rows) {
            const __m512i levels = _mm512_set1_epi32(*(const int32_t *)(input + r * width + k));
            DOT_BYTES(sums[r][0], levels, first);
            DOT_BYTES(sums[r][1], levels, second);
        }
    }
    const __m512 scales[] = {loaded(scale), loaded(scale + LANES)};
    const __m512 biases[] = {loaded(bias), loaded(bias + LANES)};
    TIMES (pair, rows / 2) {
        __m512 y[GROUP];
        TIMES (i, GROUP) y[i] = _mm512_cvtepi32_ps(sums[2 * pair + i / 2][i % 2]);
        TIMES (i, GROUP) y[i] = _mm512_fmadd_ps(y[i], scales[i % 2], biases[i % 2]);
        put(output, to, row + 2 * pair, column, y);
    }
}

/* `rows` rows of levels (rows, width) times the panels from `first` to `end`; the outputs of the
   first panel go to `column`. A panel stays in the cache while all rows pass. */
INLINE void multiply_to(const Output output, const uint8_t *input, size_t rows, size_t width,
                        const Linear *linear, size_t first, size_t end, Target to, size_t column)
{
    for (size_t panel = first; panel < end; panel++, column += PANEL) {
        BY_TILES(row, rows,
                 tile_times_panel(tile, output, input, width, linear, panel, &to, row, column))
    }
}

#define MULTIPLY(name, output)                                                                     \
    static NOINLINE void name(const uint8_t *input, size_t rows, size_t width,                     \
                              const Linear *linear, size_t first, size_t end, Target to,           \
                              size_t column)                                                       \
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
    TIMES (r, rows) {
        sums[r][0] = bias ? loaded(bias) : _mm512_setzero_ps();
        sums[r][1] = bias ? loaded(bias + LANES) : _mm512_setzero_ps();
    }
    for (size_t k = 0; k < width; k++, weight += PANEL) {
        _mm_prefetch((const char *)weight + 2 * NEAR, _MM_HINT_T0);
        const __m512 first = _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)weight));
        const __m512 second = _mm512_cvtph_ps(_mm256_load_si256((const __m256i *)(weight + LANES)));
        TIMES (r, rows) {
            const __m512 x = _mm512_set1_ps(input[r * stride + k]);
            sums[r][0] = _mm512_fmadd_ps(x, first, sums[r][0]);
            sums[r][1] = _mm512_fmadd_ps(x, second, sums[r][1]);
        }
    }
    TIMES (r, rows) {
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
        BY_TILES(row, rows,
                 half_tile(tile, input + row * stride, stride, width, weight, bias,
                           to + row * out_stride, out_stride))
    }
}
