//! Threads for the engine's fork and join.

use std::hint::spin_loop;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use rayon::Yield;
use vitreous::ForkJoin;

/// How long a thread without work looks for some before it sleeps. A small model forks every few
/// microseconds; to wake a thread takes longer than such a piece of work.
const ATTENTION: Duration = Duration::from_millis(1);

/// How often a thread that is done with its half of a fork looks whether the other half is done too, before
/// it seeks other work.
const PATIENCE: usize = 1_000;

/// A number of threads that share the rows of a tile.
#[derive(Debug)]
pub struct Pool {
    threads: rayon::ThreadPool,
    workers: usize,
    /// Which threads look for work at the moment, or do what they found. Empty with more threads than cores:
    /// there, one that looks takes the core of one that works.
    attentive: Arc<[AtomicBool]>,
}

impl Pool {
    /// A pool of `workers` threads; as many as the machine has cores with 0.
    ///
    /// # Errors
    /// The operating system refuses to start threads.
    pub fn new(workers: usize) -> Result<Self> {
        let cores = available_cores();
        let workers = if workers == 0 { cores } else { workers };
        let threads = rayon::ThreadPoolBuilder::new()
            .num_threads(workers)
            .thread_name(|index| format!("vitreous {index}"))
            .build()
            .with_context(|| format!("cannot start {workers} threads; --threads takes fewer"))?;
        let attentive = if workers <= cores { workers } else { 0 };
        let attentive = (0..attentive).map(|_| AtomicBool::new(false)).collect();
        Ok(Self { threads, workers, attentive })
    }

    /// Calls `f` on one of the threads, with the others awake for its forks. A loop of many runs had best be
    /// called as a whole: each call from another thread hands over twice.
    pub fn install<T: Send>(&self, f: impl FnOnce() -> T + Send) -> T {
        if self.workers == 1 {
            return f();
        }
        self.threads.install(|| {
            self.call_attention();
            f()
        })
    }

    /// Lets those of the other threads look for work that don't.
    fn call_attention(&self) {
        let here = rayon::current_thread_index();
        let mut others = self.attentive.iter().enumerate().filter(|(index, _)| Some(*index) != here);
        if others.all(|(_, attentive)| attentive.load(Ordering::Relaxed)) {
            return;
        }
        let all = Arc::clone(&self.attentive);
        self.threads.spawn_broadcast(move |thread| {
            let Some(attentive) = all.get(thread.index()).filter(|_| Some(thread.index()) != here) else {
                return;
            };
            if !attentive.swap(true, Ordering::Relaxed) {
                look_for_work();
                attentive.store(false, Ordering::Relaxed);
            }
        });
    }
}

/// Does what other threads fork, until there was nothing for a while.
fn look_for_work() {
    let mut last = Instant::now();
    while last.elapsed() < ATTENTION {
        match rayon::yield_now() {
            Some(Yield::Executed) => last = Instant::now(),
            _ => spin_loop(),
        }
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
        if self.attentive.is_empty() {
            rayon::join(left, right);
            return;
        }
        // Looking at a flag finds the end of the other half sooner than rayon's rounds of stealing and
        // yielding do. The flags only hint: it is rayon that waits for the other half and makes its results
        // visible.
        let (taken, done) = (AtomicBool::new(false), AtomicBool::new(false));
        let waiting = || taken.load(Ordering::Relaxed) && !done.load(Ordering::Relaxed);
        rayon::join(
            || {
                left();
                (0..PATIENCE).take_while(|_| waiting()).for_each(|_| spin_loop());
            },
            || {
                taken.store(true, Ordering::Relaxed);
                right();
                done.store(true, Ordering::Relaxed);
            },
        );
    }
}
