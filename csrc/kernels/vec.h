/* vec.h - the vector vocabulary every micro-kernel is written in.
 *
 * isa/<name>.c defines FC_LANES and sets the target; this file maps the vocabulary to it:
 *   vfloat, vint    FC_LANES floats, 32-bit ints; + - * / & | are written as operators
 *   vmask           the result of a comparison, consumed by v_select
 * FMA is explicit (v_fma) and the build passes -ffp-contract=off, so that every compiler gives the same bits.
 * v_max(a, b) and v_min(a, b) return b if either is NaN (the x86 rule); kernels choose the order accordingly.
 */
#ifndef FC_LANES
#error "vec.h is included by isa/*.c through all.inc, after FC_LANES is set"
#endif

#define FC_INLINE static inline __attribute__((always_inline))

/* Before a loop with constant bounds: an array indexed by its variable then lives in registers. Clang ignores GCC's
 * pragma and leaves such an array in memory (a tile at 0.3 of the FMA peak instead of 0.9). */
#if defined(__clang__)
#define FC_UNROLL _Pragma("clang loop unroll(full)")
#else
#define FC_UNROLL _Pragma("GCC unroll 20")
#endif

typedef float vfloat __attribute__((vector_size(4 * FC_LANES), may_alias));
typedef int32_t vint __attribute__((vector_size(4 * FC_LANES), may_alias));

/* a + b modulo 2^32: what a lane of no meaning holds may overflow. */
typedef uint32_t FC_NAME(vword) __attribute__((vector_size(4 * FC_LANES), may_alias));
FC_INLINE vint vi_add_wrapping(vint a, vint b) { return (vint)((FC_NAME(vword))a + (FC_NAME(vword))b); }

FC_INLINE vint v_bits(vfloat a) { return (vint)a; }
FC_INLINE vfloat v_from_bits(vint a) { return (vfloat)a; }
FC_INLINE vfloat v_load(const float *p) { vfloat v; memcpy(&v, p, sizeof v); return v; }
FC_INLINE void v_store(float *p, vfloat v) { memcpy(p, &v, sizeof v); }
FC_INLINE vint vi_load(const int32_t *p) { vint v; memcpy(&v, p, sizeof v); return v; }
FC_INLINE void vi_store(int32_t *p, vint v) { memcpy(p, &v, sizeof v); }

#if FC_LANES == 16 && defined(__x86_64__) /* ---------------------------------------------------- AVX-512 */

typedef __mmask16 vmask;
FC_INLINE __mmask16 v_first(int64_t n) { return n >= 16 ? 0xffff : (__mmask16)((1u << n) - 1u); }
FC_INLINE vfloat v_splat(float s) { return (vfloat)_mm512_set1_ps(s); }
FC_INLINE vint vi_splat(int32_t s) { return (vint)_mm512_set1_epi32(s); }
FC_INLINE vfloat v_fma(vfloat a, vfloat b, vfloat c) { return (vfloat)_mm512_fmadd_ps(a, b, c); }
FC_INLINE vfloat v_max(vfloat a, vfloat b) { return (vfloat)_mm512_max_ps(a, b); }
FC_INLINE vfloat v_min(vfloat a, vfloat b) { return (vfloat)_mm512_min_ps(a, b); }
FC_INLINE vmask v_gt(vfloat a, vfloat b) { return _mm512_cmp_ps_mask(a, b, _CMP_GT_OQ); }
FC_INLINE vmask v_ge(vfloat a, vfloat b) { return _mm512_cmp_ps_mask(a, b, _CMP_GE_OQ); }
FC_INLINE vmask v_isnan(vfloat a) { return _mm512_cmp_ps_mask(a, a, _CMP_UNORD_Q); }
FC_INLINE vmask v_unordered(vfloat a, vfloat b) { return _mm512_cmp_ps_mask(a, b, _CMP_UNORD_Q); } /* either is NaN */
FC_INLINE bool v_any(vmask m) { return m != 0; }
FC_INLINE vmask vi_eq(vint a, vint b) { return _mm512_cmpeq_epi32_mask((__m512i)a, (__m512i)b); }
/* noted, or either is NaN; stays in mask registers, where | goes through general ones (GCC) */
FC_INLINE vmask v_note_nan(vmask noted, vfloat a, vfloat b) { return _kor_mask16(noted, v_unordered(a, b)); }
FC_INLINE vmask v_or(vmask a, vmask b) { return a | b; }
FC_INLINE vmask v_and(vmask a, vmask b) { return a & b; }
/* m ? a : b, lane by lane */
FC_INLINE vfloat v_select(vmask m, vfloat a, vfloat b) { return (vfloat)_mm512_mask_blend_ps(m, b, a); }
FC_INLINE vint vi_select(vmask m, vint a, vint b) { return (vint)_mm512_mask_blend_epi32(m, (__m512i)b, (__m512i)a); }
FC_INLINE vfloat v_sqrt(vfloat a) { return (vfloat)_mm512_sqrt_ps(a); }
/* m ? a + b : a; of other instruction sets a + (m ? b : 0), the same but for a == -0 */
FC_INLINE vfloat v_add_where(vmask m, vfloat a, vfloat b) { return (vfloat)_mm512_mask_add_ps(a, m, a, b); }
FC_INLINE vint v_round_to_int(vfloat a) { return (vint)_mm512_cvtps_epi32(a); }
FC_INLINE vfloat v_from_int(vint a) { return (vfloat)_mm512_cvtepi32_ps((__m512i)a); }
/* The nearest integer. */
FC_INLINE vfloat v_round(vfloat a) { return (vfloat)_mm512_roundscale_ps(a, _MM_FROUND_TO_NEAREST_INT); }
FC_INLINE vfloat v_load_n(const float *p, int64_t n) { return (vfloat)_mm512_maskz_loadu_ps(v_first(n), p); }
FC_INLINE void v_store_n(float *p, vfloat v, int64_t n) { _mm512_mask_storeu_ps(p, v_first(n), v); }
FC_INLINE vint vi_load_n(const int32_t *p, int64_t n) { return (vint)_mm512_maskz_loadu_epi32(v_first(n), p); }
FC_INLINE void vi_store_n(int32_t *p, vint v, int64_t n) { _mm512_mask_storeu_epi32(p, v_first(n), (__m512i)v); }

