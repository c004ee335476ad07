/* vec_lanes.h - what moves between the lanes of a vector: exchanges, sums over lanes, transposition, flags. See vec.h. */

/* Lane i of the result is lane i ^ distance; distance is a constant power of two below FC_LANES. */
FC_INLINE vfloat v_exchange(vfloat a, const int distance) {
#if FC_LANES == 16 && defined(__x86_64__)
    if (distance == 8) return (vfloat)_mm512_shuffle_f32x4(a, a, 0x4e);
    if (distance == 4) return (vfloat)_mm512_shuffle_f32x4(a, a, 0xb1);
    return distance == 2 ? (vfloat)_mm512_permute_ps(a, 0x4e) : (vfloat)_mm512_permute_ps(a, 0xb1);
#elif FC_LANES == 8 && defined(__x86_64__)
    if (distance == 4) return (vfloat)_mm256_permute2f128_ps(a, a, 1);
    return distance == 2 ? (vfloat)_mm256_permute_ps(a, 0x4e) : (vfloat)_mm256_permute_ps(a, 0xb1);
#elif defined(__x86_64__)
    return distance == 2 ? (vfloat)_mm_shuffle_ps(a, a, 0x4e) : (vfloat)_mm_shuffle_ps(a, a, 0xb1);
#else
    return (vfloat){a[0 ^ distance], a[1 ^ distance], a[2 ^ distance], a[3 ^ distance]};
#endif
}

/* Lane i of the result is the lane of v that the low bits of index[i] number. */
FC_INLINE vfloat v_pick(vfloat v, vint index) {
#if FC_LANES == 16 && defined(__x86_64__)
    return (vfloat)_mm512_permutexvar_ps((__m512i)index, (__m512)v);
#elif FC_LANES == 8 && defined(__x86_64__)
    return (vfloat)_mm256_permutevar8x32_ps((__m256)v, (__m256i)index);
#else
    return (vfloat){v[index[0] & 3], v[index[1] & 3], v[index[2] & 3], v[index[3] & 3]};
#endif
}

/* Lanes whose number has the bit `distance` from b, the others from a. */
FC_INLINE vfloat v_blend_lanes(vfloat a, vfloat b, const int distance) {
#if FC_LANES == 16 && defined(__x86_64__)
    const int mask = distance == 8 ? 0xff00 : distance == 4 ? 0xf0f0 : distance == 2 ? 0xcccc : 0xaaaa;
    return (vfloat)_mm512_mask_blend_ps((__mmask16)mask, (__m512)a, (__m512)b);
#elif FC_LANES == 8 && defined(__x86_64__)
    if (distance == 4) return (vfloat)_mm256_blend_ps((__m256)a, (__m256)b, 0xf0);
    return distance == 2 ? (vfloat)_mm256_blend_ps((__m256)a, (__m256)b, 0xcc)
                         : (vfloat)_mm256_blend_ps((__m256)a, (__m256)b, 0xaa);
#else
    return distance == 2 ? (vfloat){a[0], a[1], b[2], b[3]} : (vfloat){a[0], b[1], a[2], b[3]};
#endif
}

/* Lane i of the result is the sum of the lanes of v[i], each in the same order; v is overwritten. */
FC_INLINE vfloat v_sum_each(vfloat v[FC_LANES]) {
    FC_UNROLL
    for (int distance = FC_LANES / 2; distance > 0; distance /= 2) {
        FC_UNROLL
        for (int i = 0; i < distance; i++) {
            const vfloat a = v[i], b = v[i + distance];
            v[i] = v_blend_lanes(a, b, distance) + v_exchange(v_blend_lanes(b, a, distance), distance);
        }
    }
    return v[0];
}

