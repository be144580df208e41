/* One head of one text: softmax(q k / sqrt(dim)) v, in 16-bit integers.

   Each of q, k and v is rounded over its own largest number here, to 12 bits and more (bfloat16
   has 8), and multiplied at half the speed of int8, where floats have a quarter. */
#pragma once

#include <math.h>

#include "vectors.h"

typedef struct {
    int16_t *query;  /* (n + spare, dim) */
    int16_t *key;    /* (blocks of 16 tokens, dim / 2, 16, 2) */
    int16_t *value;  /* (dim / 16, pairs of tokens, 16, 2) */
    float *scores;   /* (12, n) with n rounded up to 16, as below */
    int16_t *shares; /* (12, n): the softmax, in 32767ths */
} AttentionSpace;

INLINE float largest(const float *rows, size_t stride, size_t count, size_t dim)
{
    __m512 most = _mm512_setzero_ps();
    for (size_t r = 0; r < count; r++)
        for (size_t i = 0; i < dim; i += LANES)
            most = _mm512_max_ps(most, _mm512_abs_ps(loaded(rows + r * stride + i)));
    return fmaxf(_mm512_reduce_max_ps(most), 1e-30f);
}

INLINE __m512i whole(const float *from, __m512 factor)
{
    return _mm512_cvtps_epi32(_mm512_mul_ps(loaded(from), factor));
}

static NOINLINE void round_queries(const float *rows, size_t stride, size_t count, size_t dim,
                                   float factor, int16_t *to)
{
    const __m512 factors = _mm512_set1_ps(factor);
    for (size_t r = 0; r < count; r++)
        for (size_t i = 0; i < dim; i += LANES)
            _mm256_storeu_si256((__m256i *)(to + r * dim + i),
                                _mm512_cvtepi32_epi16(whole(rows + r * stride + i, factors)));
}

/* 16 rows of 16 dwords become 16 columns of them. */
INLINE void transpose(__m512i r[LANES])
{
    __m512i t[LANES];
    TIMES (pair, 8) {
        t[2 * pair] = _mm512_unpacklo_epi32(r[2 * pair], r[2 * pair + 1]);
        t[2 * pair + 1] = _mm512_unpackhi_epi32(r[2 * pair], r[2 * pair + 1]);
    }
    TIMES (four, 4) {
        const __m512i *from = t + 4 * four;
        __m512i *to = r + 4 * four;
        to[0] = _mm512_unpacklo_epi64(from[0], from[2]);
        to[1] = _mm512_unpackhi_epi64(from[0], from[2]);
        to[2] = _mm512_unpacklo_epi64(from[1], from[3]);
        to[3] = _mm512_unpackhi_epi64(from[1], from[3]);
    }
    TIMES (j, 8) {
        const int i = j / 4 * 8 + j % 4;
        t[i] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0x88);
        t[i + 4] = _mm512_shuffle_i32x4(r[i], r[i + 4], 0xdd);
    }
    TIMES (j, 8) {
        r[j] = _mm512_shuffle_i32x4(t[j], t[j + 8], 0x88);
        r[j + 8] = _mm512_shuffle_i32x4(t[j], t[j + 8], 0xdd);
    }
}

/* Tokens past the end of the text are 0: softmax leaves them out. */
static NOINLINE void round_keys(const float *rows, size_t stride, size_t count, size_t dim,
                                float factor, int16_t *to)
{
    const __m512 factors = _mm512_set1_ps(factor);
    for (size_t start = 0; start < count; start += LANES, to += LANES * dim)
        for (size_t i = 0; i < dim; i += 2 * LANES) {
            __m512i block[LANES];
            for (size_t r = 0; r < LANES; r++) {
                const float *row = rows + (start + r) * stride + i;
                block[r] = _mm512_setzero_si512();
                if (start + r < count) {
                    const __m256i low = _mm512_cvtepi32_epi16(whole(row, factors));
                    const __m256i high = _mm512_cvtepi32_epi16(whole(row + LANES, factors));
                    block[r] = _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
                }
            }
            transpose(block);
            for (size_t pair = 0; pair < LANES; pair++)
                _mm512_store_si512(to + (i / 2 + pair) * 2 * LANES, block[pair]);
        }
}

static NOINLINE void round_values(const float *rows, size_t stride, size_t count, size_t dim,
                                  float factor, int16_t *to)
{
    const __m512 factors = _mm512_set1_ps(factor);
    const size_t pairs = rounded_up(count, LANES) / 2;
    for (size_t i = 0; i < dim; i += LANES)
        for (size_t pair = 0; pair < pairs; pair++, to += 2 * LANES) {
            const float *row = rows + 2 * pair * stride + i;
            __m512i even = _mm512_setzero_si512(), odd = even;
            if (2 * pair < count) even = whole(row, factors);
            if (2 * pair + 1 < count) odd = whole(row + stride, factors);
            _mm512_store_si512(
                to, _mm512_mask_blend_epi16(0xaaaaaaaa, even, _mm512_slli_epi32(odd, 16)));
        }
}

/* `rows` rows of shorts times one or two blocks of 16 columns, each (steps, 16, 2). */
INLINE void dot_blocks(const int rows, const int blocks, const int16_t *input, size_t stride,
                       const int16_t *block, size_t steps, __m512i sums[TILE][2])
{
    const int16_t *other = block + (blocks - 1) * steps * 2 * LANES;
    TIMES (r, rows) sums[r][0] = sums[r][1] = _mm512_setzero_si512();
    for (size_t k = 0; k < steps; k++) {
        const __m512i first = _mm512_load_si512(block + k * 2 * LANES);
        const __m512i second = _mm512_load_si512(other + k * 2 * LANES);
        TIMES (r, rows) {
            const __m512i pair = _mm512_set1_epi32(*(const int32_t *)(input + r * stride + 2 * k));
            DOT_SHORTS(sums[r][0], pair, first);
            if (blocks == 2) DOT_SHORTS(sums[r][1], pair, second);
        }
    }
}

