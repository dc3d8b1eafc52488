@ int8 linear layers: blocks of 4 rows × 2 outputs, whose eight sums stay in general registers.
@
@ extern "C" fn(block: *const Block), see linear.rs. Only even registers can be accumulated into:
@   sums r0 r2 r4 r6 (first output, rows 0 to 3), r8 r10 r12 lr (second output) pointers r1 r3 r5 r7 rows, r9
@   weights; r11 counts chunks of 12 steps if `wide`, or is the end of the weights q6 scales of the rows, q7
@   where their next two results go
@ The weights of an output pair follow those of the pair before, so r9 is never reset. Everything else is on
@ the stack.

.set CHUNKS, 16
.set ENTRY, 20
.set SCALES, 24
.set SUMS, 32
.set END, 36
.set GATES, 44
.set ZEROS, 48

@ 16 inputs: 128 multiplications by 8 instructions, 6 loads.
.macro linear_step op
    vldrb.u8 q4, [r9], #16
    vldrb.u8 q0, [r1], #16
    vldrb.u8 q5, [r9], #16
    \op r0, q0, q4
    vldrb.u8 q1, [r3], #16
    \op r8, q0, q5
    vldrb.u8 q2, [r5], #16
    \op r2, q1, q4
    vldrb.u8 q3, [r7], #16
    \op r10, q1, q5
    \op r4, q2, q4
    \op r12, q2, q5
    \op r6, q3, q4
    \op lr, q3, q5
.endm

