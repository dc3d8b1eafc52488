@ Epilogues of a panel's sums: r4-r11 hold two columns of four rows. r12 is the address of the arguments
@ (struct Product).

@ s0-s7 = all accumulators as f32; in the second form, column 1 has 8 bits of fraction.
.macro vitreous_all_to_float
    vitreous_even_to_float
    vcvt.f32.s32 s1, s1
    vcvt.f32.s32 s3, s3
    vcvt.f32.s32 s5, s5
    vcvt.f32.s32 s7, s7
.endm
.macro vitreous_paired_to_float
    vitreous_even_to_float
    vcvt.f32.s32 s1, s1, #8
    vcvt.f32.s32 s3, s3, #8
    vcvt.f32.s32 s5, s5, #8
    vcvt.f32.s32 s7, s7, #8
.endm
.macro vitreous_even_to_float
    vmov    s0, s1, r4, r5
    vmov    s2, s3, r6, r7
    vmov    s4, s5, r8, r9
    vmov    s6, s7, r10, r11
    vcvt.f32.s32 s0, s0
    vcvt.f32.s32 s2, s2
    vcvt.f32.s32 s4, s4
    vcvt.f32.s32 s6, s6
.endm

@ Multiplies s0-s7 (row by row, two columns each) by the row's scale.
.macro vitreous_times_row_scales
    vmul.f32 s0, s0, s20
    vmul.f32 s1, s1, s20
    vmul.f32 s2, s2, s21
    vmul.f32 s3, s3, s21
    vmul.f32 s4, s4, s22
    vmul.f32 s5, s5, s22
    vmul.f32 s6, s6, s23
    vmul.f32 s7, s7, s23
.endm

@ Sets r2 and r3 to the next scales and biases, r4-r7 to where the rows' results go, r8 to the end of the
@ first row, and s0-s7 = sums * column scale * row scale + bias.
.macro vitreous_dequantize
    ldmia   r12, {r2-r8}
    vldmia  r2!, {s8, s9}
    vldmia  r3!, {s10, s11}
    vmul.f32 s0, s0, s8
    vmul.f32 s1, s1, s9
    vmul.f32 s2, s2, s8
    vmul.f32 s3, s3, s9
    vmul.f32 s4, s4, s8
    vmul.f32 s5, s5, s9
    vmul.f32 s6, s6, s8
    vmul.f32 s7, s7, s9
    vitreous_times_row_scales
    vadd.f32 s0, s0, s10
    vadd.f32 s1, s1, s11
    vadd.f32 s2, s2, s10
    vadd.f32 s3, s3, s11
    vadd.f32 s4, s4, s10
    vadd.f32 s5, s5, s11
    vadd.f32 s6, s6, s10
    vadd.f32 s7, s7, s11
.endm

@ Stores s0-s7 as two columns of four rows, the first row last (a single row stands in for all four), and goes
@ on with the next panel.
.macro vitreous_store
    vstmia  r7!, {s6, s7}
    vstmia  r6!, {s4, s5}
    vstmia  r5!, {s2, s3}
    vstmia  r4!, {s0, s1}
    vitreous_next_panel
.endm

@ Goes to the next panel or to the end; r2-r8 as above, moved along.
.macro vitreous_next_panel
    stmia   r12, {r2-r7}
    cmp     r4, r8
    bne     .Lvitreous_panel
    b       .Lvitreous_end
.endm

    .pushsection .text.vitreous_dsp_product, "ax", %progbits
@ Before an epilogue: takes zero point times sum of weights off the integer sums; the last entry leaves
@ them as they are.
vitreous_function vitreous_dsp_with_zero_points
    asr     r5, r5, #8
    asr     r7, r7, #8
    asr     r9, r9, #8
    asr     r11, r11, #8
