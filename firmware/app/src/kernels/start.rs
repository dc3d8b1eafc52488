//! Entry point and the ends of a run.

use core::panic::PanicInfo;

use semihosting::println;

#[cfg(target_arch = "aarch64")]
#[path = "../start/aarch64.rs"]
mod aarch64;

#[cfg(enable_fpu)]
#[path = "../start/fpu.rs"]
mod fpu;

#[cfg(target_arch = "arm")]
#[cortex_m_rt::entry]
fn main() -> ! {
    semihosting::process::exit(crate::application())
}

#[cfg(target_arch = "riscv32")]
#[riscv_rt::entry]
fn main() -> ! {
    semihosting::process::exit(crate::application())
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    println!("{}", info);
    semihosting::process::exit(2)
}

#[cfg(target_arch = "arm")]
#[cortex_m_rt::exception]
unsafe fn HardFault(frame: &cortex_m_rt::ExceptionFrame) -> ! {
    println!("fault at {:#x}", frame.pc());
    semihosting::process::exit(3)
}

#[cfg(target_arch = "riscv32")]
#[export_name = "ExceptionHandler"]
extern "C" fn exception_handler(_frame: &riscv_rt::TrapFrame) -> ! {
    println!("exception");
    semihosting::process::exit(3)
}

#[cfg(target_arch = "aarch64")]
fn exception(pc: u32, status: u32) -> ! {
    println!("exception at {:#x}: {:#x}", pc, status);
    semihosting::process::exit(3)
}