@ Stores two outputs of four rows, q0 and q1, as f32.
.macro store_f32
    vstrw.32 q0, [q7, #8]!
    vstrw.32 q1, [q7, #4]
.endm

@ The same with ReLU. Of a number and a NaN, VMAXNM takes the number.
.macro store_relu
    vmov.i32 q2, #0
    vmaxnm.f32 q0, q0, q2
    vmaxnm.f32 q1, q1, q2
    store_f32
.endm

@ The same with GELU: x·Φ, where Φ comes from a table of f16 in steps of 1/128 from −4 on; r4 points at its
@ middle. The conversion with 7 fractional bits rounds towards zero; the shift to the left saturates at −512
@ and 511.
.macro gelu q, entry, gate
    vcvt.s32.f32 \entry, \q, #7
    vqshl.s32 \entry, \entry, #22
    vshr.s32 \entry, \entry, #22
    vldrh.u32 \gate, [r4, \entry, uxtw #1]
    vcvtb.f32.f16 \gate, \gate
    vmul.f32 \q, \q, \gate
.endm
.macro store_gelu
    ldr r4, [sp, #GATES]
    gelu q0, q2, q4
    gelu q1, q3, q5
    store_f32
.endm

@ Adds to the residual stream: two f16 per row are one word. Sums are bounded to ±65504 after the conversion,
@ where one instruction bounds both outputs. Infinities and NaNs are bounded to the same numbers as before the
@ conversion.
.macro store_residual
    vldrw.u32 q2, [q7, #4]!
    vcvtb.f32.f16 q3, q2
    vcvtt.f32.f16 q4, q2
    vadd.f32 q0, q3, q0
    vadd.f32 q1, q4, q1
    vcvtb.f16.f32 q2, q0
    vcvtt.f16.f32 q2, q1
    vmvn.i16 q3, #0x0400
    vmvn.i16 q4, #0x8400
    vmaxnm.f16 q2, q2, q3
    vminnm.f16 q2, q2, q4
    vstrw.32 q2, [q7]
.endm

.macro linear name, store, zero, wide
    .section .text.\name, "ax", %progbits
    .balign 4
    .global \name
    .type \name, %function
    .thumb_func
\name:
    push {r4-r11, lr}
    vpush {d8-d15}
    sub sp, sp, #64
    vldrw.u32 q0, [r0]
    vldrw.u32 q1, [r0, #16]
    vldrw.u32 q2, [r0, #32]
    vldrw.u32 q3, [r0, #48]
    vldrw.u32 q6, [r0, #64]
    vldrw.u32 q7, [r0, #80]
    vstrw.32 q0, [sp]
    vstrw.32 q1, [sp, #16]
    vstrw.32 q2, [sp, #32]
    vstrw.32 q3, [sp, #48]
    ldr r9, [sp, #40]
    ldr r1, [sp, #ENTRY]
    adr.w r2, 4f
    subs r2, r2, r1
    adds r2, r2, #1
    str r2, [sp, #ENTRY]
    .if !\wide
    ldr r11, [sp, #END]
    str r11, [sp, #CHUNKS]
    .endif
2:  ldm sp, {r1, r3, r5, r7, r11}
    linear_step vmladav.s8
    ldr pc, [sp, #ENTRY]
    @ The entry point is such that the first chunk has as many steps as the inputs need.
3:  .rept 12
    linear_step vmladava.s8
    .endr
4:  .if \wide
    subs r11, r11, #1
    bne 3b
    .endif
    vmov q0[2], q0[0], r0, r4
    vmov q0[3], q0[1], r2, r6
    vmov q1[2], q1[0], r8, r12
    vmov q1[3], q1[1], r10, lr
    .if \zero
    ldr r8, [sp, #SUMS]
    vldrw.u32 q2, [sp, #ZEROS]
    ldrd r0, r2, [r8], #8
    str r8, [sp, #SUMS]
    vmla.s32 q0, q2, r0
    vmla.s32 q1, q2, r2
    .endif
    ldrd r4, r6, [sp, #SCALES]
    .if \wide
    ldr r11, [sp, #END]
    .endif
    ldrd r0, r2, [r4], #8
    ldrd r8, r10, [r6], #8
    strd r4, r6, [sp, #SCALES]
    vcvt.f32.s32 q0, q0
    vcvt.f32.s32 q1, q1
    vmul.f32 q0, q0, r0
    vmul.f32 q1, q1, r2
    vmul.f32 q0, q0, q6
    vmul.f32 q1, q1, q6
    vadd.f32 q0, q0, r8
    vadd.f32 q1, q1, r10
    \store
    cmp r9, r11
    bne.w 2b
    add sp, sp, #64
    vpop {d8-d15}
    pop {r4-r11, pc}
    .size \name, . - \name
.endm

@ One row with groups of 8 outputs: fn(row: *mut Row). Sums of the four pairs of a group r0 r2, r4 r6, r8 r10,
@ r12 lr; weights r3, r5, r7, r9. Sums start as the eight zeros on the stack.
.macro pair_step first, second, weights
    vldrb.u8 q1, [\weights], #16
    vldrb.u8 q2, [\weights], #16
    vmladava.s8 \first, q0, q1
    vmladava.s8 \second, q0, q2
.endm
.macro linear_row name, zero
    .section .text.\name, "ax", %progbits
    .balign 4
    .global \name
    .type \name, %function
    .thumb_func
\name:
    push {r4-r11, lr}
    vmov.i32 q0, #0
    ldrd r1, r2, [r0]
    push {r0-r2, r4}
    sub sp, sp, #32
    vstrw.32 q0, [sp]
    vstrw.32 q0, [sp, #16]
    ldrd r3, r1, [r0, #8]
    adds r5, r3, r1
    adds r7, r5, r1
    add.w r9, r7, r1
2:  ldm sp, {r0, r2, r4, r6, r8, r10, r12, lr}
    ldrd r1, r11, [sp, #36]
3:  vldrb.u8 q0, [r1], #16
    pair_step r0, r2, r3
    pair_step r4, r6, r5
    pair_step r8, r10, r7
    pair_step r12, lr, r9
    subs.w r11, r11, #1
    bne 3b
    vmov q0[2], q0[0], r0, r4
    vmov q0[3], q0[1], r2, r6
    vmov q1[2], q1[0], r8, r12
    vmov q1[3], q1[1], r10, lr
    ldr r12, [sp, #32]
    ldrd r0, r2, [r12, #16]
    ldrd r4, r6, [r12, #24]
    ldrd r8, r10, [r12, #32]
    .if \zero
    vldrw.u32 q2, [r6], #16
    vldrw.u32 q3, [r6], #16
    vmla.s32 q0, q2, r10
    vmla.s32 q1, q3, r10
    .endif
    vcvt.f32.s32 q0, q0
    vldrw.u32 q2, [r0], #16
    vcvt.f32.s32 q1, q1
    vldrw.u32 q3, [r0], #16
    vmul.f32 q0, q0, q2
    vmul.f32 q1, q1, q3
    vldrw.u32 q2, [r2], #16
    vmul.f32 q0, q0, r8
    vldrw.u32 q3, [r2], #16
    vmul.f32 q1, q1, r8
    vadd.f32 q0, q0, q2
    vadd.f32 q1, q1, q3
    vstrw.32 q0, [r4], #16
    vstrw.32 q1, [r4], #16
    strd r0, r2, [r12, #16]
    strd r4, r6, [r12, #24]
    ldrd r0, r2, [r12, #40]
    mov r3, r9
    adds r5, r3, r0
    adds r7, r5, r0
    add.w r9, r7, r0
    subs r2, r2, #1
    str r2, [r12, #44]
    bne 2b
    add sp, sp, #48
    pop {r4-r11, pc}
    .size \name, . - \name
.endm

    .pushsection .text
    .syntax unified
    .thumb
linear vitreous_helium_linear, store_f32, 0, 0
linear vitreous_helium_linear_gelu, store_gelu, 0, 0
linear vitreous_helium_linear_residual, store_residual, 0, 0
linear vitreous_helium_linear_wide, store_f32, 0, 1
linear vitreous_helium_linear_wide_gelu, store_gelu, 0, 1
linear vitreous_helium_linear_wide_relu, store_relu, 0, 1
linear vitreous_helium_linear_wide_residual, store_residual, 0, 1
linear vitreous_helium_linear_wide_zero, store_f32, 1, 1
linear vitreous_helium_linear_wide_zero_residual, store_residual, 1, 1
linear_row vitreous_helium_linear_row, 0
linear_row vitreous_helium_linear_row_zero, 1
    .popsection
