@ Attention of four queries in one head. A lane is a query, so that one register holds the four maxima, sums
@ or scales.
@
@ Sums are in r0 r2 r4 r6 (four queries with the first key, or weights with the first column) and r8 r10 r12
@ lr (with the second), as in linear.s. r1 points at the four rows, whose steps are interleaved.


@ Interleaves the steps of four rows (pointers at r0): r1 steps of 16 bytes, to r2.
    .section .text.vitreous_helium_pack, "ax", %progbits
    .global vitreous_helium_pack
    .type vitreous_helium_pack, %function
    .thumb_func
vitreous_helium_pack:
    push {r4-r6, lr}
    mov r6, r2
    dls lr, r1
    ldm r0, {r2, r3, r4, r5}
1:  vldrb.u8 q0, [r2], #16
    vldrb.u8 q1, [r3], #16
    vstrb.8 q0, [r6], #16
    vldrb.u8 q2, [r4], #16
    vstrb.8 q1, [r6], #16
    vldrb.u8 q3, [r5], #16
    vstrb.8 q2, [r6], #16
    vstrb.8 q3, [r6], #16
    le lr, 1b
    pop {r4-r6, pc}

@ 16 inputs of four queries and two keys.
.macro score_step op
    vldrb.u8 q4, [r9], #16
    vldrb.u8 q0, [r1], #16
    vldrb.u8 q5, [r9], #16
    \op r0, q0, q4
    vldrb.u8 q1, [r1], #16
    \op r8, q0, q5
    vldrb.u8 q2, [r1], #16
    \op r2, q1, q4
    vldrb.u8 q3, [r1], #16
    \op r10, q1, q5
    \op r4, q2, q4
    \op r12, q2, q5
    \op r6, q3, q4
    \op lr, q3, q5
.endm

