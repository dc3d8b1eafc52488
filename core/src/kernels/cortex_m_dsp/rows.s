@ Row operations: maxima, quantization, layer norm, softmax. All take whole groups; Rust does the rest of a
@ row.

@ Notes \x if twice \x, without its sign, is above r3. As an integer, |x| orders as |x| does, and a NaN is
@ above all others. This case is rare, so it is done out of line.
.macro vitreous_larger_magnitude x, at
    cmp     r3, \x, lsl #1
    blo     .Lvitreous_magnitude_\at\()_\x
.Lvitreous_not_larger_magnitude_\at\()_\x:
.endm
.macro vitreous_note_magnitude x, at
.Lvitreous_magnitude_\at\()_\x:
    lsl     r3, \x, #1
    b       .Lvitreous_not_larger_magnitude_\at\()_\x
.endm

@ How quantization of a row begins. s9 = the largest of r2 times eight magnitudes at r0, the one whose bits r3
@ holds, and 2^-40; s8 = 127 divided by it. Returns 0 at once if it is infinite or NaN.
.macro vitreous_row_factor at
    push    {r4-r11, lr}
    mov     r12, r0
    mov     lr, r2
    lsl     r3, r3, #1
1:  ldmia   r12!, {r4-r11}
    vitreous_larger_magnitude r4, \at
    vitreous_larger_magnitude r5, \at
    vitreous_larger_magnitude r6, \at
    vitreous_larger_magnitude r7, \at
    vitreous_larger_magnitude r8, \at
    vitreous_larger_magnitude r9, \at
    vitreous_larger_magnitude r10, \at
    vitreous_larger_magnitude r11, \at
    subs    lr, lr, #1
    bne     1b
    lsr     r3, r3, #1
    cmp     r3, #0x7f800000
    bhs     3f
    cmp     r3, #0x2b800000
    it      lo
    movlo   r3, #0x2b800000
    movw    r4, #0
    movt    r4, #0x42fe
    vmov    s8, s9, r4, r3
    vdiv.f32 s8, s8, s9
    vitreous_clear_exceptions r3
.endm
@ How it ends: r0 = the bits of s9, or 0 if an operation was invalid.
.macro vitreous_row_result at
    vitreous_invalid
    cbnz    r0, 3f
    vmov    r0, s9
    pop     {r4-r11, pc}
3:  mov     r0, #0
    pop     {r4-r11, pc}
    vitreous_note_magnitude r4, \at
    vitreous_note_magnitude r5, \at
    vitreous_note_magnitude r6, \at
    vitreous_note_magnitude r7, \at
    vitreous_note_magnitude r8, \at
    vitreous_note_magnitude r9, \at
    vitreous_note_magnitude r10, \at
    vitreous_note_magnitude r11, \at
.endm

@ The same with sign.
.macro vitreous_larger_positive x
    cmp     r3, \x
    blt     .Lvitreous_positive_\x
.Lvitreous_not_larger_positive_\x:
.endm
.macro vitreous_note_positive x
.Lvitreous_positive_\x:
    mov     r3, \x
    b       .Lvitreous_not_larger_positive_\x
.endm

    .pushsection .text.vitreous_dsp_largest, "ax", %progbits
    .balign 4
@ fn(x, count / 8) -> u32: bits of the largest element, or zero if none is above zero. A NaN may be lost or
@ win.
vitreous_function vitreous_dsp_largest
.if VITREOUS_ARMV8_FPU
    mov     r3, #0
    vmov    s8, r3
    vmov    s9, r3
1:  vldmia  r0!, {s0-s7}
    vmaxnm.f32 s8, s8, s0
    vmaxnm.f32 s9, s9, s1
    vmaxnm.f32 s8, s8, s2
    vmaxnm.f32 s9, s9, s3
    vmaxnm.f32 s8, s8, s4
    vmaxnm.f32 s9, s9, s5
    vmaxnm.f32 s8, s8, s6
    vmaxnm.f32 s9, s9, s7
    subs    r1, r1, #1
    bne     1b
    vmaxnm.f32 s8, s8, s9
    vmov    r0, s8
    bx      lr
