//! Signals of Unix.

use std::process;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::thread;

use signal_hook::consts::{SIGHUP, SIGINT, SIGPIPE, SIGTERM, SIGXFSZ};
use signal_hook::iterator::Signals;
use signal_hook::low_level::{emulate_default_handler, signal_name};

use super::{cleanup, GRACEFUL, REQUESTED};
use crate::console;

/// Signals that ask a program to end.
const ENDING: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// Takes over the signals of this process. Without it (in a program that uses the library) they do what they
/// do everywhere.
pub fn install() {
    // With a handler, a write beyond the process's limit of a file's size is an error that can be told;
    // without, it kills.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::new(AtomicBool::new(false)));
    let ignored = ignored_signals();
    let taken = ENDING.into_iter().filter(|signal| ignored >> (signal - 1) & 1 == 0);
    // Both fail only where the system has no memory or threads left; signals keep their usual effect then.
    let Ok(mut signals) = Signals::new(taken) else { return };
    let watch = move || signals.forever().for_each(receive);
    let _ = thread::Builder::new().name("signals".into()).spawn(watch);
}

fn receive(signal: i32) {
    let is_first = REQUESTED.compare_exchange(0, signal, Ordering::SeqCst, Ordering::SeqCst).is_ok();
    if is_first && GRACEFUL.load(Ordering::SeqCst) > 0 {
        console::note(&format!("{}: stopping after this step; a second signal ends at once", name(signal)));
    } else {
        end_by(signal);
    }
}

/// Signals that were ignored when the program began, bit 0 for signal 1. A system without `/proc` does not
/// say it: none.
fn ignored_signals() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// `SIGINT` and so on.
pub fn name(signal: i32) -> String {
    signal_name(signal).map_or_else(|| format!("signal {signal}"), str::to_owned)
}

/// Ends the process as the signal does by default, after its temporary files and emulators: a shell sees 128
/// + its number.
pub fn end_by(signal: i32) -> ! {
    let _nothing_new = cleanup::remove_all();
    // Returns only for a signal that does not end a process.
    let _ = emulate_default_handler(signal);
    process::exit(128 + signal)
}

/// Ends the process because nobody reads its output any more, as other tools do (`| head`): quietly, by
/// SIGPIPE.
pub fn end_by_closed_pipe() -> ! {
    end_by(SIGPIPE)
}
