//! The command line tool of Vitreous.
#![deny(clippy::print_stdout, clippy::print_stderr, reason = "vitreous_tools::console does not panic")]

use std::process::ExitCode;

use clap::Parser;
use vitreous_tools::cli::Cli;
use vitreous_tools::{console, interrupt};

fn main() -> ExitCode {
    interrupt::install();
    let result = Cli::parse().execute();
    match result {
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
