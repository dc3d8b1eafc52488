// Entry at EL1 with everything off, as QEMU leaves a core of its machine `virt`. Registers and their fields:
// Arm Architecture Reference Manual for A-profile, D23.2.

    .section .text.entry, "ax"
    .global _start
_start:
    adrp    x0, _stack_start
    add     x0, x0, :lo12:_stack_start
    mov     sp, x0

    // CPACR_EL1.FPEN: no trap of floating point and SIMD.
    mov     x0, #(3 << 20)
    msr     cpacr_el1, x0

    adrp    x0, exceptions
    add     x0, x0, :lo12:exceptions
    msr     vbar_el1, x0

    // Attribute 0: normal memory, write-back.
    mov     x0, #0xff
    msr     mair_el1, x0
    adrp    x0, blocks
    add     x0, x0, :lo12:blocks
    msr     ttbr0_el1, x0
    // T0SZ 32 (addresses of 32 bits, so that level 1 has four entries), tables write-back and inner
    // shareable, no upper half.
    ldr     x0, =(32 | 1 << 8 | 1 << 10 | 3 << 12 | 1 << 23)
    msr     tcr_el1, x0
    isb
    // SCTLR_EL1: MMU (M), data cache (C) and instruction cache (I) on.
    mrs     x0, sctlr_el1
    mov     x1, #(1 << 2 | 1)
    orr     x1, x1, #(1 << 12)
    orr     x0, x0, x1
    msr     sctlr_el1, x0
    isb

    adrp    x0, __sbss
    add     x0, x0, :lo12:__sbss
    adrp    x1, __ebss
    add     x1, x1, :lo12:__ebss
1:  cmp     x0, x1
    b.hs    2f
    str     xzr, [x0], #8
    b       1b
2:  bl      vitreous_main

fault:
    mrs     x0, elr_el1
    mrs     x1, esr_el1
    bl      vitreous_exception
    .ltorg

    // Sixteen entries of 128 bytes.
    .balign 2048
exceptions:
    .rept   16
    b       fault
    .balign 128
    .endr

    // Four blocks of 1 GiB, of which the second is where memory is: accessed (AF), inner shareable, attribute
    // 0.
    .section .rodata.blocks, "a"
    .balign 64
blocks:
    .quad   0, 0x40000000 | 1 << 10 | 3 << 8 | 1, 0, 0
