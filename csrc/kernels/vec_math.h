/* vec_math.h - exp, expm1, log, log1p, tanh, sigmoid and the normal distribution on vectors, without branches.
 *
 * Most functions work in place on `count` vectors x[], a constant up to FC_GROUP, and each of their lines on all of
 * them: a chain of 15 dependent instructions takes 60 cycles, the execution units need 5, and the schedulers of a core
 * (64 to 114 entries) are full before twelve chains are under way, if these come one after the other: exp takes 8.4
 * cycles per vector of AVX2 one by one, 6.6 by fours (Zen 5).
 *
 * Coefficients are minimax fits made for this file (Lawson's iteration in float64, coefficients rounded to float one
 * after the other); each states the largest relative error of the fit, to be compared with u = 2^-24 = 6.0e-8.
 * v_max and v_min return their second operand where it is NaN: clamps take the value second, so that NaN survives them.
 * Largest errors in units of the last place, over all floats, on AVX-512, AVX2 and the baseline: exp 0.99, 0.91, 1.19;
 * sigmoid 3.10, 2.41, 2.41; tanh 2.57, 2.57, 2.61; x times the sigmoid, where that is not denormal, 3.91, 3.23, 3.29;
 * expm1 of x < 0 0.95, 0.95, 1.03; x Phi(x) in multiples of max(2 eps, eps * |y|): 0.85, 0.85, 0.85.
 */

enum { FC_GROUP = 4 };
#define FC_EACH FC_UNROLL for (int i = 0; i < count; i++)

/* x = n * ln2 + r after Cody and Waite: 355 / 512 times n is exact, also where v_fma rounds twice. x becomes r, and sum
 * n + start, rounded: start is 1.5 * 2^23 plus what the low bits are to be for n = 0. |r| <= ln2 / 2. */
FC_INLINE void v_reduce_ln2(const int count, vfloat x[], const float start, vfloat sum[]) {
    vfloat n[FC_GROUP];
    FC_EACH sum[i] = v_fma(x[i], v_splat(1.44269504f), v_splat(start));
    FC_EACH n[i] = sum[i] - v_splat(start);
    FC_EACH x[i] = v_fma(n[i], v_splat(-0.693359375f), x[i]);
    FC_EACH x[i] = v_fma(n[i], v_splat(2.12194440e-4f), x[i]);
}

/* expm1(r) = r + r^2 p(r) for |r| <= ln2 / 2: fit of p within 1.4e-8. */
FC_INLINE void v_expm1_series(const int count, const vfloat r[], vfloat p[]) {
    FC_EACH p[i] = v_fma(v_splat(0x1.6b9692p-10f), r[i], v_splat(0x1.1226bap-7f));
    FC_EACH p[i] = v_fma(p[i], r[i], v_splat(0x1.5556f8p-5f));
    FC_EACH p[i] = v_fma(p[i], r[i], v_splat(0x1.5554b2p-3f));
    FC_EACH p[i] = v_fma(p[i], r[i], v_splat(0x1.fffffep-2f));
}

/* exp in two steps after the reduction, whose sum is n + FC_EXP_SUM: v_exp_series makes of r a number in [0.7, 2), which
 * v_scale multiplies by a power of two, rounding once. */
#if FC_LANES == 16 && defined(__x86_64__)
/* A register holds 2^(j / 16) and picks by the four low bits of the sum. With n in sixteenths |r| <= ln2 / 32, where
 * two coefficients will do (fit within 1.7e-9): 7 multiplications instead of 9, exp in 4.5 cycles instead of 5.3. */
#define FC_EXP_SUM 0x1.8p19f
FC_INLINE void v_exp_series(const int count, vfloat r[], const vfloat sum[]) {
    const vfloat powers = {
        0x1.000000p+0f, 0x1.0b5586p+0f, 0x1.172b84p+0f, 0x1.2387a6p+0f,
        0x1.306fe0p+0f, 0x1.3dea64p+0f, 0x1.4bfdaep+0f, 0x1.5ab07ep+0f,
        0x1.6a09e6p+0f, 0x1.7a1148p+0f, 0x1.8ace54p+0f, 0x1.9c4918p+0f,
        0x1.ae89fap+0f, 0x1.c199bep+0f, 0x1.d5818ep+0f, 0x1.ea4afap+0f,
    };
    vfloat p[FC_GROUP], power[FC_GROUP];
    FC_EACH p[i] = v_fma(v_splat(0x1.5555acp-3f), r[i], v_splat(0x1.000222p-1f));
    FC_EACH power[i] = (vfloat)_mm512_permutexvar_ps((__m512i)sum[i], (__m512)powers);
    FC_EACH p[i] = v_fma(p[i], r[i] * r[i], r[i]);
    FC_EACH r[i] = v_fma(power[i], p[i], power[i]);
}

