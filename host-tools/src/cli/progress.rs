//! Progress of long jobs, on standard error.

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// One bar per named part of a job; hidden where standard error is no terminal.
#[derive(Default)]
pub struct Bars {
    bars: Mutex<HashMap<String, ProgressBar>>,
}

impl Bars {
    /// `done` of `all` steps of the part `name` are done.
    pub fn report(&self, name: &str, done: usize, all: usize) {
        let Ok(mut bars) = self.bars.lock() else { return };
        let bar = bars.entry(name.to_owned()).or_insert_with(|| new_bar(name, all));
        bar.set_position(done as u64);
        if done == all {
            bar.finish_and_clear();
        }
    }
}

fn new_bar(name: &str, all: usize) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(all as u64), ProgressDrawTarget::stderr());
    if let Ok(style) = ProgressStyle::with_template("{msg:18} {bar:32} {pos}/{len}  {per_sec}  ETA {eta}") {
        bar.set_style(style);
    }
    bar.set_message(name.to_owned());
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}
