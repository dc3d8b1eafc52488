//! The training loop.

use super::checkpoint::{self, Checkpoint, Which};
use super::folder::{warn_of, RunFolder, Start, REPORT_FILE, UNWRITTEN};
use super::history::{Record, Running};
use super::optimizer::{clip, Optimizer, State};
use super::options::RunOptions;
use super::parameter::ParameterSpec;
use super::progress::{Plan, Progress};
use super::trainee::{Outcome, Pace, Trainee};
use crate::interrupt::{self, Graceful};
use crate::output;
use anyhow::{bail, Context, Result};
use serde_json::Value;
use std::time::Instant;

/// Trains a model and writes it, its curves and the report to the output folder.
///
/// Returns `None` if [`RunOptions::stop_after`] or a signal ended the run early; the checkpoint is there
/// then.
pub fn train<T: Trainee>(
    trainee: &mut T,
    options: &RunOptions,
    progress: &mut dyn Progress,
) -> Result<Option<T::Report>> {
    let mut run = Run::start(trainee, options)?;
    let _graceful = Graceful::begin();
    run.pace.started = Instant::now();
    progress.begin(&run.plan());
    let finished = run.go_on(progress);
    progress.end();
    if !finished? {
        return Ok(None);
    }
    run.finish().context(UNWRITTEN).map(Some)
}

struct Run<'a, T> {
    trainee: &'a mut T,
    options: &'a RunOptions,
    optimizer: Optimizer,
    parameters: Vec<ParameterSpec>,
    /// One in so many steps updates a parameter.
    steps_per_update: Vec<u64>,
    /// What is compared on resume.
    identity: Value,
    checkpoint: Checkpoint,
    folder: RunFolder,
    pace: Pace,
}

impl<'a, T: Trainee> Run<'a, T> {
    fn start(trainee: &'a mut T, options: &'a RunOptions) -> Result<Self> {
        let parameters = trainee.parameters();
        // Compared with what comes back from a file, so it goes through text once.
        let identity: Value = serde_json::from_str(&trainee.identity().to_string())?;
        let folder = RunFolder::open(&options.out, options.start, T::FILES)?;
        let is_resumed = options.start == Start::Resume;
        let checkpoint = if is_resumed {
            checkpoint::read(&folder, &parameters, trainee.score_count(), &identity)?
        } else {
            let state = State::new(trainee.initial_values());
            Checkpoint { state, history: Vec::new(), running: Running::default() }
        };
        let run = Run {
            options,
            optimizer: trainee.optimizer(),
            steps_per_update: (0..parameters.len()).map(|i| trainee.steps_per_update(i)).collect(),
            parameters,
            identity,
            checkpoint,
            folder,
            pace: Pace { started: Instant::now(), steps: 0, samples: 0 },
            trainee,
        };
        if !is_resumed {
            // A disk that is full, or a folder that nothing can be written to, shows before hours of work and
            // not after them.
            run.save_checkpoint(Which::First)?;
        }
        Ok(run)
    }

    fn plan(&self) -> Plan {
        Plan {
            title: format!("{}: {}", self.options.name, self.trainee.title()),
            template: T::BAR,
            length: self.trainee.position(self.optimizer.steps),
            done: self.trainee.position(self.checkpoint.state.step),
        }
    }

    /// Runs to the end; false if `stop_after` or a signal came first.
    fn go_on(&mut self, progress: &mut dyn Progress) -> Result<bool> {
        let mut saved = Instant::now();
        if self.checkpoint.state.step == 0 {
            self.record(progress)?;
        }
        while self.checkpoint.state.step < self.optimizer.steps {
            let is_asked = self.options.stop_after.is_some_and(|stop| self.checkpoint.state.step >= stop);
            if is_asked || interrupt::requested().is_some() {
                self.save_checkpoint(Which::Later)?;
                self.save_interim()?;
                return Ok(false);
            }
            self.step(progress)?;
            self.record(progress)?;
            if saved.elapsed() >= self.options.checkpoint_every {
                warn_of(self.save_checkpoint(Which::Later));
                warn_of(self.save_interim());
                saved = Instant::now();
            }
        }
        Ok(true)
    }

    fn step(&mut self, progress: &mut dyn Progress) -> Result<()> {
        let Checkpoint { state, running, .. } = &mut self.checkpoint;
        let (step, optimizer) = (state.step, &self.optimizer);
        let (mut batch, samples) = self.trainee.batch(&state.values, step)?;
        let norm = clip(&mut batch.grads, optimizer.clip);
        if !batch.loss.is_finite() || !norm.is_finite() {
            bail!(
                "training diverged at step {step} (loss {}, gradient norm {norm}); lower --lr (now {}) or \
                 set --clip",
                batch.loss,
                optimizer.lr
            );
        }
        state.update(&self.parameters, &batch.grads, &self.steps_per_update, optimizer);
        running.add(batch.loss, samples, norm);
        self.pace.steps += 1;
        self.pace.samples += samples as u64;
        let (place, loss, lr) =
            (self.trainee.place(step + 1), running.mean_loss(), optimizer.learning_rate(step));
        let message = format!("{place}loss {loss:.4} · lr {lr:.2e}");
        progress.step(self.trainee.position(step + 1), message);
        Ok(())
    }

    /// Scores the model, if it is time to.
    fn record(&mut self, progress: &mut dyn Progress) -> Result<()> {
        let Checkpoint { state, history, running } = &mut self.checkpoint;
        let Some(at) = self.trainee.record_at(state.step) else { return Ok(()) };
        let scores = self.trainee.scores(&state.average)?;
        let running = std::mem::take(running);
        let record = Record {
            at,
            loss: running.mean_loss(),
            gradient_norm: running.mean_gradient_norm(),
            lr: self.optimizer.learning_rate(state.step.saturating_sub(1)),
            scores,
        };
        progress.line(self.trainee.line(&record, &self.pace));
        history.push(record);
        if T::SHOWS_INTERIM {
            warn_of(self.draw());
        }
        Ok(())
    }

    fn draw(&self) -> Result<()> {
        let Checkpoint { state, history, .. } = &self.checkpoint;
        self.trainee.draw(&self.options.out, &self.options.name, history, &state.average)
    }

    fn save(&self) -> Result<()> {
        self.trainee.save(&self.options.out, &self.options.name, &self.checkpoint.state.average)
    }

    fn save_interim(&self) -> Result<()> {
        if T::SHOWS_INTERIM {
            self.save()?;
        }
        Ok(())
    }

    fn save_checkpoint(&self, which: Which) -> Result<()> {
        let scores = self.trainee.score_count();
        checkpoint::write(&self.folder, &self.checkpoint, &self.parameters, scores, &self.identity, which)
    }

    /// Writes model, report and curves, then removes the checkpoint.
    fn finish(&self) -> Result<T::Report> {
        let Checkpoint { state, history, .. } = &self.checkpoint;
        let (seconds, samples_per_second) = (self.pace.seconds(), self.pace.samples_per_second());
        self.save()?;
        let report = self.trainee.report(&Outcome {
            options: self.options,
            values: &state.average,
            history,
            steps: state.step,
            resumed_at: state.step - self.pace.steps,
            seconds,
            samples_per_second,
        })?;
        let text = serde_json::to_string_pretty(&report)? + "\n";
        output::write(&self.options.out.join(REPORT_FILE), text)?;
        // Curves that were written before may have met a full disk.
        self.draw()?;
        self.folder.complete()?;
        Ok(report)
    }
}
