//! Restoration by the engine against the float reference; and against itself, with options that must never
//! change a bit.

use vitreous::kernels::{supported_kernels, PORTABLE};
use vitreous::models::ipt::{Ipt, IptConfig, Task, COLOURS};
use vitreous::pipeline::{default_overlap, BandPlan, Restore, RestoreOptions, WindowGrid};
use vitreous::tensor::PanelLayout;
use vitreous::{Error, PixelSink, PixelSource, Progress, SliceSink, SliceSource, SourceError, Stage};
use vitreous_tests::{portable, random_ipt, random_rgb, small_ipt_config};
use vitreous_tools::checkpoint::ipt::FloatIpt;
use vitreous_tools::degrade::Picture;
use vitreous_tools::metrics::sqnr_db;
use vitreous_tools::pool::Pool;
use vitreous_tools::quantize::{ipt_layers, quantize, IptLayer, QuantizeOptions};
use vitreous_tools::reference::ReferenceIpt;
use vitreous_tools::restorer::Restorer;
use vitreous_tools::vtr::AlignedBytes;

fn restorer(float: &FloatIpt, options: &QuantizeOptions<IptLayer>) -> Restorer {
    let bytes = quantize(float, options).expect("convertible");
    Restorer::from_bytes(AlignedBytes::copy_of(&bytes), "test.vtr".as_ref()).expect("loadable")
}

/// The unrounded output of one window.
fn window(restorer: &Restorer, task: usize, pixels: &[u8], tile_rows: usize) -> Vec<f32> {
    restorer
        .with_ipt(|ipt| {
            let bytes = ipt.plan_for(task, tile_rows, PORTABLE.spec, 1).expect("a plan").arena_bytes();
            let mut arena = AlignedBytes::zeroed(bytes);
            arena.as_mut_slice().fill(0xa5);
            let mut run = ipt.begin_with(task, arena.as_mut_slice(), portable(tile_rows)).expect("a run");
            let fill = |to: &mut [u8]| {
                to.copy_from_slice(pixels);
                Ok(())
            };
            run.begin_window(fill).expect("a window");
            let mut rows = Vec::new();
            loop {
                let progress = run.step().expect("a step");
                if matches!(progress, Progress::Running(Stage::Tail) | Progress::Done) {
                    rows.extend_from_slice(run.row().expect("a row"));
                }
                if progress == Progress::Done {
                    break rows;
                }
            }
        })
        .expect("a model")
}

fn mean_sqnr(float: &FloatIpt, restorer: &Restorer, task: usize) -> f64 {
    let reference = ReferenceIpt::new(float).expect("a reference");
    let side = float.config.window;
    let images = 6;
    let total: f64 = (0..images)
        .map(|seed| {
            let image = random_rgb(side, side, seed);
            let want = reference.restore(&image.data, &float.config.tasks[task]).expect("a forward pass");
            sqnr_db(&want, &window(restorer, task, &image.data, 4))
        })
        .sum();
    total / images as f64
}

#[test]
fn every_task_agrees_with_the_reference_in_int8_and_better_in_f16() {
    let config = small_ipt_config();
    let float = random_ipt(config.clone(), 1);
    let int8 = restorer(&float, &QuantizeOptions::default());
    let f16 = restorer(&float, &QuantizeOptions { keep_f16: ipt_layers(&config), ..Default::default() });
    for (index, task) in config.tasks.iter().enumerate() {
        let (int8, f16) = (mean_sqnr(&float, &int8, index), mean_sqnr(&float, &f16, index));
        println!("{task}: int8 {int8:.1} dB, f16 {f16:.1} dB");
        assert!(int8 > 30.0, "{task}: {int8:.1} dB");
        // Keys, queries and values stay int8, whatever the weights are.
        assert!(f16 > int8.min(42.0), "{task}: {f16:.1} dB");
    }
}

#[test]
fn each_layer_may_keep_f16_weights_alone() {
    let config = IptConfig { window: 6, encoder_layers: 1, ..small_ipt_config() };
    let float = random_ipt(config.clone(), 2);
    for layer in ipt_layers(&config) {
        let mixed = restorer(&float, &QuantizeOptions { keep_f16: vec![layer], ..Default::default() });
        for task in [0, 3] {
            let sqnr = mean_sqnr(&float, &mixed, task);
            assert!(sqnr > 28.0, "{layer} in f16, task {task}: {sqnr:.1} dB");
        }
    }
}

