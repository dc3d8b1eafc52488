//! The project's own commands. `cargo xtask` alone lists them.

mod check;
mod demo;
mod firmware;
mod kernels;
mod setup;
mod shell;
mod size;
mod test;
mod toolchain;
mod totals;
mod width;

use std::process::ExitCode;

use anyhow::{bail, Result};

const USAGE: &str = "\
cargo xtask COMMAND

  setup [--check]           install what is missing to build and emulate firmware (--check: only say what)
  firmware [TARGET…]        build the firmware of all or some boards into target/firmware
           [--opt-level L]    3 (default) for speed, s for size
           [--only WORK]      classify or restore; both if not given
  demo                      convert, prove and run a small model, on the host and on emulated boards
  test [--no-target]        every test and every check; --no-target leaves out what needs an emulator
  check                     the checks alone: formatting, lints, widths of lines, documentation, examples,
                            packages
  kernels [TARGET…]         check the boards' kernel tables against portable and count their instructions
          [--record]          write the counts to benches/record
  size [TARGET]             flash bytes of the firmware and of the engine in it (default: qemu-m4)";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match dispatch(&arguments) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn dispatch(arguments: &[&str]) -> Result<()> {
    match arguments {
        ["setup"] => setup::command(true),
        ["setup", "--check"] => setup::command(false),
        ["firmware", rest @ ..] => firmware::command(rest),
        ["demo"] => demo::command(),
        ["test"] => test::command(true),
        ["test", "--no-target"] => test::command(false),
        ["check"] => check::command(),
        ["kernels", rest @ ..] => kernels::command(rest),
        ["size"] => size::command("qemu-m4"),
        ["size", target] => size::command(target),
        [] | ["help" | "--help" | "-h"] => {
            println!("{USAGE}");
            Ok(())
        }
        _ => bail!("unknown arguments `{}`\n\n{USAGE}", arguments.join(" ")),
    }
}
