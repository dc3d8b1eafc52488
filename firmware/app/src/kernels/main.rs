//! Checks the kernel tables of this board against `portable`, bit for bit, and counts the instructions of
//! each of their functions.
//!
//! It runs under the emulator and prints text on its standard output: `cargo xtask kernels`.
#![no_std]
#![no_main]

mod check;
#[path = "../clock.rs"]
#[allow(dead_code, reason = "the calibration is the other application's")]
mod clock;
mod hostile;
mod measure;
mod numbers;
mod shapes;
mod start;

use core::ptr::addr_of_mut;

use semihosting::println;
use vitreous::kernels::{default_kernels, supported_kernels, Kernels, PORTABLE};
use vitreous_protocol::{Board, BOARDS};

include!(concat!(env!("OUT_DIR"), "/board.rs"));

/// The board that this image is for.
const BOARD: &Board = &BOARDS[BOARD_INDEX];

/// Memory of a case, in units of 16 bytes.
const MEMORY: usize = 11 * 1024;

/// Checks, measures and returns the exit code.
fn application() -> i32 {
    static mut POOL: [u128; MEMORY] = [0; MEMORY];
    // SAFETY: the only reference, as the entry point calls this once.
    let memory = unsafe { &mut *addr_of_mut!(POOL) };
    let first = default_kernels();
    let mut failures = run(first, memory);
    let is_other = |table: &&Kernels| ![first.spec.name, PORTABLE.spec.name].contains(&table.spec.name);
    for table in supported_kernels().filter(is_other) {
        failures += run(table, memory);
    }
    println!("done");
    (failures > 0) as i32
}

/// Returns how many checks failed.
fn run(table: &'static Kernels, memory: &mut [u128]) -> u32 {
    println!("table {}", table.spec.name);
    let failures = check::all(table, memory);
    println!("failures {}", failures);
    measure::all(table, memory);
    failures
}
