//! The engine against the float reference; and against itself, with options that must never change a bit.

use vitreous::kernels::PORTABLE;
use vitreous::models::vit::{Output, Vit};
use vitreous::pipeline::top_k;
use vitreous::tensor::PanelLayout;
use vitreous::{Error, Model, PixelSource, Progress, SliceSource, SourceError};
use vitreous_tests::{configs, portable, random_image, random_vit, repository, small_config};
use vitreous_tools::checkpoint::FloatVit;
use vitreous_tools::engine::Engine;
use vitreous_tools::metrics::sqnr_db;
use vitreous_tools::quantize::{quantize, QuantizeOptions, VitLayer};
use vitreous_tools::reference::ReferenceVit;
use vitreous_tools::vtr::AlignedBytes;

fn engine(float: &FloatVit, options: &QuantizeOptions<VitLayer>) -> Engine {
    let bytes = quantize(float, options).expect("convertible");
    Engine::from_bytes(AlignedBytes::copy_of(&bytes), "test.vtr".as_ref()).expect("loadable")
}

/// Mean SQNR of the output over some images.
fn mean_sqnr(float: &FloatVit, engine: &Engine) -> f64 {
    let reference = ReferenceVit::new(float).expect("a reference");
    let images = 8;
    let total: f64 = (0..images)
        .map(|seed| {
            let image = random_image(&float.config, seed);
            let want = reference.forward(&image).expect("a forward pass");
            let got = engine.run(&image, false).expect("a run");
            let want = if want.logits.is_empty() { want.features } else { want.logits };
            sqnr_db(&want, got.output())
        })
        .sum();
    total / images as f64
}

/// All linear layers of a model that can keep f16 weights.
fn all_layers(depth: usize) -> Vec<VitLayer> {
    let block = |b| [VitLayer::Qkv(b), VitLayer::Proj(b), VitLayer::Fc1(b), VitLayer::Fc2(b)];
    (0..depth).flat_map(block).chain([VitLayer::Head]).collect()
}

#[test]
fn every_feature_agrees_with_the_reference_in_int8_and_better_in_f16() {
    for (name, config) in configs() {
        let float = random_vit(config, 1);
        let int8 = mean_sqnr(&float, &engine(&float, &QuantizeOptions::default()));
        let keep_f16: Vec<VitLayer> = all_layers(config.depth)
            .into_iter()
            .filter(|l| config.classes > 0 || *l != VitLayer::Head)
            .collect();
        let f16 = mean_sqnr(&float, &engine(&float, &QuantizeOptions { keep_f16, ..Default::default() }));
        println!("{name}: int8 {int8:.1} dB, f16 {f16:.1} dB");
        assert!(int8 > 30.0, "{name}: {int8:.1} dB");
        assert!(f16 > int8.min(45.0), "{name}: {f16:.1} dB");
    }
}

#[test]
fn tile_height_and_weight_layout_change_no_bit() {
    for (name, config) in configs() {
        let float = random_vit(config, 2);
        let image = random_image(&config, 3);
        let want = engine(&float, &QuantizeOptions::default()).run(&image, false).expect("a run");
        for (nr, kr) in [(1, 16), (2, 4), (4, 4), (16, 4), (2, 1), (8, 16), (3, 2)] {
            let options = QuantizeOptions { layout: PanelLayout { nr, kr }, ..Default::default() };
            let other = engine(&float, &options).run(&image, false).expect("a run");
            assert_eq!(other, want, "{name}: layout {nr}x{kr}");
        }
        let engine = engine(&float, &QuantizeOptions::default());
        engine
            .with_vit(|vit| {
                for tile_rows in [1, 2, 3, 5, 7, 64] {
                    let bytes = vit.plan_for(tile_rows, PORTABLE.spec, 1).expect("a plan").arena_bytes();
                    let mut arena = AlignedBytes::zeroed(bytes);
                    arena.as_mut_slice().fill(0xa5);
                    let mut source = SliceSource::new(&image, config.image_width * config.channels);
                    let mut run = vit.begin_with(arena.as_mut_slice(), portable(tile_rows)).expect("a run");
                    run.finish(&mut source).expect("an output");
                    assert_eq!(
                        run.logits().expect("logits"),
                        want.logits,
                        "{name}: {tile_rows} rows per tile"
                    );
                    assert_eq!(run.features().expect("features"), want.features, "{name}");
                }
            })
            .expect("a model");
    }
}

