//! Switches the FPU on for the soft-float ABI, as C projects with softfp do in their start-up code. (For the
//! hard-float ABI cortex-m-rt does so.) This runs before memory is initialised, when no Rust code may run.

core::arch::global_asm!(
    ".section .text.__pre_init, \"ax\", %progbits",
    ".syntax unified",
    ".thumb_func",
    ".global __pre_init",
    "__pre_init:",
    // Coprocessor Access Control Register (Armv7-M Architecture Reference Manual, B3.2.20): full access to
    // CP10 and CP11, which are the FPU. The barriers make later instructions see the new value.
    "movw r0, #0xed88",
    "movt r0, #0xe000",
    "ldr r1, [r0]",
    "orr r1, r1, #0xf00000",
    "str r1, [r0]",
    "dsb",
    "isb",
    "bx lr",
);
