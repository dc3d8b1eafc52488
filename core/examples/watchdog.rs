//! Runs a model step by step: feeds a watchdog between the steps, and measures what each stage takes.
//!
//! ```text
//! cargo run -p vitreous --example watchdog
//! ```
//!
//! A step does one tile of rows. The longest step says how short a watchdog's period may be, or how long an
//! executor's other tasks wait. On a microcontroller a cycle counter takes the place of [`Instant`].

// What `vitreous convert --emit-rust` has written: see digits/README.md.
#[rustfmt::skip]
#[allow(dead_code, reason = "a generated file says more than this example asks")]
#[path = "digits/digits.rs"]
mod digits;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use vitreous::models::vit::{RunOptions, Vit};
use vitreous::{Arena, Error, Model, SliceSource, Stage};

/// Ten images `(8, 8, 1)`, one of each digit.
static IMAGES: &[u8] = include_bytes!("digits/images.raw");

/// Rows of a tile. Fewer make steps shorter and read weights more often; the result is the same to the bit.
const TILE_ROWS: usize = 4;

/// Restarts the device when it has not been fed for a while; this one only says that it would have.
struct Watchdog {
    period: Duration,
    fed: Instant,
    longest: Duration,
}

impl Watchdog {
    fn start(period: Duration) -> Self {
        Self { period, fed: Instant::now(), longest: Duration::ZERO }
    }

    /// Returns how long it has waited.
    fn feed(&mut self) -> Duration {
        let waited = self.fed.elapsed();
        self.longest = self.longest.max(waited);
        self.fed = Instant::now();
        waited
    }
}

/// What the stages of one kind have taken.
struct Cost {
    name: &'static str,
    steps: u32,
    time: Duration,
}

/// The kind of a stage, over all blocks and heads.
fn name(stage: Stage) -> &'static str {
    match stage {
        Stage::Embed => "patch embedding",
        Stage::Norm { .. } => "first norm",
        Stage::KeysValues { .. } => "keys and values",
        Stage::Attention { .. } => "queries, attention, projection",
        Stage::Mlp { .. } => "second norm and MLP",
        Stage::Head => "final norm and classifier",
        _ => "others",
    }
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Error> {
    let model = Model::parse(digits::MODEL)?;
    let vit = Vit::new(&model)?;
    let mut arena = Arena::<{ digits::ARENA_BYTES }>::new();
    let mut source = SliceSource::new(IMAGES, digits::IMAGE_WIDTH * digits::IMAGE_CHANNELS);

    let options = RunOptions { tile_rows: TILE_ROWS, ..RunOptions::default() };
    let mut run = vit.begin_with(arena.bytes_mut(), options)?;
    let mut watchdog = Watchdog::start(Duration::from_millis(100));
    let mut costs: Vec<Cost> = Vec::new();
    while let Some(stage) = run.next_stage() {
        run.step(&mut source)?;
        let time = watchdog.feed();
        let name = name(stage);
        match costs.iter_mut().find(|cost| cost.name == name) {
            Some(cost) => {
                cost.steps += 1;
                cost.time += time;
            }
            None => costs.push(Cost { name, steps: 1, time }),
        }
        // Here another task may run: the arena holds all that the next step needs.
    }

    for Cost { name, steps, time } in &costs {
        println!("{name:32} {steps:3} steps {:8.1} µs", time.as_secs_f64() * 1e6);
    }
    println!("longest step {:.1} µs", watchdog.longest.as_secs_f64() * 1e6);
    if watchdog.longest > watchdog.period {
        println!("a watchdog of {:?} would have restarted the device", watchdog.period);
    }
    let logits = run.logits()?;
    let best = vitreous::pipeline::top_k::<1>(vit.config().output, logits);
    println!("the digit is a {}", best.first().map_or("?", |best| digits::LABELS[best.class]));
    Ok(())
}