/* The instruction takes the integer below n. */
FC_INLINE void v_scale(const int count, vfloat x[], const vfloat sum[]) {
    FC_EACH x[i] = (vfloat)_mm512_scalef_ps((__m512)x[i], (__m512)(sum[i] - v_splat(FC_EXP_SUM)));
}
#else
/* The low bits of the sum are n + 254, whose halves have the bias of an exponent: n in [-252, 254]. */
#define FC_EXP_SUM (0x1.8p23f + 254)
FC_INLINE void v_exp_series(const int count, vfloat r[], const vfloat sum[]) {
    vfloat p[FC_GROUP];
    (void)sum;
    v_expm1_series(count, r, p);
    FC_EACH p[i] = v_fma(p[i], r[i], v_splat(1.0f));
    FC_EACH r[i] = v_fma(p[i], r[i], v_splat(1.0f));
}

/* Two powers of two whose product is 2^n. */
FC_INLINE void v_halve_power(const int count, const vfloat sum[], vfloat low[], vfloat high[]) {
    FC_EACH low[i] = v_from_bits(v_bits(sum[i]) >> 1);
    FC_EACH high[i] = v_from_bits(v_bits(sum[i]) - v_bits(low[i]));
    FC_EACH low[i] = v_from_bits(v_bits(low[i]) << 23);
    FC_EACH high[i] = v_from_bits(v_bits(high[i]) << 23);
}

/* Where the result is denormal the first product is exact. */
FC_INLINE void v_scale(const int count, vfloat x[], const vfloat sum[]) {
    vfloat low[FC_GROUP], high[FC_GROUP];
    v_halve_power(count, sum, low, high);
    FC_EACH x[i] = x[i] * low[i];
    FC_EACH x[i] = x[i] * high[i];
}
#endif

/* exp for x in [-170, 89] or NaN. */
FC_INLINE void v_exp_clamped(const int count, vfloat x[]) {
    vfloat sum[FC_GROUP];
    v_reduce_ln2(count, x, FC_EXP_SUM, sum);
    v_exp_series(count, x, sum);
    v_scale(count, x, sum);
}

/* Beyond 88.73 the result is inf, below -103.98 zero, between it and -87.34 denormal: the clamps keep all of that. */
FC_INLINE void v_exp_each(const int count, vfloat x[]) {
    FC_EACH x[i] = v_min(v_splat(89.0f), x[i]);
    FC_EACH x[i] = v_max(v_splat(-104.0f), x[i]);
    v_exp_clamped(count, x);
}

/* exp of x <= 0 or NaN: one clamp less. */
FC_INLINE void v_exp_negative_each(const int count, vfloat x[]) {
    FC_EACH x[i] = v_max(v_splat(-104.0f), x[i]);
    v_exp_clamped(count, x);
}

/* exp(x) = x / below, x in [-104, 104] or NaN on entry: of the two halves of 2^n one multiplies and one divides, a
 * product less; v_scale takes none. */
FC_INLINE void v_exp_quotient(const int count, vfloat x[], vfloat below[]) {
#if FC_LANES == 16 && defined(__x86_64__)
    v_exp_clamped(count, x);
    FC_EACH below[i] = v_splat(1.0f);
#else
    vfloat sum[FC_GROUP], low[FC_GROUP];
    v_reduce_ln2(count, x, FC_EXP_SUM, sum);
    v_exp_series(count, x, sum);
    v_halve_power(count, sum, low, below);
    FC_EACH x[i] = x[i] * low[i];
    FC_EACH below[i] = v_from_bits(vi_splat(254 << 23) - v_bits(below[i]));
#endif
}

/* exp(x - max) for x <= max or NaN. x - max alone would lose the last digits of the smaller of the two, up to 8 eps of
 * the result for |x| <= 16. So max = n * 0.693359375 + r is split once, exactly, and r taken from what is left of x
 * after as many more multiples. Beyond 4096 the products would round: n = 0 leaves an error of half a unit in the last
 * place of max. */
