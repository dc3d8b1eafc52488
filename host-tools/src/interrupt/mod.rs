//! Signals: what ends the program, and what it does before.
//!
//! SIGINT, SIGTERM and SIGHUP remove temporary files, end emulators, and then end the process as they would
//! have without a handler. While something is [`Graceful`], the first of them only asks it to stop; the
//! second ends the process. A signal that the parent process had ignored (`nohup`, or a shell's background
//! job) stays ignored.

pub mod cleanup;

#[cfg(unix)]
mod unix;

use std::sync::atomic::{AtomicI32, AtomicUsize, Ordering};

#[cfg(unix)]
pub use unix::{end_by, end_by_closed_pipe, install, name};

/// Work that stops by itself at the next good moment.
static GRACEFUL: AtomicUsize = AtomicUsize::new(0);
/// The signal that asked for it; 0 for none.
static REQUESTED: AtomicI32 = AtomicI32::new(0);

/// While this lives, the first signal does not end the process: the work at hand asks [`requested`] between
/// its steps.
#[derive(Debug)]
pub struct Graceful(());

impl Graceful {
    /// The work begins.
    pub fn begin() -> Self {
        GRACEFUL.fetch_add(1, Ordering::SeqCst);
        Graceful(())
    }
}

impl Drop for Graceful {
    fn drop(&mut self) {
        GRACEFUL.fetch_sub(1, Ordering::SeqCst);
    }
}

/// The signal that asked to stop, if one did.
pub fn requested() -> Option<i32> {
    Some(REQUESTED.load(Ordering::SeqCst)).filter(|signal| *signal != 0)
}

/// A signal stopped the work at a good moment. The process is to end as the signal would have ended it.
#[derive(Debug, thiserror::Error)]
#[error("stopped by {}: {what}", name(*signal))]
pub struct Stopped {
    /// The signal.
    pub signal: i32,
    /// What is left, and how to go on.
    pub what: String,
}

/// Systems without signals: Ctrl-C ends the process at once.
#[cfg(not(unix))]
mod elsewhere {
    /// Nothing to install.
    pub fn install() {}

    /// A number.
    pub fn name(signal: i32) -> String {
        signal.to_string()
    }

    /// Ends the process.
    pub fn end_by(_: i32) -> ! {
        std::process::exit(130)
    }

    /// Ends the process because nobody reads its output.
    pub fn end_by_closed_pipe() -> ! {
        std::process::exit(141)
    }
}

#[cfg(not(unix))]
pub use elsewhere::{end_by, end_by_closed_pipe, install, name};
