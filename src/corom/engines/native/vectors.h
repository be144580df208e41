/* What the kernels share: names for 16 numbers at a time, and how rows are taken by tiles.

   Everything here needs AVX-512 with VNNI: 32 registers of 16 floats or 64 bytes. */
#pragma once

#include <immintrin.h>
#include <stddef.h>
#include <stdint.h>

/* A tile's size must be known when it is compiled, or its sums do not stay in registers: what has
   one is inlined, and its loops are unrolled. */
#define INLINE static inline __attribute__((always_inline))
#define NOINLINE __attribute__((noinline))
#define TIMES(i, count) _Pragma("GCC unroll 16") for (int i = 0; i < (count); i++)

enum { LANES = 16, PANEL = 32, TILE = 12 };

/* Rows are taken 12 at a time; at the end 8 or 4 may do. Up to 3 rows past the last are read and
   written: buffers have that many more. */
enum { SPARE_ROWS = 3 };

#define BY_TILES(row, rows, call)                                                                  \
    for (size_t row = 0; row < (rows);) {                                                          \
        const size_t left_ = (rows) - row;                                                         \
        if (left_ > 8) {                                                                           \
            const int tile = 12;                                                                   \
            call;                                                                                  \
            row += 12;                                                                             \
        } else if (left_ > 4) {                                                                    \
            const int tile = 8;                                                                    \
            call;                                                                                  \
            row += 8;                                                                              \
        } else {                                                                                   \
            const int tile = 4;                                                                    \
            call;                                                                                  \
            row += 4;                                                                              \
        }                                                                                          \
    }

/* acc += the dot products of 4 bytes (unsigned with signed), or of 2 shorts, in each lane. As
   assembly because gcc 12 copies the sums back and forth around the intrinsic. */
#define DOT_BYTES(acc, levels, weights)                                                            \
    __asm__("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(levels), "v"(weights))
#define DOT_SHORTS(acc, a, b) __asm__("vpdpwssd %2, %1, %0" : "+v"(acc) : "v"(a), "v"(b))

INLINE __m512 loaded(const float *from)
{
    return _mm512_loadu_ps(from);
}

INLINE size_t rounded_up(size_t count, size_t step)
{
    return (count + step - 1) / step * step;
}

/* 2^x, to 4e-6 of itself; what is below 2^-126 is 0. */
INLINE __m512 exp2_of(__m512 x)
{
    const __m512 whole = _mm512_roundscale_ps(x, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    const __m512 f = _mm512_sub_ps(x, whole);
    __m512 sum = _mm512_set1_ps(9.6181291e-3f);
    sum = _mm512_fmadd_ps(sum, f, _mm512_set1_ps(5.5504109e-2f));
    sum = _mm512_fmadd_ps(sum, f, _mm512_set1_ps(2.4022651e-1f));
    sum = _mm512_fmadd_ps(sum, f, _mm512_set1_ps(6.9314718e-1f));
    sum = _mm512_fmadd_ps(sum, f, _mm512_set1_ps(1.0f));
    return _mm512_scalef_ps(sum, whole);
}

/* 16 floats to the 256 levels of an int8 input. */
INLINE void store_levels(uint8_t *to, __m512 levels)
{
    const __m512i whole = _mm512_max_epi32(_mm512_cvtps_epi32(levels), _mm512_setzero_si512());
    _mm_storeu_si128((__m128i *)to, _mm512_cvtusepi32_epi8(whole));
}
