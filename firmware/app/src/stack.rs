//! Measures the stack's depth, by painting the stack and looking for the lowest word that lost its paint.

use core::ptr::addr_of;

const PAINT: u32 = 0x5a5a_c33c;

/// Bytes left unpainted below the stack pointer, since the compiler may push registers after reading it.
/// Functions that are called later go deeper, so no result is wrong.
const MARGIN_BYTES: usize = 64;

/// Bytes above the stack's end that must keep their paint.
const GUARD_BYTES: usize = 64;

// The linker scripts of cortex-m-rt, of riscv-rt and for AArch64 use the same names for these.
extern "C" {
    static __sdata: u32;
    static __ebss: u32;
    static __sheap: u32;
    static _stack_start: u32;
}

/// The stack pointer of the caller.
#[inline(always)]
pub fn pointer() -> usize {
    let pointer: usize;
    // SAFETY: reads a register.
    #[cfg(any(target_arch = "arm", target_arch = "aarch64"))]
    unsafe {
        core::arch::asm!("mov {}, sp", out(reg) pointer, options(nomem, nostack, preserves_flags))
    };
    // SAFETY: reads a register.
    #[cfg(target_arch = "riscv32")]
    unsafe {
        core::arch::asm!("mv {}, sp", out(reg) pointer, options(nomem, nostack, preserves_flags))
    };
    pointer
}

/// Paints all of the free stack.
#[inline(never)]
pub fn paint() {
    let end = pointer() - MARGIN_BYTES;
    let mut at = lowest();
    while at < end {
        // SAFETY: nothing uses the words from the stack's end up to this leaf function's own stack pointer,
        // minus the margin.
        unsafe { (at as *mut u32).write_volatile(PAINT) };
        at += 4;
    }
}

/// The lowest address that was written since [`paint`].
#[inline(never)]
pub fn deepest() -> usize {
    let end = pointer();
    let mut at = lowest();
    // SAFETY: the words read are RAM of the stack's region, and were painted.
    while at < end && unsafe { (at as *const u32).read_volatile() } == PAINT {
        at += 4;
    }
    at
}

/// Whether what [`deepest`] returned is at the very end of the stack.
pub fn is_overflow(deepest: usize) -> bool {
    deepest < lowest() + GUARD_BYTES
}

/// First byte above the stack.
pub fn top() -> usize {
    addr_of!(_stack_start) as usize
}

/// Bytes of stack in all.
pub fn limit() -> usize {
    top() - lowest()
}

/// Bytes of `.data` and `.bss`.
pub fn static_bytes() -> usize {
    addr_of!(__ebss) as usize - addr_of!(__sdata) as usize
}

fn lowest() -> usize {
    addr_of!(__sheap) as usize
}
