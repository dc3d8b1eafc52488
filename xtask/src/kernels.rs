//! The kernel tables of microcontrollers on emulated boards: checked against `portable`, their instructions
//! counted and compared with the record.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{bail, ensure, Context, Result};
use vitreous_protocol::{Board, BOARDS, COUNT_INSTRUCTIONS};

use crate::firmware::{board, build, OptLevel, Work};
use crate::shell::root;

/// What is shown as an increase.
const TOLERANCE: f64 = 0.02;

/// `cargo xtask kernels [TARGET…] [--record]`.
pub fn command(arguments: &[&str]) -> Result<()> {
    let record = arguments.contains(&"--record");
    let named: Result<Vec<&Board>> =
        arguments.iter().filter(|argument| **argument != "--record").map(|name| board(name)).collect();
    let mut boards = named?;
    if boards.is_empty() {
        boards.extend(&BOARDS);
    }
    let mut failed = Vec::new();
    for board in boards {
        if !check(board, record)? {
            failed.push(board.name);
        }
    }
    ensure!(failed.is_empty(), "kernels differ from portable on {}", failed.join(", "));
    Ok(())
}

/// Checks and measures the kernel tables of a board, prints what they need, and says whether they equal
/// `portable`.
///
/// # Errors
/// A board that cannot be built for or run; a record that cannot be read or written.
pub fn check(board: &'static Board, record: bool) -> Result<bool> {
    let reports = run(board)?;
    for (i, report) in reports.iter().enumerate() {
        // The first table is the board's own; others have records of their own.
        let name = if i == 0 { board.name.to_owned() } else { format!("{}-{}", board.name, report.table) };
        let path = root().join("benches/record").join(format!("{name}.txt"));
        print!("{}", report.table(board, &recorded(&path)?, i == 0));
        if record {
            fs::create_dir_all(path.parent().context("a folder")?)?;
            fs::write(&path, report.to_record()).with_context(|| path.display().to_string())?;
        }
    }
    Ok(reports.iter().all(|report| report.failures == 0))
}

/// One line of the measurement.
#[derive(Clone, Debug)]
struct Count {
    name: String,
    unit: String,
    units: u64,
    table: u64,
    portable: u64,
}

impl Count {
    fn per_unit(&self) -> f64 {
        self.table as f64 / self.units.max(1) as f64
    }
}

/// What a board said of one table.
#[derive(Debug, Default)]
struct Report {
    table: String,
    checks: Vec<String>,
    failures: u64,
    counts: Vec<Count>,
}

/// Builds and runs a board's check and measurement.
fn run(board: &'static Board) -> Result<Vec<Report>> {
    let elf = build(board, OptLevel::Speed, Work::Kernels)?;
    let mut command = Command::new(board.emulator);
    command.args(board.emulator_options()).args(COUNT_INSTRUCTIONS);
    let output = command.arg("-kernel").arg(elf).stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.with_context(|| format!("cannot start {}", board.emulator))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let reports = parse(&text).with_context(|| format!("{} said:\n{text}", board.name))?;
    ensure!(
        text.lines().any(|line| line == "done"),
        "{} stopped early, {}:\n{text}",
        board.name,
        output.status
    );
    Ok(reports)
}

fn parse(text: &str) -> Result<Vec<Report>> {
    let mut reports = Vec::new();
    for line in text.lines() {
        let (kind, rest) = line.split_once(' ').unwrap_or((line, ""));
        if kind == "table" {
            reports.push(Report { table: rest.to_owned(), ..Report::default() });
        }
        let Some(report) = reports.last_mut() else { continue };
        match kind {
            "failures" => report.failures = rest.parse()?,
            "check" | "failed" => report.checks.push(line.to_owned()),
            "count" => report.counts.push(parse_count(rest)?),
            _ => {}
        }
    }
    Ok(reports)
}

fn parse_count(text: &str) -> Result<Count> {
    let parts: Vec<&str> = text.split('|').collect();
    let [name, unit, units, table, portable] = parts[..] else { bail!("a line of {} parts", parts.len()) };
    Ok(Count {
        name: name.to_owned(),
        unit: unit.to_owned(),
        units: units.parse()?,
        table: table.parse()?,
        portable: portable.parse()?,
    })
}

impl Report {
    /// `is_own`: `portable` is compiled for a processor that would run this table, so that being slower is a
    /// fault.
    fn table(&self, board: &Board, recorded: &BTreeMap<String, u64>, is_own: bool) -> String {
        let mut text = format!("{} ({}), kernels {}\n", board.name, board.core, self.table);
        for check in &self.checks {
            let _ = writeln!(text, "  {check}");
        }
        let _ = writeln!(
            text,
            "  {:36}{:>12}{:>10}{:>12}{:>12}",
            "instructions", "per", "", "portable", "record"
        );
        for count in &self.counts {
            let portable = count.portable as f64 / count.units.max(1) as f64;
            let before = match recorded.get(&count.name) {
                None => "new".into(),
                Some(&before) => {
                    let change = count.table as f64 / before.max(1) as f64 - 1.0;
                    let mark = if change > TOLERANCE { " more" } else { "" };
                    format!("{:+.1} %{mark}", 100.0 * change)
                }
            };
            let slower = if is_own && count.table > count.portable + count.portable / 50 {
                "  slower than portable"
            } else {
                ""
            };
            let _ = writeln!(
                text,
                "  {:36}{:>12}{:>10.3}{portable:>12.3}{before:>12}{slower}",
                count.name,
                count.unit,
                count.per_unit()
            );
        }
        text
    }

    /// Instructions by name, one a line.
    fn to_record(&self) -> String {
        let mut text =
            format!("# Executed instructions, kernels {}: cargo xtask kernels --record\n", self.table);
        for count in &self.counts {
            let _ = writeln!(text, "{:36}{:>10} {:>8} {}", count.name, count.table, count.units, count.unit);
        }
        text
    }
}

/// Instructions by name, as recorded; empty if nothing was.
fn recorded(path: &Path) -> Result<BTreeMap<String, u64>> {
    let Ok(text) = fs::read_to_string(path) else { return Ok(BTreeMap::new()) };
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let entry = |line: &str| -> Option<(String, u64)> {
        let mut fields = line.split_whitespace().rev();
        let (_, _, count) = (fields.next()?, fields.next()?, fields.next()?.parse().ok()?);
        let mut name: Vec<&str> = fields.collect();
        name.reverse();
        Some((name.join(" "), count))
    };
    lines.map(|line| entry(line).with_context(|| format!("{}: `{line}`", path.display()))).collect()
}
