//! RISC-V: riscv-rt sets up stack, statics and the trap vector.

use riscv_rt::{entry, TrapFrame};

#[entry]
fn main() -> ! {
    semihosting::process::exit(crate::application())
}

/// Called by riscv-rt for every exception.
#[export_name = "ExceptionHandler"]
extern "C" fn exception_handler(_frame: &TrapFrame) -> ! {
    let (pc, cause): (u32, u32);
    // SAFETY: reading these machine-mode CSRs has no side effects.
    unsafe {
        core::arch::asm!("csrr {0}, mepc", "csrr {1}, mcause", out(reg) pc, out(reg) cause, options(nomem,
            nostack));
    }
    super::exception(pc, cause)
}
