//! Instruction sets that the processor has and the operating system supports (Intel SDM vol. 1, §14.3 and
//! §15.2).

use core::arch::x86_64::{__cpuid, __cpuid_count, _xgetbv};

/// Instruction sets that the tables need.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Features {
    /// AVX2 and F16C.
    pub avx2: bool,
    /// AVX-512 F, BW, VL and VNNI.
    pub avx512_vnni: bool,
}

pub(super) fn features() -> Features {
    let has = |register: u32, bits: &[u32]| bits.iter().all(|bit| register >> bit & 1 == 1);
    #[allow(unused_unsafe, reason = "newer compilers declare cpuid safe")]
    // SAFETY: every x86-64 processor has cpuid; leaf 7 is asked for only where leaf 0 lists it.
    let (basic, extended) = unsafe {
        if __cpuid(0).eax < 7 {
            return Features::default();
        }
        (__cpuid(1), __cpuid_count(7, 0))
    };
    const OSXSAVE: u32 = 27;
    if !has(basic.ecx, &[OSXSAVE]) {
        return Features::default();
    }
    // SAFETY: OSXSAVE says that xgetbv can be executed.
    let saved = unsafe { saved_registers() };
    // F16C and AVX; AVX2.
    let avx2 = saved & 0x06 == 0x06 && has(basic.ecx, &[29, 28]) && has(extended.ebx, &[5]);
    // Masks and both halves of the 512-bit registers; F, BW, VL; VNNI.
    let avx512 = saved & 0xe6 == 0xe6 && has(extended.ebx, &[16, 30, 31]) && has(extended.ecx, &[11]);
    Features { avx2, avx512_vnni: avx2 && avx512 }
}

/// Which registers the operating system saves.
#[target_feature(enable = "xsave")]
fn saved_registers() -> u64 {
    // SAFETY: register 0 exists wherever the instruction does.
    unsafe { _xgetbv(0) }
}
