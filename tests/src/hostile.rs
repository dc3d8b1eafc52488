//! Runs models that may be hostile, within bounds of memory and time, on every kernel table of this machine
//! that reads their weights. The fuzz targets include this file too, so it needs nothing but the engine.

use vitreous::format::{CRC, HEADER_BYTES, SECTION_ENTRY_BYTES};
use vitreous::kernels::{supported_kernels, Kernels};
use vitreous::models::ipt::{Ipt, IptConfig, COLOURS, DEFAULT_TILE_ROWS};
use vitreous::models::vit::{Vit, VitConfig};
use vitreous::pipeline::{BandPlan, Restore, RestoreOptions};
use vitreous::tensor::ALIGN;
use vitreous::{Error, Model, PixelSink, PixelSource, Progress, RunOptions, SourceError};

/// Largest arena or row band that is given to a model that may be hostile.
const MOST_BYTES: usize = 1 << 22;
/// Steps after which a run counts as endless. The slowest model within [`MOST_BYTES`] takes far fewer.
const MOST_STEPS: usize = 1 << 22;

/// Memory that is aligned as models and arenas must be, and ends where its contents end, so that a sanitizer
/// sees reads behind the end.
pub struct Aligned {
    bytes: Vec<u8>,
    start: usize,
}

impl Aligned {
    /// Zeros.
    pub fn zeroed(length: usize) -> Self {
        let bytes = vec![0; length];
        if bytes.as_ptr().align_offset(ALIGN) == 0 {
            return Self { bytes, start: 0 };
        }
        let bytes = vec![0; length + ALIGN];
        let start = bytes.as_ptr().align_offset(ALIGN).min(ALIGN);
        let mut bytes = bytes;
        bytes.truncate(start + length);
        Self { bytes, start }
    }

    /// A copy of `bytes`.
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut aligned = Self::zeroed(bytes.len());
        aligned.as_mut_slice().copy_from_slice(bytes);
        aligned
    }

    /// The contents.
    pub fn as_slice(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// The contents, as mutable bytes.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..]
    }
}

/// An image of any size, without memory for it; checks that rows are asked for once each, from top to bottom.
struct Pattern {
    row_bytes: usize,
    next: usize,
}

impl PixelSource for Pattern {
    fn read_rows(&mut self, first_row: usize, rows: &mut [u8]) -> Result<(), SourceError> {
        assert_eq!((first_row, rows.len() % self.row_bytes), (self.next, 0), "rows out of order");
        self.next += rows.len() / self.row_bytes;
        for (i, pixel) in (first_row * self.row_bytes..).zip(rows) {
            *pixel = (i * i % 251) as u8;
        }
        Ok(())
    }
}

/// Keeps the rows that come and checks their order.
struct Kept {
    row_bytes: usize,
    pixels: Vec<u8>,
}

impl PixelSink for Kept {
    fn write_rows(&mut self, first_row: usize, rows: &[u8]) -> Result<(), SourceError> {
        let expected = (self.pixels.len() / self.row_bytes, self.row_bytes);
        assert_eq!((first_row, rows.len()), expected, "rows out of order");
        self.pixels.extend_from_slice(rows);
        Ok(())
    }
}

