@ f16 weights: 16 sums of one row, in ascending order of its r1 ≥ 1 inputs (f32, at r0); weights (inputs, 16)
@ f16 at r2, sums to the 16 f32 at r3. The bottom and top halves of a register of f16 are its even and odd
@ outputs.
    .section .text.vitreous_helium_dot_f16, "ax", %progbits
    .global vitreous_helium_dot_f16
    .type vitreous_helium_dot_f16, %function
    .thumb_func
vitreous_helium_dot_f16:
    push {r7, lr}
    vpush {d8-d15}
    vmov.i32 q4, #0
    vmov.i32 q5, #0
    vmov.i32 q6, #0
    vmov.i32 q7, #0
    dls lr, r1
1:  vldrh.u16 q0, [r2], #16
    ldr r12, [r0], #4
    vldrh.u16 q1, [r2], #16
    vcvtb.f32.f16 q2, q0
    vcvtt.f32.f16 q3, q0
    vmul.f32 q2, q2, r12
    vmul.f32 q3, q3, r12
    vadd.f32 q4, q4, q2
    vadd.f32 q5, q5, q3
    vcvtb.f32.f16 q2, q1
    vcvtt.f32.f16 q3, q1
    vmul.f32 q2, q2, r12
    vmul.f32 q3, q3, r12
    vadd.f32 q6, q6, q2
    vadd.f32 q7, q7, q3
    le lr, 1b
    vst20.32 {q4, q5}, [r3]
    vst21.32 {q4, q5}, [r3]!
    vst20.32 {q6, q7}, [r3]
    vst21.32 {q6, q7}, [r3]
    vpop {d8-d15}
    pop {r7, pc}

@ The same for the first four outputs only, for layers that have no more.
    .section .text.vitreous_helium_dot_f16_four, "ax", %progbits
    .global vitreous_helium_dot_f16_four
    .type vitreous_helium_dot_f16_four, %function
    .thumb_func
vitreous_helium_dot_f16_four:
    push {r7, lr}
    vmov.i32 q2, #0
    dls lr, r1
1:  vldrh.u32 q0, [r2], #32
    ldr r12, [r0], #4
    vcvtb.f32.f16 q0, q0
    vmul.f32 q0, q0, r12
    vadd.f32 q2, q2, q0
    le lr, 1b
    vstrw.32 q2, [r3]
    pop {r7, pc}

@ GELU in place of r1 ≥ 1 times 4 f32 at r0; r2 the middle of the table (linear.s).
    .section .text.vitreous_helium_gelu, "ax", %progbits
    .global vitreous_helium_gelu
    .type vitreous_helium_gelu, %function
    .thumb_func
vitreous_helium_gelu:
    push {r7, lr}
    dls lr, r1
1:  vldrw.u32 q0, [r0]
    vcvt.s32.f32 q1, q0, #7
    vqshl.s32 q1, q1, #22
    vshr.s32 q1, q1, #22
    vldrh.u32 q2, [r2, q1, uxtw #1]
    vcvtb.f32.f16 q2, q2
    vmul.f32 q0, q0, q2
    vstrw.32 q0, [r0], #16
    le lr, 1b
    pop {r7, pc}

@ to_f16(f32(residual) + y) of r1 ≥ 1 times 8 elements: y (f32) at r0, residual (f16) at r2.
    .section .text.vitreous_helium_add_residual, "ax", %progbits
    .global vitreous_helium_add_residual
    .type vitreous_helium_add_residual, %function
    .thumb_func
vitreous_helium_add_residual:
    push {r7, lr}
    vpush {d8-d13}
    vmvn.i16 q5, #0x0400
    vmvn.i16 q6, #0x8400
    dls lr, r1
1:  vldrh.u16 q0, [r2]
    vld20.32 {q1, q2}, [r0]
    vcvtb.f32.f16 q3, q0
    vld21.32 {q1, q2}, [r0]!
    vcvtt.f32.f16 q4, q0
    vadd.f32 q3, q3, q1
    vadd.f32 q4, q4, q2
    vcvtb.f16.f32 q0, q3
    vcvtt.f16.f32 q0, q4
    vmaxnm.f16 q0, q0, q5
    vminnm.f16 q0, q0, q6
    vstrh.16 q0, [r2], #16
    le lr, 1b
    vpop {d8-d13}
    pop {r7, pc}