vitreous_function vitreous_dsp_with_zero_points_after_chunks
    ldr     r0, [r12, #PRODUCT_SUMS]
    ldmia   r0!, {r2, r3}
    str     r0, [r12, #PRODUCT_SUMS]
    ldr     r0, [r12, #PRODUCT_ZERO_POINTS]
    mls     r4, r0, r2, r4
    mls     r5, r0, r3, r5
    ldr     r0, [r12, #PRODUCT_ZERO_POINTS + 4]
    mls     r6, r0, r2, r6
    mls     r7, r0, r3, r7
    ldr     r0, [r12, #PRODUCT_ZERO_POINTS + 8]
    mls     r8, r0, r2, r8
    mls     r9, r0, r3, r9
    ldr     r0, [r12, #PRODUCT_ZERO_POINTS + 12]
    mls     r10, r0, r2, r10
    mls     r11, r0, r3, r11
vitreous_function vitreous_dsp_after_chunks
    vitreous_all_to_float
    ldr     pc, [r12, #PRODUCT_THEN]

@ Epilogue: f32 results. Like all epilogues of layers, it has a second entry for sums that are floats already.
vitreous_function vitreous_dsp_to_f32
    vitreous_paired_to_float
vitreous_function vitreous_dsp_floats_to_f32
    vitreous_dequantize
    vitreous_store

@ The larger of s\x and zero (s8); zero for a NaN.
.macro vitreous_relu x
.if VITREOUS_ARMV8_FPU
    vmaxnm.f32 s\x, s\x, s8
.else
    vcmp.f32 s\x, #0
    vmrs    APSR_nzcv, fpscr
    it      le
    vmovle.f32 s\x, s8
.endif
.endm
@ Epilogue: ReLU.
vitreous_function vitreous_dsp_relu_to_f32
    vitreous_paired_to_float
vitreous_function vitreous_dsp_floats_relu_to_f32
    vitreous_dequantize
    mov     r0, #0
    vmov    s8, r0
    vitreous_relu 0
    vitreous_relu 1
    vitreous_relu 2
    vitreous_relu 3
    vitreous_relu 4
    vitreous_relu 5
    vitreous_relu 6
    vitreous_relu 7
    vitreous_store

@ Entry of a number in a table of f16 around its zero entry (lr), -512 to 511.
.macro vitreous_gate_entry r
    ssat    \r, #10, \r
    ldrh    \r, [lr, \r, lsl #1]
.endm
@ s\x times the gate whose f16 is in the lower half of s\gate.
.macro vitreous_gated x, gate
    vcvtb.f32.f16 s\gate, s\gate
    vmul.f32 s\x, s\x, s\gate
.endm

@ Epilogue: GELU, x times its gate, which is entry trunc(128 x) of a table. Truncation saturates and makes 0
@ of a NaN. Gates of the four numbers from s8 on: first the addresses of their entries, then the f16.
.macro vitreous_gates a, b, c, d
    vmov    r0, r9, s\a, s\b
    vmov    r10, r11, s\c, s\d
    vitreous_gate_entry r0
    vitreous_gate_entry r9
    vitreous_gate_entry r10
    vitreous_gate_entry r11
    vmov    s\a, s\b, r0, r9
    vmov    s\c, s\d, r10, r11
.endm
vitreous_function vitreous_dsp_gelu_to_f32
    vitreous_paired_to_float
vitreous_function vitreous_dsp_floats_gelu_to_f32
    vitreous_dequantize
    vmov.f32 s8, s0
    vmov.f32 s9, s1
    vmov.f32 s10, s2
    vmov.f32 s11, s3
    vmov.f32 s12, s4
    vmov.f32 s13, s5
    vmov.f32 s14, s6
    vmov.f32 s15, s7
    vcvt.s32.f32 s8, s8, #7
    vcvt.s32.f32 s9, s9, #7
    vcvt.s32.f32 s10, s10, #7
    vcvt.s32.f32 s11, s11, #7
    vcvt.s32.f32 s12, s12, #7
    vcvt.s32.f32 s13, s13, #7
    vcvt.s32.f32 s14, s14, #7
    vcvt.s32.f32 s15, s15, #7
    ldr     lr, [r12, #PRODUCT_GATE]
    vitreous_gates 8, 9, 10, 11
    vitreous_gates 12, 13, 14, 15
    vitreous_gated 0, 8
    vitreous_gated 1, 9
    vitreous_gated 2, 10
    vitreous_gated 3, 11
    vitreous_gated 4, 12
    vitreous_gated 5, 13
    vitreous_gated 6, 14
    vitreous_gated 7, 15
    vitreous_store

@ Adds s\x and s\y to the two f16 of s\to, not yet saturated.
.macro vitreous_add_f16 x, y, to
    vcvtb.f32.f16 s12, s\to
    vcvtt.f32.f16 s13, s\to
    vadd.f32 s\x, s12, s\x
    vadd.f32 s\y, s13, s\y
    vcvtb.f16.f32 s\to, s\x
    vcvtt.f16.f32 s\to, s\y
.endm
@ Also sets bit 15 or 31 of r12 if an f16 of \pair has all bits of its exponent set: then adding one to the
@ exponent changes the sign.
.macro vitreous_find_infinite pair
    uadd16  r8, \pair, lr
    eor     r8, r8, \pair
    orr     r12, r12, r8
.endm

@ Epilogue: adds to the f16 residual stream. Infinity becomes the largest f16, a NaN the lowest.
vitreous_function vitreous_dsp_to_residual
    vitreous_paired_to_float
vitreous_function vitreous_dsp_floats_to_residual
    vitreous_dequantize
    ldr     r0, [r4]
    ldr     r9, [r5]
    ldr     r10, [r6]
    ldr     r11, [r7]
    vmov    s8, s9, r0, r9
    vmov    s10, s11, r10, r11
    vitreous_add_f16 0, 1, 8
    vitreous_add_f16 2, 3, 9
    vitreous_add_f16 4, 5, 10
    vitreous_add_f16 6, 7, 11
    vmov    r0, r9, s8, s9
    vmov    r10, r11, s10, s11
    mov     lr, #0x04000400
    uadd16  r12, r0, lr
    eor     r12, r12, r0
    vitreous_find_infinite r9
    vitreous_find_infinite r10
    vitreous_find_infinite r11
    tst     r12, #0x80008000
    bne     .Lvitreous_saturate
.Lvitreous_store_residual:
    str     r11, [r7], #4
    str     r10, [r6], #4
    str     r9, [r5], #4
    str     r0, [r4], #4
    ldr     r12, [sp]
    ldr     r8, [r12, #PRODUCT_OUT_END]
    vitreous_next_panel
.Lvitreous_saturate:
    mov     r8, #8
3:  ubfx    r12, r0, #10, #5
    cmp     r12, #31
    bne     4f
    and     r12, r0, #0x8000
    orr     r12, r12, #0x7b00
    lsls    lr, r0, #22
    it      ne
    movne   r12, #0xfb00
    orr     r12, r12, #0xff
    bfi     r0, r12, #0, #16
    @ Visits all eight halves: the halves of a word are swapped, and the words rotate every second time.
4:  ror     r0, r0, #16
    subs    r8, r8, #1
    tst     r8, #1
    bne     3b
    mov     r12, r0
    mov     r0, r9
    mov     r9, r10
    mov     r10, r11
    mov     r11, r12
    cmp     r8, #0
    bne     3b
    b       .Lvitreous_store_residual

@ The larger of s\x and s\largest; a NaN is ignored.
.macro vitreous_larger x, largest
.if VITREOUS_ARMV8_FPU
    vmaxnm.f32 s\largest, s\x, s\largest
.else
    vcmp.f32 s\x, s\largest
    vmrs    APSR_nzcv, fpscr
    bgt     .Lvitreous_larger_\x
.Lvitreous_not_larger_\x:
.endif
.endm
.macro vitreous_note_larger x, largest
.Lvitreous_larger_\x:
    vmov.f32 s\largest, s\x
    b       .Lvitreous_not_larger_\x
.endm
@ Scores s\x and s\y of a query and two keys.
.macro vitreous_score x, y, query, largest
    vmul.f32 s10, s\query, s8
    vmul.f32 s11, s\query, s9
    vmul.f32 s\x, s\x, s10
    vmul.f32 s\y, s\y, s11
    vitreous_larger \x, \largest
    vitreous_larger \y, \largest
.endm

@ Epilogue: scores, and the largest score of each query; columns are keys.
vitreous_function vitreous_dsp_to_scores
    vitreous_paired_to_float
vitreous_function vitreous_dsp_floats_to_scores
    ldmia   r12, {r2-r8}
    vldmia  r2!, {s8, s9}
    vitreous_score 0, 1, 20, 24
    vitreous_score 2, 3, 21, 25
    vitreous_score 4, 5, 22, 26
    vitreous_score 6, 7, 23, 27
    vitreous_store
.if VITREOUS_ARMV8_FPU == 0
    vitreous_note_larger 0, 24
    vitreous_note_larger 1, 24
    vitreous_note_larger 2, 25
    vitreous_note_larger 3, 25
    vitreous_note_larger 4, 26
    vitreous_note_larger 5, 26
    vitreous_note_larger 6, 27
    vitreous_note_larger 7, 27
.endif

@ Epilogue: accumulators times the row's scale. Panels lie 32 bytes apart, one after the other within each
@ block of sixteen inputs.
vitreous_function vitreous_dsp_to_weighted_sums
    vitreous_all_to_float
    vitreous_times_row_scales
    ldmia   r12, {r2-r8}
    vmov    r1, s18
    add     r1, r1, #32
    vmov    s18, r1
    vitreous_store
    .popsection
