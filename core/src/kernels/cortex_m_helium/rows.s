@ Rows of floats: layer norm, and quantization. Sixteen elements a round.

@ r0 = bits of the largest |x|, of r1 rounds of 16 f32 at r0. As integers, bits of magnitudes are in order, infinity and not-a-numbers last.
    .section .text.vitreous_helium_max_abs, "ax", %progbits
    .global vitreous_helium_max_abs
    .type vitreous_helium_max_abs, %function
    .thumb_func
vitreous_helium_max_abs:
    push {r7, lr}
    vmov.i32 q3, #0
    dls lr, r1
1:  vldrw.u32 q0, [r0], #16
    vldrw.u32 q1, [r0], #16
    vbic.i32 q0, #0x80000000
    vbic.i32 q1, #0x80000000
    vldrw.u32 q2, [r0], #16
    vmax.u32 q3, q0, q3
    vldrw.u32 q0, [r0], #16
    vmax.u32 q3, q1, q3
    vbic.i32 q2, #0x80000000
    vbic.i32 q0, #0x80000000
    vmax.u32 q3, q2, q3
    vmax.u32 q3, q0, q3
    le lr, 1b
    movs r0, #0
    vmaxv.u32 r0, q3
    pop {r7, pc}

@ r0 = bits of the largest x, at least 0, likewise.
    .section .text.vitreous_helium_max, "ax", %progbits
    .global vitreous_helium_max
    .type vitreous_helium_max, %function
    .thumb_func
vitreous_helium_max:
    push {r7, lr}
    vmov.i32 q3, #0
    dls lr, r1
1:  vldrw.u32 q0, [r0], #16
    vldrw.u32 q1, [r0], #16
    vmax.s32 q3, q0, q3
    vldrw.u32 q0, [r0], #16
    vmax.s32 q3, q1, q3
    vldrw.u32 q1, [r0], #16
    vmax.s32 q3, q0, q3
    vmax.s32 q3, q1, q3
    le lr, 1b
    movs r0, #0
    vmaxv.s32 r0, q3
    pop {r7, pc}

@ Codes of r1 rounds of 16 f32 at r0: x times r2 (f32), which nowhere exceeds 127, to the bytes at r3, where `gap` bytes lie between
@ rounds.
.macro quantize name, gap
    .section .text.\name, "ax", %progbits
    .global \name
    .type \name, %function
    .thumb_func
\name:
    push {r7, lr}
    dls lr, r1
1:  vldrw.u32 q0, [r0], #16
    vldrw.u32 q1, [r0], #16
    vmul.f32 q0, q0, r2
    vldrw.u32 q2, [r0], #16
    vmul.f32 q1, q1, r2
    vcvtn.s32.f32 q0, q0
    vldrw.u32 q3, [r0], #16
    vmul.f32 q2, q2, r2
    vcvtn.s32.f32 q1, q1
    vstrb.32 q0, [r3], #4
    vmul.f32 q3, q3, r2
    vcvtn.s32.f32 q2, q2
    vstrb.32 q1, [r3], #4
    vcvtn.s32.f32 q3, q3
    vstrb.32 q2, [r3], #4
    vstrb.32 q3, [r3], #(4 + \gap)
    le lr, 1b
    pop {r7, pc}
.endm

@ The same to bytes that lie 16 apart: values of one token.
    .section .text.vitreous_helium_quantize_column, "ax", %progbits
    .global vitreous_helium_quantize_column
    .type vitreous_helium_quantize_column, %function
    .thumb_func
vitreous_helium_quantize_column:
    push {r4, lr}
    movs r4, #0
    vidup.u32 q3, r4, #8
    vshl.i32 q3, q3, #1
    lsls r1, r1, #1
    dls lr, r1
1:  vldrw.u32 q0, [r0], #16
    vldrw.u32 q1, [r0], #16
    vmul.f32 q0, q0, r2
    vmul.f32 q1, q1, r2
    vcvtn.s32.f32 q0, q0
    vcvtn.s32.f32 q1, q1
    vstrb.32 q0, [r3, q3]
    adds r3, #64
    vstrb.32 q1, [r3, q3]
    adds r3, #64
    le lr, 1b
    pop {r4, pc}

@ Codes with a zero point: x times r2 plus the f32 on the stack, saturated. Loads of every fourth element, so that narrowing into
@ bottoms and tops puts them in order.
    .section .text.vitreous_helium_quantize_above, "ax", %progbits
    .global vitreous_helium_quantize_above
    .type vitreous_helium_quantize_above, %function
    .thumb_func
