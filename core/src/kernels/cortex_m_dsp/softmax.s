@ Softmax weights of one query.

@ Adds one more coefficient to four polynomials.
.macro vitreous_horner coefficient
    vmul.f32 s8, s8, s0
    vmul.f32 s9, s9, s1
    vmul.f32 s10, s10, s2
    vmul.f32 s11, s11, s3
    vadd.f32 s8, s8, s\coefficient
    vadd.f32 s9, s9, s\coefficient
    vadd.f32 s10, s10, s\coefficient
    vadd.f32 s11, s11, s\coefficient
.endm

    .pushsection .text.vitreous_dsp_softmax, "ax", %progbits
    .balign 4
@ fn(scores, relative scales, weights, count / 4, constants, &mut sum) -> u32: for each score
@   e = weight_max * 2^(score - largest); sum of round(e); weight = round(e * relative scale).
@ constants: weight_max, largest, then the coefficients of 2^f from the highest power down (s16-s23). Weights
@ of two tokens are a pair of 16 bits, 16 bytes apart. Not zero if a number was a NaN or far too large; then
@ the results have no meaning.
@
@ Where the FPU can round numbers without making integers of them, the sum is one of floats; below 2^24 it is
@ exact.
@
@ 2^x = 2^f * 2^n with n = round(x): n is added to the exponent of 2^f, which is exact. n is cut at -32, where
@ the weight is 0 anyway.
vitreous_function vitreous_dsp_softmax
    push    {r4-r11, lr}
    vpush   {s16-s25}
    ldr     r12, [sp, #76]
    vldmia  r12, {s16-s23}
    mov     lr, #0
    vmov    s24, s25, lr, lr
    vitreous_clear_exceptions r12
1:  vldmia  r0!, {s0-s3}
    vsub.f32 s0, s0, s17
    vsub.f32 s1, s1, s17
    vsub.f32 s2, s2, s17
    vsub.f32 s3, s3, s17
    vcvtr.s32.f32 s4, s0
    vcvtr.s32.f32 s5, s1
    vcvtr.s32.f32 s6, s2
    vcvtr.s32.f32 s7, s3
    vmov    r4, r5, s4, s5
    vmov    r6, r7, s6, s7
    vcvt.f32.s32 s4, s4
    vcvt.f32.s32 s5, s5
    vcvt.f32.s32 s6, s6
    vcvt.f32.s32 s7, s7
    vsub.f32 s0, s0, s4
    vsub.f32 s1, s1, s5
    vsub.f32 s2, s2, s6
    vsub.f32 s3, s3, s7
    vmul.f32 s8, s0, s18
    vmul.f32 s9, s1, s18
    vmul.f32 s10, s2, s18
    vmul.f32 s11, s3, s18
    vadd.f32 s8, s8, s19
    vadd.f32 s9, s9, s19
    vadd.f32 s10, s10, s19
    vadd.f32 s11, s11, s19
    vitreous_horner 20
    vitreous_horner 21
    vitreous_horner 22
    vitreous_horner 23
    ssat    r4, #6, r4
    ssat    r5, #6, r5
    ssat    r6, #6, r6
    ssat    r7, #6, r7
    vmov    r8, r9, s8, s9
    vmov    r10, r11, s10, s11
    add     r8, r8, r4, lsl #23
    add     r9, r9, r5, lsl #23
    add     r10, r10, r6, lsl #23
    add     r11, r11, r7, lsl #23
    vmov    s8, s9, r8, r9
    vmov    s10, s11, r10, r11
    vmul.f32 s8, s8, s16
    vmul.f32 s9, s9, s16
    vmul.f32 s10, s10, s16
    vmul.f32 s11, s11, s16
    vldmia  r1!, {s12-s15}
.if VITREOUS_ARMV8_FPU
    vrintr.f32 s4, s8
    vrintr.f32 s5, s9
    vrintr.f32 s6, s10
    vrintr.f32 s7, s11
    vadd.f32 s4, s4, s5
    vadd.f32 s6, s6, s7
    vadd.f32 s24, s24, s4
    vadd.f32 s25, s25, s6
.else
    vcvtr.s32.f32 s4, s8
    vcvtr.s32.f32 s5, s9
    vcvtr.s32.f32 s6, s10
    vcvtr.s32.f32 s7, s11
    vmov    r4, r5, s4, s5
    vmov    r6, r7, s6, s7
    add     lr, lr, r4
    add     lr, lr, r5
    add     lr, lr, r6
    add     lr, lr, r7
.endif
    vmul.f32 s8, s8, s12
    vmul.f32 s9, s9, s13
    vmul.f32 s10, s10, s14
    vmul.f32 s11, s11, s15
    vcvtr.s32.f32 s8, s8
    vcvtr.s32.f32 s9, s9
    vcvtr.s32.f32 s10, s10
    vcvtr.s32.f32 s11, s11
    vmov    r4, r5, s8, s9
    vmov    r6, r7, s10, s11
    pkhbt   r4, r4, r5, lsl #16
    pkhbt   r6, r6, r7, lsl #16
    str     r4, [r2], #16
    str     r6, [r2], #16
    subs    r3, r3, #1
    bne     1b
    ldr     r12, [sp, #80]
.if VITREOUS_ARMV8_FPU
    vadd.f32 s24, s24, s25
    vcvt.u32.f32 s24, s24
    vstr    s24, [r12]
.else
    str     lr, [r12]
.endif
    vitreous_invalid
    vpop    {s16-s25}
    pop     {r4-r11, pc}
    .size   vitreous_dsp_softmax, . - vitreous_dsp_softmax
    .popsection
