//! Standard output and standard error, for whoever still reads them.
//!
//! `println!` panics when its reader has gone (`vitreous inspect m.vtr | head -1`), which could end a
//! training. Clippy refuses it and its relatives outside this file. Texts may hold names from files, so that
//! nothing in them acts on a terminal but the line ends.

use std::io::{self, Write};

use crate::text;

/// Standard output was closed by its reader.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads standard output any more")]
pub struct Closed;

/// Writes a text and a line feed to standard output.
///
/// # Errors
/// [`Closed`], or what the system says (a full disk behind a redirection).
pub fn print(text: &str) -> anyhow::Result<()> {
    let text = text::lines(text);
    let mut out = io::stdout().lock();
    let written =
        out.write_all(text.as_bytes()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
    match written {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Err(Closed.into()),
        Err(error) => Err(anyhow::anyhow!("cannot write to standard output: {error}")),
    }
}

/// Writes a message to standard error: warnings, progress, what went wrong; its further lines are set in. If
/// nobody reads it, nobody is to be told so, and the work goes on.
pub fn note(message: &str) {
    let _ = io::stderr().lock().write_all(format!("{}\n", text::message(message)).as_bytes());
}