#[test]
fn tile_height_and_weight_layout_change_no_bit() {
    let config = small_ipt_config();
    let float = random_ipt(config.clone(), 3);
    let image = random_rgb(config.window, config.window, 4);
    let int8 = restorer(&float, &QuantizeOptions::default());
    for task in 0..config.tasks.len() {
        let want = window(&int8, task, &image.data, 4);
        for (nr, kr) in [(2, 4), (16, 4), (3, 2)] {
            let options = QuantizeOptions { layout: PanelLayout { nr, kr }, ..Default::default() };
            assert_eq!(window(&restorer(&float, &options), task, &image.data, 4), want, "layout {nr}x{kr}");
        }
        for tile_rows in [1, 2, 3, 5, 7, 64] {
            assert_eq!(window(&int8, task, &image.data, tile_rows), want, "{tile_rows} rows per tile");
        }
    }
}

#[test]
fn every_kernel_table_gives_the_same_bytes() {
    let config = IptConfig { features: 18, window: 16, patch: 2, ..small_ipt_config() };
    let float = random_ipt(config.clone(), 9);
    let image = random_rgb(37, 29, 10);
    let layers = ipt_layers(&config);
    for keep_f16 in [vec![], layers.iter().step_by(3).copied().collect(), layers.clone()] {
        let restorer = restorer(&float, &QuantizeOptions { keep_f16, ..Default::default() });
        for task in 0..config.tasks.len() {
            let with = |kernels| {
                let restorer = restorer.clone().with_kernels(kernels).expect("kernels");
                restorer.restore(task, &image, None, |_, _| {}).expect("a restored image")
            };
            let want = with(&PORTABLE);
            for kernels in supported_kernels() {
                assert!(with(kernels) == want, "{} differs, task {task}", kernels.spec.name);
            }
        }
    }
}

#[test]
fn threads_within_a_window_change_no_bit() {
    let config = IptConfig { features: 18, window: 16, patch: 2, ..small_ipt_config() };
    let float = random_ipt(config.clone(), 11);
    let layers = ipt_layers(&config);
    let pixels = random_rgb(config.window, config.window, 12).data;
    for keep_f16 in [vec![], layers.iter().step_by(3).copied().collect(), layers.clone()] {
        let restorer = restorer(&float, &QuantizeOptions { keep_f16, ..Default::default() });
        for task in 0..config.tasks.len() {
            let want = restorer.restore_window(task, &pixels).expect("a window");
            for workers in [2, 3, 5] {
                let pool = Pool::new(workers).expect("threads");
                let mut session = restorer.session_on(task, Some(&pool)).expect("a session");
                let got = session.run(&pixels).expect("a window");
                assert!(got == want, "task {task}, {workers} workers");
            }
        }
    }
}

/// Runs every window by itself and blends them in floats with the same weights.
fn blended(restorer: &Restorer, task: usize, image: &Picture) -> Vec<f64> {
    let side = restorer.config().window;
    let scale = restorer.config().tasks[task].scale;
    let overlap = default_overlap(side);
    let grids = [image.height, image.width].map(|size| WindowGrid::new(size, side, overlap));
    let (height, width) = (image.height * scale, image.width * scale);
    let mut sums = vec![0f64; height * width * COLOURS];
    for row in 0..grids[0].count() {
        for column in 0..grids[1].count() {
            let (top, left) = (grids[0].start(row), grids[1].start(column));
            let mut pixels = Vec::new();
            for y in top..top + side {
                for x in left..left + side {
                    let (y, x) = (reflected(y, image.height), reflected(x, image.width));
                    pixels.extend_from_slice(&image.data[(y * image.width + x) * 3..][..3]);
                }
            }
            let out = window(restorer, task, &pixels, 4);
            for y in (top * scale)..height.min((top + side) * scale) {
                for x in (left * scale)..width.min((left + side) * scale) {
                    let weight = grids[0].weight(row, y, scale) * grids[1].weight(column, x, scale);
                    for c in 0..COLOURS {
                        let value = out[((y - top * scale) * side * scale + x - left * scale) * COLOURS + c];
                        sums[(y * width + x) * COLOURS + c] +=
                            f64::from(value.clamp(0.0, 255.0)) * f64::from(weight) / 65_536.0;
                    }
                }
            }
        }
    }
    sums
}

