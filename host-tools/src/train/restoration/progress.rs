//! Progress of a run: a bar on a terminal, a line per validation elsewhere.

use super::history::Record;
use crate::{console, text};
use indicatif::{ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::time::Instant;

/// What is known before the first step.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Description of model and data, one line.
    pub title: String,
    /// Names of the tasks.
    pub tasks: Vec<String>,
    /// Steps of the whole run.
    pub steps: u64,
    /// Steps done by an earlier, interrupted part of the run.
    pub done: u64,
    /// Windows per step.
    pub batch: usize,
}

/// Told about a run as it goes on.
pub trait Progress {
    /// The run begins.
    fn begin(&mut self, _plan: &Plan) {}
    /// A step is done.
    fn step(&mut self, _mean_loss: f64, _lr: f64) {}
    /// Held-out windows were scored.
    fn validated(&mut self, _record: &Record) {}
    /// The run is over.
    fn end(&mut self) {}
}

/// No output.
impl Progress for () {}

/// A bar on a terminal, lines on anything else; all on standard error.
#[derive(Default)]
pub struct Terminal {
    bar: Option<ProgressBar>,
    started: Option<Instant>,
    plan: Option<Plan>,
    steps: u64,
}

impl Terminal {
    fn say(&self, line: String) {
        match &self.bar {
            Some(bar) => bar.println(text::message(&line)),
            None => console::note(&line),
        }
    }
}

impl Progress for Terminal {
    fn begin(&mut self, plan: &Plan) {
        self.started = Some(Instant::now());
        if std::io::stderr().is_terminal() {
            let bar = ProgressBar::new(plan.steps);
            if let Ok(style) =
                ProgressStyle::with_template("{bar:30} {pos}/{len} {msg} · {per_sec} · ETA {eta}")
            {
                bar.set_style(style);
            }
            bar.set_position(plan.done);
            bar.reset_eta();
            self.bar = Some(bar);
        }
        self.say(plan.title.clone());
        self.plan = Some(plan.clone());
    }

    fn step(&mut self, mean_loss: f64, lr: f64) {
        self.steps += 1;
        if let Some(bar) = &self.bar {
            bar.inc(1);
            bar.set_message(format!("loss {mean_loss:.4} · lr {lr:.2e}"));
        }
    }

    fn validated(&mut self, record: &Record) {
        let Some(plan) = &self.plan else { return };
        let seconds = self.started.map_or(0.0, |t| t.elapsed().as_secs_f64());
        let rate = self.steps as f64 / seconds.max(1e-9);
        let rest = (plan.steps - record.step) as f64 / rate.max(1e-9);
        let scores: Vec<String> =
            plan.tasks.iter().zip(&record.psnr).map(|(task, psnr)| format!("{task} {psnr:.2}")).collect();
        let trained = match record.step {
            0 => "not trained yet".to_owned(),
            _ => format!("loss {:.4}  norm {:.2}  lr {:.2e}", record.loss, record.gradient_norm, record.lr),
        };
        let mut line =
            format!("step {:>6}/{}  {trained}  dB: {}", record.step, plan.steps, scores.join(", "));
        if self.steps > 0 {
            line += &format!("  {:.1} windows/s  ETA {:.0} min", rate * plan.batch as f64, rest / 60.0);
        }
        self.say(line);
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}
