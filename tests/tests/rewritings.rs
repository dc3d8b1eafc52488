//! Exact rewritings of a checkpoint: the same float function must give the same model.
//!
//! Powers of two give the same file, byte for byte; other factors give the same except for rounding.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vitreous::models::ipt::IptConfig;
use vitreous::models::vit::{Activation, Head, Pool, VitConfig};
use vitreous_tests::{
    configs, random_image, random_ipt, random_vit, repository, small_config, small_ipt_config,
};
use vitreous_tools::checkpoint::ipt::FloatIpt;
use vitreous_tools::checkpoint::{FloatVit, LoadOptions};
use vitreous_tools::engine::Engine;
use vitreous_tools::metrics::sqnr_db;
use vitreous_tools::parity::{parity, ParityOptions, Sample, Thresholds};
use vitreous_tools::quantize::balance::{balance_block, balance_head, balance_ipt, Extents, Tensors};
use vitreous_tools::quantize::{
    ipt_trial, quantize, scale_ipt_stream, scale_vit_stream, vit_trial, QuantizeOptions,
};
use vitreous_tools::reference::{ReferenceIpt, ReferenceVit};
use vitreous_tools::restorer::Restorer;
use vitreous_tools::vtr::AlignedBytes;

/// Images per model: their energies are added, since small models on single images differ by decibels.
const IMAGES: u64 = 96;
/// Models per configuration.
const MODELS: u64 = 3;

/// Draws the factor of one channel.
type Draw = dyn Fn(&mut ChaCha8Rng) -> f32;

fn power_of_two(rng: &mut ChaCha8Rng) -> f32 {
    2f32.powi(rng.random_range(-13..=13))
}

fn any_factor(rng: &mut ChaCha8Rng) -> f32 {
    10f32.powf(rng.random_range(-4.0..4.0))
}

/// Divides or multiplies parts of a model's tensors, channel by channel.
struct Mover<'a> {
    tensors: &'a mut Tensors,
    factors: Vec<f32>,
}

impl<'a> Mover<'a> {
    fn new(tensors: &'a mut Tensors, channels: usize, rng: &mut ChaCha8Rng, draw: &Draw) -> Self {
        Self { tensors, factors: (0..channels).map(|_| draw(rng)).collect() }
    }

    fn data(&mut self, name: &str) -> &mut Vec<f32> {
        &mut self.tensors.get_mut(name).unwrap_or_else(|| panic!("no tensor {name}")).data
    }

    /// Divides vectors, or the last axis of each.
    fn divide(mut self, names: &[String]) -> Self {
        let factors = self.factors.clone();
        for name in names {
            let values = self.data(name).iter_mut().zip(factors.iter().cycle());
            values.for_each(|(v, factor)| *v /= factor);
        }
        self
    }

    /// Multiplies columns of `rows` of weights.
    fn multiply_columns(mut self, name: &str, rows: std::ops::Range<usize>) -> Self {
        let factors = self.factors.clone();
        let columns = factors.len();
        let weights = self.data(name);
        let last = (weights.len() / columns).min(rows.end);
        for row in weights[rows.start * columns..last * columns].chunks_exact_mut(columns) {
            row.iter_mut().zip(&factors).for_each(|(w, factor)| *w *= factor);
        }
        self
    }

    /// Divides or multiplies rows from `first` on: weights, or a bias.
    fn rows(mut self, name: &str, first: usize, rows_in_all: usize, divide: bool) -> Self {
        let factors = self.factors.clone();
        let values = self.data(name);
        let inputs = values.len() / rows_in_all;
        for (row, factor) in values[first * inputs..].chunks_exact_mut(inputs).zip(&factors) {
            row.iter_mut().for_each(|v| if divide { *v /= factor } else { *v *= factor });
        }
        self
    }
}

const ALL: std::ops::Range<usize> = 0..usize::MAX;