#elif FC_LANES == 8 && defined(__x86_64__) /* ----------------------------------------------------- AVX2 */

typedef vint vmask;
static const int32_t FC_NAME(first_table)[16] = {-1, -1, -1, -1, -1, -1, -1, -1};
FC_INLINE __m256i v_first(int64_t n) {
    n = n > 8 ? 8 : n;
    return _mm256_loadu_si256((const __m256i *)(FC_NAME(first_table) + 8 - n));
}
FC_INLINE vfloat v_splat(float s) { return (vfloat)_mm256_set1_ps(s); }
FC_INLINE vint vi_splat(int32_t s) { return (vint)_mm256_set1_epi32(s); }
FC_INLINE vfloat v_fma(vfloat a, vfloat b, vfloat c) { return (vfloat)_mm256_fmadd_ps(a, b, c); }
FC_INLINE vfloat v_max(vfloat a, vfloat b) { return (vfloat)_mm256_max_ps(a, b); }
FC_INLINE vfloat v_min(vfloat a, vfloat b) { return (vfloat)_mm256_min_ps(a, b); }
FC_INLINE vmask v_gt(vfloat a, vfloat b) { return (vmask)_mm256_cmp_ps(a, b, _CMP_GT_OQ); }
FC_INLINE vmask v_ge(vfloat a, vfloat b) { return (vmask)_mm256_cmp_ps(a, b, _CMP_GE_OQ); }
FC_INLINE vmask v_isnan(vfloat a) { return (vmask)_mm256_cmp_ps(a, a, _CMP_UNORD_Q); }
FC_INLINE vmask v_unordered(vfloat a, vfloat b) { return (vmask)_mm256_cmp_ps(a, b, _CMP_UNORD_Q); }
FC_INLINE bool v_any(vmask m) { return _mm256_movemask_ps((__m256)m) != 0; }
FC_INLINE vmask vi_eq(vint a, vint b) { return (vmask)_mm256_cmpeq_epi32((__m256i)a, (__m256i)b); }
FC_INLINE vmask v_or(vmask a, vmask b) { return a | b; }
FC_INLINE vmask v_and(vmask a, vmask b) { return a & b; }
FC_INLINE vfloat v_select(vmask m, vfloat a, vfloat b) { return (vfloat)_mm256_blendv_ps(b, a, (__m256)m); }
FC_INLINE vint vi_select(vmask m, vint a, vint b) {
    return (vint)_mm256_blendv_ps((__m256)b, (__m256)a, (__m256)m);
}
FC_INLINE vfloat v_sqrt(vfloat a) { return (vfloat)_mm256_sqrt_ps(a); }
FC_INLINE vint v_round_to_int(vfloat a) { return (vint)_mm256_cvtps_epi32(a); }
FC_INLINE vfloat v_from_int(vint a) { return (vfloat)_mm256_cvtepi32_ps((__m256i)a); }
/* Where n is known to be whole, the compiler would not see through the mask. */
FC_INLINE vfloat v_load_n(const float *p, int64_t n) {
    if (__builtin_constant_p(n) && n >= 8) return v_load(p);
    return (vfloat)_mm256_maskload_ps(p, v_first(n));
}
FC_INLINE vint vi_load_n(const int32_t *p, int64_t n) { return (vint)_mm256_maskload_epi32(p, v_first(n)); }
/* vmaskmovps stores are microcoded on Zen (about 20 cycles): store 4, 2 and 1 instead. */
FC_INLINE void v_store_n(float *p, vfloat v, int64_t n) {
    if (n >= 8) { v_store(p, v); return; }
    __m128 part = _mm256_castps256_ps128((__m256)v);
    if (n & 4) { _mm_storeu_ps(p, part); p += 4; part = _mm256_extractf128_ps((__m256)v, 1); }
    if (n & 2) { _mm_storel_pi((__m64 *)p, part); p += 2; part = _mm_movehl_ps(part, part); }
    if (n & 1) _mm_store_ss(p, part);
}
FC_INLINE void vi_store_n(int32_t *p, vint v, int64_t n) { v_store_n((float *)p, (vfloat)v, n); }

