//! Progress of a run: a bar on a terminal, and a line per record there and elsewhere.

use crate::{console, text};
use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use std::fmt::Write;
use std::io::IsTerminal;

/// What is known before the first step.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Description of model and data, one line.
    pub title: String,
    /// The bar: indicatif's template, which may also have `{images_per_sec}`.
    pub template: &'static str,
    /// Where the bar ends.
    pub length: u64,
    /// Where an earlier, interrupted part of the run came to.
    pub done: u64,
}

/// Told about a run as it goes on.
pub trait Progress {
    /// The run begins.
    fn begin(&mut self, _plan: &Plan) {}
    /// A step is done, and the bar is at `position`.
    fn step(&mut self, _position: u64, _message: String) {}
    /// There is something to read.
    fn line(&mut self, _line: String) {}
    /// The run is over.
    fn end(&mut self) {}
}

/// No output.
impl Progress for () {}

/// Progress on standard error, or none.
pub fn on_terminal(quiet: bool) -> Box<dyn Progress> {
    if quiet {
        Box::new(())
    } else {
        Box::new(Terminal::default())
    }
}

/// A bar on a terminal, lines on anything else; all on standard error.
#[derive(Default)]
struct Terminal {
    bar: Option<ProgressBar>,
}

impl Progress for Terminal {
    fn begin(&mut self, plan: &Plan) {
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new(plan.length);
            if let Ok(style) = ProgressStyle::with_template(plan.template) {
                bar.set_style(style.with_key(
                    "images_per_sec",
                    |state: &ProgressState, out: &mut dyn Write| {
                        // A failed write to the bar's own buffer has nobody to tell.
                        let _ = write!(out, "{:.0} img/s", state.per_sec());
                    },
                ));
            }
            bar.set_position(plan.done);
            bar.reset_eta();
            self.bar = Some(bar);
        }
        self.line(plan.title.clone());
    }

    fn step(&mut self, position: u64, message: String) {
        if let Some(bar) = &self.bar {
            bar.set_position(position);
            bar.set_message(message);
        }
    }

    fn line(&mut self, line: String) {
        match &self.bar {
            Some(bar) => bar.println(text::message(&line)),
            None => console::note(&line),
        }
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