/// Moves scale between all neighbouring layers of a ViT.
fn move_vit(tensors: &mut Tensors, c: &VitConfig, rng: &mut ChaCha8Rng, draw: &Draw) {
    for block in 0..c.depth {
        let name = |part: &str| format!("blocks.{block}.{part}");
        for (norm, reader) in [("norm1", "attn.qkv.weight"), ("norm2", "mlp.fc1.weight")] {
            let norms = ["weight", "bias"].map(|leaf| name(&format!("{norm}.{leaf}")));
            Mover::new(tensors, c.dim, rng, draw).divide(&norms).multiply_columns(&name(reader), ALL);
        }
        let (weight, bias) = (name("attn.qkv.weight"), name("attn.qkv.bias"));
        Mover::new(tensors, c.dim, rng, draw)
            .rows(&weight, 2 * c.dim, 3 * c.dim, true)
            .rows(&bias, 2 * c.dim, 3 * c.dim, true)
            .multiply_columns(&name("attn.proj.weight"), ALL);
        Mover::new(tensors, c.dim, rng, draw)
            .rows(&weight, 0, 3 * c.dim, true)
            .rows(&bias, 0, 3 * c.dim, true)
            .rows(&weight, c.dim, 3 * c.dim, false)
            .rows(&bias, c.dim, 3 * c.dim, false);
        if c.activation == Activation::Relu {
            Mover::new(tensors, c.hidden, rng, draw)
                .rows(&name("mlp.fc1.weight"), 0, c.hidden, true)
                .rows(&name("mlp.fc1.bias"), 0, c.hidden, true)
                .multiply_columns(&name("mlp.fc2.weight"), ALL);
        }
    }
    let norm = if c.norm_after_pool { "fc_norm" } else { "norm" };
    if c.head != Head::None && (c.norm_after_pool || c.norm_before_pool) {
        let norms = ["weight", "bias"].map(|leaf| format!("{norm}.{leaf}"));
        let moved = Mover::new(tensors, c.dim, rng, draw).divide(&norms).multiply_columns("head.weight", ALL);
        if c.second_head_token().is_some() {
            moved.multiply_columns("head_dist.weight", ALL);
        }
    }
}

/// Moves scale between all neighbouring layers of an IPT.
fn move_ipt(float: &mut FloatIpt, rng: &mut ChaCha8Rng, draw: &Draw) {
    let c = float.config.clone();
    let (dim, tensors) = (c.dim(), &mut float.tensors);
    let both = |norm: String| ["weight", "bias"].map(|leaf| format!("{norm}.{leaf}"));
    let mut attentions = Vec::new();
    for (stack, layers) in [("encoder", c.encoder_layers), ("decoder", c.decoder_layers)] {
        for layer in 0..layers {
            let name = format!("body.{stack}.layers.{layer}");
            let last = if stack == "encoder" { "norm2" } else { "norm3" };
            Mover::new(tensors, dim, rng, draw)
                .divide(&both(format!("{name}.{last}")))
                .multiply_columns(&format!("{name}.linear1.weight"), ALL);
            Mover::new(tensors, c.hidden, rng, draw)
                .rows(&format!("{name}.linear1.weight"), 0, c.hidden, true)
                .rows(&format!("{name}.linear1.bias"), 0, c.hidden, true)
                .multiply_columns(&format!("{name}.linear2.weight"), ALL);
            attentions.push(format!("{name}.self_attn"));
            if stack == "encoder" {
                Mover::new(tensors, dim, rng, draw)
                    .divide(&both(format!("{name}.norm1")))
                    .multiply_columns(&format!("{name}.self_attn.in_proj_weight"), ALL);
            } else {
                attentions.push(format!("{name}.multihead_attn"));
            }
        }
    }
    let mut moved = Mover::new(tensors, dim, rng, draw).divide(&["body.query_embed.weight".to_owned()]);
    for layer in 0..c.decoder_layers {
        let name = format!("body.decoder.layers.{layer}");
        moved = moved
            .divide(&both(format!("{name}.norm1")))
            .divide(&both(format!("{name}.norm2")))
            .multiply_columns(&format!("{name}.self_attn.in_proj_weight"), ALL)
            .multiply_columns(&format!("{name}.multihead_attn.in_proj_weight"), 0..dim);
    }
    for name in attentions {
        let packed = format!("{name}.in_proj_weight");
        Mover::new(tensors, dim, rng, draw)
            .rows(&packed, 2 * dim, 3 * dim, true)
            .multiply_columns(&format!("{name}.out_proj.weight"), ALL);
        Mover::new(tensors, dim, rng, draw).rows(&packed, 0, 3 * dim, true).rows(
            &packed,
            dim,
            3 * dim,
            false,
        );
    }
    Mover::new(tensors, c.head_hidden, rng, draw)
        .rows("body.mlp_head.0.weight", 0, c.head_hidden, true)
        .rows("body.mlp_head.0.bias", 0, c.head_hidden, true)
        .multiply_columns("body.mlp_head.3.weight", ALL);
    for (task, block) in (0..c.tasks.len()).flat_map(|task| [(task, 1), (task, 2)]) {
        let name = format!("head.{task}.{block}.body");
        let mut moved = Mover::new(tensors, c.features, rng, draw)
            .rows(&format!("{name}.0.weight"), 0, c.features, true)
            .rows(&format!("{name}.0.bias"), 0, c.features, true);
        let factors = moved.factors.clone();
        // (outputs, inputs, k, k): the inputs are the second axis.
        let second = moved.data(&format!("{name}.2.weight"));
        let area = second.len() / (c.features * c.features);
        let planes = second.chunks_exact_mut(area).zip(factors.iter().cycle());
        planes.for_each(|(plane, factor)| plane.iter_mut().for_each(|w| *w *= factor));
    }
}