/* Four vectors as FC_LANES / 4 blocks of 4 x 4: each block is transposed. */
FC_INLINE void v_transpose_quads(vfloat v[4]) {
#if FC_LANES == 16 && defined(__x86_64__)
    __m512d a = (__m512d)_mm512_unpacklo_ps((__m512)v[0], (__m512)v[1]);
    __m512d b = (__m512d)_mm512_unpackhi_ps((__m512)v[0], (__m512)v[1]);
    __m512d c = (__m512d)_mm512_unpacklo_ps((__m512)v[2], (__m512)v[3]);
    __m512d d = (__m512d)_mm512_unpackhi_ps((__m512)v[2], (__m512)v[3]);
    v[0] = (vfloat)_mm512_unpacklo_pd(a, c), v[1] = (vfloat)_mm512_unpackhi_pd(a, c);
    v[2] = (vfloat)_mm512_unpacklo_pd(b, d), v[3] = (vfloat)_mm512_unpackhi_pd(b, d);
#elif FC_LANES == 8 && defined(__x86_64__)
    __m256d a = (__m256d)_mm256_unpacklo_ps((__m256)v[0], (__m256)v[1]);
    __m256d b = (__m256d)_mm256_unpackhi_ps((__m256)v[0], (__m256)v[1]);
    __m256d c = (__m256d)_mm256_unpacklo_ps((__m256)v[2], (__m256)v[3]);
    __m256d d = (__m256d)_mm256_unpackhi_ps((__m256)v[2], (__m256)v[3]);
    v[0] = (vfloat)_mm256_unpacklo_pd(a, c), v[1] = (vfloat)_mm256_unpackhi_pd(a, c);
    v[2] = (vfloat)_mm256_unpacklo_pd(b, d), v[3] = (vfloat)_mm256_unpackhi_pd(b, d);
#elif defined(__x86_64__)
    __m128d a = (__m128d)_mm_unpacklo_ps((__m128)v[0], (__m128)v[1]);
    __m128d b = (__m128d)_mm_unpackhi_ps((__m128)v[0], (__m128)v[1]);
    __m128d c = (__m128d)_mm_unpacklo_ps((__m128)v[2], (__m128)v[3]);
    __m128d d = (__m128d)_mm_unpackhi_ps((__m128)v[2], (__m128)v[3]);
    v[0] = (vfloat)_mm_unpacklo_pd(a, c), v[1] = (vfloat)_mm_unpackhi_pd(a, c);
    v[2] = (vfloat)_mm_unpacklo_pd(b, d), v[3] = (vfloat)_mm_unpackhi_pd(b, d);
#else
    for (int i = 0; i < 4; i++)
        for (int j = i + 1; j < 4; j++) {
            float swapped = v[i][j];
            v[i][j] = v[j][i];
            v[j][i] = swapped;
        }
#endif
}

/* v with its i-th four lanes from memory, and those stored; i is a constant. */
FC_INLINE vfloat v_insert_quad(vfloat v, const float *p, const int i) {
#if FC_LANES == 16 && defined(__x86_64__)
    const __m128 quad = _mm_loadu_ps(p);
    if (i == 0) return (vfloat)_mm512_castps128_ps512(quad);
    if (i == 1) return (vfloat)_mm512_insertf32x4((__m512)v, quad, 1);
    return i == 2 ? (vfloat)_mm512_insertf32x4((__m512)v, quad, 2) : (vfloat)_mm512_insertf32x4((__m512)v, quad, 3);
#elif FC_LANES == 8 && defined(__x86_64__)
    const __m128 quad = _mm_loadu_ps(p);
    return i == 0 ? (vfloat)_mm256_castps128_ps256(quad) : (vfloat)_mm256_insertf128_ps((__m256)v, quad, 1);
#else
    (void)v, (void)i;
    return v_load(p);
#endif
}

FC_INLINE void v_store_quad(float *p, vfloat v, const int i) {
#if FC_LANES == 16 && defined(__x86_64__)
    if (i == 0) _mm_storeu_ps(p, _mm512_castps512_ps128((__m512)v));
    if (i == 1) _mm_storeu_ps(p, _mm512_extractf32x4_ps((__m512)v, 1));
    if (i == 2) _mm_storeu_ps(p, _mm512_extractf32x4_ps((__m512)v, 2));
    if (i == 3) _mm_storeu_ps(p, _mm512_extractf32x4_ps((__m512)v, 3));
#elif FC_LANES == 8 && defined(__x86_64__)
    _mm_storeu_ps(p, i == 0 ? _mm256_castps256_ps128((__m256)v) : _mm256_extractf128_ps((__m256)v, 1));
#else
    (void)i;
    v_store(p, v);
#endif
}

