//! Entry point and exception handlers, per architecture, and the panic handler.

use core::panic::PanicInfo;

use vitreous_protocol::{exit, Fault, FaultKind};

use crate::report;

#[cfg(target_arch = "aarch64")]
mod aarch64;
#[cfg(target_arch = "arm")]
mod cortex_m;
#[cfg(enable_fpu)]
mod fpu;
#[cfg(target_arch = "riscv32")]
mod riscv;

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    let (a, b) = info.location().map_or((0, 0), |place| (place.line(), place.column()));
    report::send_fault(Fault { kind: FaultKind::Panic, a, b });
    semihosting::process::exit(exit::PANIC)
}

/// Reports an exception: its address, and the processor's status word with the reason.
fn exception(pc: u32, status: u32) -> ! {
    report::send_fault(Fault { kind: FaultKind::Exception, a: pc, b: status });
    semihosting::process::exit(exit::FAULT)
}