fn reflected(at: usize, size: usize) -> usize {
    let mut at = at as isize;
    let last = size as isize - 1;
    if last == 0 {
        return 0;
    }
    while at < 0 || at > last {
        at = if at < 0 { -at } else { 2 * last - at };
    }
    at as usize
}

#[test]
fn images_of_any_size_are_made_of_blended_windows() {
    let config = IptConfig { window: 9, encoder_layers: 1, decoder_layers: 1, ..small_ipt_config() };
    let restorer = restorer(&random_ipt(config, 5), &QuantizeOptions::default());
    for (width, height) in [(1, 1), (2, 1), (1, 7), (9, 9), (10, 9), (23, 31), (40, 5)] {
        let image = random_rgb(width, height, 6);
        for task in [0, 1, 3] {
            let got = restorer.restore(task, &image, None, |_, _| {}).expect("a restored image");
            let want = blended(&restorer, task, &image);
            assert_eq!(got.data.len(), want.len());
            let worst =
                got.data.iter().zip(&want).map(|(g, w)| (f64::from(*g) - w).abs()).fold(0.0, f64::max);
            assert!(worst <= 0.52, "{width}×{height}, task {task}: off by {worst} grey levels");
        }
    }
}

/// Delivers rows and checks that each is requested once, from top to bottom.
struct Strict<'a> {
    image: SliceSource<'a>,
    row_bytes: usize,
    next: usize,
}

impl PixelSource for Strict<'_> {
    fn read_rows(&mut self, first_row: usize, rows: &mut [u8]) -> Result<(), SourceError> {
        assert_eq!(first_row, self.next);
        self.next += rows.len() / self.row_bytes;
        self.image.read_rows(first_row, rows)
    }
}

struct Broken;

impl PixelSource for Broken {
    fn read_rows(&mut self, _: usize, _: &mut [u8]) -> Result<(), SourceError> {
        Err(SourceError { code: 77 })
    }
}

impl PixelSink for Broken {
    fn write_rows(&mut self, _: usize, _: &[u8]) -> Result<(), SourceError> {
        Err(SourceError { code: 78 })
    }
}

fn begin<'r, 'm>(
    ipt: &'r Ipt<'m>,
    size: (usize, usize),
    arena: &'r mut AlignedBytes,
    band: &'r mut AlignedBytes,
) -> Restore<'r, 'm> {
    let (arena, band) = (arena.as_mut_slice(), band.as_mut_slice());
    Restore::begin(ipt, 0, size, arena, band, RestoreOptions::new(ipt)).expect("a run")
}

/// A target runs one window after the other; a host runs the windows of a row at the same time.
#[test]
fn threads_change_no_bit_of_an_image() {
    let config = small_ipt_config();
    let (side, tasks) = (config.window, config.tasks.clone());
    let restorer = restorer(&random_ipt(config, 9), &QuantizeOptions::default());
    let image = random_rgb(3 * side + 5, 2 * side + 3, 10);
    for (task, Task { scale, .. }) in tasks.into_iter().enumerate() {
        let one_by_one = restorer.with_ipt(|ipt| {
            let mut arena = AlignedBytes::zeroed(ipt.plan(task)?.arena_bytes());
            let mut band = AlignedBytes::zeroed(BandPlan::new(side, scale, image.width)?.bytes());
            let mut pixels = vec![0; image.data.len() * scale * scale];
            let mut source = SliceSource::new(&image.data, image.width * COLOURS);
            let mut sink = SliceSink::new(&mut pixels, image.width * COLOURS * scale);
            let size = (image.width, image.height);
            let (arena, band) = (arena.as_mut_slice(), band.as_mut_slice());
            vitreous::pipeline::restore(ipt, task, size, arena, band, &mut source, &mut sink)?;
            Ok::<_, Error>(pixels)
        });
        let one_by_one = one_by_one.expect("a model").expect("a restored image");
        for threads in [1, 3] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
            let mut windows = Vec::new();
            let restored =
                pool.install(|| restorer.restore(task, &image, None, |done, of| windows.push((done, of))));
            assert_eq!(
                restored.expect("a restored image").data,
                one_by_one,
                "task {task}, {threads} threads"
            );
            assert!(windows.last().is_some_and(|(done, of)| done == of));
        }
    }
}

