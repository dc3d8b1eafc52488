//! The command line tool of Vitreous.

use std::process::ExitCode;

use clap::Parser;
use vitreous_tools::cli::Cli;

fn main() -> ExitCode {
    match Cli::parse().execute() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
