//! Cortex-M: cortex-m-rt sets up statics and enables the FPU (and with it Helium, which shares its access
//! control).

use cortex_m_rt::{entry, exception, ExceptionFrame};

#[entry]
fn main() -> ! {
    semihosting::process::exit(crate::application())
}

/// Configurable Fault Status Register (Armv7-M Architecture Reference Manual, B3.2.15; the same on Armv8-M).
const CFSR: *const u32 = 0xe000_ed28 as *const u32;

#[exception]
unsafe fn HardFault(frame: &ExceptionFrame) -> ! {
    // SAFETY: a register that every Cortex-M of these boards has; reading it has no side effects.
    super::exception(frame.pc(), unsafe { CFSR.read_volatile() })
}

#[exception]
unsafe fn DefaultHandler(number: i16) -> ! {
    super::exception(0, number as u32)
}
