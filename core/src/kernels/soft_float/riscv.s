# The two inner loops on RV32IM. They are assembly because compilers load and multiply everything first and
# then run out of registers. Here each product is added as soon as it is made.
#
# Both keep sixteen sums in s0 to s11 and a4 to a7. They use every other register except sp, gp and tp.

    # Global assembly does not know the target's extensions.
    .option push
    .option arch, +m

    .macro  vitreous_soft_float_enter
    addi    sp, sp, -64
    sw      ra, 60(sp)
    sw      s0, 56(sp)
    sw      s1, 52(sp)
    sw      s2, 48(sp)
    sw      s3, 44(sp)
    sw      s4, 40(sp)
    sw      s5, 36(sp)
    sw      s6, 32(sp)
    sw      s7, 28(sp)
    sw      s8, 24(sp)
    sw      s9, 20(sp)
    sw      s10, 16(sp)
    sw      s11, 12(sp)
    .endm

    .macro  vitreous_soft_float_clear
    .irp    sum, s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, a4, a5, a6, a7
    li      \sum, 0
    .endr
    .endm

    .macro  vitreous_soft_float_leave
    lw      ra, 60(sp)
    lw      s0, 56(sp)
    lw      s1, 52(sp)
    lw      s2, 48(sp)
    lw      s3, 44(sp)
    lw      s4, 40(sp)
    lw      s5, 36(sp)
    lw      s6, 32(sp)
    lw      s7, 28(sp)
    lw      s8, 24(sp)
    lw      s9, 20(sp)
    lw      s10, 16(sp)
    lw      s11, 12(sp)
    addi    sp, sp, 64
    ret
    .endm

# Two inputs of a column: words and upper halves of two pairs of rows (product.rs). t0 to t3: the inputs'
# words; a3: the offset.
    .macro  vitreous_soft_float_column at, words0, upper0, words1, upper1
    lb      t4, \at(a2)
    lb      t5, \at+1(a2)
    mul     t6, t0, t4
    mul     ra, t2, t5
    mul     t4, t1, t4
    mul     t5, t3, t5
    add     t6, t6, ra
    add     t4, t4, t5
    add     \words0, \words0, t6
    add     \words1, \words1, t4
    add     t6, t6, a3
    add     t4, t4, a3
    srai    t6, t6, 16
    srai    t4, t4, 16
    add     \upper0, \upper0, t6
    add     \upper1, \upper1, t4
    .endm

    .macro  vitreous_soft_float_inputs words, weights
    lw      t0, \words(a0)
    lw      t1, \words+4(a0)
    lw      t2, \words+8(a0)
    lw      t3, \words+12(a0)
    vitreous_soft_float_column \weights, s0, s1, s2, s3
    vitreous_soft_float_column \weights+2, s4, s5, s6, s7
    vitreous_soft_float_column \weights+4, s8, s9, s10, s11
    vitreous_soft_float_column \weights+6, a4, a5, a6, a7
    .endm

# Stores both sums of a pair of rows. t1: the correction of the sums of upper halves.
    .macro  vitreous_soft_float_pair at, words, upper
    add     \upper, \upper, t1
    slli    t0, \upper, 16
    sub     t0, \words, t0
    sw      t0, \at(a3)
    sw      \upper, \at+4(a3)
    .endm

# a0: activations, a1: their end, a2: panel, a3: sums. The number of inputs is a multiple of eight, at least
# eight.
    .section .text.vitreous_soft_float_four_rows, "ax", @progbits
    .globl  vitreous_soft_float_four_rows
    .type   vitreous_soft_float_four_rows, @function
vitreous_soft_float_four_rows:
    vitreous_soft_float_enter
    vitreous_soft_float_clear
    sw      a3, 8(sp)
    # 64 for each input, of eight bytes.
    sub     t0, a1, a0
    slli    t0, t0, 3
    sw      t0, 4(sp)
    # OFFSET of product.rs.
    li      a3, 0x7fff - (128 << 16)
