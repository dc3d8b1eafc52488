//! Prints the time of one training step of two models: `cargo run --release -p vitreous-tools --example
//! train_step_time`.
//!
//! Loss, backward pass and all gradients of 64 random images; without data loading and the optimizer's
//! update, which are below 3 % of it. Pass a number to change the number of threads (default 1).

use std::time::Instant;
use vitreous_tools::train::{Recipe, StepTimer};

fn main() -> anyhow::Result<()> {
    let threads = std::env::args().nth(1).map_or(Ok(1), |text| text.parse())?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build()?;
    let cifar = Recipe { image: 32, patch: 4, dim: 96, depth: 6, heads: 3, hidden: 384, ..Recipe::digits() };
    for (name, recipe, channels, steps) in
        [("digits 8×8", Recipe::digits(), 1, 200), ("32×32, patch 4, dim 96, depth 6", cifar, 3, 20)]
    {
        let timer = StepTimer::new(&recipe, channels, 10)?;
        let run = || -> anyhow::Result<f64> {
            timer.step()?;
            let started = Instant::now();
            for _ in 0..steps {
                timer.step()?;
            }
            Ok(started.elapsed().as_secs_f64() * 1e3 / steps as f64)
        };
        let milliseconds = pool.install(run)?;
        let rate = recipe.batch as f64 / milliseconds * 1e3;
        println!(
            "{name}: {milliseconds:.2} ms per step of {} on {threads} thread(s), {rate:.0} images/s",
            recipe.batch
        );
    }
    Ok(())
}
