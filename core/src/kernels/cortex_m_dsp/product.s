@ Matrix products of bytes by pairs of 16 bits: four rows by two columns in eight accumulators, or one row by two columns.
@
@ Rows ("activations") lie in pairs of 16 bits, (k, k+1), the four rows of a block side by side: 8 bytes per input and block. Weights
@ stay bytes, two columns of an input side by side. With "paired" weights those two bytes are one 16-bit number c0 + 256 c1: SMLAD with
@ the word as it is sums up c0 + 256 c1, with the bytes that SXTB16 takes out of it c0, and the difference is 256 times the sum of c1.
@ Two inputs thus cost 1 load of weights, 1 instruction to unpack them, 2 loads of activations (LDRD) and 8 SMLAD, for 16
@ multiply-accumulates. The difference fits 32 bits for 511 inputs; more are done in chunks.
@
@ In the inner loop every register is taken:
@   r0 activations, r1 weights, r2 r3 activations of two rows, r12 lr weights, r4-r11 accumulators (r4 r5: row 0, columns 0 1; ...).
@ What is needed once per panel waits in the arguments (struct Product, whose address is at the stack's top) and in the FPU:
@   s16 end of the activations, s17 end of the first row's results, s18 step from a block of values to the next,
@   s20-s23 a scale for each row, s24-s27 the largest score of each, s28-s31 sums of column 1 in the chunks before.

.equ PRODUCT_ACTIVATIONS, 32        @ behind eight zeros
.equ PRODUCT_INNER, 36
.equ PRODUCT_EPILOGUE, 40
.equ PRODUCT_ACTIVATIONS_END, 44
.equ PRODUCT_PANELS, 48
.equ PRODUCT_SCALES, 52
.equ PRODUCT_BIAS, 56
.equ PRODUCT_OUT, 60
.equ PRODUCT_STRIDE, 64
.equ PRODUCT_OUT_END, 68
.equ PRODUCT_ROW_SCALES, 72
.equ PRODUCT_LARGEST, 88
.equ PRODUCT_ZERO_POINTS, 104
.equ PRODUCT_SUMS, 120
.equ PRODUCT_THEN, 124
.equ PRODUCT_BLOCK_STEP, 128
.equ PRODUCT_GATE, 132
.equ PRODUCT_FIRST_END, 136
.equ PRODUCT_CHUNK, 140
.equ PRODUCT_CHUNK_INNER, 144
.equ PRODUCT_AFTER_CHUNKS, 148

@ Two inputs of four rows and two columns. Immediate offsets on cores of two issues; elsewhere the pointers move along.
.macro vitreous_step at, paired
.if VITREOUS_DUAL_ISSUE
    ldr     r12, [r1, #4 * \at]
    ldr     r2, [r0, #16 * \at]
    ldr     r3, [r0, #16 * \at + 4]
.else
    ldr     r12, [r1], #4
    ldrd    r2, r3, [r0], #8
.endif
    sxtb16  lr, r12
.if \paired == 0
    sxtb16  r12, r12, ror #8
.endif
    smlad   r4, r2, lr, r4
    smlad   r5, r2, r12, r5
    smlad   r6, r3, lr, r6
    smlad   r7, r3, r12, r7
.if VITREOUS_DUAL_ISSUE
    ldr     r2, [r0, #16 * \at + 8]
    ldr     r3, [r0, #16 * \at + 12]
.else
    ldrd    r2, r3, [r0], #8
.endif
    smlad   r8, r2, lr, r8
    smlad   r9, r2, r12, r9
    smlad   r10, r3, lr, r10
    smlad   r11, r3, r12, r11
.endm

@ Sixteen inputs.
.macro vitreous_steps first, paired
    vitreous_step \first, \paired
    vitreous_step (\first + 1), \paired
    vitreous_step (\first + 2), \paired
    vitreous_step (\first + 3), \paired
    vitreous_step (\first + 4), \paired
    vitreous_step (\first + 5), \paired
    vitreous_step (\first + 6), \paired
    vitreous_step (\first + 7), \paired
.endm

.macro vitreous_function name
    .global \name
    .type   \name, %function
    .thumb_func
\name:
.endm

    .pushsection .text.vitreous_dsp_product, "ax", %progbits
    .balign 4
@ fn(&mut Product)
vitreous_function vitreous_dsp_product
    push    {r4-r11, lr}
    vpush   {s16-s31}
    push    {r0}
    vldmia  r0, {s28-s31}
    vldr    s16, [r0, #PRODUCT_FIRST_END]
    vldr    s17, [r0, #PRODUCT_OUT_END]
    vldr    s18, [r0, #PRODUCT_BLOCK_STEP]
    add     r1, r0, #PRODUCT_ROW_SCALES
    vldmia  r1, {s20-s27}
    ldr     r1, [r0, #PRODUCT_PANELS]
.Lvitreous_panel:
    ldr     r12, [sp]
    ldmia   r12!, {r4-r11}
    ldrd    r0, r2, [r12]
    bx      r2
.Lvitreous_end:
    ldr     r0, [sp], #4
    add     r0, r0, #PRODUCT_LARGEST
    vstmia  r0, {s24-s27}
    vpop    {s16-s31}
    pop     {r4-r11, pc}

@ Inner loop of four rows, 32 inputs a turn. With an odd number of sixteens it is entered in the middle.
vitreous_function vitreous_dsp_four_rows_from_middle
.if VITREOUS_DUAL_ISSUE
    sub     r0, r0, #128
    sub     r1, r1, #32
.endif
    b       2f
vitreous_function vitreous_dsp_four_rows
1:  vitreous_steps 0, 1
2:  vitreous_steps 8, 1
.if VITREOUS_DUAL_ISSUE
    add     r0, r0, #256
    add     r1, r1, #64
.endif
    vmov    r2, s16
    cmp     r0, r2
    bne     1b
.Lvitreous_unpair:
    sub     r5, r5, r4
    sub     r7, r7, r6
    sub     r9, r9, r8
    sub     r11, r11, r10
    asr     r5, r5, #8
    asr     r7, r7, #8
    asr     r9, r9, #8
    asr     r11, r11, #8
    ldr     r12, [sp]
    ldr     pc, [r12, #PRODUCT_EPILOGUE]

@ Values: their inputs are tokens, and sixteen inputs of a panel are followed by those of other panels. Not paired, since softmax weights
@ of 15 bits leave no room for it. Up to eight tokens that are left take the second half of the loop alone: where there are any, this
@ comes again before the epilogue.
vitreous_function vitreous_dsp_half_block
    ldr     r12, [sp]
    ldr     r2, [r12, #PRODUCT_ACTIVATIONS_END]
    cmp     r0, r2
    beq     5f
    vmov    s16, r2
.if VITREOUS_DUAL_ISSUE
    sub     r0, r0, #64
    sub     r1, r1, #16
.endif
    b       2f
5:  vldr    s16, [r12, #PRODUCT_FIRST_END]
    ldr     pc, [r12, #PRODUCT_THEN]
vitreous_function vitreous_dsp_four_rows_in_blocks
1:  vitreous_step 0, 0
    vitreous_step 1, 0
    vitreous_step 2, 0
    vitreous_step 3, 0
2:  vitreous_step 4, 0
    vitreous_step 5, 0
    vitreous_step 6, 0
    vitreous_step 7, 0
.if VITREOUS_DUAL_ISSUE
    add     r0, r0, #128
.endif
    vmov    r2, s18
    add     r1, r1, r2
    vmov    r2, s16
    cmp     r0, r2
    bne     1b
    ldr     r12, [sp]
    ldr     pc, [r12, #PRODUCT_EPILOGUE]

@ Inner loop of one row, 16 inputs a turn; what the other accumulators hold becomes results that are overwritten.
.macro vitreous_single activations
    ldr     r12, [r1], #4
    sxtb16  lr, r12
    smlad   r4, \activations, lr, r4
    smlad   r5, \activations, r12, r5
.endm
vitreous_function vitreous_dsp_one_row
1:  ldmia   r0!, {r6-r9}
    vitreous_single r6
    vitreous_single r7
    vitreous_single r8
    vitreous_single r9
    ldmia   r0!, {r6-r9}
    vitreous_single r6
    vitreous_single r7
    vitreous_single r8
    vitreous_single r9
    vmov    r2, s16
    cmp     r0, r2
    bne     1b
    b       .Lvitreous_unpair

@ Before an epilogue: behind a chunk of inputs. The next one begins as if column 1 had been zero so far.
vitreous_function vitreous_dsp_next_chunk
    vmov    r2, r3, s28, s29
    add     r5, r5, r2
    add     r7, r7, r3
    vmov    r2, r3, s30, s31
    add     r9, r9, r2
    add     r11, r11, r3
    ldr     r2, [r12, #PRODUCT_ACTIVATIONS_END]
    cmp     r0, r2
    beq     5f
    vmov    s28, s29, r5, r7
    vmov    s30, s31, r9, r11
    mov     r5, r4
    mov     r7, r6
    mov     r9, r8
    mov     r11, r10
    ldr     r2, [r12, #PRODUCT_CHUNK]
    add     r2, r2, r0
    vmov    s16, r2
    ldr     pc, [r12, #PRODUCT_CHUNK_INNER]
5:  vldmia  r12, {s28-s31}
    vldr    s16, [r12, #PRODUCT_FIRST_END]
    ldr     pc, [r12, #PRODUCT_AFTER_CHUNKS]

    .size   vitreous_dsp_product, . - vitreous_dsp_product
    .popsection

    .pushsection .text.vitreous_dsp_pack, "ax", %progbits
    .balign 4
@ fn(rows, pitch, to, inputs / 4): four rows of bytes as pairs of 16 bits, side by side.
vitreous_function vitreous_dsp_pack
    push    {r4-r11, lr}
    add     lr, r1, r1, lsl #1
1:  ldr     r4, [r0]
    ldr     r6, [r0, r1]
    ldr     r8, [r0, r1, lsl #1]
    ldr     r10, [r0, lr]
    add     r0, r0, #4
    sxtb16  r11, r10, ror #8
    sxtb16  r10, r10
    sxtb16  r9, r8, ror #8
    sxtb16  r8, r8
    sxtb16  r7, r6, ror #8
    sxtb16  r6, r6
    sxtb16  r5, r4, ror #8
    sxtb16  r4, r4
    pkhtb   r12, r11, r10, asr #16
    pkhbt   r10, r10, r11, lsl #16
    pkhtb   r11, r9, r8, asr #16
    pkhbt   r8, r8, r9, lsl #16
    pkhtb   r9, r7, r6, asr #16
    pkhbt   r6, r6, r7, lsl #16
    pkhtb   r7, r5, r4, asr #16
    pkhbt   r4, r4, r5, lsl #16
    stmia   r2!, {r4, r6, r8, r10}
    stmia   r2!, {r7, r9, r11, r12}
    subs    r3, r3, #1
    bne     1b
    pop     {r4-r11, pc}
    .size   vitreous_dsp_pack, . - vitreous_dsp_pack
    .popsection