vitreous_helium_quantize_above:
    push {r7, lr}
    ldr r12, [sp, #8]
    dls lr, r1
1:  vld40.32 {q0, q1, q2, q3}, [r0]
    vld41.32 {q0, q1, q2, q3}, [r0]
    vld42.32 {q0, q1, q2, q3}, [r0]
    vld43.32 {q0, q1, q2, q3}, [r0]!
    vmul.f32 q0, q0, r2
    vmul.f32 q1, q1, r2
    vmul.f32 q2, q2, r2
    vmul.f32 q3, q3, r2
    vadd.f32 q0, q0, r12
    vadd.f32 q1, q1, r12
    vadd.f32 q2, q2, r12
    vadd.f32 q3, q3, r12
    vcvtn.s32.f32 q0, q0
    vcvtn.s32.f32 q1, q1
    vcvtn.s32.f32 q2, q2
    vcvtn.s32.f32 q3, q3
    vqmovnb.s32 q0, q0
    vqmovnb.s32 q1, q1
    vqmovnt.s32 q0, q2
    vqmovnt.s32 q1, q3
    vqmovnb.s16 q0, q0
    vqmovnt.s16 q0, q1
    vstrb.8 q0, [r3], #16
    le lr, 1b
    pop {r7, pc}

@ Partial sums of r1 rounds of 16 f16 at r0, less r2 (f32) and squared if `squared`, to the 16 f32 at r3, in the order
@ 0 2 4 6, 1 3 5 7, 8 10 12 14, 9 11 13 15: bottoms and tops of two registers of f16.
.macro partial_sums name, squared
    .section .text.\name, "ax", %progbits
    .global \name
    .type \name, %function
    .thumb_func
\name:
    push {r7, lr}
    vpush {d8-d13}
    vmov.i32 q4, #0
    vmov.i32 q5, #0
    vmov.i32 q6, #0
    vmov.i32 q3, #0
    dls lr, r1
1:  vldrh.u16 q0, [r0], #16
    vcvtb.f32.f16 q1, q0
    vcvtt.f32.f16 q2, q0
    vldrh.u16 q0, [r0], #16
    .if \squared
    vsub.f32 q1, q1, r2
    vsub.f32 q2, q2, r2
    vmul.f32 q1, q1, q1
    vmul.f32 q2, q2, q2
    .endif
    vadd.f32 q3, q3, q1
    vadd.f32 q4, q4, q2
    vcvtb.f32.f16 q1, q0
    vcvtt.f32.f16 q2, q0
    .if \squared
    vsub.f32 q1, q1, r2
    vsub.f32 q2, q2, r2
    vmul.f32 q1, q1, q1
    vmul.f32 q2, q2, q2
    .endif
    vadd.f32 q5, q5, q1
    vadd.f32 q6, q6, q2
    le lr, 1b
    vadd.f32 q0, q3, q5
    vadd.f32 q1, q4, q6
    vstrw.32 q0, [r3]
    vstrw.32 q1, [r3, #16]
    vpop {d8-d13}
    pop {r7, pc}
.endm

@ (x − r2)·r3·γ + β: r1 rounds of 16 f16 at r0; γ, β and the f32 out are on the stack.
    .section .text.vitreous_helium_norm, "ax", %progbits
    .global vitreous_helium_norm
    .type vitreous_helium_norm, %function
    .thumb_func
vitreous_helium_norm:
    push {r4-r7, lr}
    vpush {d8-d13}
    ldrd r4, r5, [sp, #68]
    ldr r6, [sp, #76]
    lsls r1, r1, #1
    dls lr, r1
1:  vldrh.u16 q0, [r0], #16
    vcvtb.f32.f16 q1, q0
    vcvtt.f32.f16 q2, q0
    vld20.32 {q3, q4}, [r4]
    vsub.f32 q1, q1, r2
    vsub.f32 q2, q2, r2
    vld21.32 {q3, q4}, [r4]!
    vmul.f32 q1, q1, r3
    vmul.f32 q2, q2, r3
    vld20.32 {q5, q6}, [r5]
    vmul.f32 q1, q1, q3
    vmul.f32 q2, q2, q4
    vld21.32 {q5, q6}, [r5]!
    vadd.f32 q1, q1, q5
    vadd.f32 q2, q2, q6
    vst20.32 {q1, q2}, [r6]
    vst21.32 {q1, q2}, [r6]!
    le lr, 1b
    vpop {d8-d13}
    pop {r4-r7, pc}

quantize vitreous_helium_quantize, 0
quantize vitreous_helium_quantize_key, 16
partial_sums vitreous_helium_sums, 0
partial_sums vitreous_helium_square_sums, 1