fn engine_of(float: &FloatVit, stream_exponent: i32) -> Engine {
    let options = QuantizeOptions { stream_exponent, ..QuantizeOptions::default() };
    let bytes = quantize(float, &options).expect("convertible");
    Engine::from_bytes(AlignedBytes::copy_of(&bytes), "rewritten".as_ref()).expect("valid")
}

/// SQNR of the engine's output against `judge` over all images, in dB.
fn sqnr(float: &FloatVit, judge: &FloatVit, stream_exponent: i32) -> f64 {
    let (engine, reference) = (engine_of(float, stream_exponent), ReferenceVit::new(judge).expect("valid"));
    let (mut wanted, mut found) = (Vec::new(), Vec::new());
    for seed in 0..IMAGES {
        let image = random_image(&float.config, seed);
        let (want, got) =
            (reference.forward(&image).expect("runs"), engine.run(&image, false).expect("runs"));
        wanted.extend(if want.logits.is_empty() { want.features } else { want.logits });
        found.extend_from_slice(got.output());
    }
    sqnr_db(&wanted, &found)
}

/// The usual configurations, and those without a norm before the output.
fn all_configs() -> Vec<(&'static str, VitConfig)> {
    let base = small_config();
    let bare = VitConfig { norm_before_pool: false, ..base };
    let bare_mean = VitConfig { pool: Pool::Mean, class_token: false, ..bare };
    [configs(), vec![("no final norm", bare), ("no final norm, mean pool", bare_mean)]].concat()
}

#[test]
fn balancing_keeps_the_float_function() {
    for (name, config) in all_configs() {
        let float = random_vit(config, 5);
        let mut balanced = float.clone();
        (0..config.depth).for_each(|block| {
            balance_block(&mut balanced.tensors, &config, block, &Extents::new()).expect("there")
        });
        balance_head(&mut balanced.tensors, &config, &Extents::new()).expect("there");
        let image = random_image(&config, 3);
        let logits = |float: &FloatVit| ReferenceVit::new(float).unwrap().forward(&image).unwrap();
        let (want, got) = (logits(&float), logits(&balanced));
        let db = match want.logits.is_empty() {
            true => sqnr_db(&want.features, &got.features),
            false => sqnr_db(&want.logits, &got.logits),
        };
        assert!(db > 95.0, "{name}: {db} dB");
    }
    let float = random_ipt(small_ipt_config(), 6);
    let mut balanced = float.clone();
    balance_ipt(&mut balanced.tensors, &float.config).expect("there");
    let window: Vec<u8> = (0..12 * 12 * 3).map(|i| (i * 37 % 256) as u8).collect();
    for task in &float.config.tasks {
        let restored = |float: &FloatIpt| ReferenceIpt::new(float).unwrap().restore(&window, task).unwrap();
        let db = sqnr_db(&restored(&float), &restored(&balanced));
        assert!(db > 95.0, "{task}: {db} dB");
    }
}