/* Turn the scores of 4 rows, (4, padded), into shares: all steps by fours, as one row's wait for
   one another. What lies past `count` is no token and gets 0. */
enum { ROWS = 4 };

INLINE void softmax(float *scores, size_t count, size_t padded, int16_t *shares)
{
    const __mmask16 real = (__mmask16)(0xffff >> (padded - count));
    const size_t end = padded - LANES;
    __m512 most[ROWS], sum[ROWS], e[ROWS];
    TIMES (r, ROWS) sum[r] = _mm512_setzero_ps();
    TIMES (r, ROWS)
        most[r] = _mm512_mask_loadu_ps(_mm512_set1_ps(-INFINITY), real, scores + r * padded + end);
    for (size_t i = 0; i < end; i += LANES)
        TIMES (r, ROWS) most[r] = _mm512_max_ps(most[r], loaded(scores + r * padded + i));
    TIMES (r, ROWS) most[r] = _mm512_set1_ps(_mm512_reduce_max_ps(most[r]));
    for (size_t i = 0; i < padded; i += LANES) {
        TIMES (r, ROWS) e[r] = _mm512_sub_ps(loaded(scores + r * padded + i), most[r]);
        TIMES (r, ROWS) e[r] = exp2_of(e[r]);
        if (i == end)
            TIMES (r, ROWS) e[r] = _mm512_maskz_mov_ps(real, e[r]);
        TIMES (r, ROWS) sum[r] = _mm512_add_ps(sum[r], e[r]);
        TIMES (r, ROWS) _mm512_storeu_ps(scores + r * padded + i, e[r]);
    }
    TIMES (r, ROWS) sum[r] = _mm512_set1_ps(32767 / _mm512_reduce_add_ps(sum[r]));
    for (size_t i = 0; i < padded; i += LANES) {
        TIMES (r, ROWS) e[r] = _mm512_mul_ps(loaded(scores + r * padded + i), sum[r]);
        TIMES (r, ROWS)
            _mm256_storeu_si256((__m256i *)(shares + r * padded + i),
                                _mm512_cvtepi32_epi16(_mm512_cvtps_epi32(e[r])));
    }
}

INLINE void score_blocks(const int rows, const int blocks, const AttentionSpace *space, size_t row,
                         size_t block, size_t padded, size_t dim, float scale)
{
    __m512i sums[TILE][2];
    dot_blocks(rows, blocks, space->query + row * dim, dim, space->key + block * dim, dim / 2,
               sums);
    TIMES (r, rows)
        TIMES (b, blocks)
            _mm512_storeu_ps(space->scores + r * padded + block + b * LANES,
                             _mm512_mul_ps(_mm512_cvtepi32_ps(sums[r][b]), _mm512_set1_ps(scale)));
}

INLINE void attend_tile(const int rows, const AttentionSpace *space, size_t row, size_t count,
                        size_t dim, float score_scale, float value_scale, uint8_t *levels,
                        size_t stride)
{
    const size_t padded = rounded_up(count, LANES);
    const __m512 scale = _mm512_set1_ps(127.5f * value_scale), half = _mm512_set1_ps(127.5f);
    __m512i sums[TILE][2];
    size_t block = 0;
    for (; block + LANES < padded; block += 2 * LANES)
        score_blocks(rows, 2, space, row, block, padded, dim, score_scale);
    if (block < padded) score_blocks(rows, 1, space, row, block, padded, dim, score_scale);
    for (int r = 0; r < rows; r += ROWS)
        softmax(space->scores + r * padded, count, padded, space->shares + r * padded);
    for (size_t i = 0; i < dim; i += 2 * LANES) {
        dot_blocks(rows, 2, space->shares, padded, space->value + i * padded, padded / 2, sums);
        TIMES (r, rows)
            TIMES (b, 2)
                if (row + r < count)
                    store_levels(levels + (row + r) * stride + i + b * LANES,
                                 _mm512_fmadd_ps(_mm512_cvtepi32_ps(sums[r][b]), scale, half));
    }
}

/* Write the levels (n, dim) of a head's mixture; the values' own range is [-1, 1].

   `rows` are (n, 3 dim) floats: query, key and value of each token. */
static NOINLINE void attend(const float *rows, size_t count, size_t dim,
                            const AttentionSpace *space, uint8_t *levels, size_t levels_stride)
{
    /* dim products of two such numbers fit an int32; 32767 times the largest value does, too. */
    const float most = floorf(sqrtf(2147000000.0f / dim));
    const size_t stride = 3 * dim;
    const float *key = rows + dim, *value = rows + 2 * dim;
    const float q = largest(rows, stride, count, dim), k = largest(key, stride, count, dim);
    const float v = largest(value, stride, count, dim);
    round_queries(rows, stride, count, dim, most / q, space->query);
    round_keys(key, stride, count, dim, most / k, space->key);
    round_values(value, stride, count, dim, 32767 / v, space->value);
    const float score_scale = (q / most) * (k / most) * 1.44269504f / sqrtf((float)dim);
    BY_TILES(row, count,
             attend_tile(tile, space, row, count, dim, score_scale, v / 32767 / 32767, levels,
                         levels_stride))
}
