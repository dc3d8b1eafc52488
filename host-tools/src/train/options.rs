//! Options of a training: those of every run, and how given ones lie over defaults.

use super::folder::Start;
use anyhow::{ensure, Result};
use std::path::PathBuf;
use std::time::Duration;

/// Where a run writes, how it begins, and when it stops.
#[derive(Clone, Debug)]
pub struct RunOptions {
    /// The model's name.
    pub name: String,
    /// Output folder.
    pub out: PathBuf,
    /// What to do with a training that is in `out`.
    pub start: Start,
    /// Time between checkpoints.
    pub checkpoint_every: Duration,
    /// Write a checkpoint and stop after this many steps of the whole run.
    pub stop_after: Option<u64>,
}

/// Replaces `target` by what was given.
pub fn set<T>(target: &mut T, given: Option<T>) {
    if let Some(given) = given {
        *target = given;
    }
}

/// Refuses a value outside of `low` to `high`, naming its option.
pub fn ensure_in_range(option: &str, value: f64, low: f64, high: f64) -> Result<()> {
    ensure!((low..=high).contains(&value), "--{option} {value}: expected {low} to {high}");
    Ok(())
}
