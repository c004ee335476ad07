/* vec_math.h - exp, expm1, log, log1p, tanh, sigmoid and the normal distribution on vectors, without branches or tables.
 *
 * Coefficients are minimax fits made for this file (Lawson's iteration in float64, coefficients rounded to float one after
 * the other); each states the largest relative error of the fit, to be compared with u = 2^-24 = 6.0e-8.
 * v_max and v_min return their second operand where it is NaN: clamps take the value second, so that NaN survives them.
 * Largest errors over all floats, in units of the last place, with and without FMA: see tests/test_activations.py.
 */

/* x = n * ln2 + r with |r| <= ln2 / 2, after Cody and Waite: 355 / 512 times n is exact, also where v_fma rounds twice. */
FC_INLINE vfloat v_reduce_ln2(vfloat x, vfloat *n) {
    *n = v_round(x * v_splat(1.44269504f));
    vfloat r = v_fma(*n, v_splat(-0.693359375f), x);
    return v_fma(*n, v_splat(2.12194440e-4f), r);
}

/* expm1(r) = r + r^2 p(r) for |r| <= ln2 / 2: fit within 1.4e-8. */
FC_INLINE vfloat v_expm1_small(vfloat r) {
    vfloat p = v_splat(0x1.6b9692p-10f);
    p = v_fma(p, r, v_splat(0x1.1226bap-7f));
    p = v_fma(p, r, v_splat(0x1.5556f8p-5f));
    p = v_fma(p, r, v_splat(0x1.5554b2p-3f));
    p = v_fma(p, r, v_splat(0x1.fffffep-2f));
    return v_fma(p, r * r, r);
}

/* exp for x in [-170, 89] or NaN. */
FC_INLINE vfloat v_exp_clamped(vfloat x) {
    vfloat n, r = v_reduce_ln2(x, &n);
    return v_scale(v_expm1_small(r) + v_splat(1.0f), n);
}

/* Beyond 88.73 the result is inf, below -103.98 zero, between it and -87.34 denormal: the clamps keep all of that. */
FC_INLINE vfloat v_exp(vfloat x) { return v_exp_clamped(v_max(v_splat(-104.0f), v_min(v_splat(89.0f), x))); }

/* exp of x <= 0 or NaN: one clamp less. */
FC_INLINE vfloat v_exp_negative(vfloat x) { return v_exp_clamped(v_max(v_splat(-104.0f), x)); }

/* exp(x - max) for x <= max or NaN. x - max alone would lose the last digits of the smaller of the two, up to 8 eps of the
 * result for |x| <= 16. So max = n * 0.693359375 + r is split once, exactly, and r taken from what is left of x after as
 * many more multiples. Beyond 4096 the products would round: n = 0 leaves an error of half a unit in the last place of max. */
typedef struct v_origin { vfloat max, n, r; } v_origin;

FC_INLINE v_origin v_origin_of(vfloat max) {
    vfloat n = v_round(max * v_splat(1.44269504f));
    n = v_select(v_gt(v_splat(4096.0f), v_abs(max)), n, v_zero());
    return (v_origin){max, n, v_fma(n, v_splat(-0.693359375f), max)};
}

/* The clamp of r is for infinite and huge x, where n is -150 and 2^n vanishes. */
FC_INLINE vfloat v_exp_from(v_origin origin, vfloat x) {
    vfloat n = v_round(v_max(v_splat(-104.0f), x - origin.max) * v_splat(1.44269504f));
    vfloat r = v_fma(n + origin.n, v_splat(-0.693359375f), x) - origin.r;
    r = v_fma(n, v_splat(2.12194440e-4f), r);
    r = v_max(v_splat(-0.36f), v_min(v_splat(0.36f), r));
    return v_scale(v_expm1_small(r) + v_splat(1.0f), n);
}

/* exp(x) - 1 for |x| <= 80 or NaN, to relative accuracy around 0: 2^n * expm1(r) + (2^n - 1). */
FC_INLINE vfloat v_expm1_clamped(vfloat x) {
    vfloat n, r = v_reduce_ln2(x, &n);
    vfloat power = v_from_bits((v_round_to_int(n) + vi_splat(127)) << 23);
    return v_fma(v_expm1_small(r), power, power - v_splat(1.0f));
}

/* expm1 of x <= 0 or NaN. */
FC_INLINE vfloat v_expm1_negative(vfloat x) { return v_expm1_clamped(v_max(v_splat(-80.0f), x)); }

/* tanh(x) = sign(x) * e / (e + 2), e = expm1(2 |x|). Above |x| = 9.02 it is 1; at 10, e + 2 rounds to e. */
FC_INLINE vfloat v_tanh(vfloat x) {
    vfloat size = v_min(v_splat(10.0f), v_abs(x));
    vfloat e = v_expm1_clamped(size + size);
    return v_copysign(e / (e + v_splat(2.0f)), x);
}

/* With e = exp(-|x|): 1 / (1 + e), or e / (1 + e) for negative x, which keeps relative accuracy down to denormals. */
FC_INLINE vfloat v_sigmoid(vfloat x) {
    vfloat one = v_splat(1.0f), e = v_exp_negative(-v_abs(x));
    return v_select(v_ge(x, v_zero()), one, e) / (one + e);
}