@ Scores of four queries with pairs of keys: fn(job: *mut ScoreJob). q6 scales of the queries, q7 their
@ largest scores, r9 keys, r3 where scores go, r5 scales of the keys, r7 where the first chunk is entered, r11
@ the end of the keys (the queries' end if `wide`).
.macro scores name, chunk, wide
    .section .text.\name, "ax", %progbits
    .balign 4
    .global \name
    .type \name, %function
    .thumb_func
\name:
    push {r0, r4-r11, lr}
    vpush {d8-d15}
    vldrw.u32 q6, [r0, #32]
    vldrw.u32 q7, [r0, #48]
    ldrd r1, r9, [r0]
    ldrd r3, r5, [r0, #8]
    ldrd r7, r11, [r0, #16]
    ldr r2, [r0, #24]
    push {r1, r2}
    adr.w r2, 4f
    subs r7, r2, r7
    adds r7, r7, #1
2:  score_step vmladav.s8
    bx r7
3:  .rept \chunk
    score_step vmladava.s8
    .endr
4:
    .if \wide
    cmp r1, r11
    bne 3b
    .endif
    vmov q0[2], q0[0], r0, r4
    vmov q0[3], q0[1], r2, r6
    vmov q1[2], q1[0], r8, r12
    vmov q1[3], q1[1], r10, lr
    ldrd r0, r2, [r5], #8
    ldr r1, [sp]
    vcvt.f32.s32 q0, q0
    vcvt.f32.s32 q1, q1
    vmul.f32 q2, q6, r0
    vmul.f32 q3, q6, r2
    vmul.f32 q0, q0, q2
    vmul.f32 q1, q1, q3
    vmaxnm.f32 q7, q0, q7
    vstrw.32 q0, [r3], #16
    vmaxnm.f32 q7, q1, q7
    vstrw.32 q1, [r3], #16
    .if \wide
    ldr r4, [sp, #4]
    cmp r9, r4
    .else
    cmp r9, r11
    .endif
    bne.w 2b
    pop {r1, r2}
    vmov q0, q7
    vpop {d8-d15}
    pop {r0, r4-r11, lr}
    vstrw.32 q0, [r0, #48]
    bx lr
    .size \name, . - \name
.endm

@ \p = the numerators of four queries and one token, weight_max · 2^(score − max); adds them, rounded, to q5.
@ r2 MAGIC, r3 to r8 the polynomial, r9 the exponent's bias, r10 weight_max, q6 −126, q7 the largest scores.
.macro numerator x, magic, p
    vldrw.u32 \x, [r0], #16
    vsub.f32 \x, \x, q7
    vmaxnm.f32 \x, \x, q6
    vadd.f32 \magic, \x, r2
    vsub.f32 \p, \magic, r2
    vsub.f32 \x, \x, \p
    vmul.f32 \p, \x, r3
    vadd.f32 \p, \p, r4
    vmul.f32 \p, \p, \x
    vadd.f32 \p, \p, r5
    vmul.f32 \p, \p, \x
    vadd.f32 \p, \p, r6
    vmul.f32 \p, \p, \x
    vadd.f32 \p, \p, r7
    vmul.f32 \p, \p, \x
    vadd.f32 \p, \p, r8
    vshl.i32 \magic, \magic, #23
    vadd.i32 \magic, \magic, r9
    vmul.f32 \p, \p, \magic
    vmul.f32 \p, \p, r10
    vcvtn.s32.f32 \magic, \p
    vadd.i32 q5, q5, \magic
.endm

@ Stores the weights of two tokens, as one word for each query.
.macro token_pair skip
    ldrd r11, r12, [r1], #8
    numerator q0, q1, q2
    vmul.f32 q2, q2, r11
    vcvtn.s32.f32 q0, q2
    numerator q1, q2, q3
    vmul.f32 q3, q3, r12
    vcvtn.s32.f32 q1, q3
    vmovnt.i32 q0, q1
    vstrw.32 q0, [q4, #\skip]!
.endm

@ Softmax of four queries: fn(job: *mut SoftmaxJob). Eight tokens a round.
    .section .text.vitreous_helium_softmax, "ax", %progbits
    .global vitreous_helium_softmax
    .type vitreous_helium_softmax, %function
    .thumb_func
vitreous_helium_softmax:
    push {r0, r4-r11, lr}
    vpush {d8-d15}
    vldrw.u32 q5, [r0, #48]
    vldrw.u32 q6, [r0, #64]
    vldrw.u32 q7, [r0, #80]
    vldrw.u32 q4, [r0, #96]
    ldr lr, [r0, #112]
    ldm r0, {r0-r10}
    dls lr, lr
1:  token_pair 52
    token_pair 4
    token_pair 4
    token_pair 4
    le lr, 1b
    vmov q0, q5
    vmov q1, q4
    vpop {d8-d15}
    mov r2, r0
    mov r3, r1
    pop {r0, r4-r11, lr}
    strd r2, r3, [r0]
    vstrw.32 q0, [r0, #48]
    vstrw.32 q1, [r0, #96]
    bx lr

@ 16 tokens: four queries' weights with two columns of values.
.macro value_half op, first, second
    vldrb.s16 q4, [r3, #\first]
    vldrh.u16 q0, [r1], #16
    vldrb.s16 q5, [r3, #\second]
    \op r0, q0, q4
    vldrh.u16 q1, [r1], #16
    \op r8, q0, q5
    vldrh.u16 q2, [r1], #16
    \op r2, q1, q4
    vldrh.u16 q3, [r1], #16
    \op r10, q1, q5
    \op r4, q2, q4
    \op r12, q2, q5
    \op r6, q3, q4
    \op lr, q3, q5
.endm
.macro value_step op
    value_half \op, 0, 16
    value_half vmladava.s16, 8, 24
    add.w r3, r3, r11
.endm

@ Weighted sums of values for pairs of columns: fn(job: *const ValueJob). q6 scales of the queries, q7 where
@ results go, r3 values (loads that widen want a low register), r9 the end of the weights, r5 where the first
@ chunk is entered, r7 the first values of the column pair, r11 bytes between blocks of 16 tokens. If `half`,
@ only the first half of the last block is read, before all other blocks.
.macro values name, half
    .section .text.\name, "ax", %progbits
    .balign 4
    .global \name
    .type \name, %function
    .thumb_func
\name:
    push {r4-r11, lr}
    vpush {d8-d15}
    vldrw.u32 q6, [r0, #32]
    vldrw.u32 q7, [r0, #48]
    ldrd r1, r9, [r0]
    ldrd r5, r7, [r0, #8]
    ldrd r11, r2, [r0, #16]
    ldrd r3, r4, [r0, #24]
    push {r1-r4}
    adr.w r2, 4f
    subs r5, r2, r5
    adds r5, r5, #1
    .if \half
2:  ldrd r1, r3, [sp, #8]
    adds r3, r3, r7
    value_half vmladav.s16, 0, 16
    ldr r1, [sp]
    mov r3, r7
    .else
2:  ldr r1, [sp]
    mov r3, r7
    value_step vmladav.s16
    .endif
    bx r5
3:  .rept 4
    value_step vmladava.s16
    .endr
4:  cmp r1, r9
    bne 3b
    vmov q0[2], q0[0], r0, r4
    vmov q0[3], q0[1], r2, r6
    vmov q1[2], q1[0], r8, r12
    vmov q1[3], q1[1], r10, lr
    adds r7, #32
    ldr r2, [sp, #4]
    vcvt.f32.s32 q0, q0
    vcvt.f32.s32 q1, q1
    vmul.f32 q0, q0, q6
    vmul.f32 q1, q1, q6
    cmp r7, r2
    vstrw.32 q0, [q7, #8]!
    vstrw.32 q1, [q7, #4]
    bne.w 2b
    add sp, sp, #16
    vpop {d8-d15}
    pop {r4-r11, pc}
    .size \name, . - \name
.endm

values vitreous_helium_values, 0
values vitreous_helium_values_half, 1
scores vitreous_helium_scores, 7, 0
scores vitreous_helium_scores_wide, 4, 1
