//! Progress of a run: bars on a terminal, a line per epoch elsewhere.

use super::history::EpochRecord;
use crate::{console, text};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::Instant;

/// What is known before the first step.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Description of model and data, one line.
    pub title: String,
    /// Images per epoch.
    pub images: u64,
    /// Epochs of the whole run.
    pub epochs: u64,
    /// Images done by an earlier, interrupted part of the run.
    pub resumed_images: u64,
}

/// Told about a run as it goes on.
pub trait TrainProgress {
    /// The run begins.
    fn begin(&mut self, _plan: &Plan) {}
    /// A step over `images` images is done.
    fn step(&mut self, _images: u64, _mean_loss: f64, _lr: f64) {}
    /// An epoch is done.
    fn epoch(&mut self, _record: &EpochRecord) {}
    /// The run is over.
    fn end(&mut self) {}
}

/// No output.
impl TrainProgress for () {}

/// Bars on a terminal, lines on anything else; all on standard error.
#[derive(Default)]
pub struct Terminal {
    bar: Option<ProgressBar>,
    started: Option<Instant>,
    epochs: u64,
    images: u64,
    done: u64,
}

impl Terminal {
    fn say(&self, line: String) {
        match &self.bar {
            Some(bar) => bar.println(text::message(&line)),
            None => console::note(&line),
        }
    }

    fn images_per_second(&self) -> f64 {
        let seconds = self.started.map_or(0.0, |t| t.elapsed().as_secs_f64());
        self.done as f64 / seconds.max(1e-9)
    }
}

impl TrainProgress for Terminal {
    fn begin(&mut self, plan: &Plan) {
        self.started = Some(Instant::now());
        self.epochs = plan.epochs;
        self.images = plan.images;
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new(plan.images * plan.epochs);
            let template = "{bar:30} {percent:>3}% {msg} · {per_sec} · ETA {eta}";
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style.with_key(
                    "per_sec",
                    |state: &indicatif::ProgressState, out: &mut dyn std::fmt::Write| {
                        // A failed write to the bar's own buffer has nobody to tell.
                        let _ = write!(out, "{:.0} img/s", state.per_sec());
                    },
                ));
            }
            bar.set_position(plan.resumed_images);
            bar.reset_eta();
            self.bar = Some(bar);
        }
        self.say(plan.title.clone());
    }

    fn step(&mut self, images: u64, mean_loss: f64, lr: f64) {
        self.done += images;
        if let Some(bar) = &self.bar {
            bar.inc(images);
            let epoch = bar.position() / self.images.max(1) + 1;
            bar.set_message(format!(
                "epoch {}/{} · loss {mean_loss:.4} · lr {lr:.2e}",
                epoch.min(self.epochs),
                self.epochs
            ));
        }
    }

    fn epoch(&mut self, record: &EpochRecord) {
        self.say(format!(
            "epoch {:>3}/{}  loss {:.4}  lr {:.2e}  held-out accuracy {:.2} %  {:.0} img/s",
            record.epoch,
            self.epochs,
            record.loss,
            record.lr,
            100.0 * record.test_accuracy,
            self.images_per_second()
        ));
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