#[test]
fn misuse_gets_a_specific_error() {
    let float = random_vit(small_config(), 4);
    let bytes = AlignedBytes::copy_of(&quantize(&float, &QuantizeOptions::default()).expect("convertible"));
    let model = Model::parse(bytes.as_slice()).expect("a model");
    let vit = Vit::new(&model).expect("a ViT");
    let needed = vit.plan().arena_bytes();
    assert_eq!(needed, model.arena_bytes(), "the header states the plan");
    let mut arena = AlignedBytes::zeroed(needed + 16);
    let short = vit.begin(&mut arena.as_mut_slice()[..needed - 1]).err();
    assert_eq!(short, Some(Error::ArenaTooSmall { needed, found: needed - 1 }));
    let crooked = vit.begin(&mut arena.as_mut_slice()[1..]).err();
    assert_eq!(crooked, Some(Error::ArenaMisaligned { required: 16 }));
    let tall = vit.begin_with(arena.as_mut_slice(), portable(0)).err();
    assert_eq!(tall, Some(Error::TileRows { found: 0, limit: 256 }));

    let mut run = vit.begin(arena.as_mut_slice()).expect("a run");
    assert_eq!(run.logits().err(), Some(Error::NotFinished));
    let image = random_image(vit.config(), 5);
    let mut source = SliceSource::new(&image[..100], 48);
    let failed = run.finish(&mut source);
    assert_eq!(failed, Err(Error::Source(SourceError { code: SliceSource::TOO_SHORT })));
    assert_eq!(run.step(&mut source).err(), Some(Error::Finished), "a failed run can't go on");
    assert_eq!(run.logits().err(), Some(Error::NotFinished));

    let mut run = vit.begin(arena.as_mut_slice()).expect("a run");
    let mut source = SliceSource::new(&image, 48);
    run.finish(&mut source).expect("an output");
    assert_eq!(run.step(&mut source).err(), Some(Error::Finished));
}

/// Counts the rows that are requested.
struct Counting<'a> {
    inner: SliceSource<'a>,
    rows: Vec<(usize, usize)>,
}

impl PixelSource for Counting<'_> {
    fn read_rows(&mut self, first_row: usize, rows: &mut [u8]) -> Result<(), SourceError> {
        self.rows.push((first_row, rows.len()));
        self.inner.read_rows(first_row, rows)
    }
}

#[test]
fn pixels_are_read_once_strip_by_strip_and_steps_are_tiles() {
    let float = random_vit(small_config(), 6);
    let engine = engine(&float, &QuantizeOptions::default());
    let image = random_image(&float.config, 7);
    let steps = engine
        .with_vit(|vit| {
            let mut arena = AlignedBytes::zeroed(engine.arena_bytes());
            let mut source = Counting { inner: SliceSource::new(&image, 48), rows: Vec::new() };
            let mut run = vit.begin(arena.as_mut_slice()).expect("a run");
            let mut steps = 1;
            while run.step(&mut source).expect("a step") != Progress::Done {
                steps += 1;
            }
            assert_eq!(source.rows, [(0, 8 * 48), (8, 8 * 48), (16, 8 * 48)]);
            steps
        })
        .expect("a model");
    // The 12 patches of 3 strips are 2 tiles, 13 tokens as well; norm, keys and values, attention per head,
    // MLP; the head.
    assert_eq!(steps, 2 + 2 * 2 * (1 + 2 * 3 + 1) + 1);
}

#[test]
fn the_digits_model_fits_its_budget_and_reads_held_out_digits() {
    let float = FloatVit::load(&repository("models/digits"), &Default::default()).expect("the shipped model");
    let engine = engine(&float, &QuantizeOptions::default());
    println!("digits: arena {} bytes, flash {} bytes", engine.arena_bytes(), engine.file().bytes().len());
    assert!(engine.arena_bytes() <= 12 * 1024, "room for 4 KiB of stack in 16 KiB");
    let digits = vitreous_tools::train::data::digits_test();
    let images: Vec<&[u8]> = digits.iter().map(|(pixels, _)| pixels.as_slice()).collect();
    let outputs = engine.run_all(&images, false, || {}).expect("runs");
    let best = |logits: &[f32]| top_k::<1>(Output::Softmax, logits)[0].class;
    let right =
        outputs.iter().zip(&digits).filter(|(output, (_, class))| best(&output.logits) == *class).count();
    println!("digits: {right} of {} held-out images", digits.len());
    assert!(right * 100 >= digits.len() * 98);
}