/* For nine interleaved values a column (winograd_take_taps): b in the lanes whose number modulo 9 has the bit, a in the
 * others; and lane (9 * j + first) % lanes of v in lane j. `bit` and `first` are constants. */
FC_INLINE vfloat v_blend_ninths(vfloat a, vfloat b, const int bit) {
#if FC_LANES == 16 && defined(__x86_64__)
    return (vfloat)_mm512_mask_blend_ps(bit == 1 ? 0x54aa : bit == 2 ? 0x98cc : bit == 4 ? 0xe0f0 : 0x0100, (__m512)a,
                                        (__m512)b);
#elif FC_LANES == 8 && defined(__x86_64__)
    if (bit == 1) return (vfloat)_mm256_blend_ps((__m256)a, (__m256)b, 0xaa);
    return bit == 2 ? (vfloat)_mm256_blend_ps((__m256)a, (__m256)b, 0xcc)
                    : (vfloat)_mm256_blend_ps((__m256)a, (__m256)b, 0xf0);
#else
    return bit == 1 ? (vfloat){a[0], b[1], a[2], b[3]} : (vfloat){a[0], a[1], b[2], b[3]};
#endif
}

FC_INLINE vfloat v_every_ninth(vfloat v, const int first) {
#if FC_LANES == 16 && defined(__x86_64__)
    const vint nine = (vint){0, 9, 2, 11, 4, 13, 6, 15, 8, 1, 10, 3, 12, 5, 14, 7};
    return (vfloat)_mm512_permutexvar_ps((__m512i)((nine + vi_splat(first)) & vi_splat(15)), (__m512)v);
#elif FC_LANES == 8 && defined(__x86_64__)
    const vint nine = (vint){0, 1, 2, 3, 4, 5, 6, 7};
    return (vfloat)_mm256_permutevar8x32_ps((__m256)v, (__m256i)((nine + vi_splat(first)) & vi_splat(7)));
#else
    return (vfloat){v[first % 4], v[(first + 1) % 4], v[(first + 2) % 4], v[(first + 3) % 4]};
#endif
}

#if FC_LANES >= 8 && defined(__x86_64__)
/* Eight floats: the i-th four lanes of a, then those of b. Two stores of four take an extraction each on top. */
FC_INLINE void v_store_pair(float *p, vfloat a, vfloat b, const int i) {
#if FC_LANES == 16
    const __m512i low = _mm512_setr_epi64(0, 1, 8, 9, 2, 3, 10, 11);
    const __m512i high = _mm512_setr_epi64(4, 5, 12, 13, 6, 7, 14, 15);
    const __m512 both = (__m512)_mm512_permutex2var_pd((__m512d)a, i < 2 ? low : high, (__m512d)b);
    _mm256_storeu_ps(p, i % 2 ? _mm512_extractf32x8_ps(both, 1) : _mm512_castps512_ps256(both));
#else
    _mm256_storeu_ps(p, i == 0 ? _mm256_permute2f128_ps((__m256)a, (__m256)b, 0x20)
                               : _mm256_permute2f128_ps((__m256)a, (__m256)b, 0x31));
#endif
}
#else
FC_INLINE void v_store_pair(float *p, vfloat a, vfloat b, const int i) {
    v_store_quad(p, a, i);
    v_store_quad(p + 4, b, i);
}
#endif

/* Sum and maximum over the lanes, in a fixed order. v_hmax returns NaN if any lane is. */
FC_INLINE float v_hsum(vfloat a) {
    float lanes[FC_LANES];
    v_store(lanes, a);
    for (int width = FC_LANES / 2; width > 0; width /= 2)
        for (int i = 0; i < width; i++) lanes[i] += lanes[i + width];
    return lanes[0];
}
FC_INLINE float v_hmax(vfloat a) {
    float lanes[FC_LANES];
    v_store(lanes, a);
    float best = lanes[0];
    for (int i = 1; i < FC_LANES; i++) best = (lanes[i] > best || lanes[i] != lanes[i]) ? lanes[i] : best;
    return best;
}

