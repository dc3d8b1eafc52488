//! Words that all reports share.

/// What the time of a report is of.
pub fn steps_in_words(steps: u64, resumed_at: u64) -> String {
    match resumed_at {
        0 => format!("{steps} steps"),
        before => format!("{steps} steps, the last {} of them since --resume,", steps - before),
    }
}