#[test]
fn powers_of_two_between_neighbours_give_the_same_file() {
    for (name, config) in all_configs() {
        for seed in 0..MODELS {
            let float = random_vit(config, seed);
            let mut moved = float.clone();
            move_vit(&mut moved.tensors, &config, &mut ChaCha8Rng::seed_from_u64(seed), &power_of_two);
            for keep_f16 in [vec![], vec!["blocks.0.qkv", "blocks.0.proj", "blocks.0.fc1", "blocks.0.fc2"]] {
                let keep_f16 = keep_f16.iter().map(|layer| layer.parse().expect("a layer")).collect();
                let options = QuantizeOptions { keep_f16, ..QuantizeOptions::default() };
                let bytes = |float: &FloatVit| quantize(float, &options).expect("convertible");
                assert!(bytes(&float) == bytes(&moved), "{name}, seed {seed}: the files differ");
            }
        }
    }
    for seed in 0..MODELS {
        let float = random_ipt(small_ipt_config(), seed);
        let mut moved = float.clone();
        move_ipt(&mut moved, &mut ChaCha8Rng::seed_from_u64(seed), &power_of_two);
        let bytes = |float: &FloatIpt| quantize(float, &QuantizeOptions::default()).expect("convertible");
        assert!(bytes(&float) == bytes(&moved), "restorer, seed {seed}: the files differ");
    }
}

#[test]
fn any_factor_between_neighbours_gives_the_same_quality() {
    for (name, config) in all_configs() {
        for seed in 0..MODELS {
            let float = random_vit(config, 40 + seed);
            let mut moved = float.clone();
            move_vit(&mut moved.tensors, &config, &mut ChaCha8Rng::seed_from_u64(seed), &any_factor);
            let (before, after) = (sqnr(&float, &float, 0), sqnr(&moved, &float, 0));
            assert!((before - after).abs() < 0.3, "{name}, seed {seed}: {before:.2} dB, then {after:.2} dB");
        }
    }
    let float = random_ipt(small_ipt_config(), 8);
    let mut moved = float.clone();
    move_ipt(&mut moved, &mut ChaCha8Rng::seed_from_u64(9), &any_factor);
    for (task, (before, after)) in
        restored_sqnr(&float, &float, 0).iter().zip(restored_sqnr(&moved, &float, 0)).enumerate()
    {
        assert!((before - after).abs() < 0.3, "task {task}: {before:.2} dB, then {after:.2} dB");
    }
}

/// SQNR of a restorer's windows against `judge`, in dB, task by task.
fn restored_sqnr(float: &FloatIpt, judge: &FloatIpt, stream_exponent: i32) -> Vec<f64> {
    let options = QuantizeOptions { stream_exponent, ..QuantizeOptions::default() };
    let bytes = quantize(float, &options).expect("convertible");
    let restorer = Restorer::from_bytes(AlignedBytes::copy_of(&bytes), "rewritten".as_ref()).expect("valid");
    let reference = ReferenceIpt::new(judge).expect("valid");
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let side = float.config.window;
    let windows: Vec<u8> = (0..64 * side * side * 3).map(|_| rng.random()).collect();
    let tasks = float.config.tasks.iter().enumerate();
    tasks
        .map(|(index, task)| {
            let want = reference.restore(&windows, task).expect("runs");
            let windows = windows.chunks(side * side * 3);
            let got: Vec<f32> =
                windows.flat_map(|window| restorer.restore_window(index, window).expect("runs")).collect();
            sqnr_db(&want, &got)
        })
        .collect()
}

