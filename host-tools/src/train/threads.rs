//! The thread pool of a training run.

use anyhow::{Context, Result};

/// Where candle looks for its number of threads.
const CANDLE_THREADS: &str = "RAYON_NUM_THREADS";

/// Runs `body` on a pool of `threads`, by default as many as there are cores.
pub fn with_threads<R: Send>(threads: Option<usize>, body: impl FnOnce() -> Result<R> + Send) -> Result<R> {
    let threads = threads.map_or_else(std::thread::available_parallelism, |n| {
        std::num::NonZero::new(n).ok_or_else(|| std::io::Error::other("--threads 0: expected at least 1"))
    })?;
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.get()).build();
    let pool = pool.context("--threads: cannot start the threads")?;
    // candle asks for the number of threads at every matrix product: from this variable, or else by reading
    // /proc/cpuinfo, which takes a third of a small model's time. Shards already keep every core busy, so its
    // own products stay on one.
    if std::env::var_os(CANDLE_THREADS).is_none() {
        std::env::set_var(CANDLE_THREADS, "1");
    }
    pool.install(body)
}
