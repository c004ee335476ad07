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