/// Runs on each table that reads the model's weights; all must give the same, be it an output or an error.
fn on_all_tables<T: PartialEq>(
    model: &Model,
    run: impl Fn(&'static Kernels) -> Result<T, Error>,
) -> Result<(), Error> {
    let mut first = None;
    for kernels in supported_kernels().filter(|kernels| kernels.spec.reads(model.layout())) {
        let result = run(kernels);
        match &first {
            None => first = Some(result),
            // Tables need different amounts of memory.
            Some(Err(Error::ArenaTooSmall { .. })) => {}
            Some(_) if matches!(result, Err(Error::ArenaTooSmall { .. })) => {}
            Some(first) => assert!(*first == result, "{} differs from another table", kernels.spec.name),
        }
    }
    first.map_or(Ok(()), |result| result.map(drop))
}

/// Loads a ViT and runs it over one image if that takes at most `most_work` multiply-accumulates; returns
/// whether it was run. All kernel tables must give the same logits.
///
/// # Errors
/// Why the engine refuses it.
pub fn run_vit(bytes: &[u8], most_work: f64) -> Result<bool, Error> {
    let aligned = Aligned::copy_of(bytes);
    let model = Model::parse(aligned.as_slice())?;
    let vit = Vit::new(&model)?;
    model.preprocess()?;
    model.labels()?.iter().count();
    if vit_work(vit.config()) > most_work {
        return Ok(false);
    }
    on_all_tables(&model, |kernels| classify(&vit, kernels))?;
    Ok(true)
}

/// The bits of the logits, with one pattern for every NaN.
fn classify(vit: &Vit, kernels: &'static Kernels) -> Result<Vec<u32>, Error> {
    let plan = vit.plan_for(DEFAULT_TILE_ROWS, kernels.spec, 1)?;
    let mut arena = Aligned::zeroed(plan.arena_bytes().min(MOST_BYTES));
    let mut source = Pattern { row_bytes: vit.config().image_width * vit.config().channels, next: 0 };
    let mut run = vit.begin_with(arena.as_mut_slice(), RunOptions { kernels, ..RunOptions::default() })?;
    for _ in 0..MOST_STEPS {
        if run.step(&mut source)? == Progress::Done {
            let logits = run.logits()?;
            assert_eq!(logits.len(), vit.config().classes);
            return Ok(logits.iter().map(|x| if x.is_nan() { u32::MAX } else { x.to_bits() }).collect());
        }
    }
    panic!("a ViT does not end: {:?}", vit.config());
}

fn vit_work(c: &VitConfig) -> f64 {
    let [tokens, dim, hidden, depth] = [c.patches() + 2, c.dim, c.hidden, c.depth].map(|n| n as f64);
    let embed = tokens * dim * (c.patch_height * c.patch_width * c.channels) as f64;
    embed + depth * tokens * dim * (4.0 * dim + 2.0 * hidden + 2.0 * tokens)
}

/// Loads an IPT and restores an image of two windows with each of its tasks if that takes at most `most_work`
/// multiply-accumulates; returns whether it was run. All kernel tables must give the same pixels.
///
/// # Errors
/// Why the engine refuses it.
pub fn run_ipt(bytes: &[u8], most_work: f64) -> Result<bool, Error> {
    let aligned = Aligned::copy_of(bytes);
    let model = Model::parse(aligned.as_slice())?;
    let ipt = Ipt::new(&model)?;
    let mut ran = false;
    for task in 0..ipt.config().tasks.len() {
        if ipt_work(ipt.config(), task) <= most_work {
            on_all_tables(&model, |kernels| restore(&ipt, task, kernels))?;
            ran = true;
        }
    }
    Ok(ran)
}

/// Multiply-accumulates of two windows.
fn ipt_work(c: &IptConfig, task: usize) -> f64 {
    let [features, window, scale] = [c.features, c.window, c.tasks[task].scale].map(|n| n as f64);
    let [tokens, dim, hidden, head_hidden] = [c.tokens(), c.dim(), c.hidden, c.head_hidden].map(|n| n as f64);
    let layers = (c.encoder_layers + 2 * c.decoder_layers) as f64;
    let convolutions = window * window * features * (27.0 + 100.0 * features);
    let tail = (window * scale).powi(2) * 9.0 * features * (3.0 + 2.0 * features);
    let body = layers * dim * (4.0 * dim + 2.0 * hidden + 2.0 * tokens) + dim * (dim + 2.0 * head_hidden);
    2.0 * (convolutions + tail + tokens * body)
}

fn restore(ipt: &Ipt, task: usize, kernels: &'static Kernels) -> Result<Vec<u8>, Error> {
    let c = ipt.config();
    let (width, height) = (c.window + 2, c.window / 2 + 1);
    let scale = c.tasks[task].scale;
    let plan = ipt.plan_for(task, DEFAULT_TILE_ROWS, kernels.spec, 1)?;
    let mut arena = Aligned::zeroed(plan.arena_bytes().min(MOST_BYTES));
    let mut band = Aligned::zeroed(BandPlan::new(c.window, scale, width)?.bytes().min(MOST_BYTES));
    let mut source = Pattern { row_bytes: width * COLOURS, next: 0 };
    let mut sink = Kept { row_bytes: width * scale * COLOURS, pixels: Vec::new() };
    let (arena, band) = (arena.as_mut_slice(), band.as_mut_slice());
    let options =
        RestoreOptions { run: RunOptions { kernels, ..RunOptions::default() }, ..RestoreOptions::new(ipt) };
    let mut run = Restore::begin(ipt, task, (width, height), arena, band, options)?;
    for _ in 0..MOST_STEPS {
        if run.step(&mut source, &mut sink)? == Progress::Done {
            assert_eq!((source.next, sink.pixels.len()), (height, height * scale * sink.row_bytes));
            return Ok(sink.pixels);
        }
    }
    panic!("an IPT does not end: {c:?}");
}

/// Corrects every checksum that the file is long enough to hold.
pub fn repair_checksums(bytes: &mut [u8]) {
    let word = |bytes: &[u8], at: usize| {
        bytes.get(at..at + 4).map_or(0, |b| u32::from_le_bytes([b[0], b[1], b[2], b[3]]) as usize)
    };
    let Some(table) = bytes.len().checked_sub(HEADER_BYTES) else { return };
    let sections = word(bytes, 20).min(table / SECTION_ENTRY_BYTES);
    for section in 0..sections {
        let entry = HEADER_BYTES + section * SECTION_ENTRY_BYTES;
        let (start, length) = (word(bytes, entry + 4), word(bytes, entry + 8));
        if let Some(contents) = bytes.get(start..start.saturating_add(length)) {
            let crc = CRC.checksum(contents);
            bytes[entry + 12..entry + 16].copy_from_slice(&crc.to_le_bytes());
        }
    }
    let mut digest = CRC.digest();
    digest.update(&bytes[..124]);
    digest.update(&bytes[HEADER_BYTES..HEADER_BYTES + sections * SECTION_ENTRY_BYTES]);
    let crc = digest.finalize();
    bytes[124..128].copy_from_slice(&crc.to_le_bytes());
}