/// Channels as in damaged or pruned checkpoints.
#[test]
fn channels_that_carry_nothing_cost_nothing() {
    let config = small_config();
    let float = random_vit(config, 12);
    let set = |float: &mut FloatVit, name: &str, channel: usize, value: f32| {
        float.tensors.get_mut(name).expect("a tensor").data[channel] = value;
    };
    let columns = |float: &mut FloatVit, name: &str, channel: usize, value: f32| {
        let tensor = float.tensors.get_mut(name).expect("a tensor");
        tensor.data.chunks_exact_mut(config.dim).for_each(|row| row[channel] = value);
    };
    let mut pruned = float.clone();
    for (norm, reader) in [
        ("blocks.0.norm1", "blocks.0.attn.qkv.weight"),
        ("blocks.1.norm2", "blocks.1.mlp.fc1.weight"),
        ("norm", "head.weight"),
    ] {
        let (weight, bias) = (format!("{norm}.weight"), format!("{norm}.bias"));
        set(&mut pruned, &weight, 0, 0.0);
        set(&mut pruned, &bias, 0, 0.0);
        columns(&mut pruned, reader, 1, 0.0);
        set(&mut pruned, &weight, 2, 1e-30);
        set(&mut pruned, &bias, 2, 0.0);
        set(&mut pruned, &weight, 3, 0.0);
        set(&mut pruned, &bias, 3, 0.0);
    }
    let healthy = sqnr(&pruned, &pruned, 0);
    let mut hostile = pruned.clone();
    for (norm, reader) in [
        ("blocks.0.norm1", "blocks.0.attn.qkv.weight"),
        ("blocks.1.norm2", "blocks.1.mlp.fc1.weight"),
        ("norm", "head.weight"),
    ] {
        let (weight, bias) = (format!("{norm}.weight"), format!("{norm}.bias"));
        // The contents of these never reach the output: weights of a channel that is always 0, and a channel
        // that no weight reads.
        columns(&mut hostile, reader, 0, 1e30);
        set(&mut hostile, &weight, 1, 1e30);
        set(&mut hostile, &bias, 1, -1e30);
        // Always 1e20, times a tiny weight: a bias of 0.5.
        set(&mut hostile, &bias, 3, 1e20);
        columns(&mut hostile, reader, 3, 5e-21);
    }
    let mut with_bias = pruned.clone();
    for (norm, reader) in [
        ("blocks.0.norm1", "blocks.0.attn.qkv.weight"),
        ("blocks.1.norm2", "blocks.1.mlp.fc1.weight"),
        ("norm", "head.weight"),
    ] {
        let bias = format!("{norm}.bias");
        set(&mut with_bias, &bias, 3, 0.5);
        columns(&mut with_bias, reader, 3, 1.0);
    }
    let after = sqnr(&hostile, &with_bias, 0);
    assert!(after > healthy - 1.0, "{healthy:.2} dB, then {after:.2} dB");
}

fn scaled_stream(float: &FloatVit, factor: f32) -> FloatVit {
    let mut scaled = float.clone();
    // The tool's own rule determines which layers write the stream; the factor is that of the two halves.
    let exponent = factor.log2().floor() as i32;
    scale_vit_stream(&mut scaled.tensors, &float.config, exponent);
    let rest = factor / 2f32.powi(exponent);
    let mut writers = float.clone();
    scale_vit_stream(&mut writers.tensors, &float.config, 1);
    for (name, tensor) in &mut scaled.tensors {
        let (before, after) = (&float.tensors[name].data, &writers.tensors[name].data);
        let scales = before.iter().zip(after).find(|(b, _)| **b != 0.0).map_or(1.0, |(b, a)| a / b);
        tensor.data.iter_mut().for_each(|w| *w *= rest.powf(scales.log2()));
    }
    scaled
}

#[test]
fn a_residual_stream_of_any_scale_is_brought_into_the_range_of_f16() {
    for (name, config) in all_configs() {
        // ε is that of the unscaled stream, so a tiny stream is another function. So each model is compared
        // with its own reference.
        let float = random_vit(VitConfig { norm_eps: 1e-12, ..config }, 21);
        let plain = vit_trial(&float, &[]).expect("runs");
        assert_eq!((plain.exponent, plain.warnings.len()), (0, 0), "{name}: {plain:?}");
        let before = sqnr(&float, &float, 0);
        for factor in [1000.0, 20_000.0, 65_536.0, 1e6, 2f32.powi(40), 2f32.powi(-14)] {
            let moved = scaled_stream(&float, factor);
            let found = vit_trial(&moved, &[]).expect("runs");
            if config.head == Head::None && !config.norm_before_pool && !config.norm_after_pool {
                assert!(found.exponent == 0 && found.warnings.len() == 1, "{name}: {}", found.exponent);
                continue;
            }
            let after = sqnr(&moved, &moved, found.exponent);
            // Factors other than powers of two change the rounding of all weights.
            let tolerance = if factor.log2().fract() == 0.0 && factor > 1.0 { 0.1 } else { 1.5 };
            assert!(
                before - after < tolerance,
                "{name} x {factor}: {before:.2} dB, then {after:.2} dB, 2^{}",
                found.exponent
            );
        }
    }
}