typedef struct v_origin { vfloat max, n, r; } v_origin;

FC_INLINE v_origin v_origin_of(vfloat max) {
    vfloat n = v_round(max * v_splat(1.44269504f));
    n = v_select(v_gt(v_splat(4096.0f), v_abs(max)), n, v_zero());
    return (v_origin){max, n, v_fma(n, v_splat(-0.693359375f), max)};
}

/* The clamp of r is for infinite and huge x, where n is -150 and 2^n vanishes. */
FC_INLINE void v_exp_from_each(const int count, v_origin origin, vfloat x[]) {
    vfloat sum[FC_GROUP], n[FC_GROUP];
    FC_EACH sum[i] = v_max(v_splat(-104.0f), x[i] - origin.max);
    FC_EACH sum[i] = v_fma(sum[i], v_splat(1.44269504f), v_splat(FC_EXP_SUM));
    FC_EACH n[i] = sum[i] - v_splat(FC_EXP_SUM);
    FC_EACH x[i] = v_fma(n[i] + origin.n, v_splat(-0.693359375f), x[i]) - origin.r;
    FC_EACH x[i] = v_fma(n[i], v_splat(2.12194440e-4f), x[i]);
    FC_EACH x[i] = v_max(v_splat(-0.36f), v_min(v_splat(0.36f), x[i]));
    v_exp_series(count, x, sum);
    v_scale(count, x, sum);
}

/* expm1 of x <= 0 or NaN, to relative accuracy around 0: 2^n * expm1(r) + (2^n - 1). At -80 it is -1. */
FC_INLINE void v_expm1_negative_each(const int count, vfloat x[]) {
    vfloat power[FC_GROUP], p[FC_GROUP];
    FC_EACH x[i] = v_max(v_splat(-80.0f), x[i]);
    v_reduce_ln2(count, x, 0x1.8p23f + 127, power);
    v_expm1_series(count, x, p);
    FC_EACH p[i] = v_fma(p[i], x[i] * x[i], x[i]);
    FC_EACH power[i] = v_from_bits(v_bits(power[i]) << 23);
    FC_EACH x[i] = v_fma(p[i], power[i], power[i] - v_splat(1.0f));
}

/* tanh(x) = sign(x) * h / (h + 1), h = expm1(2 |x|) / 2. Above |x| = 9.02 it is 1; at 10, h + 1 rounds to h. The series
 * is that of expm1 with r = 2 s, and one term of ln2 will do: the error of n terms fades with exp(-2 |x|). (A quotient
 * of polynomials of degrees 9 and 8 takes as long and errs by 4.9 units.) */
FC_INLINE void v_tanh_each(const int count, vfloat x[]) {
    const float whole = 0x1.8p23f + 126; /* the low bits of n + whole are the exponent of 2^(n - 1) */
    vfloat s[FC_GROUP], p[FC_GROUP], power[FC_GROUP], n[FC_GROUP];
    FC_EACH s[i] = v_min(v_splat(10.0f), v_abs(x[i]));
    FC_EACH power[i] = v_fma(s[i], v_splat(2 * 1.44269504f), v_splat(whole));
    FC_EACH n[i] = power[i] - v_splat(whole);
    FC_EACH s[i] = v_fma(n[i], v_splat(-0.5f * 0.693147181f), s[i]);
    FC_EACH p[i] = v_fma(v_splat(64 * 0x1.6b9692p-10f), s[i], v_splat(32 * 0x1.1226bap-7f));
    FC_EACH p[i] = v_fma(p[i], s[i], v_splat(16 * 0x1.5556f8p-5f));
    FC_EACH p[i] = v_fma(p[i], s[i], v_splat(8 * 0x1.5554b2p-3f));
    FC_EACH p[i] = v_fma(p[i], s[i], v_splat(4 * 0x1.fffffep-2f));
    FC_EACH p[i] = v_fma(p[i], s[i] * s[i], s[i] + s[i]);
    FC_EACH power[i] = v_from_bits(v_bits(power[i]) << 23);
    FC_EACH p[i] = v_fma(p[i], power[i], power[i] - v_splat(0.5f));
    FC_EACH p[i] = p[i] / (p[i] + v_splat(1.0f));
    FC_EACH x[i] = v_copysign(p[i], x[i]);
}

