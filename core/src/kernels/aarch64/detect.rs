//! Whether the processor has SDOT.

/// Whether the compiler was told that SDOT exists: by the target (Apple's processors have it), or by `-C
/// target-cpu` or `-C target-feature`.
#[cfg(any(target_feature = "dotprod", not(any(target_os = "linux", target_os = "android"))))]
pub(super) fn has_dotprod() -> bool {
    cfg!(target_feature = "dotprod")
}

/// Asks the processor: register ID_AA64ISAR0_EL1, field DP (Arm Architecture Reference Manual, D23.2).
/// Programs may not read that register, but Linux emulates the access and reports what all cores can do
/// (Linux, Documentation/arch/arm64/cpu-feature-registers.rst; since 4.11).
#[cfg(all(not(target_feature = "dotprod"), any(target_os = "linux", target_os = "android")))]
pub(super) fn has_dotprod() -> bool {
    let features: u64;
    // SAFETY: the operating system emulates the instruction, which has no effect but its result.
    unsafe {
        core::arch::asm!("mrs {}, ID_AA64ISAR0_EL1", out(reg) features, options(pure, nomem, nostack,
            preserves_flags));
    }
    features >> 44 & 0xf != 0
}