#[test]
fn a_scaled_restorer_is_brought_into_the_range_of_f16() {
    let float = random_ipt(IptConfig { norm_eps: 1e-12, ..small_ipt_config() }, 22);
    let plain = ipt_trial(&float, &[]).expect("runs");
    assert_eq!(plain.exponent, 0, "{plain:?}");
    let before = restored_sqnr(&float, &float, 0);
    for exponent in [12, 20, 40, -14] {
        let mut moved = float.clone();
        scale_ipt_stream(&mut moved.tensors, exponent);
        let found = ipt_trial(&moved, &[]).expect("runs");
        let window: Vec<u8> = (0..12 * 12 * 3).map(|i| (i * 37 % 256) as u8).collect();
        for task in &float.config.tasks {
            let restored =
                |float: &FloatIpt| ReferenceIpt::new(float).unwrap().restore(&window, task).unwrap();
            assert!(sqnr_db(&restored(&float), &restored(&moved)) > 90.0, "2^{exponent}: another function");
        }
        let after = restored_sqnr(&moved, &moved, found.exponent);
        for (task, (before, after)) in before.iter().zip(after).enumerate() {
            assert!(
                before - after < 0.3,
                "2^{exponent}, task {task}: {before:.2} dB, then {after:.2} dB, 2^{}",
                found.exponent
            );
        }
    }
}

/// `models/digits` with γ and columns of one channel moved, and with its stream scaled.
#[test]
fn the_digits_rewritten_keep_their_quality() {
    let float = FloatVit::load(&repository("models/digits"), &LoadOptions::default()).expect("the digits");
    let before = sqnr(&float, &float, 0);
    for factor in [30.0f32, 300.0, 1.0 / 300.0] {
        let mut moved = float.clone();
        for leaf in ["weight", "bias"] {
            moved.tensors.get_mut(&format!("blocks.0.norm2.{leaf}")).expect("there").data[5] /= factor;
        }
        let fc1 = moved.tensors.get_mut("blocks.0.mlp.fc1.weight").expect("there");
        fc1.data.chunks_exact_mut(float.config.dim).for_each(|row| row[5] *= factor);
        let after = sqnr(&moved, &float, 0);
        assert!((before - after).abs() < 0.3, "x {factor}: {before:.2} dB, then {after:.2} dB");
    }
    for factor in [1000.0, 20_000.0, 1e6] {
        let moved = scaled_stream(&float, factor);
        let found = vit_trial(&moved, &[]).expect("runs");
        let after = sqnr(&moved, &float, found.exponent);
        assert!(before - after < 1.0, "x {factor}: {before:.2} dB, then {after:.2} dB, 2^{}", found.exponent);
    }
}

#[test]
fn parity_has_the_reference_s_units_and_reports_saturation() {
    let float = random_vit(small_config(), 33);
    let moved = scaled_stream(&float, 20_000.0);
    let found = vit_trial(&moved, &[]).expect("runs");
    let reference = ReferenceVit::new(&moved).expect("valid");
    let samples: Vec<Sample> = (0..3)
        .map(|seed| Sample {
            name: format!("{seed}.png"),
            pixels: random_image(&float.config, seed),
            class: Some(0),
        })
        .collect();
    let options = ParityOptions {
        targets: &[],
        firmware: None,
        target_images: None,
        target_timeout: std::time::Duration::from_secs(1),
        thresholds: Thresholds::default(),
    };
    let report = |exponent| {
        parity(&engine_of(&moved, exponent), &reference, &samples, &options, &|_, _, _| {}).expect("compared")
    };
    let good = report(found.exponent);
    assert!(good.saturation.is_none());
    for stage in &good.stages {
        assert!(stage.mean_db > 20.0, "{}: {:.2} dB", stage.stage, stage.mean_db);
    }
    let cut = report(0).saturation.expect("values are cut");
    assert!(cut.images == 3 && cut.worst.values > 0, "{cut:?}");
    assert!(cut.to_string().contains("saturate at ±65504"), "{cut}");
}

#[test]
fn a_number_that_f16_cannot_hold_is_refused_by_the_tensor_s_name() {
    let mut float = random_vit(small_config(), 1);
    float.tensors.get_mut("cls_token").expect("there").data[4] = 1e6;
    let error = quantize(&float, &QuantizeOptions::default()).expect_err("too large");
    let error = format!("{error:#}");
    assert!(error.contains("cls_token + pos_embed") && error.contains("element 4"), "{error}");
}
