@ Rows of floats: layer norm and quantization, sixteen elements a round.

@ r0 = bits of the largest x, at least 0, of r1 rounds of f32 at r0. As integers, the bits of numbers from 0
@ up are in order; infinity and NaNs come last.
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

@ Quantizes r1 rounds of f32 at r0 to the bytes at r2; r3 is the bits of the largest magnitude of the row's
@ other elements. Returns the bits of the scale and, in the upper half, of the largest magnitude; or 0, with
@ nothing written, if a number is infinite or NaN. So no product leaves ±127.
.macro quantize name, store, offsets
    .section .text.\name, "ax", %progbits
    .global \name
    .type \name, %function
    .thumb_func
\name:
    push {r4, lr}
    mov r4, r0
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
    vmaxv.u32 r3, q3
    movw r0, #0xffff
    movt r0, #0x7f7f
    cmp r3, r0
    bhi 3f
    mov r0, #0x2b800000 @ 2^-40
    cmp r3, r0
    it lo
    movlo r3, r0
    movw r0, #0x0204
    movt r0, #0x3c01 @ 1/127
    movw r12, #0
    movt r12, #0x42fe @ 127
    vmov s2, s3, r3, r0
    vmov s0, r12
    vmul.f32 s1, s2, s3
    vdiv.f32 s0, s0, s2
    vmov r3, s0
    .if \offsets
    vpush {d8-d9}
    movs r0, #0
    vidup.u32 q4, r0, #8
    vshl.i32 q4, q4, #1
    .endif
    dls lr, r1
    vmov r0, r1, s1, s2
2:  vldrw.u32 q0, [r4], #16
    vldrw.u32 q1, [r4], #16
    vmul.f32 q0, q0, r3
    vldrw.u32 q2, [r4], #16
    vmul.f32 q1, q1, r3
    vcvtn.s32.f32 q0, q0
    vldrw.u32 q3, [r4], #16
    vmul.f32 q2, q2, r3
    vcvtn.s32.f32 q1, q1
    vmul.f32 q3, q3, r3
    vcvtn.s32.f32 q2, q2
    vcvtn.s32.f32 q3, q3
    \store
    le lr, 2b
    .if \offsets
    vpop {d8-d9}
    .endif
    pop {r4, pc}
3:  movs r0, #0
    movs r1, #0
    pop {r4, pc}
.endm

@ Three forms: one code after the other; with 16 bytes between rounds, for keys; 16 bytes apart, for values.
.macro store_row
    vstrb.32 q0, [r2], #4
    vstrb.32 q1, [r2], #4
    vstrb.32 q2, [r2], #4
    vstrb.32 q3, [r2], #4
.endm
.macro store_key
    vstrb.32 q0, [r2], #4
    vstrb.32 q1, [r2], #4
    vstrb.32 q2, [r2], #4
    vstrb.32 q3, [r2], #20
.endm
.macro store_value
    vstrb.32 q0, [r2, q4]
    adds r2, #64
    vstrb.32 q1, [r2, q4]
    adds r2, #64
    vstrb.32 q2, [r2, q4]
    adds r2, #64
    vstrb.32 q3, [r2, q4]
    adds r2, #64
.endm

@ Codes with a zero point: x times r2 plus the f32 on the stack, saturated. Loads of every fourth element, so
@ that narrowing into bottom and top halves puts them in order.
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

@ Partial sums of r1 rounds of 16 f16 at r0, less r2 (f32) and squared if `squared`, to the 16 f32 at r3, in
@ the order 0 2 4 6, 1 3 5 7, 8 10 12 14, 9 11 13 15: bottom and top halves of two registers of f16.
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

quantize vitreous_helium_quantize, store_row, 0
quantize vitreous_helium_quantize_key, store_key, 0
quantize vitreous_helium_quantize_value, store_value, 1
partial_sums vitreous_helium_sums, 0
partial_sums vitreous_helium_square_sums, 1

@ Converts r2 times eight f16 at r0 to f32 at r1.
    .section .text.vitreous_helium_widen, "ax", %progbits
    .global vitreous_helium_widen
    .type vitreous_helium_widen, %function
    .thumb_func
vitreous_helium_widen:
    push {r7, lr}
    dls lr, r2
1:  vldrh.u32 q0, [r0], #8
    vldrh.u32 q1, [r0], #8
    vcvtb.f32.f16 q0, q0
    vcvtb.f32.f16 q1, q1
    vstrw.32 q0, [r1], #16
    vstrw.32 q1, [r1], #16
    le lr, 1b
    pop {r7, pc}

@ Converts r2 times eight f32 at r0 to f16 at r1, bounded to ±65504, as residuals are.
    .section .text.vitreous_helium_narrow, "ax", %progbits
    .global vitreous_helium_narrow
    .type vitreous_helium_narrow, %function
    .thumb_func
vitreous_helium_narrow:
    push {r7, lr}
    vmvn.i16 q2, #0x0400
    vmvn.i16 q3, #0x8400
    dls lr, r2
1:  vldrw.u32 q0, [r0], #16
    vldrw.u32 q1, [r0], #16
    vcvtb.f16.f32 q0, q0
    vcvtt.f16.f32 q0, q1
    vmaxnm.f16 q0, q0, q2
    vminnm.f16 q0, q0, q3
    vshr.u32 q1, q0, #16
    vstrh.32 q0, [r1], #8
    vstrh.32 q1, [r1], #8
    le lr, 1b
    pop {r7, pc}