/* The sigmoid and its derivative e / (1 + e)^2, which is s (1 - s) without the cancellation. */
FC_INLINE vfloat v_sigmoid_slope(vfloat x, vfloat *slope) {
    vfloat one = v_splat(1.0f), e = v_exp_negative(-v_abs(x));
    vfloat high = one / (one + e), low = e * high;
    *slope = high * low;
    return v_select(v_ge(x, v_zero()), high, low);
}

/* 2 atanh(t / 2) = t + t^3 q(t^2) for |t| <= 2 / 3: fit within 4.5e-9. */
FC_INLINE vfloat v_atanh_series(vfloat t) {
    vfloat z = t * t;
    vfloat q = v_splat(0x1.1ec906p-11f);
    q = v_fma(q, z, v_splat(0x1.1ec070p-9f));
    q = v_fma(q, z, v_splat(0x1.99d1cap-7f));
    q = v_fma(q, z, v_splat(0x1.555502p-4f));
    return v_fma(q * z, t, t);
}

/* log(1 + x) for 0 <= x <= 1 or NaN: with t = 2 x / (2 + x), accurate relative to the result down to denormals. */
FC_INLINE vfloat v_log1p_unit(vfloat x) { return v_atanh_series((x + x) / (x + v_splat(2.0f))); }

/* log of a positive normal x; NaN and inf are returned as they are. x = 2^n * m, m in [1 / sqrt 2, sqrt 2). */
FC_INLINE vfloat v_log(vfloat x) {
    vint shift = (v_bits(x) - vi_splat(0x3f3504f3)) & vi_splat((int32_t)0xff800000);
    vfloat f = v_from_bits(v_bits(x) - shift) - v_splat(1.0f), n = v_from_int(shift >> 23);
    vfloat small = v_atanh_series((f + f) / (f + v_splat(2.0f)));
    vfloat y = v_fma(n, v_splat(0.693359375f), v_fma(n, v_splat(-2.12194440e-4f), small));
    return v_select(v_gt(v_splat(__builtin_inff()), x), y, x);
}

/* Phi(-t) of the standard normal distribution, for 0 <= t <= 15 or NaN, given e = exp(-t^2 / 2): e A(t) / B(t), fit within
 * 8.4e-9 up to 14, where e still is no zero. All terms are positive: no cancellation. */
FC_INLINE vfloat v_normal_tail(vfloat t, vfloat e) {
    vfloat a = v_splat(0x1.136164p-8f), b = v_splat(0x1.592244p-7f);
    a = v_fma(a, t, v_splat(0x1.54d1acp-5f)), b = v_fma(b, t, v_splat(0x1.ab2e9ap-4f));
    a = v_fma(a, t, v_splat(0x1.811434p-3f)), b = v_fma(b, t, v_splat(0x1.ed3ef2p-2f));
    a = v_fma(a, t, v_splat(0x1.cd66a8p-2f)), b = v_fma(b, t, v_splat(0x1.3c61e4p+0f));
    a = v_fma(a, t, v_splat(0x1.07cedap-1f)), b = v_fma(b, t, v_splat(0x1.b9305ep+0f));
    b = v_fma(b, t, v_splat(0x1.07cedap+0f));
    return e * a / b;
}

/* Phi(x), accurate relative to the result also for negative x, and exp(-x^2 / 2), which is zero from |x| = 15 on. */
FC_INLINE vfloat v_normal_cdf(vfloat x, vfloat *bell) {
    vfloat t = v_min(v_splat(15.0f), v_abs(x));
    *bell = v_exp_clamped(v_splat(-0.5f) * t * t);
    vfloat tail = v_normal_tail(t, *bell);
    return v_select(v_gt(x, v_zero()), v_splat(1.0f) - tail, tail);
}

/* x Phi(x) within 2 eps absolute, in half the time that v_normal_cdf takes: Phi(-t) = 1 / (2 p(t)^8), a form like
 * Abramowitz & Stegun 7.1.28 without an exponential. The fit is for t <= 5.6 (t Phi(-t) within 0.06 eps); beyond, p grows and
 * t Phi(-t) stays below 1e-7 on its way to 0. */
FC_INLINE vfloat v_gelu(vfloat x) {
    vfloat t = v_abs(x), p = v_splat(0x1.69cab8p-24f);
    p = v_fma(p, t, v_splat(-0x1.1a173ap-20f));
    p = v_fma(p, t, v_splat(0x1.fe31a4p-18f));
    p = v_fma(p, t, v_splat(-0x1.8a537ap-16f));
    p = v_fma(p, t, v_splat(0x1.664f56p-14f));
    p = v_fma(p, t, v_splat(0x1.662f94p-13f));
    p = v_fma(p, t, v_splat(0x1.d2c0a8p-11f));
    p = v_fma(p, t, v_splat(0x1.1bb19cp-7f));
    p = v_fma(p, t, v_splat(0x1.6eb968p-5f));
    p = v_fma(p, t, v_splat(0x1.98840ap-4f));
    p = v_fma(p, t, v_splat(1.0f));
    p = p * p;
    p = p * p;
    vfloat tail = v_splat(0.5f) / (p * p);
    return x * v_select(v_gt(x, v_zero()), v_splat(1.0f) - tail, tail);
}