/* exp(x) / (1 + exp(x)). From x = 17 on it is 1. */
FC_INLINE void v_sigmoid_each(const int count, vfloat x[]) {
    vfloat below[FC_GROUP];
    FC_EACH x[i] = v_min(v_splat(18.0f), x[i]);
    FC_EACH x[i] = v_max(v_splat(-104.0f), x[i]);
    v_exp_quotient(count, x, below);
    FC_EACH below[i] = x[i] + below[i];
    FC_EACH x[i] = x[i] / below[i];
}

/* The sigmoid and its derivative e / (1 + e)^2, e = exp(-|x|), which is s (1 - s) without the cancellation. */
FC_INLINE void v_sigmoid_slope_each(const int count, vfloat x[], vfloat slope[]) {
    vfloat e[FC_GROUP], high[FC_GROUP];
    FC_EACH e[i] = -v_abs(x[i]);
    v_exp_negative_each(count, e);
    FC_EACH high[i] = v_splat(1.0f) / (v_splat(1.0f) + e[i]);
    FC_EACH e[i] = e[i] * high[i];
    FC_EACH slope[i] = e[i] * high[i];
    FC_EACH x[i] = v_select(v_ge(x[i], v_zero()), high[i], e[i]);
}

/* 2 atanh(t / 2) = t + t^3 q(t^2) for |t| <= 2 / 3: fit within 4.5e-9. */
FC_INLINE void v_atanh_series(const int count, vfloat t[]) {
    vfloat z[FC_GROUP], q[FC_GROUP];
    FC_EACH z[i] = t[i] * t[i];
    FC_EACH q[i] = v_fma(v_splat(0x1.1ec906p-11f), z[i], v_splat(0x1.1ec070p-9f));
    FC_EACH q[i] = v_fma(q[i], z[i], v_splat(0x1.99d1cap-7f));
    FC_EACH q[i] = v_fma(q[i], z[i], v_splat(0x1.555502p-4f));
    FC_EACH t[i] = v_fma(q[i] * z[i], t[i], t[i]);
}

/* log(1 + x) for 0 <= x <= 1 or NaN: with t = 2 x / (2 + x), accurate relative to the result down to denormals. */
FC_INLINE void v_log1p_unit_each(const int count, vfloat x[]) {
    FC_EACH x[i] = (x[i] + x[i]) / (x[i] + v_splat(2.0f));
    v_atanh_series(count, x);
}

/* log of a positive normal x; NaN and inf are returned as they are. x = 2^n * m, m in [1 / sqrt 2, sqrt 2). */
FC_INLINE vfloat v_log(vfloat x) {
    vint shift = (v_bits(x) - vi_splat(0x3f3504f3)) & vi_splat((int32_t)0xff800000);
    vfloat f = v_from_bits(v_bits(x) - shift) - v_splat(1.0f), n = v_from_int(shift >> 23);
    vfloat small = (f + f) / (f + v_splat(2.0f));
    v_atanh_series(1, &small);
    vfloat y = v_fma(n, v_splat(0.693359375f), v_fma(n, v_splat(-2.12194440e-4f), small));
    return v_select(v_gt(v_splat(__builtin_inff()), x), y, x);
}

/* Phi(-t) of the standard normal distribution, for 0 <= t <= 15 or NaN, given e = exp(-t^2 / 2): e A(t) / B(t), fit
 * within 8.4e-9 up to 14, where e still is no zero. All terms are positive: no cancellation. */
FC_INLINE void v_normal_tail(const int count, vfloat t[], const vfloat e[]) {
    vfloat a[FC_GROUP], b[FC_GROUP];
    FC_EACH b[i] = v_fma(v_splat(0x1.592244p-7f), t[i], v_splat(0x1.ab2e9ap-4f));
    FC_EACH a[i] = v_fma(v_splat(0x1.136164p-8f), t[i], v_splat(0x1.54d1acp-5f));
    FC_EACH b[i] = v_fma(b[i], t[i], v_splat(0x1.ed3ef2p-2f));
    FC_EACH a[i] = v_fma(a[i], t[i], v_splat(0x1.811434p-3f));
    FC_EACH b[i] = v_fma(b[i], t[i], v_splat(0x1.3c61e4p+0f));
    FC_EACH a[i] = v_fma(a[i], t[i], v_splat(0x1.cd66a8p-2f));
    FC_EACH b[i] = v_fma(b[i], t[i], v_splat(0x1.b9305ep+0f));
    FC_EACH a[i] = v_fma(a[i], t[i], v_splat(0x1.07cedap-1f));
    FC_EACH b[i] = v_fma(b[i], t[i], v_splat(0x1.07cedap+0f));
    FC_EACH t[i] = e[i] * a[i] / b[i];
}

