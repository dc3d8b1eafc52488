@ f16 weights: the FPU widens them from words that hold two each.

@ Adds input s8 times the two weights of s\word to sums s\low and s\high.
.macro vitreous_f16_pair word, low, high
    vcvtb.f32.f16 s9, s\word
    vcvtt.f32.f16 s10, s\word
    vmul.f32 s9, s8, s9
    vmul.f32 s10, s8, s10
    vadd.f32 s\low, s\low, s9
    vadd.f32 s\high, s\high, s10
.endm

@ sums[16] += inputs r0[r1] times the panel r2[r1][16] of f16, by ascending input; r3: sums. r1 is at least 1.
    .pushsection .text.vitreous_dsp_dot_f16, "ax", %progbits
    .balign 4
vitreous_function vitreous_dsp_dot_f16
    vpush   {s16-s31}
    vldmia  r3, {s16-s31}
1:  vldmia  r0!, {s8}
    vldmia  r2!, {s0-s7}
    vitreous_f16_pair 0, 16, 17
    vitreous_f16_pair 1, 18, 19
    vitreous_f16_pair 2, 20, 21
    vitreous_f16_pair 3, 22, 23
    vitreous_f16_pair 4, 24, 25
    vitreous_f16_pair 5, 26, 27
    vitreous_f16_pair 6, 28, 29
    vitreous_f16_pair 7, 30, 31
    subs    r1, r1, #1
    bne     1b
    vstmia  r3, {s16-s31}
    vpop    {s16-s31}
    bx      lr
    .popsection

@ The same for the first four outputs only, for layers that have no more.
    .pushsection .text.vitreous_dsp_dot_f16_four, "ax", %progbits
    .balign 4
vitreous_function vitreous_dsp_dot_f16_four
    vldmia  r3, {s4-s7}
1:  vldmia  r0!, {s8}
    vldmia  r2, {s0, s1}
    add     r2, r2, #32
    vitreous_f16_pair 0, 4, 5
    vitreous_f16_pair 1, 6, 7
    subs    r1, r1, #1
    bne     1b
    vstmia  r3, {s4-s7}
    bx      lr
    .popsection
