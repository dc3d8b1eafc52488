//! The command line tool of Vitreous.
#![deny(clippy::print_stdout, clippy::print_stderr, reason = "vitreous_tools::console does not panic")]

use std::ffi::OsString;
use std::process::ExitCode;

use vitreous_tools::cli::Cli;
use vitreous_tools::{console, interrupt, text};

fn main() -> ExitCode {
    interrupt::install();
    let cli = match Cli::parsed() {
        Ok(cli) => cli,
        Err(error) => return refused(&error),
    };
    match cli.execute() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) if error.is::<console::Closed>() => interrupt::end_by_closed_pipe(),
        Err(error) => {
            if let Some(stopped) = error.downcast_ref::<interrupt::Stopped>() {
                console::note(&stopped.to_string());
                interrupt::end_by(stopped.signal);
            }
            console::note(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Help, or what is wrong with the arguments. They may be file names that a shell has put there, so that they
/// must not act either.
fn refused(error: &clap::Error) -> ExitCode {
    let is_safe = |argument: &OsString| text::shown(argument.as_ref()).as_str() == argument.as_os_str();
    if !error.use_stderr() || std::env::args_os().all(|argument| is_safe(&argument)) {
        error.exit()
    }
    console::note(error.render().to_string().trim_end());
    ExitCode::from(2)
}