#[test]
fn what_is_wrong_is_said_and_rows_come_once() {
    let config = small_ipt_config();
    let side = config.window;
    let restorer = restorer(&random_ipt(config, 7), &QuantizeOptions::default());
    let (width, height) = (29, 26);
    let image = random_rgb(width, height, 8);
    restorer
        .with_ipt(|ipt| {
            let arena_bytes = ipt.plan(0).expect("a plan").arena_bytes();
            let band_bytes = BandPlan::new(side, 1, width).expect("a plan").bytes();
            let (mut arena, mut band) = (AlignedBytes::zeroed(arena_bytes), AlignedBytes::zeroed(band_bytes));
            let options = RestoreOptions::new(ipt);
            let mut refused = |task, size, arena_bytes: usize, band_bytes: usize, options| {
                let (arena, band) =
                    (&mut arena.as_mut_slice()[..arena_bytes], &mut band.as_mut_slice()[..band_bytes]);
                Restore::begin(ipt, task, size, arena, band, options).err()
            };
            let size = (width, height);
            assert_eq!(refused(0, size, arena_bytes, band_bytes, options), None);
            assert_eq!(
                refused(9, size, arena_bytes, band_bytes, options),
                Some(Error::Task { found: 9, tasks: 5 })
            );
            assert_eq!(
                refused(0, size, arena_bytes - 1, band_bytes, options),
                Some(Error::ArenaTooSmall { needed: arena_bytes, found: arena_bytes - 1 })
            );
            let short = band_bytes - 17;
            assert_eq!(
                refused(0, size, arena_bytes, short, options),
                Some(Error::BandTooSmall { needed: band_bytes, found: short })
            );
            for size in [(0, 5), (5, 0), (70_000, 5)] {
                let (width, height) = size;
                assert_eq!(
                    refused(0, size, arena_bytes, band_bytes, options),
                    Some(Error::ImageSize { width, height, limit: 65_535 })
                );
            }
            for (window, scale, width) in [(usize::MAX, 2, 1), (1, usize::MAX, 2), (1024, 4, usize::MAX / 2)]
            {
                assert_eq!(BandPlan::new(window, scale, width), Err(Error::PlanTooLarge));
            }
            let wide = RestoreOptions { overlap: 7, ..options };
            assert_eq!(
                refused(0, size, arena_bytes, band_bytes, wide),
                Some(Error::Overlap { found: 7, limit: 6 })
            );

            let mut out = vec![0u8; width * height * 3];
            let mut sink = SliceSink::new(&mut out, width * 3);
            let mut run = begin(ipt, size, &mut arena, &mut band);
            assert_eq!(run.step(&mut Broken, &mut sink), Err(Error::Source(SourceError { code: 77 })));
            assert_eq!(run.step(&mut Broken, &mut sink), Err(Error::Finished), "a run that failed is over");

            let mut source =
                Strict { image: SliceSource::new(&image.data, width * 3), row_bytes: width * 3, next: 0 };
            let mut run = begin(ipt, size, &mut arena, &mut band);
            let failed = loop {
                match run.step(&mut source, &mut Broken) {
                    Ok(progress) => assert_ne!(progress, Progress::Done),
                    Err(error) => break error,
                }
            };
            assert_eq!(failed, Error::Sink(SourceError { code: 78 }));
            assert_eq!(run.step(&mut source, &mut Broken), Err(Error::Finished), "a run that failed is over");

            source.next = 0;
            let mut run = begin(ipt, size, &mut arena, &mut band);
            while run.step(&mut source, &mut sink).expect("a step") != Progress::Done {}
            assert_eq!(source.next, height);
            assert_eq!(run.step(&mut source, &mut sink), Err(Error::Finished));
        })
        .expect("a model");
    let missing = Task { strength: 99, ..restorer.config().tasks[0] };
    let error = restorer.task_index(&missing).unwrap_err().to_string();
    assert!(error.contains("no task denoise99; it has denoise30, x2, x3, x4, derain"), "{error}");
}
