//! What has passed and what has failed, over all that a command runs.

use std::env;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{bail, Context, Result};

use crate::shell::{run, shown};

/// Counts of tests and checks.
#[derive(Default)]
pub struct Totals {
    passed: u64,
    failed: u64,
    ignored: u64,
    /// Names of those that failed.
    names: Vec<String>,
    /// Names that were printed as failed since the last summary. A test may print such a line itself, so they
    /// count only where the summary says that something failed.
    suspects: Vec<String>,
    is_failure: bool,
}

impl Totals {
    /// Runs `cargo test`, passing its output on and counting.
    pub fn run_tests(&mut self, command: &mut Command) -> Result<()> {
        println!("$ {}", shown(command));
        if env::var_os("CARGO_TERM_COLOR").is_none() {
            command.env("CARGO_TERM_COLOR", "never");
        }
        let mut child = command.stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
        let stdout = child.stdout.take().context("cargo has no standard output")?;
        for line in BufReader::new(stdout).split(b'\n') {
            let line = line.context("reading cargo's output")?;
            let line = String::from_utf8_lossy(&line);
            println!("{line}");
            self.count(&line);
        }
        self.is_failure |= !child.wait().context("waiting for cargo")?.success();
        Ok(())
    }

    /// Runs a command that counts as one test.
    pub fn run_check(&mut self, name: &str, command: &mut Command) {
        println!("$ {}", shown(command));
        self.add(name, run(command));
    }

    /// Counts one test, and says how it went.
    pub fn add(&mut self, name: &str, outcome: Result<()>) {
        match outcome {
            Ok(()) => {
                println!("test {name} ... ok");
                self.passed += 1;
            }
            Err(error) => {
                println!("error: {error:#}\ntest {name} ... FAILED");
                self.failed += 1;
                self.is_failure = true;
                self.names.push(name.into());
            }
        }
    }

    /// Prints the summary, and fails if anything has failed.
    pub fn finish(&self, mut skipped: Vec<String>) -> Result<()> {
        skipped.sort();
        skipped.dedup();
        println!("\n{} passed, {} failed, {} ignored", self.passed, self.failed, self.ignored);
        for line in &skipped {
            println!("skipped: {line}");
        }
        if self.is_failure {
            bail!(
                "tests failed: {}",
                if self.names.is_empty() { "see above".into() } else { self.names.join(", ") }
            );
        }
        Ok(())
    }

    fn count(&mut self, line: &str) {
        if let Some(name) = line.strip_prefix("test ").and_then(|rest| rest.strip_suffix(" ... FAILED")) {
            self.suspects.push(name.into());
        }
        let Some(counts) = line.strip_prefix("test result: ") else { return };
        let suspects = std::mem::take(&mut self.suspects);
        if counts.starts_with("FAILED") {
            self.names.extend(suspects);
        }
        for part in counts.split([';', '.']) {
            match part.split_whitespace().collect::<Vec<_>>()[..] {
                [number, "passed"] => self.passed += number.parse().unwrap_or(0),
                [number, "failed"] => self.failed += number.parse().unwrap_or(0),
                [number, "ignored"] => self.ignored += number.parse().unwrap_or(0),
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::Totals;

    #[test]
    fn summary_lines_are_counted() {
        let mut totals = Totals::default();
        totals.count("test target::runs ... FAILED");
        totals.count(
            "test result: FAILED. 61 passed; 1 failed; 2 ignored; 0 measured; 0 filtered out; finished in \
             0.5s",
        );
        totals.count("test printed_by_a_test ... FAILED");
        totals.count("test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out");
        assert_eq!((totals.passed, totals.failed, totals.ignored), (62, 1, 2));
        assert_eq!(totals.names, ["target::runs"]);
    }

    #[test]
    fn checks_are_counted_like_tests() {
        let mut totals = Totals::default();
        totals.add("a", Ok(()));
        assert!(totals.finish(Vec::new()).is_ok());
        totals.add("b", Err(anyhow::anyhow!("wide")));
        assert_eq!((totals.passed, totals.failed), (1, 1));
        assert!(totals.finish(Vec::new()).is_err_and(|error| error.to_string().ends_with("b")));
    }
}
