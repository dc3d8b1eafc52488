//! What the peers' programs have in common: their arguments, the image, and the line protocol of the script
//! that times them.
//!
//! A program loads its model, runs it once and writes `{"base_kib": …, "logits": […]}`. For each line `run N`
//! on standard input it then runs N times and writes `{"milliseconds": […]}`. What goes wrong is written as
//! `{"error": "…"}`, and ends the program.
#![deny(missing_docs)]

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{bail, ensure, Context, Result};
use serde_json::{json, Value};

/// Colours of an image.
pub const CHANNELS: usize = 3;

/// What a program is asked for.
pub struct Task {
    /// ONNX or safetensors file.
    pub model: PathBuf,
    /// Normalised pixels, `(1, channel, row, column)`.
    pub image: Vec<f32>,
    /// Height and width of the image in pixels.
    pub side: usize,
    /// Threads to run on.
    pub threads: usize,
    /// Attention heads, which safetensors do not tell.
    pub heads: usize,
}

/// One forward pass, from image to logits.
pub type Forward = Box<dyn FnMut() -> Result<Vec<f32>>>;

impl Task {
    /// Shape of the image as engines want it.
    pub fn image_shape(&self) -> [usize; 4] {
        [1, CHANNELS, self.side, self.side]
    }

    fn from_arguments() -> Result<Task> {
        let given: Vec<String> = std::env::args().skip(1).collect();
        let [model, image, threads, heads] = given.as_slice() else {
            bail!("expected: MODEL IMAGE THREADS HEADS, the image as raw little-endian f32");
        };
        let image = read_image(Path::new(image))?;
        let side = (image.len() / CHANNELS).isqrt();
        ensure!(side * side * CHANNELS == image.len(), "{} pixels are no square colour image", image.len());
        Ok(Task { model: model.into(), image, side, threads: threads.parse()?, heads: heads.parse()? })
    }
}

fn read_image(path: &Path) -> Result<Vec<f32>> {
    let bytes = std::fs::read(path).with_context(|| format!("image {}", path.display()))?;
    Ok(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

/// Loads the model by `load` and answers requests until standard input ends.
pub fn serve(load: impl FnOnce(&Task) -> Result<Forward>) -> ExitCode {
    match answer(load) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // If standard output is closed, nobody waits for the reason.
            let _ = send(&json!({ "error": format!("{error:#}") }));
            ExitCode::FAILURE
        }
    }
}

fn answer(load: impl FnOnce(&Task) -> Result<Forward>) -> Result<()> {
    let base = resident_kib()?;
    let task = Task::from_arguments()?;
    let mut forward = load(&task)?;
    send(&json!({ "base_kib": base, "logits": forward()? }))?;
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        let Some(runs) = line.strip_prefix("run ") else { bail!("expected `run N`, got {line:?}") };
        let times = (0..runs.trim().parse()?).map(|_| timed(&mut forward)).collect::<Result<Vec<f64>>>()?;
        send(&json!({ "milliseconds": times }))?;
    }
    Ok(())
}

fn timed(forward: &mut Forward) -> Result<f64> {
    let start = Instant::now();
    std::hint::black_box(forward()?);
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

fn send(value: &Value) -> Result<()> {
    let mut output = std::io::stdout().lock();
    writeln!(output, "{value}")?;
    Ok(output.flush()?)
}

/// Memory that this process holds now, in KiB.
fn resident_kib() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status").context("memory of this process")?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .context("no VmRSS in /proc/self/status")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
