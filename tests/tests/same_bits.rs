//! Recorded outputs and memory, which a change of structure must not alter.
//!
//! Each line of `tests/records/bits.txt` is one record: the SHA-256 of a converted model, the SHA-256 of all
//! outputs of its runs, which must be the same on every kernel table, or the bytes of arena that it needs.
//! `VITREOUS_RECORD=1 cargo test --release -p vitreous-tests --test same_bits` writes the file anew. Only a
//! change of the numerics or of the converter may require that.

use std::collections::BTreeMap;
use std::fmt::Write;

use anyhow::{Context, Result};
use rand::{RngCore, SeedableRng};
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};
use vitreous::kernels::{spec, supported_kernels, TableSpec};
use vitreous_tests::{configs, random_ipt, random_vit, repository, shared_data, small_ipt_config};
use vitreous_tools::checkpoint::ipt::FloatIpt;
use vitreous_tools::checkpoint::FloatVit;
use vitreous_tools::degrade::Picture;
use vitreous_tools::engine::{Engine, EngineOutput};
use vitreous_tools::quantize::{ipt_layers, quantize, IptLayer, QuantizeOptions, VitLayer};
use vitreous_tools::restorer::Restorer;
use vitreous_tools::vtr::AlignedBytes;

/// Rows per tile of the plans that are recorded.
const TILE_ROWS: usize = 8;

/// Kernel tables whose plans are recorded: those of microcontrollers, and the portable one.
const PLANNED: [&TableSpec; 4] =
    [&spec::PORTABLE, &spec::SOFT_FLOAT, &spec::CORTEX_M_DSP, &spec::CORTEX_M_HELIUM];

type Record = BTreeMap<String, String>;

fn hexadecimal(hash: Sha256) -> String {
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn hash_of(bytes: &[u8]) -> String {
    hexadecimal(Sha256::new_with_prefix(bytes))
}

/// Noise. It is the same on every machine, which a sine would not be.
fn noise(count: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; count];
    ChaCha8Rng::seed_from_u64(seed).fill_bytes(&mut bytes);
    bytes
}

fn add(hash: &mut Sha256, values: &[f32]) {
    values.iter().for_each(|value| hash.update(value.to_bits().to_le_bytes()));
}

fn add_output(hash: &mut Sha256, output: &EngineOutput) {
    output.hidden.iter().chain([&output.features, &output.logits]).for_each(|values| add(hash, values));
}

fn record_vit(record: &mut Record, name: &str, float: &FloatVit, keep_f16: Vec<VitLayer>) -> Result<()> {
    let bytes = quantize(float, &QuantizeOptions { keep_f16, ..Default::default() })?;
    record.insert(format!("{name} vtr"), hash_of(&bytes));
    let engine = Engine::from_bytes(AlignedBytes::copy_of(&bytes), "x.vtr".as_ref())?;
    let c = &float.config;
    let images: Vec<_> =
        (0..3).map(|seed| noise(c.image_height * c.image_width * c.channels, seed)).collect();
    let mut hashes = BTreeMap::new();
    for kernels in supported_kernels() {
        let engine = engine.clone().with_kernels(kernels)?;
        let mut hash = Sha256::new();
        for image in &images {
            add_output(&mut hash, &engine.run(image, true)?);
        }
        hashes.insert(hexadecimal(hash), kernels.spec.name);
    }
    record.insert(format!("{name} output"), one(name, hashes)?);
    engine.with_vit(|vit| {
        for table in PLANNED {
            let bytes = vit.plan_for(TILE_ROWS, table, 1)?.arena_bytes();
            record.insert(format!("{name} arena {}", table.name), bytes.to_string());
        }
        Ok(())
    })?
}