1:  vitreous_soft_float_inputs 0, 0
    vitreous_soft_float_inputs 16, 8
    vitreous_soft_float_inputs 32, 16
    vitreous_soft_float_inputs 48, 24
    addi    a0, a0, 64
    addi    a2, a2, 32
    bne     a0, a1, 1b
    lw      a3, 8(sp)
    lw      t1, 4(sp)
    vitreous_soft_float_pair 0, s0, s1
    vitreous_soft_float_pair 8, s2, s3
    vitreous_soft_float_pair 16, s4, s5
    vitreous_soft_float_pair 24, s6, s7
    vitreous_soft_float_pair 32, s8, s9
    vitreous_soft_float_pair 40, s10, s11
    vitreous_soft_float_pair 48, a4, a5
    vitreous_soft_float_pair 56, a6, a7
    vitreous_soft_float_leave
    .size   vitreous_soft_float_four_rows, . - vitreous_soft_float_four_rows

# A query's weight of a token with its four features.
    .macro  vitreous_soft_float_query at, sum0, sum1, sum2, sum3
    lh      t4, \at(a0)
    mul     t5, t0, t4
    mul     t6, t1, t4
    mul     ra, t2, t4
    mul     t4, t3, t4
    add     \sum0, \sum0, t5
    add     \sum1, \sum1, t6
    add     \sum2, \sum2, ra
    add     \sum3, \sum3, t4
    .endm

    .macro  vitreous_soft_float_token weights, values
    lb      t0, \values(a2)
    lb      t1, \values+1(a2)
    lb      t2, \values+2(a2)
    lb      t3, \values+3(a2)
    vitreous_soft_float_query \weights, s0, s1, s2, s3
    vitreous_soft_float_query \weights+2, s4, s5, s6, s7
    vitreous_soft_float_query \weights+4, s8, s9, s10, s11
    vitreous_soft_float_query \weights+6, a4, a5, a6, a7
    .endm

# a0: weights of four queries, a1: their end, a2: values of four features in blocks of sixteen tokens, a3:
# sums, a4: bytes from the end of a block to the next. Any number of tokens but none.
    .section .text.vitreous_soft_float_weighted, "ax", @progbits
    .globl  vitreous_soft_float_weighted
    .type   vitreous_soft_float_weighted, @function
vitreous_soft_float_weighted:
    vitreous_soft_float_enter
    sw      a1, 4(sp)
    sw      a4, 8(sp)
    vitreous_soft_float_clear
1:  lw      t0, 4(sp)
    addi    a1, a0, 128
    bgeu    t0, a1, 2f
    mv      a1, t0
2:  sub     t0, a1, a0
    andi    t0, t0, 8
    beqz    t0, 4f
    # An odd token first.
    vitreous_soft_float_token 0, 0
    addi    a0, a0, 8
    addi    a2, a2, 4
    j       4f
3:  vitreous_soft_float_token 0, 0
    vitreous_soft_float_token 8, 4
    addi    a0, a0, 16
    addi    a2, a2, 8
4:  bne     a0, a1, 3b
    lw      t0, 4(sp)
    lw      t1, 8(sp)
    add     a2, a2, t1
    bne     a0, t0, 1b
    .macro  vitreous_soft_float_store at, sum0, sum1, sum2, sum3
    sw      \sum0, \at(a3)
    sw      \sum1, \at+4(a3)
    sw      \sum2, \at+8(a3)
    sw      \sum3, \at+12(a3)
    .endm
    vitreous_soft_float_store 0, s0, s1, s2, s3
    vitreous_soft_float_store 16, s4, s5, s6, s7
    vitreous_soft_float_store 32, s8, s9, s10, s11
    vitreous_soft_float_store 48, a4, a5, a6, a7
    vitreous_soft_float_leave
    .size   vitreous_soft_float_weighted, . - vitreous_soft_float_weighted
    .option pop