#elif FC_LANES == 4 /* ---------------------------------------------- SSE2, NEON, or any 4-lane compiler vector */

typedef vint vmask;
FC_INLINE vfloat v_splat(float s) { return (vfloat){s, s, s, s}; }
FC_INLINE vint vi_splat(int32_t s) { return (vint){s, s, s, s}; }
FC_INLINE vmask v_gt(vfloat a, vfloat b) { return (vmask)(a > b); }
FC_INLINE vmask v_ge(vfloat a, vfloat b) { return (vmask)(a >= b); }
FC_INLINE vmask v_isnan(vfloat a) { return (vmask)(a != a); }
FC_INLINE bool v_any(vmask m) { return (m[0] | m[1] | m[2] | m[3]) != 0; }
FC_INLINE vmask vi_eq(vint a, vint b) { return (vmask)(a == b); }
FC_INLINE vmask v_or(vmask a, vmask b) { return a | b; }
FC_INLINE vmask v_and(vmask a, vmask b) { return a & b; }
FC_INLINE vint vi_select(vmask m, vint a, vint b) { return (a & m) | (b & ~m); }
FC_INLINE vfloat v_select(vmask m, vfloat a, vfloat b) { return (vfloat)vi_select(m, (vint)a, (vint)b); }
#if defined(__x86_64__)
/* SSE2 has no FMA: two roundings. */
FC_INLINE vfloat v_fma(vfloat a, vfloat b, vfloat c) { return a * b + c; }
FC_INLINE vmask v_unordered(vfloat a, vfloat b) { return (vmask)_mm_cmpunord_ps(a, b); }
FC_INLINE vfloat v_max(vfloat a, vfloat b) { return (vfloat)_mm_max_ps(a, b); }
FC_INLINE vfloat v_min(vfloat a, vfloat b) { return (vfloat)_mm_min_ps(a, b); }
FC_INLINE vfloat v_sqrt(vfloat a) { return (vfloat)_mm_sqrt_ps(a); }
FC_INLINE vint v_round_to_int(vfloat a) { return (vint)_mm_cvtps_epi32(a); }
FC_INLINE vfloat v_from_int(vint a) { return (vfloat)_mm_cvtepi32_ps((__m128i)a); }
#else
FC_INLINE vmask v_unordered(vfloat a, vfloat b) { return v_isnan(a) | v_isnan(b); }
FC_INLINE vfloat v_max(vfloat a, vfloat b) { return v_select((vmask)(a > b), a, b); }
FC_INLINE vfloat v_min(vfloat a, vfloat b) { return v_select((vmask)(a < b), a, b); }
#if defined(__aarch64__)
FC_INLINE vfloat v_fma(vfloat a, vfloat b, vfloat c) {
    return (vfloat)vfmaq_f32((float32x4_t)c, (float32x4_t)a, (float32x4_t)b);
}
FC_INLINE vfloat v_sqrt(vfloat a) { return (vfloat)vsqrtq_f32((float32x4_t)a); }
FC_INLINE vint v_round_to_int(vfloat a) { return (vint)vcvtnq_s32_f32((float32x4_t)a); }
FC_INLINE vfloat v_from_int(vint a) { return (vfloat)vcvtq_f32_s32((int32x4_t)a); }
#else
FC_INLINE vfloat v_fma(vfloat a, vfloat b, vfloat c) { return a * b + c; }
FC_INLINE vfloat v_sqrt(vfloat a) {
    return (vfloat){__builtin_sqrtf(a[0]), __builtin_sqrtf(a[1]), __builtin_sqrtf(a[2]), __builtin_sqrtf(a[3])};
}
FC_INLINE vint v_round_to_int(vfloat a) {
    return (vint){(int32_t)__builtin_rintf(a[0]), (int32_t)__builtin_rintf(a[1]), (int32_t)__builtin_rintf(a[2]),
                  (int32_t)__builtin_rintf(a[3])};
}
FC_INLINE vfloat v_from_int(vint a) { return __builtin_convertvector(a, vfloat); }
#endif
#endif
FC_INLINE vfloat v_load_n(const float *p, int64_t n) {
    if (n >= 4) return v_load(p);
    return (vfloat){n > 0 ? p[0] : 0.0f, n > 1 ? p[1] : 0.0f, n > 2 ? p[2] : 0.0f, 0.0f};
}
FC_INLINE void v_store_n(float *p, vfloat v, int64_t n) {
    if (n >= 4) { v_store(p, v); return; }
    if (n > 0) p[0] = v[0];
    if (n > 1) p[1] = v[1];
    if (n > 2) p[2] = v[2];
}
FC_INLINE vint vi_load_n(const int32_t *p, int64_t n) { return (vint)v_load_n((const float *)p, n); }
FC_INLINE void vi_store_n(int32_t *p, vint v, int64_t n) { v_store_n((float *)p, (vfloat)v, n); }