/* Phi(x), accurate relative to the result also for negative x, and exp(-x^2 / 2), which is zero from |x| = 15 on. */
FC_INLINE void v_normal_cdf(const int count, vfloat x[], vfloat bell[]) {
    vfloat t[FC_GROUP];
    FC_EACH t[i] = v_min(v_splat(15.0f), v_abs(x[i]));
    FC_EACH bell[i] = v_splat(-0.5f) * t[i] * t[i];
    v_exp_clamped(count, bell);
    v_normal_tail(count, t, bell);
    FC_EACH x[i] = v_select(v_gt(x[i], v_zero()), v_splat(1.0f) - t[i], t[i]);
}

/* x Phi(x) within 2 eps absolute, in half the time that v_normal_cdf takes: Phi(-t) = 1 / (2 p(t)^8), a form like
 * Abramowitz & Stegun 7.1.28 without an exponential. The fit is for t <= 5.6 (t Phi(-t) within 0.06 eps); beyond, p
 * grows and t Phi(-t) stays below 1e-7 on its way to 0. */
FC_INLINE void v_gelu_each(const int count, vfloat x[]) {
    vfloat t[FC_GROUP], p[FC_GROUP];
    FC_EACH t[i] = v_abs(x[i]);
    FC_EACH p[i] = v_fma(v_splat(0x1.69cab8p-24f), t[i], v_splat(-0x1.1a173ap-20f));
    FC_EACH p[i] = v_fma(p[i], t[i], v_splat(0x1.fe31a4p-18f));
    FC_EACH p[i] = v_fma(p[i], t[i], v_splat(-0x1.8a537ap-16f));
    FC_EACH p[i] = v_fma(p[i], t[i], v_splat(0x1.664f56p-14f));
    FC_EACH p[i] = v_fma(p[i], t[i], v_splat(0x1.662f94p-13f));
    FC_EACH p[i] = v_fma(p[i], t[i], v_splat(0x1.d2c0a8p-11f));
    FC_EACH p[i] = v_fma(p[i], t[i], v_splat(0x1.1bb19cp-7f));
    FC_EACH p[i] = v_fma(p[i], t[i], v_splat(0x1.6eb968p-5f));
    FC_EACH p[i] = v_fma(p[i], t[i], v_splat(0x1.98840ap-4f));
    FC_EACH p[i] = v_fma(p[i], t[i], v_splat(1.0f));
    FC_EACH p[i] = p[i] * p[i];
    FC_EACH p[i] = p[i] * p[i];
    FC_EACH p[i] = p[i] * p[i];
    FC_EACH p[i] = v_splat(0.5f) / p[i];
    FC_EACH p[i] = v_select(v_gt(x[i], v_zero()), v_splat(1.0f) - p[i], p[i]);
    FC_EACH x[i] = x[i] * p[i];
}

/* The same of one vector. */
FC_INLINE vfloat v_exp(vfloat x) { v_exp_each(1, &x); return x; }
FC_INLINE vfloat v_exp_negative(vfloat x) { v_exp_negative_each(1, &x); return x; }
FC_INLINE vfloat v_exp_from(v_origin origin, vfloat x) { v_exp_from_each(1, origin, &x); return x; }
FC_INLINE vfloat v_expm1_negative(vfloat x) { v_expm1_negative_each(1, &x); return x; }
FC_INLINE vfloat v_log1p_unit(vfloat x) { v_log1p_unit_each(1, &x); return x; }
FC_INLINE vfloat v_tanh(vfloat x) { v_tanh_each(1, &x); return x; }
FC_INLINE vfloat v_sigmoid(vfloat x) { v_sigmoid_each(1, &x); return x; }
FC_INLINE vfloat v_sigmoid_slope(vfloat x, vfloat *slope) { v_sigmoid_slope_each(1, &x, slope); return x; }