.else
    push    {r4-r11, lr}
    mov     r3, #0
1:  ldmia   r0!, {r4-r11}
    vitreous_larger_positive r4
    vitreous_larger_positive r5
    vitreous_larger_positive r6
    vitreous_larger_positive r7
    vitreous_larger_positive r8
    vitreous_larger_positive r9
    vitreous_larger_positive r10
    vitreous_larger_positive r11
    subs    r1, r1, #1
    bne     1b
    mov     r0, r3
    pop     {r4-r11, pc}
    vitreous_note_positive r4
    vitreous_note_positive r5
    vitreous_note_positive r6
    vitreous_note_positive r7
    vitreous_note_positive r8
    vitreous_note_positive r9
    vitreous_note_positive r10
    vitreous_note_positive r11
.endif
    .size   vitreous_dsp_largest, . - vitreous_dsp_largest
    .popsection

@ r4-r11 = eight elements times s8, rounded to nearest even (VCVTR follows FPSCR, whose default that is).
.macro vitreous_scaled_eight
    vldmia  r0!, {s0-s7}
    vmul.f32 s0, s0, s8
    vmul.f32 s1, s1, s8
    vmul.f32 s2, s2, s8
    vmul.f32 s3, s3, s8
    vmul.f32 s4, s4, s8
    vmul.f32 s5, s5, s8
    vmul.f32 s6, s6, s8
    vmul.f32 s7, s7, s8
.endm
.macro vitreous_rounded_eight
    vcvtr.s32.f32 s0, s0
    vcvtr.s32.f32 s1, s1
    vcvtr.s32.f32 s2, s2
    vcvtr.s32.f32 s3, s3
    vcvtr.s32.f32 s4, s4
    vcvtr.s32.f32 s5, s5
    vcvtr.s32.f32 s6, s6
    vcvtr.s32.f32 s7, s7
    vmov    r4, r5, s0, s1
    vmov    r6, r7, s2, s3
    vmov    r8, r9, s4, s5
    vmov    r10, r11, s6, s7
.endm
@ Stores the low bytes of r4-r11.
.macro vitreous_store_eight
    bfi     r4, r5, #8, #8
    bfi     r4, r6, #16, #8
    bfi     r4, r7, #24, #8
    bfi     r8, r9, #8, #8
    bfi     r8, r10, #16, #8
    bfi     r8, r11, #24, #8
    str     r4, [r1], #4
    str     r8, [r1], #4
.endm
@ Clears the sticky exceptions.
.macro vitreous_clear_exceptions r
    vmrs    \r, fpscr
    bic     \r, \r, #0x9f
    vmsr    fpscr, \r
.endm
@ r0 is not zero if an operation was invalid since then: a conversion of a NaN, or of a number beyond an i32.
.macro vitreous_invalid
    vmrs    r0, fpscr
    and     r0, r0, #1
.endm

    .pushsection .text.vitreous_dsp_quantize, "ax", %progbits
    .balign 4
@ fn(x, codes, count / 8, bits of another magnitude of the row) -> u32: writes the row's codes, and returns
@ the bits of its largest magnitude, or 0 if a number was infinite or NaN.
vitreous_function vitreous_dsp_quantize
    vitreous_row_factor row
2:  vitreous_scaled_eight
    vitreous_rounded_eight
    vitreous_store_eight
    subs    r2, r2, #1
    bne     2b
    vitreous_row_result row
    .size   vitreous_dsp_quantize, . - vitreous_dsp_quantize
    .popsection

    .pushsection .text.vitreous_dsp_quantize_pairs, "ax", %progbits
    .balign 4