fn record_ipt(
    record: &mut Record,
    name: &str,
    float: &FloatIpt,
    options: QuantizeOptions<IptLayer>,
) -> Result<()> {
    let bytes = quantize(float, &options)?;
    record.insert(format!("{name} vtr"), hash_of(&bytes));
    let restorer = Restorer::from_bytes(AlignedBytes::copy_of(&bytes), "x.vtr".as_ref())?;
    let (width, height) = (float.config.window + 5, float.config.window);
    let image = Picture { data: noise(width * height * 3, 7), width, height };
    for (index, task) in float.config.tasks.iter().enumerate() {
        let mut hashes = BTreeMap::new();
        for kernels in supported_kernels() {
            let restored = restorer.clone().with_kernels(kernels)?.restore(index, &image, None, |_, _| {})?;
            hashes.insert(hash_of(&restored.data), kernels.spec.name);
        }
        record.insert(format!("{name} {task} output"), one(name, hashes)?);
        restorer.with_ipt(|ipt| -> Result<()> {
            for table in PLANNED {
                let bytes = ipt.plan_for(index, TILE_ROWS, table, 1)?.arena_bytes();
                record.insert(format!("{name} {task} arena {}", table.name), bytes.to_string());
            }
            Ok(())
        })??;
    }
    Ok(())
}

/// The hash that all kernel tables agree on.
fn one(name: &str, hashes: BTreeMap<String, &str>) -> Result<String> {
    anyhow::ensure!(hashes.len() == 1, "{name}: kernel tables differ: {hashes:?}");
    hashes.into_keys().next().context("no kernel table")
}

fn all_layers(depth: usize, with_head: bool) -> Vec<VitLayer> {
    let block = |b| [VitLayer::Qkv(b), VitLayer::Proj(b), VitLayer::Fc1(b), VitLayer::Fc2(b)];
    (0..depth).flat_map(block).chain(with_head.then_some(VitLayer::Head)).collect()
}

fn everything() -> Result<Record> {
    let mut record = Record::new();
    for (name, config) in configs() {
        let float = random_vit(config, 1);
        record_vit(&mut record, &format!("vit {name}"), &float, vec![])?;
        let layers = all_layers(config.depth, config.classes > 0);
        record_vit(&mut record, &format!("vit {name} f16"), &float, layers)?;
    }
    let digits = FloatVit::load(&repository("models/digits"), &Default::default())?;
    record_vit(&mut record, "digits", &digits, vec![])?;
    record_vit(&mut record, "digits mixed", &digits, vec![VitLayer::Qkv(1), VitLayer::Fc2(0)])?;
    let float = random_ipt(small_ipt_config(), 1);
    let layers = ipt_layers(&float.config);
    for (name, step) in [("f16", 1), ("mixed", 3)] {
        let keep_f16 = layers.iter().step_by(step).copied().collect();
        let options = QuantizeOptions { keep_f16, ..Default::default() };
        record_ipt(&mut record, &format!("ipt {name}"), &float, options)?;
    }
    record_ipt(&mut record, "ipt", &float, QuantizeOptions::default())?;
    let restorer = FloatIpt::load(&repository("models/restorer"), &Default::default())?;
    record_ipt(&mut record, "restorer", &restorer, QuantizeOptions::default())?;
    if let Some(weights) = shared_data("vit_tiny_patch16_224", "recorded bits of ViT-Tiny") {
        let tiny = FloatVit::load(&weights, &Default::default())?;
        record_vit(&mut record, "vit_tiny", &tiny, vec![])?;
    }
    Ok(record)
}

#[test]
fn outputs_and_memory_are_those_recorded() -> Result<()> {
    let path = repository("tests/records/bits.txt");
    let found = everything()?;
    if std::env::var_os("VITREOUS_RECORD").is_some() {
        let mut text = String::new();
        found.iter().try_for_each(|(name, value)| writeln!(text, "{name}: {value}"))?;
        return Ok(std::fs::write(path, text)?);
    }
    let text = std::fs::read_to_string(&path)?;
    let recorded: Record =
        text.lines().filter_map(|l| l.split_once(": ").map(|(n, v)| (n.into(), v.into()))).collect();
    let differ: Vec<_> = found.iter().filter(|(name, value)| recorded.get(*name) != Some(value)).collect();
    assert!(differ.is_empty(), "not as recorded: {differ:#?}");
    Ok(())
}
