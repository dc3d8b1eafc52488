@ What becomes of a panel's sums: r4-r11, two columns of four rows. Here r12 is the address of the arguments (struct Product).

@ Sets s\a and s\b to the floats of two accumulators.
.macro vitreous_to_float a, b, ra, rb
    vmov    s\a, s\b, \ra, \rb
    vcvt.f32.s32 s\a, s\a
    vcvt.f32.s32 s\b, s\b
.endm

@ s0-s7: f32 of all accumulators.
.macro vitreous_all_to_float
    vitreous_to_float 0, 1, r4, r5
    vitreous_to_float 2, 3, r6, r7
    vitreous_to_float 4, 5, r8, r9
    vitreous_to_float 6, 7, r10, r11
.endm

@ s0-s7 (row by row, two columns each) times the row's scale.
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

@ s0-s7 = accumulators * column scale * row scale + bias; r12: arguments.
.macro vitreous_dequantize
    ldrd    r2, r3, [r12, #PRODUCT_SCALES]
    vitreous_all_to_float
    vldmia  r2!, {s8, s9}
    vldmia  r3!, {s10, s11}
    strd    r2, r3, [r12, #PRODUCT_SCALES]
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

@ Stores s0-s7 as two columns of four rows, the first row last (a single row has a stride of zero); r2: the next column of row 0.
.macro vitreous_store
    ldrd    r2, r3, [r12, #PRODUCT_OUT]
    add     r4, r2, r3
    add     r5, r4, r3
    add     r3, r5, r3
    vstmia  r3, {s6, s7}
    vstmia  r5, {s4, s5}
    vstmia  r4, {s2, s3}
    vstmia  r2!, {s0, s1}
    str     r2, [r12, #PRODUCT_OUT]
.endm

@ The next panel, or the end.
.macro vitreous_next_panel
    vmov    r3, s17
    cmp     r2, r3
    bne     .Lvitreous_panel
    b       .Lvitreous_end
.endm

    .pushsection .text.vitreous_dsp_product, "ax", %progbits
@ Before an epilogue: accumulators less zero point times sum of weights.
vitreous_function vitreous_dsp_with_zero_points
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
    ldr     pc, [r12, #PRODUCT_THEN]

@ Epilogue: f32 results.
vitreous_function vitreous_dsp_to_f32
    vitreous_dequantize
    vitreous_store
    vitreous_next_panel

@ Entry of a number in a table of f16 around its zero entry (r2), -512 to 511.
.macro vitreous_gate_entry r
    ssat    \r, #10, \r
    ldrh    \r, [r2, \r, lsl #1]
.endm
@ s\x times the gate whose f16 is in the lower half of s\gate.
.macro vitreous_gated x, gate
    vcvtb.f32.f16 s\gate, s\gate
    vmul.f32 s\x, s\x, s\gate
.endm

@ Epilogue: GELU, x times its gate, which is entry trunc(128 x) of a table. Truncation saturates and makes 0 of what is no number.
vitreous_function vitreous_dsp_gelu_to_f32
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
    vmov    r4, r5, s8, s9
    vmov    r6, r7, s10, s11
    vmov    r8, r9, s12, s13
    vmov    r10, r11, s14, s15
    ldr     r2, [r12, #PRODUCT_GATE]
    vitreous_gate_entry r4
    vitreous_gate_entry r5
    vitreous_gate_entry r6
    vitreous_gate_entry r7
    vitreous_gate_entry r8
    vitreous_gate_entry r9
    vitreous_gate_entry r10
    vitreous_gate_entry r11
    vmov    s8, s9, r4, r5
    vmov    s10, s11, r6, r7
    vmov    s12, s13, r8, r9
    vmov    s14, s15, r10, r11
    vitreous_gated 0, 8
    vitreous_gated 1, 9
    vitreous_gated 2, 10
    vitreous_gated 3, 11
    vitreous_gated 4, 12
    vitreous_gated 5, 13
    vitreous_gated 6, 14
    vitreous_gated 7, 15
    vitreous_store
    vitreous_next_panel

@ Adds s\x and s\y to the two f16 of s\to, not yet saturated.
.macro vitreous_add_f16 x, y, to
    vcvtb.f32.f16 s12, s\to
    vcvtt.f32.f16 s13, s\to
    vadd.f32 s\x, s12, s\x
    vadd.f32 s\y, s13, s\y
    vcvtb.f16.f32 s\to, s\x
    vcvtt.f16.f32 s\to, s\y
.endm
@ Sets bit 15 or 31 of r12, too, where an f16 of \pair has all bits of its exponent: adding one to the exponent then changes the sign.
.macro vitreous_find_infinite pair
    uadd16  lr, \pair, r0
    eor     lr, lr, \pair
    orr     r12, r12, lr
.endm

@ Epilogue: into the residual stream of f16. Infinity becomes the largest f16, what is no number the lowest.
vitreous_function vitreous_dsp_to_residual
    vitreous_dequantize
    ldrd    r8, r9, [r12, #PRODUCT_OUT]
    add     r10, r8, r9
    add     r11, r10, r9
    add     r9, r11, r9
    ldr     r4, [r8]
    ldr     r5, [r10]
    ldr     r6, [r11]
    ldr     r7, [r9]
    vmov    s8, s9, r4, r5
    vmov    s10, s11, r6, r7
    vitreous_add_f16 0, 1, 8
    vitreous_add_f16 2, 3, 9
    vitreous_add_f16 4, 5, 10
    vitreous_add_f16 6, 7, 11
    vmov    r4, r5, s8, s9
    vmov    r6, r7, s10, s11
    add     r2, r8, #4
    str     r2, [r12, #PRODUCT_OUT]
    mov     r0, #0x04000400
    uadd16  r12, r4, r0
    eor     r12, r12, r4
    vitreous_find_infinite r5
    vitreous_find_infinite r6
    vitreous_find_infinite r7
    tst     r12, #0x80008000
    bne     .Lvitreous_saturate
.Lvitreous_store_residual:
    str     r7, [r9]
    str     r6, [r11]
    str     r5, [r10]
    str     r4, [r8]
    vitreous_next_panel
.Lvitreous_saturate:
    mov     r3, #8
3:  ubfx    r0, r4, #10, #5
    cmp     r0, #31
    bne     4f
    and     r0, r4, #0x8000
    orr     r0, r0, #0x7b00
    lsls    r12, r4, #22
    it      ne
    movne   r0, #0xfb00
    orr     r0, r0, #0xff
    bfi     r4, r0, #0, #16
    @ All eight halves pass by: the halves of a word are swapped, and the words rotate every second time.
4:  ror     r4, r4, #16
    subs    r3, r3, #1
    tst     r3, #1
    bne     3b
    mov     r0, r4
    mov     r4, r5
    mov     r5, r6
    mov     r6, r7
    mov     r7, r0
    cmp     r3, #0
    bne     3b
    b       .Lvitreous_store_residual

@ The larger of s\x and s\largest; what is no number counts for nothing.
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

@ Epilogue: scores and the largest of each query; columns are keys.
vitreous_function vitreous_dsp_to_scores
    vitreous_all_to_float
    ldr     r2, [r12, #PRODUCT_SCALES]
    vldmia  r2!, {s8, s9}
    str     r2, [r12, #PRODUCT_SCALES]
    vitreous_score 0, 1, 20, 24
    vitreous_score 2, 3, 21, 25
    vitreous_score 4, 5, 22, 26
    vitreous_score 6, 7, 23, 27
    vitreous_store
    vitreous_next_panel
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

@ Epilogue: accumulators times the row's scale; panels lie 32 bytes apart, one after the other in each block of sixteen inputs.
vitreous_function vitreous_dsp_to_weighted_sums
    vitreous_all_to_float
    vitreous_times_row_scales
    ldr     r1, [r12, #PRODUCT_PANELS]
    add     r1, r1, #32
    str     r1, [r12, #PRODUCT_PANELS]
    vitreous_store
    vitreous_next_panel
    .popsection