@ fn(x, codes, count / 8, bits of another magnitude, second, next) -> u32: the same, but every second code
@ lies `second` bytes behind the one before, and a pair `next` bytes behind the last.
vitreous_function vitreous_dsp_quantize_pairs
    vitreous_row_factor pairs
    ldrd    r3, lr, [sp, #36]
    add     r12, r3, lr
2:  vitreous_scaled_eight
    vitreous_rounded_eight
    strb    r4, [r1]
    strb    r5, [r1, r3]
    strb    r6, [r1, lr]
    strb    r7, [r1, r12]
    add     r1, r1, lr, lsl #1
    strb    r8, [r1]
    strb    r9, [r1, r3]
    strb    r10, [r1, lr]
    strb    r11, [r1, r12]
    add     r1, r1, lr, lsl #1
    subs    r2, r2, #1
    bne     2b
    vitreous_row_result pairs
    .size   vitreous_dsp_quantize_pairs, . - vitreous_dsp_quantize_pairs
    .popsection

    .pushsection .text.vitreous_dsp_quantize_above, "ax", %progbits
    .balign 4
@ fn(x, codes, count / 8, bits of factor, bits of zero_point) -> u32: round(x * factor + zero_point), -128 to
@ 127. Not zero as above.
vitreous_function vitreous_dsp_quantize_above
    push    {r4-r11, lr}
    vmov    s8, r3
    vldr    s9, [sp, #36]
    vitreous_clear_exceptions r3
1:  vitreous_scaled_eight
    vadd.f32 s0, s0, s9
    vadd.f32 s1, s1, s9
    vadd.f32 s2, s2, s9
    vadd.f32 s3, s3, s9
    vadd.f32 s4, s4, s9
    vadd.f32 s5, s5, s9
    vadd.f32 s6, s6, s9
    vadd.f32 s7, s7, s9
    vitreous_rounded_eight
    ssat    r4, #8, r4
    ssat    r5, #8, r5
    ssat    r6, #8, r6
    ssat    r7, #8, r7
    ssat    r8, #8, r8
    ssat    r9, #8, r9
    ssat    r10, #8, r10
    ssat    r11, #8, r11
    vitreous_store_eight
    subs    r2, r2, #1
    bne     1b
    vitreous_invalid
    pop     {r4-r11, pc}
    .size   vitreous_dsp_quantize_above, . - vitreous_dsp_quantize_above
    .popsection

    .pushsection .text.vitreous_dsp_widen, "ax", %progbits
    .balign 4
@ fn(x, out, count / 8): out = x, widened.
vitreous_function vitreous_dsp_widen
1:  vldmia  r0!, {s0-s3}
    vcvtb.f32.f16 s8, s0
    vcvtt.f32.f16 s9, s0
    vcvtb.f32.f16 s10, s1
    vcvtt.f32.f16 s11, s1
    vcvtb.f32.f16 s12, s2
    vcvtt.f32.f16 s13, s2
    vcvtb.f32.f16 s14, s3
    vcvtt.f32.f16 s15, s3
    vstmia  r1!, {s8-s15}
    subs    r2, r2, #1
    bne     1b
    bx      lr
    .size   vitreous_dsp_widen, . - vitreous_dsp_widen
    .popsection

@ Also sets bit 15 or 31 of r3 if an f16 of \pair has all bits of its exponent set; r12 is 0x04000400.
.macro vitreous_note_infinite pair, temporary
    uadd16  \temporary, \pair, r12
    eor     \temporary, \temporary, \pair
    orr     r3, r3, \temporary
.endm
    .pushsection .text.vitreous_dsp_narrow, "ax", %progbits
    .balign 4
@ fn(x, out, count / 8) -> u32: out = x as f16. Not zero if one of them became infinite or NaN.
vitreous_function vitreous_dsp_narrow
    push    {r4-r7, lr}
    mov     r3, #0
    mov     r12, #0x04000400
1:  vldmia  r0!, {s0-s7}
    vcvtb.f16.f32 s8, s0
    vcvtt.f16.f32 s8, s1
    vcvtb.f16.f32 s9, s2
    vcvtt.f16.f32 s9, s3
    vcvtb.f16.f32 s10, s4
    vcvtt.f16.f32 s10, s5
    vcvtb.f16.f32 s11, s6
    vcvtt.f16.f32 s11, s7
    vmov    r4, r5, s8, s9
    vmov    r6, r7, s10, s11
    stmia   r1!, {r4-r7}
    vitreous_note_infinite r4, lr
    vitreous_note_infinite r5, lr
    vitreous_note_infinite r6, lr
    vitreous_note_infinite r7, lr
    subs    r2, r2, #1
    bne     1b
    and     r0, r3, #0x80008000
    pop     {r4-r7, pc}
    .size   vitreous_dsp_narrow, . - vitreous_dsp_narrow
    .popsection

@ s0 = the sixteen partial sums s16-s31, as a tree over halves.
.macro vitreous_tree
    vadd.f32 s0, s16, s24
    vadd.f32 s1, s17, s25
    vadd.f32 s2, s18, s26
    vadd.f32 s3, s19, s27
    vadd.f32 s4, s20, s28
    vadd.f32 s5, s21, s29
    vadd.f32 s6, s22, s30
    vadd.f32 s7, s23, s31
    vadd.f32 s0, s0, s4
    vadd.f32 s1, s1, s5
    vadd.f32 s2, s2, s6
    vadd.f32 s3, s3, s7
    vadd.f32 s0, s0, s2
    vadd.f32 s1, s1, s3
    vadd.f32 s0, s0, s1
.endm
@ Takes the mean s15 off eight elements; s0-s7 = their squares.
.macro vitreous_squares_of_eight
    vldmia  r0, {s0-s7}
    vsub.f32 s0, s0, s15
    vsub.f32 s1, s1, s15
    vsub.f32 s2, s2, s15
    vsub.f32 s3, s3, s15
    vsub.f32 s4, s4, s15
    vsub.f32 s5, s5, s15
    vsub.f32 s6, s6, s15
    vsub.f32 s7, s7, s15
    vstmia  r0!, {s0-s7}
    vmul.f32 s0, s0, s0
    vmul.f32 s1, s1, s1
    vmul.f32 s2, s2, s2
    vmul.f32 s3, s3, s3
    vmul.f32 s4, s4, s4
    vmul.f32 s5, s5, s5
    vmul.f32 s6, s6, s6
    vmul.f32 s7, s7, s7
.endm

    .pushsection .text.vitreous_dsp_norm, "ax", %progbits
    .balign 4
.Lvitreous_zeros:
    .fill   8, 4, 0
@ fn(x, out, count / 16) -> u32: out = x, widened; the bits of their sum in the canonical order.
vitreous_function vitreous_dsp_norm_sum
    vpush   {s16-s31}
    adr     r3, .Lvitreous_zeros
    vldmia  r3, {s16-s23}
    vldmia  r3, {s24-s31}
1:  vldmia  r0!, {s0-s3}
    vcvtb.f32.f16 s8, s0
    vcvtt.f32.f16 s9, s0
    vcvtb.f32.f16 s10, s1
    vcvtt.f32.f16 s11, s1
    vcvtb.f32.f16 s12, s2
    vcvtt.f32.f16 s13, s2
    vcvtb.f32.f16 s14, s3
    vcvtt.f32.f16 s15, s3
    vstmia  r1!, {s8-s15}
    vadd.f32 s16, s16, s8
    vadd.f32 s17, s17, s9
    vadd.f32 s18, s18, s10
    vadd.f32 s19, s19, s11
    vadd.f32 s20, s20, s12
    vadd.f32 s21, s21, s13
    vadd.f32 s22, s22, s14
    vadd.f32 s23, s23, s15
    vldmia  r0!, {s0-s3}
    vcvtb.f32.f16 s8, s0
    vcvtt.f32.f16 s9, s0
    vcvtb.f32.f16 s10, s1
    vcvtt.f32.f16 s11, s1
    vcvtb.f32.f16 s12, s2
    vcvtt.f32.f16 s13, s2
    vcvtb.f32.f16 s14, s3
    vcvtt.f32.f16 s15, s3
    vstmia  r1!, {s8-s15}
    vadd.f32 s24, s24, s8
    vadd.f32 s25, s25, s9
    vadd.f32 s26, s26, s10
    vadd.f32 s27, s27, s11
    vadd.f32 s28, s28, s12
    vadd.f32 s29, s29, s13
    vadd.f32 s30, s30, s14
    vadd.f32 s31, s31, s15
    subs    r2, r2, #1
    bne     1b
.Lvitreous_sum_partials:
    vitreous_tree
    vpop    {s16-s31}
    vmov    r0, s0
    bx      lr

@ fn(out, count / 16, bits of mean) -> u32: out -= mean; the bits of the sum of squares in the canonical
@ order.
vitreous_function vitreous_dsp_norm_squares
    vpush   {s16-s31}
    adr     r3, .Lvitreous_zeros
    vldmia  r3, {s16-s23}
    vldmia  r3, {s24-s31}
    vmov    s15, r2
1:  vitreous_squares_of_eight
    vadd.f32 s16, s16, s0
    vadd.f32 s17, s17, s1
    vadd.f32 s18, s18, s2
    vadd.f32 s19, s19, s3
    vadd.f32 s20, s20, s4
    vadd.f32 s21, s21, s5
    vadd.f32 s22, s22, s6
    vadd.f32 s23, s23, s7
    vitreous_squares_of_eight
    vadd.f32 s24, s24, s0
    vadd.f32 s25, s25, s1
    vadd.f32 s26, s26, s2
    vadd.f32 s27, s27, s3
    vadd.f32 s28, s28, s4
    vadd.f32 s29, s29, s5
    vadd.f32 s30, s30, s6
    vadd.f32 s31, s31, s7
    subs    r1, r1, #1
    bne     1b
    b       .Lvitreous_sum_partials

@ fn(out, gamma, beta, count / 16, bits of factor): out = out * factor * gamma + beta.
vitreous_function vitreous_dsp_norm_scale
    vpush   {s16-s23}
    vldr    s16, [sp, #32]
    lsl     r3, r3, #1
1:  vldmia  r0, {s0-s7}
    vldmia  r1!, {s8-s15}
    vmul.f32 s0, s0, s16
    vmul.f32 s1, s1, s16
    vmul.f32 s2, s2, s16
    vmul.f32 s3, s3, s16
    vmul.f32 s4, s4, s16
    vmul.f32 s5, s5, s16
    vmul.f32 s6, s6, s16
    vmul.f32 s7, s7, s16
    vmul.f32 s0, s0, s8
    vmul.f32 s1, s1, s9
    vmul.f32 s2, s2, s10
    vmul.f32 s3, s3, s11
    vmul.f32 s4, s4, s12
    vmul.f32 s5, s5, s13
    vmul.f32 s6, s6, s14
    vmul.f32 s7, s7, s15
    vldmia  r2!, {s8-s15}
    vadd.f32 s0, s0, s8
    vadd.f32 s1, s1, s9
    vadd.f32 s2, s2, s10
    vadd.f32 s3, s3, s11
    vadd.f32 s4, s4, s12
    vadd.f32 s5, s5, s13
    vadd.f32 s6, s6, s14
    vadd.f32 s7, s7, s15
    vstmia  r0!, {s0-s7}
    subs    r3, r3, #1
    bne     1b
    vpop    {s16-s23}
    bx      lr
    .size   vitreous_dsp_norm_sum, . - vitreous_dsp_norm_sum
    .popsection
