//! Whether the processor has SDOT.

/// What the compiler was told to expect: Apple's processors have it, and so does what `-C target-cpu` or `-C
/// target-feature` says.
#[cfg(any(target_feature = "dotprod", not(any(target_os = "linux", target_os = "android"))))]
pub(super) fn has_dotprod() -> bool {
    cfg!(target_feature = "dotprod")
}

/// The processor's own word: ID_AA64ISAR0_EL1, field DP (Arm Architecture Reference Manual, D23.2). Programs
/// may not read that register, but Linux answers in the processor's place, and with what all of its cores can
/// do (Linux, Documentation/arch/arm64/ cpu-feature-registers.rst; since 4.11).
#[cfg(all(not(target_feature = "dotprod"), any(target_os = "linux", target_os = "android")))]
pub(super) fn has_dotprod() -> bool {
    let features: u64;
    // SAFETY: the operating system emulates the instruction, which has no effect but its result.
    unsafe {
        core::arch::asm!("mrs {}, ID_AA64ISAR0_EL1", out(reg) features, options(pure, nomem, nostack, preserves_flags));
    }
    features >> 44 & 0xf != 0
}
