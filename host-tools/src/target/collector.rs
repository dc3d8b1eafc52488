//! From frames to results.

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;
use std::process::ExitStatus;

use vitreous_protocol::frame::{self, FrameError};
use vitreous_protocol::{
    exit, Board, Failure, Fault, Hello, Job, Message, Output, Rows, Sent, Stage, ValueKind, Values,
    CALIBRATION_INSTRUCTIONS,
};

use super::explain::{self, Replay};
use super::results::{Band, Calibration, Received, StageCount, TargetRun};
use super::{Target, TargetError};

/// Follows a file that the emulator is still writing.
pub(super) struct Tail {
    path: PathBuf,
    file: Option<File>,
    pending: Vec<u8>,
    /// Bytes that may still come.
    left: u64,
}

/// Bytes that are read together.
const CHUNK: u64 = 1 << 20;

impl Tail {
    /// `limit` is more than all results of the job can have.
    pub fn new(path: PathBuf, limit: u64) -> Self {
        Self { path, file: None, pending: Vec::new(), left: limit }
    }

    /// Hands on all whole frames that have come since; true if something was done.
    pub fn read(&mut self, collector: &mut Collector) -> Result<bool, TargetError> {
        if self.file.is_none() {
            self.file = File::open(&self.path).ok();
        }
        let mut is_progress = false;
        while self.read_chunk(collector)? > 0 {
            is_progress |= self.decode(collector)?;
        }
        Ok(is_progress)
    }

    fn read_chunk(&mut self, collector: &Collector) -> Result<u64, TargetError> {
        let Some(file) = &mut self.file else { return Ok(0) };
        let read = file.take(CHUNK).read_to_end(&mut self.pending);
        let read = read.map_err(|error| TargetError::file(&self.path, error))? as u64;
        let left = self.left.checked_sub(read);
        self.left = left.ok_or_else(|| collector.unusable("they are longer than any of this job".into()))?;
        Ok(read)
    }

    fn decode(&mut self, collector: &mut Collector) -> Result<bool, TargetError> {
        let (mut used, mut is_progress) = (0, false);
        loop {
            match frame::decode::<Message>(&self.pending[used..]) {
                Ok(decoded) => {
                    used += decoded.bytes;
                    is_progress |= collector.take(decoded.payload, decoded.sequence)?;
                }
                Err(FrameError::Incomplete) => break,
                Err(FrameError::Version { found }) => return Err(TargetError::ProtocolVersion { found }),
                Err(error) => {
                    return Err(collector.unusable(format!("{error:?} in frame {}", collector.frames)))
                }
            }
        }
        self.pending.drain(..used);
        Ok(is_progress)
    }
}

/// Puts messages together.
pub(super) struct Collector {
    job: Job,
    count: bool,
    frames: u32,
    greeted: bool,
    done: bool,
    failure: Option<Failure>,
    fault: Option<Fault>,
    current: Received,
    run: TargetRun<Received>,
}

impl Collector {
    pub fn new(target: Target, job: Job, count: bool) -> Self {
        let run = TargetRun {
            target,
            arena_bytes: 0,
            load_stack_bytes: 0,
            load_instructions: None,
            static_bytes: 0,
            model_name: 0,
            calibration: None,
            seconds: 0.0,
            results: Vec::with_capacity(job.images as usize),
        };
        let current = Received::default();
        Self { job, count, frames: 0, greeted: false, done: false, failure: None, fault: None, current, run }
    }

    pub fn set_seconds(&mut self, seconds: f64) {
        self.run.seconds = seconds;
    }