#else
#error "FC_LANES must be 4, 8 or 16"
#endif

#if !(FC_LANES == 16 && defined(__x86_64__))
FC_INLINE vmask v_note_nan(vmask noted, vfloat a, vfloat b) { return v_or(noted, v_unordered(a, b)); }
FC_INLINE vfloat v_add_where(vmask m, vfloat a, vfloat b) { return a + (vfloat)(m & (vint)b); }
/* The nearest integer. */
FC_INLINE vfloat v_round(vfloat a) { return v_from_int(v_round_to_int(a)); }
#endif

/* The first n lanes; plain where n is known to be all of them. */
FC_INLINE vfloat v_load_first(const float *p, int64_t n) {
    return __builtin_constant_p(n) && n == FC_LANES ? v_load(p) : v_load_n(p, n);
}
FC_INLINE void v_store_first(float *p, vfloat v, int64_t n) {
    if (__builtin_constant_p(n) && n == FC_LANES) v_store(p, v);
    else v_store_n(p, v, n);
}
FC_INLINE vint vi_load_first(const int32_t *p, int64_t n) {
    return __builtin_constant_p(n) && n == FC_LANES ? vi_load(p) : vi_load_n(p, n);
}
FC_INLINE void vi_store_first(int32_t *p, vint v, int64_t n) {
    if (__builtin_constant_p(n) && n == FC_LANES) vi_store(p, v);
    else vi_store_n(p, v, n);
}

/* Past the caches, to an address that is a multiple of a vector; fc_stream_end orders it before what follows. */
FC_INLINE void v_stream(float *p, vfloat v) {
#if FC_LANES == 16 && defined(__x86_64__)
    _mm512_stream_ps(p, (__m512)v);
#elif FC_LANES == 8 && defined(__x86_64__)
    _mm256_stream_ps(p, (__m256)v);
#elif defined(__x86_64__)
    _mm_stream_ps(p, (__m128)v);
#else
    v_store(p, v);
#endif
}

/* The first n lanes; without masks, n is known to be all of them. */
#if FC_LANES == 16 && defined(__x86_64__)
#define FC_MASKS 1
FC_INLINE vfloat v_load_last(const float *p, int64_t n) { return v_load_first(p, n); }
FC_INLINE void v_store_last(float *p, vfloat v, int64_t n) { v_store_first(p, v, n); }
#else
#define FC_MASKS 0
FC_INLINE vfloat v_load_last(const float *p, int64_t n) { (void)n; return v_load(p); }
FC_INLINE void v_store_last(float *p, vfloat v, int64_t n) { (void)n; v_store(p, v); }
#endif

FC_INLINE vfloat v_zero(void) { return v_splat(0.0f); }

FC_INLINE vfloat v_abs(vfloat a) { return (vfloat)((vint)a & vi_splat(0x7fffffff)); }
FC_INLINE vfloat v_copysign(vfloat magnitude, vfloat sign) {
    vint bit = vi_splat((int32_t)0x80000000);
    return (vfloat)(((vint)sign & bit) | ((vint)magnitude & ~bit));
}

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