/* Two vectors whose lanes take turns, a first, and the way back. */
FC_INLINE void v_zip(vfloat a, vfloat b, vfloat *low, vfloat *high) {
#if FC_LANES == 16 && defined(__x86_64__)
    const __m512i first = _mm512_setr_epi32(0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
    const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(8));
    *low = (vfloat)_mm512_permutex2var_ps((__m512)a, first, (__m512)b);
    *high = (vfloat)_mm512_permutex2var_ps((__m512)a, second, (__m512)b);
#elif FC_LANES == 8 && defined(__x86_64__)
    const __m256 c = _mm256_unpacklo_ps((__m256)a, (__m256)b), d = _mm256_unpackhi_ps((__m256)a, (__m256)b);
    *low = (vfloat)_mm256_permute2f128_ps(c, d, 0x20);
    *high = (vfloat)_mm256_permute2f128_ps(c, d, 0x31);
#else
    *low = (vfloat){a[0], b[0], a[1], b[1]};
    *high = (vfloat){a[2], b[2], a[3], b[3]};
#endif
}

FC_INLINE void v_unzip(vfloat low, vfloat high, vfloat *even, vfloat *odd) {
#if FC_LANES == 16 && defined(__x86_64__)
    const __m512i first = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
    const __m512i second = _mm512_add_epi32(first, _mm512_set1_epi32(1));
    *even = (vfloat)_mm512_permutex2var_ps((__m512)low, first, (__m512)high);
    *odd = (vfloat)_mm512_permutex2var_ps((__m512)low, second, (__m512)high);
#elif FC_LANES == 8 && defined(__x86_64__)
    const __m256 c = _mm256_shuffle_ps((__m256)low, (__m256)high, 0x88);
    const __m256 d = _mm256_shuffle_ps((__m256)low, (__m256)high, 0xdd);
    *even = (vfloat)_mm256_permute4x64_pd((__m256d)c, 0xd8);
    *odd = (vfloat)_mm256_permute4x64_pd((__m256d)d, 0xd8);
#else
    *even = (vfloat){low[0], low[2], high[0], high[2]};
    *odd = (vfloat){low[1], low[3], high[1], high[3]};
#endif
}

/* Sixteen lanes that are all ones or zero, of as many vectors as it takes, to sixteen bytes of 1 or 0. */
FC_INLINE void vi_store_flags(uint8_t *p, const vint *lanes) {
#if FC_LANES == 16 && defined(__x86_64__)
    const __m128i bytes = _mm512_cvtepi32_epi8((__m512i)lanes[0]);
    _mm_storeu_si128((__m128i *)p, _mm_and_si128(bytes, _mm_set1_epi8(1)));
#elif FC_LANES == 8 && defined(__x86_64__)
    const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32((__m256i)lanes[0], (__m256i)lanes[1]), 0xd8);
    const __m128i bytes = _mm_packs_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
    _mm_storeu_si128((__m128i *)p, _mm_and_si128(bytes, _mm_set1_epi8(1)));
#elif defined(__x86_64__)
    const __m128i first = _mm_packs_epi32((__m128i)lanes[0], (__m128i)lanes[1]);
    const __m128i second = _mm_packs_epi32((__m128i)lanes[2], (__m128i)lanes[3]);
    _mm_storeu_si128((__m128i *)p, _mm_and_si128(_mm_packs_epi16(first, second), _mm_set1_epi8(1)));
#else
    for (int i = 0; i < 16; i++) p[i] = (uint8_t)(lanes[i / FC_LANES][i % FC_LANES] & 1);
#endif
}

/* As many bytes as there are lanes, as integers. */
FC_INLINE vint vi_load_flags(const uint8_t *p) {
#if FC_LANES == 16 && defined(__x86_64__)
    return (vint)_mm512_cvtepu8_epi32(_mm_loadu_si128((const __m128i *)p));
#elif FC_LANES == 8 && defined(__x86_64__)
    return (vint)_mm256_cvtepu8_epi32(_mm_loadl_epi64((const __m128i *)p));
#else
    return (vint){p[0], p[1], p[2], p[3]};
#endif
}
