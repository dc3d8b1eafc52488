//! Writes the files from which the fuzzers start: `cargo run --release -p vitreous-tests --example
//! fuzz_seeds`, then docs/fuzzing.md.

use std::fs;
use std::path::Path;

use vitreous::models::ipt::IptConfig;
use vitreous::models::vit::{Head, Pool, VitConfig};
use vitreous_tests::{random_ipt, random_vit, repository, small_config, small_ipt_config};
use vitreous_tools::checkpoint::ipt::parse_task;
use vitreous_tools::quantize::{ipt_layers, quantize, QuantizeOptions, VitLayer};

fn main() -> anyhow::Result<()> {
    let corpus = repository("fuzz/corpus");
    for (name, config, keep_f16) in vits() {
        let options = QuantizeOptions { keep_f16, ..Default::default() };
        write(&corpus.join("vit_model"), name, &quantize(&random_vit(config, 1), &options)?)?;
    }
    for (name, config, f16) in ipts()? {
        let keep_f16 = if f16 { ipt_layers(&config) } else { Vec::new() };
        let options = QuantizeOptions { keep_f16, ..Default::default() };
        write(&corpus.join("ipt_model"), name, &quantize(&random_ipt(config, 1), &options)?)?;
    }
    checkpoints(&corpus.join("checkpoint"))?;
    println!("{}", corpus.display());
    Ok(())
}

/// Models of a few kilobytes: the smaller a seed, the more runs a second.
fn vits() -> Vec<(&'static str, VitConfig, Vec<VitLayer>)> {
    let tiny = VitConfig {
        image_height: 4,
        image_width: 6,
        patch_height: 2,
        patch_width: 2,
        channels: 1,
        dim: 6,
        depth: 1,
        heads: 2,
        hidden: 9,
        classes: 3,
        ..small_config()
    };
    let mean = VitConfig { pool: Pool::Mean, norm_before_pool: false, norm_after_pool: true, ..tiny };
    let distilled = VitConfig { distill_token: true, head: Head::Distilled, depth: 2, ..tiny };
    let features = VitConfig { head: Head::None, classes: 0, ..tiny };
    let f16 = vec![VitLayer::Qkv(0), VitLayer::Proj(0), VitLayer::Fc1(0), VitLayer::Fc2(0)];
    vec![
        ("int8", tiny, vec![]),
        ("f16", tiny, f16),
        ("mean", mean, vec![]),
        ("distilled", distilled, vec![VitLayer::Fc2(1)]),
        ("features", features, vec![]),
    ]
}

fn ipts() -> anyhow::Result<Vec<(&'static str, IptConfig, bool)>> {
    let tiny = |tasks: &[&str]| -> anyhow::Result<IptConfig> {
        Ok(IptConfig {
            features: 3,
            window: 4,
            patch: 2,
            heads: 2,
            hidden: 7,
            head_hidden: 5,
            encoder_layers: 1,
            decoder_layers: 1,
            tasks: tasks
                .iter()
                .map(|name| parse_task(name).map_err(anyhow::Error::msg))
                .collect::<Result<_, _>>()?,
            ..small_ipt_config()
        })
    };
    Ok(vec![
        ("denoise", tiny(&["denoise30"])?, false),
        ("x4", tiny(&["x4"])?, false),
        ("x3_f16", tiny(&["x3"])?, true),
        ("two_tasks", tiny(&["jpeg40", "x2"])?, false),
    ])
}

/// Small checkpoints of both formats, and those of the goldens that are not large.
fn checkpoints(folder: &Path) -> anyhow::Result<()> {
    let scratch = tempfile::tempdir()?;
    let (_, config, _) = vits().swap_remove(0);
    random_vit(config, 2).save(scratch.path())?;
    write(folder, "vit.safetensors", &fs::read(scratch.path().join("model.safetensors"))?)?;
    let (_, config, _) = ipts()?.swap_remove(0);
    random_ipt(config, 2).save(scratch.path())?;
    write(folder, "ipt.safetensors", &fs::read(scratch.path().join("model.safetensors"))?)?;
    for golden in ["one_task", "six_tasks", "patch_3"] {
        let file = repository("tests/goldens/ipt").join(golden).join(format!("{golden}.pt"));
        write(folder, &format!("{golden}.pt"), &fs::read(file)?)?;
    }
    Ok(())
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> anyhow::Result<()> {
    fs::create_dir_all(folder)?;
    fs::write(folder.join(name), bytes)?;
    println!("{}: {} bytes", folder.join(name).display(), bytes.len());
    Ok(())
}
