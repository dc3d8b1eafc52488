//! The importers and the float reference against PyTorch: every folder of goldens with a model in it.
use anyhow::{ensure, Context, Result};
use safetensors::SafeTensors;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use vitreous_tests::shared_data;
use vitreous_tools::checkpoint::{FloatVit, LoadOptions};
use vitreous_tools::image_input::{labelled_images, load_pixels};
use vitreous_tools::reference::{argmax, ReferenceVit};

const GOLDENS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/goldens");

/// Largest error allowed, relative to the tensor's largest magnitude: f32 sums in another order.
const TOLERANCE: f32 = 1e-4;

fn floats(archive: &SafeTensors, name: &str) -> Option<Vec<f32>> {
    let bytes = archive.tensor(name).ok()?.data().to_vec();
    Some(bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect())
}

/// The largest difference relative to the largest magnitude.
fn compare(what: &str, found: &[f32], expected: &[f32]) -> Result<f32> {
    ensure!(found.len() == expected.len(), "{what}: {} values, expected {}", found.len(), expected.len());
    let scale = expected.iter().fold(f32::MIN_POSITIVE, |m, v| m.max(v.abs()));
    let worst = found.iter().zip(expected).fold(0.0f32, |m, (a, b)| m.max((a - b).abs())) / scale;
    ensure!(worst <= TOLERANCE, "{what}: relative error {worst:e}");
    Ok(worst)
}

/// The weights' shapes do not show the number of heads; libraries that save a config.json state it there.
fn load(folder: &Path, golden: &[u8]) -> Result<FloatVit> {
    let (_, header) = SafeTensors::read_metadata(golden)?;
    let case = header.metadata().as_ref().and_then(|m| m.get("case")).context("no `case` in the metadata")?;
    let case: serde_json::Value = serde_json::from_str(case)?;
    let mut options = LoadOptions::default();
    if !folder.join("config.json").exists() {
        options.heads = case["heads"].as_u64().map(|heads| heads as usize);
    }
    let model = FloatVit::load(folder, &options)?;
    ensure!(case["heads"] == model.config.heads, "heads");
    ensure!(
        case["image_size"] == serde_json::json!([model.config.image_height, model.config.image_width]),
        "image"
    );
    for (name, values) in [("mean", model.preprocess.mean), ("std", model.preprocess.std)] {
        let expected = case[name].as_array().context("mean and std are lists")?;
        for (value, expected) in values.iter().zip(expected) {
            ensure!(expected.as_f64() == Some(value.to_string().parse()?), "{name}: {values:?}");
        }
    }
    Ok(model)
}

/// Returns the largest relative error of all stages and images.
fn check(folder: &Path) -> Result<f32> {
    let bytes = std::fs::read(folder.join("golden.safetensors"))?;
    let golden = SafeTensors::deserialize(&bytes)?;
    let model = load(folder, &bytes)?;
    let reference = ReferenceVit::new(&model)?;
    let pixels = golden.tensor("pixels")?.data().to_vec();
    let input = floats(&golden, "input").context("no input")?;
    let name = if model.config.classes == 0 { "features" } else { "logits" };
    let expected = floats(&golden, name).with_context(|| format!("no {name}"))?;
    let images: Vec<&[u8]> = pixels.chunks_exact(reference.input_len()).collect();
    let batched = reference.logits_batch(&images)?.concat();
    let mut worst = compare("batch of pixels", &batched, &expected)?;
    let batched = reference.logits_batch_normalised(&input, images.len())?.concat();
    worst = worst.max(compare("batch of floats", &batched, &expected)?);
    for (index, image) in images.iter().enumerate() {
        let part = |all: &[f32]| {
            let length = all.len() / images.len();
            all[index * length..(index + 1) * length].to_vec()
        };
        worst = worst.max(compare("input", &reference.normalise(image), &part(&input))?);
        let output = reference.forward(image)?;
        ensure!(output.hidden.len() == model.config.depth + 1);
        for (stage, hidden) in output.hidden.iter().enumerate() {
            let stage = format!("hidden.{stage}");
            let expected = floats(&golden, &stage).with_context(|| format!("no {stage}"))?;
            worst = worst.max(compare(&stage, hidden, &part(&expected))?);
        }
        let output = if model.config.classes == 0 { output.features } else { output.logits };
        worst = worst.max(compare(name, &output, &part(&expected))?);
    }
    Ok(worst)
}

fn model_folders() -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(GOLDENS)?.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    let mut folders: Vec<_> = entries.into_iter().filter(|p| p.join("golden.safetensors").exists()).collect();
    folders.sort();
    Ok(folders)
}

#[test]
fn the_reference_equals_pytorch_on_every_golden() -> Result<()> {
    let folders = model_folders()?;
    ensure!(folders.len() >= 10, "only {} goldens", folders.len());
    for folder in folders {
        let name = folder.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let worst = check(&folder).with_context(|| name.clone())?;
        println!("{name:28} relative error {worst:.1e}");
    }
    Ok(())
}

#[test]
fn a_saved_checkpoint_reads_back_equal() -> Result<()> {
    for folder in model_folders()? {
        let model = load(&folder, &std::fs::read(folder.join("golden.safetensors"))?)?;
        let dir = tempfile::tempdir()?;
        model.save(dir.path())?;
        let again = FloatVit::load(dir.path(), &LoadOptions::default())?;
        ensure!(again.config == model.config && again.preprocess == model.preprocess, "{}", folder.display());
        ensure!(again.tensors == model.tensors && again.labels == model.labels && again.name == model.name);
        ensure!(again.warnings.is_empty(), "{:?}", again.warnings);
    }
    Ok(())
}

/// Top-1 on the real photographs must be that of PyTorch (82.8 % and 82.6 % on supersets of these).
#[test]
fn real_photographs_are_classified_as_by_pytorch() -> Result<()> {
    let name = "the reference on real photographs";
    let Some(weights) = shared_data("vit_tiny_patch16_224", name) else { return Ok(()) };
    let model = FloatVit::load(&weights, &LoadOptions::default())?;
    let reference = ReferenceVit::new(&model)?;
    for (folder, least) in [("imagenet_samples", 0.82), ("imagenet_val_227", 0.82)] {
        let Some(path) = shared_data(folder, name) else { continue };
        let images = labelled_images(&path)?;
        let (mut right, mut loading, mut running) = (0, Duration::ZERO, Duration::ZERO);
        for batch in images.chunks(16) {
            let start = Instant::now();
            let load = |(path, _): &(PathBuf, usize)| {
                load_pixels(path, &model.preprocess, 224, 224, 3).map(|loaded| loaded.value)
            };
            let pixels = batch.iter().map(load).collect::<Result<Vec<_>, _>>()?;
            loading += start.elapsed();
            let start = Instant::now();
            let logits = reference.logits_batch(&pixels.iter().map(Vec::as_slice).collect::<Vec<_>>())?;
            running += start.elapsed();
            right += logits.iter().zip(batch).filter(|(logits, (_, class))| argmax(logits) == *class).count();
        }
        let count = images.len();
        let top1 = right as f64 / count as f64;
        let (loading, running) = (loading / count as u32, running / count as u32);
        println!(
            "{folder}: top-1 {:.2} % ({right} of {count}), decode and resize {loading:.1?}, model \
             {running:.1?} per image",
            100.0 * top1
        );
        ensure!(top1 >= least, "{folder}: top-1 {top1}");
    }
    Ok(())
}
