//! Compares the architecture with the formulas in f64, and with itself on every kernel table.

use std::boxed::Box;
use std::vec;
use std::vec::Vec;

use super::file::{random, FloatLinear, FloatModel, FloatNorm};
use super::{Config, Encoder, NORM_EPS};
use crate::arena::Arena;
use crate::blocks::LayerPrecision;
use crate::error::Error;
#[cfg(feature = "parallel")]
use crate::error::Fault;
use crate::fork::ForkJoin;
use crate::format::Model;
use crate::kernels::{supported_kernels, Kernels, PORTABLE};
use crate::profile::Progress;
use crate::run::{Machine, RunOptions};
use crate::source::SourceError;
use crate::tensor::Precision;

/// Room for the file, which lies in memory aligned as a model has to be.
const FILE_BYTES: usize = 1 << 16;
const ARENA_BYTES: usize = 1 << 16;

/// So many threads of the host.
struct Threads(usize);

impl ForkJoin for Threads {
    fn workers(&self) -> usize {
        self.0
    }

    fn join(&self, left: &mut (dyn FnMut() + Send), right: &mut (dyn FnMut() + Send)) {
        std::thread::scope(|scope| {
            scope.spawn(left);
            right();
        });
    }
}

/// Sizes that differ from each other and are no multiples of what kernels take together.
const CONFIG: Config = Config {
    vocabulary: 11,
    tokens: 21,
    dim: 36,
    depth: 2,
    heads: 3,
    hidden: 50,
    classes: 5,
    precision: LayerPrecision::INT8,
};

const IDS: [u16; 21] = [3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3, 2, 3, 8, 4, 10];

fn f16_config() -> Config {
    let (qkv, proj) = (Precision::F16, Precision::F16);
    Config { precision: LayerPrecision { qkv, proj, fc1: qkv, fc2: qkv, ..LayerPrecision::INT8 }, ..CONFIG }
}

/// Loads a file, runs it on `ids` and returns the logits. The arena is as large as the plan, and not zeroed.
fn run(file: &[u8], ids: &[u16], kernels: &'static Kernels, tile_rows: usize) -> Result<Vec<f32>, Error> {
    run_on(file, ids, RunOptions { tile_rows, kernels, ..RunOptions::default() })
}

fn run_on(file: &[u8], ids: &[u16], options: RunOptions) -> Result<Vec<f32>, Error> {
    let mut memory = Box::new(Arena::<FILE_BYTES>::new());
    memory.bytes_mut()[..file.len()].copy_from_slice(file);
    let model = Model::parse(&memory.bytes_mut()[..file.len()])?;
    let encoder = Encoder::new(&model)?;
    let machine = Machine::new(options.tile_rows, options.kernels.spec, options.pool.workers())?;
    let needed = encoder.plan(&machine).0.arena_bytes();
    let mut arena = Box::new(Arena::<ARENA_BYTES>::new());
    let arena = &mut arena.bytes_mut()[..needed];
    arena.fill(0xa5);
    assert!(encoder.begin(&mut arena[..needed - 1], options).is_err());
    let mut run = encoder.begin(arena, options)?;
    assert_eq!(run.logits().err(), Some(Error::NotFinished));
    while run.step(ids)? != Progress::Done {}
    assert_eq!(run.step(ids).err(), Some(Error::Finished));
    Ok(run.logits()?.to_vec())
}

fn linear(x: &[f64], layer: &FloatLinear) -> Vec<f64> {
    let rows = layer.weights.chunks(layer.inputs).zip(&layer.bias);
    rows.map(|(w, b)| w.iter().zip(x).map(|(w, x)| f64::from(*w) * x).sum::<f64>() + f64::from(*b)).collect()
}

fn layer_norm(x: &[f64], norm: &FloatNorm) -> Vec<f64> {
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / x.len() as f64;
    let deviation = (variance + f64::from(NORM_EPS)).sqrt();
    let affine = norm.gamma.iter().zip(&norm.beta);
    x.iter().zip(affine).map(|(x, (g, b))| (x - mean) / deviation * f64::from(*g) + f64::from(*b)).collect()
}

fn gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + ((2.0 / core::f64::consts::PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh())
}

