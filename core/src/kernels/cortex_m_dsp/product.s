@ Matrix products of bytes, as pairs of 16-bit numbers: four rows by two columns in eight accumulators, or one
@ row by two columns.
@
@ Rows ("activations") are pairs of 16-bit numbers, (k, k+1), the four rows of a block side by side: 8 bytes
@ per input and block. Weights stay bytes, two columns of an input side by side. With "paired" weights these
@ two bytes are one 16-bit number c0 + 256 c1. SMLAD with the word as it is sums up c0 + 256 c1; SMLAD with
@ the bytes that SXTB16 takes out of it sums up c0. The difference is 256 times the sum of c1. Two inputs thus
@ cost 1 instruction for the weights' word, 1 to unpack it, 1 load of all activations (LDM) and 8 SMLAD, for
@ 16 multiply-accumulates. The difference fits 32 bits for up to 511 inputs; more inputs are summed in chunks.
@
@ In the inner loop every register is taken:
@   r0 activations, r1 weights, r2 r3 r12 lr activations of four rows, r4-r11 accumulators (r4 r5: row 0,
@   columns 0 1; ...).
@ So the weights of 32 inputs wait in s0-s15, and the pointer to the next ones waits in the FPU as well. The
@ Cortex-M7 issues two instructions at a time, but none beside a load of four registers. There r1 points to
@ the weights, r12 and lr hold two of them, and activations come in r2 and r3, two by two. What is needed once
@ per panel waits in the arguments and in the FPU. The arguments are struct Product; the top of the stack is
@ the address of its `scales`, from which offsets count. In the FPU:
@   s17 step from a block of values to the next, s18 weights, s19 end of the activations, s20-s23 a scale for
@   each row, s24-s27 the largest score of each, s28-s31 sums of column 1 in the chunks before.

.equ PRODUCT_BASE, 36               @ from the beginning: activations, eight zeros
.equ PRODUCT_ZEROS, -32
.equ PRODUCT_OUT_END, 24            @ behind scales, bias, and where the four rows' results go
.equ PRODUCT_INNER, 28
.equ PRODUCT_EPILOGUE, 32
.equ PRODUCT_THEN, 36
.equ PRODUCT_AFTER_CHUNKS, 40
.equ PRODUCT_BLOCK_STEP, 44         @ then weights, end of the first chunk, four scales, four largest scores
.equ PRODUCT_FIRST_END, 52
.equ PRODUCT_LARGEST, 72
.equ PRODUCT_ZERO_POINTS, 88
.equ PRODUCT_SUMS, 104
.equ PRODUCT_GATE, 108
.equ PRODUCT_ACTIVATIONS_END, 112
.equ PRODUCT_CHUNK, 116
.equ PRODUCT_CHUNK_INNER, 120

@ Two inputs of four rows and two columns. Dual-issue cores use immediate offsets; on others the pointers move
@ along.
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

@ Two inputs with paired weights, which are in s\at where loads of four registers are worth it.
.macro vitreous_paired_step at
.if VITREOUS_DUAL_ISSUE
    vitreous_step \at, 1
.else
    vmov    r1, s\at
    ldmia   r0!, {r2, r3, r12, lr}
    smlad   r5, r2, r1, r5
    smlad   r7, r3, r1, r7
    smlad   r9, r12, r1, r9
    smlad   r11, lr, r1, r11
    sxtb16  r1, r1
    smlad   r4, r2, r1, r4
    smlad   r6, r3, r1, r6
    smlad   r8, r12, r1, r8
    smlad   r10, lr, r1, r10
.endif
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
    add     r12, r0, #PRODUCT_BASE
    push    {r12}
    add     r1, r12, #PRODUCT_ZEROS
    vldmia  r1, {s28-s31}
    add     r1, r12, #PRODUCT_BLOCK_STEP
    vldmia  r1, {s17-s27}
.if VITREOUS_DUAL_ISSUE
    vmov    r1, s18
