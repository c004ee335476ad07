/* vec_math.h - exp, expm1, log, log1p, tanh, sigmoid and erf on vectors, without branches or tables.
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

/* exp for x in [-104, 89] or NaN. */
FC_INLINE vfloat v_exp_clamped(vfloat x) {
    vfloat n, r = v_reduce_ln2(x, &n);
    return v_scale(v_expm1_small(r) + v_splat(1.0f), n);
}

/* Beyond 88.73 the result is inf, below -103.98 zero, between it and -87.34 denormal: the clamps keep all of that. */
FC_INLINE vfloat v_exp(vfloat x) { return v_exp_clamped(v_max(v_splat(-104.0f), v_min(v_splat(89.0f), x))); }

/* exp of x <= 0 or NaN: one clamp less. */
FC_INLINE vfloat v_exp_negative(vfloat x) { return v_exp_clamped(v_max(v_splat(-104.0f), x)); }

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
    vfloat one = v_splat(1.0f);
    vfloat e = v_exp_negative(v_from_bits(v_bits(x) | vi_splat((int32_t)0x80000000)));
    return v_select(v_ge(x, v_zero()), one, e) / (one + e);
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

/* erf(x) = x P(x^2) / Q(x^2) for |x| <= 3.925, where it reaches 1 - u / 2: fit within 5.8e-8. All terms are positive. */
FC_INLINE vfloat v_erf(vfloat x) {
    vfloat bound = v_splat(3.925f), one = v_splat(1.0f);
    x = v_max(v_splat(-3.925f), v_min(bound, x));
    vfloat z = x * x;
    vfloat p = v_splat(2.0460285e-6f), q = v_splat(3.8047631e-5f);
    p = v_fma(p, z, v_splat(2.8484054e-4f)), q = v_fma(q, z, v_splat(1.1638345e-3f));
    p = v_fma(p, z, v_splat(3.7724612e-3f)), q = v_fma(q, z, v_splat(1.4983019e-2f));
    p = v_fma(p, z, v_splat(5.2769052e-2f)), q = v_fma(q, z, v_splat(0.11418190f));
    p = v_fma(p, z, v_splat(0.19059183f)), q = v_fma(q, z, v_splat(0.50224034f));
    p = v_fma(p, z, v_splat(1.1283791f)), q = v_fma(q, z, one);
    return v_max(-one, v_min(one, x * p / q));
}
