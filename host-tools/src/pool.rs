//! Threads for the engine's fork and join.

use anyhow::{Context, Result};
use vitreous::ForkJoin;

/// A number of threads that share the rows of a tile.
#[derive(Debug)]
pub struct Pool {
    threads: rayon::ThreadPool,
    workers: usize,
}

impl Pool {
    /// A pool of `workers` threads; as many as the machine has cores with 0.
    ///
    /// # Errors
    /// The operating system refuses to start threads.
    pub fn new(workers: usize) -> Result<Self> {
        let workers = if workers == 0 { available_cores() } else { workers };
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(workers)
            .thread_name(|index| format!("vitreous {index}"))
            .build()
            .with_context(|| format!("cannot start {workers} threads; --threads takes fewer"))?;
        Ok(Self { threads, workers })
    }

    /// Calls `f` on one of the threads, so that its forks find the others awake.
    pub fn install<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        if self.workers == 1 {
            return f();
        }
        self.threads.install(f)
    }
}

/// Cores that this process may use.
pub fn available_cores() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}

impl ForkJoin for Pool {
    fn workers(&self) -> usize {
        self.workers
    }

    fn join(&self, left: &mut (dyn FnMut() + Send), right: &mut (dyn FnMut() + Send)) {
        rayon::join(left, right);
    }
}