.endif
@ r12: address of the arguments.
.Lvitreous_panel:
    ldmdb   r12, {r0, r4-r11}
    ldr     pc, [r12, #PRODUCT_INNER]
.Lvitreous_end:
    add     r12, r12, #PRODUCT_LARGEST
    vstmia  r12, {s24-s27}
    add     sp, sp, #4
    vpop    {s16-s31}
    pop     {r4-r11, pc}

@ Inner loop of four rows, 32 inputs a turn. It is entered in the middle if the number of sixteens is odd.
vitreous_function vitreous_dsp_four_rows_from_middle
.if VITREOUS_DUAL_ISSUE
    sub     r0, r0, #128
    sub     r1, r1, #32
.else
    vmov    r1, s18
    vldmia  r1!, {s8-s15}
    vmov    s18, r1
.endif
    b       2f
vitreous_function vitreous_dsp_four_rows
.if VITREOUS_DUAL_ISSUE == 0
    vmov    r1, s18
.endif
1:
.if VITREOUS_DUAL_ISSUE == 0
    vldmia  r1!, {s0-s15}
    vmov    s18, r1
.endif
    vitreous_paired_step 0
    vitreous_paired_step 1
    vitreous_paired_step 2
    vitreous_paired_step 3
    vitreous_paired_step 4
    vitreous_paired_step 5
    vitreous_paired_step 6
    vitreous_paired_step 7
2:  vitreous_paired_step 8
    vitreous_paired_step 9
    vitreous_paired_step 10
    vitreous_paired_step 11
    vitreous_paired_step 12
    vitreous_paired_step 13
    vitreous_paired_step 14
    vitreous_paired_step 15
.if VITREOUS_DUAL_ISSUE
    add     r0, r0, #256
    add     r1, r1, #64
    vmov    r2, s19
.else
    vmov    r1, r2, s18, s19
.endif
    cmp     r0, r2
    bne     1b
@ Column 1 stays 256 times its sum; its conversion to a float takes that into account.
.Lvitreous_unpair:
    sub     r5, r5, r4
    sub     r7, r7, r6
    sub     r9, r9, r8
    sub     r11, r11, r10
    ldr     r12, [sp]
    ldr     pc, [r12, #PRODUCT_EPILOGUE]

@ Values: their inputs are tokens, and sixteen inputs of a panel are followed by those of other panels. They
@ are not paired, since softmax weights of 15 bits leave no room for it. Up to eight remaining tokens take
@ only the second half of the loop, which then runs once more before the epilogue.
vitreous_function vitreous_dsp_half_block_alone
    vmov    r1, s18
vitreous_function vitreous_dsp_half_block
    ldr     r12, [sp]
    ldr     r2, [r12, #PRODUCT_ACTIVATIONS_END]
    cmp     r0, r2
    beq     5f
    vmov    s19, r2
.if VITREOUS_DUAL_ISSUE
    sub     r0, r0, #64
    sub     r1, r1, #16
.endif
    b       2f
5:  vldr    s19, [r12, #PRODUCT_FIRST_END]
    ldr     pc, [r12, #PRODUCT_THEN]
vitreous_function vitreous_dsp_four_rows_in_blocks
    vmov    r1, s18
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
    vmov    r2, s17
    add     r1, r1, r2
    vmov    r2, s19
    cmp     r0, r2
    bne     1b
    ldr     r12, [sp]
    ldr     pc, [r12, #PRODUCT_EPILOGUE]

@ Inner loop of one row, 16 inputs a turn. The contents of the other accumulators become results that are
@ overwritten.
.macro vitreous_single activations, weights
    sxtb16  r2, \weights
    smlad   r4, \activations, r2, r4
    smlad   r5, \activations, \weights, r5
.endm
.macro vitreous_eight_inputs
    ldmia   r0!, {r6-r9}
    ldmia   r1!, {r10-r12, lr}
    vitreous_single r6, r10
    vitreous_single r7, r11
    vitreous_single r8, r12
    vitreous_single r9, lr
.endm
vitreous_function vitreous_dsp_one_row
.if VITREOUS_DUAL_ISSUE == 0
    vmov    r1, s18
.endif
    vmov    r3, s19
1:  vitreous_eight_inputs
    vitreous_eight_inputs
    cmp     r0, r3
    bne     1b
.if VITREOUS_DUAL_ISSUE == 0
    vmov    s18, r1
.endif
    b       .Lvitreous_unpair

@ The same for values: sixteen tokens a turn. The weights of one query are every fourth word.
.macro vitreous_single_unpaired values
    ldr     r2, [r0], #16
    sxtb16  r3, \values
    sxtb16  \values, \values, ror #8
    smlad   r4, r2, r3, r4
    smlad   r5, r2, \values, r5
.endm
vitreous_function vitreous_dsp_one_row_in_blocks
    vmov    r1, s18
1:  ldmia   r1!, {r6-r12, lr}
    vitreous_single_unpaired r6
    vitreous_single_unpaired r7
    vitreous_single_unpaired r8
    vitreous_single_unpaired r9
    vitreous_single_unpaired r10
    vitreous_single_unpaired r11
    vitreous_single_unpaired r12
    vitreous_single_unpaired lr
    vmov    r2, s17
    add     r1, r1, r2
    vmov    r2, s19
    cmp     r0, r2
    bne     1b
    ldr     r12, [sp]
    ldr     pc, [r12, #PRODUCT_EPILOGUE]

@ Before an epilogue: the end of a chunk of inputs. The next chunk begins as if column 1 had been zero so far.
vitreous_function vitreous_dsp_next_chunk
    asr     r5, r5, #8
    asr     r7, r7, #8
    asr     r9, r9, #8
    asr     r11, r11, #8
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
    vmov    s19, r2
    ldr     pc, [r12, #PRODUCT_CHUNK_INNER]
5:  add     r2, r12, #PRODUCT_ZEROS
    vldmia  r2, {s28-s31}
    vldr    s19, [r12, #PRODUCT_FIRST_END]
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
