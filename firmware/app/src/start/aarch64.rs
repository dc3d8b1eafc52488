//! AArch64: does what a runtime crate does on other architectures, and switches on the MMU. Without MMU every
//! access must be aligned to its size, and nothing is cached.

core::arch::global_asm!(include_str!("aarch64.s"));

/// Called with stack, statics and memory set up.
#[export_name = "vitreous_main"]
extern "C" fn main() -> ! {
    semihosting::process::exit(crate::application())
}

/// Called for every exception. The low halves of the registers hold the whole address here, and the whole
/// syndrome.
#[export_name = "vitreous_exception"]
extern "C" fn exception_handler(pc: u64, syndrome: u64) -> ! {
    super::exception(pc as u32, syndrome as u32)
}
