//! Time, in ticks of the board's counter. Under the emulator's `-icount` a tick is a fixed number of
//! instructions.

use vitreous_protocol::board::Counter;
use vitreous_protocol::CALIBRATION_INSTRUCTIONS;

use crate::BOARD;

/// A counter that is extended to 64 bits; it must be read at least once per wrap of the counter below.
///
/// The 32-bit counters of the boards wrap after 2 to 3 thousand million instructions, far longer than any
/// step.
pub struct Clock {
    last: u64,
    ticks: u64,
}

impl Clock {
    /// A clock that starts at zero.
    pub fn start() -> Self {
        Self { last: counter(), ticks: 0 }
    }

    /// Ticks since the start.
    #[inline(never)]
    pub fn ticks(&mut self) -> u64 {
        let now = counter();
        let passed = now.wrapping_sub(self.last);
        self.ticks = self.ticks.wrapping_add(match BOARD.counter {
            Counter::Memory { .. } => passed & 0xffff_ffff,
            Counter::Mcycle | Counter::Cntvct => passed,
        });
        self.last = now;
        self.ticks
    }
}

/// Ticks of a loop of [`CALIBRATION_INSTRUCTIONS`] instructions, minus those of reading the counter.
pub fn calibrate() -> u64 {
    let empty = timed(0);
    timed(CALIBRATION_INSTRUCTIONS / 2).wrapping_sub(empty)
}

/// Never inlined, so that the code around the loop is the same in both calls.
#[inline(never)]
fn timed(iterations: u32) -> u64 {
    let mut clock = Clock::start();
    let before = clock.ticks();
    two_instructions_each(iterations);
    clock.ticks().wrapping_sub(before)
}

#[cfg(target_arch = "arm")]
fn counter() -> u64 {
    match BOARD.counter {
        // SAFETY: the board table gives the address of a read-only 32-bit register without side effects.
        Counter::Memory { address } => u64::from(unsafe { (address as *const u32).read_volatile() }),
        Counter::Mcycle | Counter::Cntvct => 0,
    }
}

#[cfg(target_arch = "aarch64")]
fn counter() -> u64 {
    let count;
    // SAFETY: reading the virtual count has no side effects.
    unsafe { core::arch::asm!("mrs {}, cntvct_el0", out(reg) count, options(nomem, nostack)) };
    count
}

#[cfg(target_arch = "riscv32")]
fn counter() -> u64 {
    loop {
        let (high, low, again): (u32, u32, u32);
        // SAFETY: reading the machine-mode counters has no side effects.
        unsafe {
            core::arch::asm!(
                "csrr {0}, mcycleh", "csrr {1}, mcycle", "csrr {2}, mcycleh",
                out(reg) high, out(reg) low, out(reg) again,
                options(nomem, nostack),
            );
        }
        if high == again {
            return u64::from(high) << 32 | u64::from(low);
        }
    }
}

#[cfg(target_arch = "arm")]
fn two_instructions_each(iterations: u32) {
    // SAFETY: the loop only counts a register down.
    unsafe {
        core::arch::asm!("cmp r0, #0", "beq 3f", "2:", "subs r0, r0, #1", "bne 2b", "3:",
            inout("r0") iterations => _, options(nomem, nostack));
    }
}

#[cfg(target_arch = "aarch64")]
fn two_instructions_each(iterations: u32) {
    // SAFETY: the loop only counts a register down.
    unsafe {
        core::arch::asm!("cbz {0:w}, 3f", "2:", "subs {0:w}, {0:w}, #1", "b.ne 2b", "3:",
            inout(reg) iterations => _, options(nomem, nostack));
    }
}

#[cfg(target_arch = "riscv32")]
fn two_instructions_each(iterations: u32) {
    // SAFETY: the loop only counts a register down.
    unsafe {
        core::arch::asm!("beqz {0}, 3f", "2:", "addi {0}, {0}, -1", "bnez {0}, 2b", "3:",
            inout(reg) iterations => _, options(nomem, nostack));
    }
}