fn add(x: &mut [f64], y: &[f64]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

/// `softmax(q·Kᵀ/√d)·V` for one query.
fn attend(query: &[f64], keys: &[Vec<f64>], values: &[Vec<f64>]) -> Vec<f64> {
    let score = |key: &Vec<f64>| query.iter().zip(key).map(|(q, k)| q * k).sum::<f64>();
    let factor = 1.0 / (query.len() as f64).sqrt();
    let weights: Vec<f64> = keys.iter().map(|key| (score(key) * factor).exp()).collect();
    let sum: f64 = weights.iter().sum();
    let mut out = vec![0.0; query.len()];
    for (value, weight) in values.iter().zip(weights) {
        out.iter_mut().zip(value).for_each(|(out, value)| *out += weight / sum * value);
    }
    out
}

/// The logits of the forward pass, by the formulas.
fn reference(float: &FloatModel, ids: &[u16]) -> Vec<f64> {
    let row = |values: &[f32], row: usize| -> Vec<f64> {
        values[row * CONFIG.dim..][..CONFIG.dim].iter().map(|value| f64::from(*value)).collect()
    };
    let mut tokens: Vec<Vec<f64>> = ids.iter().map(|id| row(&float.table, usize::from(*id))).collect();
    tokens.iter_mut().enumerate().for_each(|(t, token)| add(token, &row(&float.positions, t)));
    for layer in &float.layers {
        let normed: Vec<Vec<f64>> = tokens.iter().map(|token| layer_norm(token, &layer.norms[0])).collect();
        for [query, key, value, proj] in &layer.heads {
            let keys: Vec<Vec<f64>> = normed.iter().map(|x| linear(x, key)).collect();
            let values: Vec<Vec<f64>> = normed.iter().map(|x| linear(x, value)).collect();
            for (token, x) in tokens.iter_mut().zip(&normed) {
                let attended = attend(&linear(x, query), &keys, &values);
                add(token, &linear(&attended, proj));
            }
        }
        for token in &mut tokens {
            let hidden = linear(&layer_norm(token, &layer.norms[1]), &layer.mlp[0]);
            let hidden: Vec<f64> = hidden.into_iter().map(gelu).collect();
            add(token, &linear(&hidden, &layer.mlp[1]));
        }
    }
    tokens.iter().flat_map(|token| linear(&layer_norm(token, &float.norm), &float.classifier)).collect()
}

/// Signal-to-noise ratio of `found` to `want`, in dB.
fn sqnr_db(want: &[f64], found: &[f32]) -> f64 {
    let signal: f64 = want.iter().map(|want| want * want).sum();
    let noise: f64 = want.iter().zip(found).map(|(want, found)| (want - f64::from(*found)).powi(2)).sum();
    10.0 * (signal / noise).log10()
}

#[test]
fn logits_are_those_of_the_formulas() -> Result<(), Error> {
    // With f16 weights the noise that remains is that of int8 queries, keys, values and classifier.
    for (config, least) in [(CONFIG, 30.0), (f16_config(), 40.0)] {
        let (file, float) = random(&config, 7);
        let found = run(&file, &IDS, &PORTABLE, 8)?;
        let sqnr = sqnr_db(&reference(&float, &IDS), &found);
        std::println!("{:?}: {sqnr:.1} dB", config.precision.qkv);
        assert!(sqnr >= least, "{sqnr:.1} dB of {least}");
    }
    Ok(())
}

#[test]
fn tables_workers_and_tile_heights_change_no_bit() -> Result<(), Error> {
    for config in [CONFIG, f16_config()] {
        let (file, _) = random(&config, 8);
        let want = run(&file, &IDS, &PORTABLE, 8)?;
        for tile_rows in [1, 3, 21, 64] {
            assert_eq!(run(&file, &IDS, &PORTABLE, tile_rows)?, want, "{tile_rows} rows");
        }
        // A pool of none is the caller's thread. Without the feature `parallel` no pool is asked.
        for workers in [0, 1, 2, 3, 5] {
            let options = RunOptions { kernels: &PORTABLE, pool: &Threads(workers), ..RunOptions::default() };
            assert_eq!(run_on(&file, &IDS, options)?, want, "{workers} workers");
        }
        for kernels in supported_kernels() {
            match run(&file, &IDS, kernels, 8) {
                Err(Error::Layout { .. }) => {}
                found => assert_eq!(found?, want, "{}", kernels.spec.name),
            }
        }
    }
    Ok(())
}

/// Pools that don't do what they were asked for: of four workers the given ones run.
#[cfg(feature = "parallel")]
struct Lazy([bool; 2]);

#[cfg(feature = "parallel")]
impl ForkJoin for Lazy {
    fn workers(&self) -> usize {
        4
    }

    fn join(&self, left: &mut (dyn FnMut() + Send), right: &mut (dyn FnMut() + Send)) {
        let [runs_left, runs_right] = self.0;
        if runs_left {
            left();
            left();
        }
        if runs_right {
            right();
        }
    }
}

#[test]
#[cfg(feature = "parallel")]
fn a_pool_that_drops_work_is_noticed() -> Result<(), Error> {
    let (file, _) = random(&CONFIG, 10);
    let run = |runs| {
        run_on(&file, &IDS, RunOptions { kernels: &PORTABLE, pool: &Lazy(runs), ..RunOptions::default() })
    };
    for runs in [[false, false], [true, false], [false, true]] {
        assert_eq!(run(runs).err(), Some(Error::Internal(Fault::Pool)));
    }
    assert_eq!(run([true, true])?, super::proof::run(&file, &IDS, &PORTABLE, 8)?, "twice is once");
    Ok(())
}

#[test]
fn what_is_wrong_is_said() {
    let (file, _) = random(&CONFIG, 9);
    let refused = |config: Config| run(&random(&config, 9).0, &IDS, &PORTABLE, 8).err();
    assert!(matches!(refused(Config { heads: 5, ..CONFIG }), Some(Error::Field { name: "heads", .. })));
    assert!(matches!(refused(Config { depth: 0, ..CONFIG }), Some(Error::Field { name: "depth", .. })));
    let source = |ids: &[u16]| match run(&file, ids, &PORTABLE, 8) {
        Err(Error::Source(SourceError { code })) => Some(code),
        _ => None,
    };
    assert_eq!(source(&IDS[..20]), Some(u32::MAX), "fewer ids than tokens");
    assert_eq!(source(&[11; 21]), Some(11), "an id beyond the vocabulary");
    let truncated = run(&file[..file.len() - 1], &IDS, &PORTABLE, 8).err();
    assert!(matches!(truncated, Some(Error::Truncated { .. })));
    let mut damaged = file;
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    assert!(matches!(run(&damaged, &IDS, &PORTABLE, 8).err(), Some(Error::SectionChecksum { .. })));
}
