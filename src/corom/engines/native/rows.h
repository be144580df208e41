/* What happens to one token's row between the products: embedding and layer norm. */
#pragma once

#include "vectors.h"

/* rows = centred * weight + bias; levels = centred * level_weight + level_bias, what the next
   int8 product reads (NULL: none does). */
typedef struct {
    const float *weight, *bias, *level_weight, *level_bias;
} Norm;

INLINE float sum_of(const float *row, size_t width)
{
    __m512 sum = _mm512_setzero_ps(), other = sum;
    for (size_t i = 0; i < width; i += 2 * LANES) {
        sum = _mm512_add_ps(sum, loaded(row + i));
        other = _mm512_add_ps(other, loaded(row + i + LANES));
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(sum, other));
}

INLINE float squares_of(const float *row, size_t width, float mean)
{
    const __m512 middle = _mm512_set1_ps(mean);
    __m512 sum = _mm512_setzero_ps(), other = sum;
    for (size_t i = 0; i < width; i += 2 * LANES) {
        const __m512 a = _mm512_sub_ps(loaded(row + i), middle);
        const __m512 b = _mm512_sub_ps(loaded(row + i + LANES), middle);
        sum = _mm512_fmadd_ps(a, a, sum);
        other = _mm512_fmadd_ps(b, b, other);
    }
    return _mm512_reduce_add_ps(_mm512_add_ps(sum, other));
}

/* Replace a row by its norm, and write the levels of the product behind it. */
static void normalise(float *row, size_t width, float eps, const Norm *norm, uint8_t *levels)
{
    const float mean = sum_of(row, width) / width;
    const float deviation =
        _mm_cvtss_f32(_mm_sqrt_ss(_mm_set_ss(squares_of(row, width, mean) / width + eps)));
    const __m512 middle = _mm512_set1_ps(mean), factor = _mm512_set1_ps(1 / deviation);
    for (size_t i = 0; i < width; i += LANES) {
        const __m512 centred = _mm512_mul_ps(_mm512_sub_ps(loaded(row + i), middle), factor);
        _mm512_storeu_ps(
            row + i, _mm512_fmadd_ps(centred, loaded(norm->weight + i), loaded(norm->bias + i)));
        if (norm->level_weight)
            store_levels(levels + i, _mm512_fmadd_ps(centred, loaded(norm->level_weight + i),
                                                     loaded(norm->level_bias + i)));
    }
}

/* A token's word, int8 with one scale, and its place (the token type is in it). */
static void embed(const int8_t *word, float scale, const float *place, float *row, size_t width)
{
    const __m512 scales = _mm512_set1_ps(scale);
    for (size_t i = 0; i < width; i += LANES) {
        const __m512i bytes = _mm512_cvtepi8_epi32(_mm_loadu_si128((const __m128i *)(word + i)));
        _mm512_storeu_ps(row + i,
                         _mm512_fmadd_ps(_mm512_cvtepi32_ps(bytes), scales, loaded(place + i)));
    }
}