    fn board(&self) -> &'static Board {
        self.run.target.board()
    }

    fn instructions(&self, ticks: u64) -> Option<u64> {
        self.count.then(|| self.board().instructions(ticks))
    }

    fn unusable(&self, what: String) -> TargetError {
        TargetError::Protocol { board: self.board().name, what }
    }

    /// Images done, and bytes of rows of the next one.
    pub fn progress(&self) -> (usize, usize) {
        (self.run.results.len(), self.current.pixels.len())
    }

    /// Takes the next message; true if it ended an image or brought rows.
    fn take(&mut self, message: Message<'_>, sequence: u32) -> Result<bool, TargetError> {
        if let Message::Fault(fault) = message {
            self.fault = Some(fault);
            return Ok(false);
        }
        if sequence != self.frames {
            return Err(self.unusable(format!("frame {sequence} where frame {} was due", self.frames)));
        }
        self.frames += 1;
        match message {
            Message::Hello(hello) => self.take_hello(hello)?,
            Message::Stage(stage) => self.take_stage(stage)?,
            Message::Values(values) => self.take_values(values)?,
            Message::Rows(rows) => {
                self.take_rows(rows)?;
                return Ok(true);
            }
            Message::Output(output) => {
                self.take_output(output)?;
                return Ok(true);
            }
            Message::Failure(failure) => self.failure = Some(failure),
            Message::Done { images } => self.done = images == self.job.images,
            Message::Fault(_) => {}
        }
        Ok(false)
    }

    fn take_hello(&mut self, hello: Hello) -> Result<(), TargetError> {
        if super::Target(usize::from(hello.board)) != self.run.target || hello.job != self.job.job {
            return Err(self.unusable(format!("they are of board {} and job {}", hello.board, hello.job)));
        }
        self.greeted = true;
        self.run.arena_bytes = hello.arena_bytes;
        self.run.load_stack_bytes = hello.load_stack_bytes;
        self.run.static_bytes = hello.static_bytes;
        self.run.model_name = hello.model_name;
        self.run.load_instructions = self.instructions(hello.load_ticks);
        self.run.calibration = self
            .instructions(hello.calibration_ticks)
            .map(|counted| Calibration { expected: u64::from(CALIBRATION_INSTRUCTIONS), counted });
        Ok(())
    }

    fn check_image(&self, image: u32) -> Result<(), TargetError> {
        if self.greeted && image as usize == self.run.results.len() && image < self.job.images {
            return Ok(());
        }
        Err(self.unusable(format!("image {image} where image {} was due", self.run.results.len())))
    }

    fn take_stage(&mut self, stage: Stage) -> Result<(), TargetError> {
        self.check_image(stage.image)?;
        let instructions = self.instructions(stage.ticks);
        self.current.cost.stages.push(StageCount {
            kind: stage.kind,
            layer: stage.layer,
            tiles: stage.tiles,
            instructions,
        });
        Ok(())
    }

    fn take_values(&mut self, values: Values<'_>) -> Result<(), TargetError> {
        self.check_image(values.image)?;
        let vector = match values.kind {
            ValueKind::Logits => &mut self.current.logits,
            ValueKind::Features => &mut self.current.features,
        };
        let in_order = vector.len() == values.first as usize && values.bits.len().is_multiple_of(4);
        vector.extend(values.bits.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])));
        if in_order {
            Ok(())
        } else {
            Err(self.unusable(format!("values {} of image {} out of order", values.first, values.image)))
        }
    }

    fn take_rows(&mut self, rows: Rows<'_>) -> Result<(), TargetError> {
        self.check_image(rows.image)?;
        if self.current.pixels.len() != rows.first as usize {
            return Err(
                self.unusable(format!("pixels from {} of image {} out of order", rows.first, rows.image))
            );
        }
        self.current.pixels.extend_from_slice(rows.bytes);
        Ok(())
    }

    fn take_output(&mut self, output: Output) -> Result<(), TargetError> {
        self.check_image(output.image)?;
        let mut result = std::mem::take(&mut self.current);
        let came = (result.logits.len(), result.features.len(), result.pixels.len());
        let sent = match output.sent {
            Sent::Values { logits, features } => (logits as usize, features as usize, 0),
            Sent::Rows { bytes, band_bytes, band_touched, ticks } => {
                let send_instructions = self.instructions(ticks);
                result.band = Band { band_bytes, band_touched, send_instructions };
                (0, 0, bytes as usize)
            }
        };
        if came != sent {
            return Err(self
                .unusable(format!("image {} came with {came:?} values instead of {sent:?}", output.image)));
        }
        result.cost.stack_bytes = output.stack_bytes;
        result.cost.total_stack_bytes = output.total_stack_bytes;
        result.cost.arena_touched = output.arena_touched;
        result.cost.instructions = self.instructions(output.ticks);
        self.run.results.push(result);
        Ok(())
    }

    /// The run's results, or why there are none.
    pub fn finish(
        self,
        status: ExitStatus,
        messages: &str,
        replay: Replay<'_>,
    ) -> Result<TargetRun<Received>, TargetError> {
        let board = self.board().name;
        let messages = messages.to_owned();
        if let Some(fault) = self.fault {
            return Err(TargetError::Crash { board, text: explain::fault(fault), messages });
        }
        if let Some(failure) = self.failure {
            return Err(explain::failure(self.board(), failure, replay));
        }
        if self.done && status.success() {
            return Ok(self.run);
        }
        let text = match status.code() {
            Some(exit::PANIC) => "a panic".into(),
            Some(exit::FAULT) => "an exception".into(),
            Some(exit::OUTPUT) => "it could not write its results".into(),
            _ => format!("the emulator ended with {status} after {} images", self.run.results.len()),
        };
        Err(TargetError::Crash { board, text, messages })
    }
}
