//! AArch64: what a runtime crate does elsewhere, and the MMU, since without it no address that is not a
//! multiple of its access's size may be used, and nothing is cached.

core::arch::global_asm!(include_str!("aarch64.s"));

/// Called with stack, statics and memory set up.
#[export_name = "vitreous_main"]
extern "C" fn main() -> ! {
    semihosting::process::exit(crate::application())
}

/// Called for every exception. The registers' low halves hold all of an address here, and all of the
/// syndrome.
#[export_name = "vitreous_exception"]
extern "C" fn exception_handler(pc: u64, syndrome: u64) -> ! {
    super::exception(pc as u32, syndrome as u32)
}
