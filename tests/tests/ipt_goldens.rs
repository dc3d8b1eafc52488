//! Import and float reference of the restorer against PyTorch.
use anyhow::{ensure, Context, Result};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use safetensors::SafeTensors;
use std::path::Path;
use vitreous_tests::repository;
use vitreous_tools::checkpoint::ipt::{parse_task, FloatIpt, IptLoadOptions};
use vitreous_tools::reference::ReferenceIpt;

/// Largest error allowed, relative to the tensor's largest magnitude: f32 sums are added in another order.
const TOLERANCE: f32 = 1e-5;

struct Golden {
    case: serde_json::Value,
    bytes: Vec<u8>,
}

impl Golden {
    fn read(folder: &Path) -> Result<Self> {
        let bytes = std::fs::read(folder.join("golden.safetensors"))?;
        let (_, header) = SafeTensors::read_metadata(&bytes)?;
        let case = header.metadata().as_ref().and_then(|m| m.get("case")).context("no `case`")?;
        Ok(Self { case: serde_json::from_str(case)?, bytes })
    }

    fn pixels(&self) -> Result<Vec<u8>> {
        Ok(SafeTensors::deserialize(&self.bytes)?.tensor("pixels")?.data().to_vec())
    }

    /// The values of every window, or `None` if this was not kept.
    fn floats(&self, name: &str, windows: usize) -> Result<Option<Vec<Vec<f32>>>> {
        let tensors = SafeTensors::deserialize(&self.bytes)?;
        let Ok(tensor) = tensors.tensor(name) else { return Ok(None) };
        let floats: Vec<f32> =
            tensor.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
        Ok(Some(floats.chunks_exact(floats.len() / windows).map(<[f32]>::to_vec).collect()))
    }
}

/// The largest difference relative to the largest magnitude.
fn compare(what: &str, found: &[f32], expected: &[f32], tolerance: f32) -> Result<f32> {
    ensure!(found.len() == expected.len(), "{what}: {} values, expected {}", found.len(), expected.len());
    let scale = expected.iter().fold(f32::MIN_POSITIVE, |m, v| m.max(v.abs()));
    let worst = found.iter().zip(expected).fold(0.0f32, |m, (a, b)| m.max((a - b).abs())) / scale;
    ensure!(worst <= tolerance, "{what}: relative error {worst:e}");
    Ok(worst)
}

/// Checks outputs of every task and all recorded stages; returns the largest relative error.
fn check(name: &str, options: &IptLoadOptions, tolerance: f32) -> Result<f32> {
    let folder = repository("tests/goldens/ipt").join(name);
    let golden = Golden::read(&folder)?;
    let model = FloatIpt::load(&folder.join(format!("{name}.pt")), options)?;
    for (key, value) in [("window", model.config.window), ("patch", model.config.patch)] {
        ensure!(golden.case[key] == value, "{key} is {value}");
    }
    let names: Vec<_> = model.config.tasks.iter().map(ToString::to_string).collect();
    ensure!(golden.case["tasks"] == serde_json::json!(names), "tasks {names:?}");
    let reference = ReferenceIpt::new(&model)?;
    let pixels = golden.pixels()?;
    let windows: Vec<_> = pixels.chunks_exact(reference.input_len()).collect();
    let (mut worst, mut stages_seen) = (0.0f32, 0);
    for task in &model.config.tasks {
        let side = model.config.window * task.scale;
        let restored = reference.restore(&pixels, task)?;
        for (index, window) in windows.iter().enumerate() {
            let stages = reference.stages(window, task)?;
            let mut compare_stage = |stage: &str, found: &[f32]| -> Result<()> {
                let Some(expected) = golden.floats(&format!("{task}.{stage}"), windows.len())? else {
                    return Ok(());
                };
                stages_seen += 1;
                worst = worst.max(compare(&format!("{task} {stage}"), found, &expected[index], tolerance)?);
                Ok(())
            };
            compare_stage("head", &stages.head)?;
            for (layer, stream) in stages.encoder.iter().enumerate() {
                compare_stage(&format!("encoder.{layer}"), stream)?;
            }
            for (layer, stream) in stages.decoder.iter().enumerate() {
                compare_stage(&format!("decoder.{layer}"), stream)?;
            }
            compare_stage("body", &stages.body)?;
            compare_stage("output", &stages.output)?;
            // A batch must give the same as single windows, as (height, width, channels).
            let batched = &restored[index * side * side * 3..][..side * side * 3];
            let planar: Vec<f32> = (0..3).flat_map(|c| batched.iter().skip(c).step_by(3).copied()).collect();
            compare("batch", &planar, &stages.output, tolerance)?;
        }
    }
    let layers = model.config.encoder_layers + model.config.decoder_layers;
    ensure!(stages_seen >= windows.len() * (layers + 2 + model.config.tasks.len()), "{stages_seen} stages");
    Ok(worst)
}

fn heads(heads: usize) -> IptLoadOptions {
    IptLoadOptions { heads: Some(heads), ..IptLoadOptions::default() }
}

#[test]
fn the_release_s_six_tasks_equal_pytorch() -> Result<()> {
    let worst = check("six_tasks", &heads(2), TOLERANCE)?;
    println!("six tasks, state dict: relative error {worst:.1e}");
    Ok(())
}

#[test]
fn parallel_names_in_the_sequential_format_equal_pytorch() -> Result<()> {
    let tasks = Some(vec![parse_task("denoise30"), parse_task("derain")]);
    let tasks = tasks.map(|tasks| tasks.into_iter().flatten().collect());
    let worst = check("patch_3", &IptLoadOptions { tasks, ..heads(3) }, TOLERANCE)?;
    println!("3×3 patches, before PyTorch 1.6: relative error {worst:.1e}");
    Ok(())
}

/// The weights were rounded to half precision; the golden outputs are those of the rounded weights.
#[test]
fn a_training_state_in_half_precision_equals_pytorch() -> Result<()> {
    let worst = check("one_task", &heads(4), TOLERANCE)?;
    println!("one task, half precision: relative error {worst:.1e}");
    Ok(())
}

#[test]
fn one_task_of_six_restores_as_all_six_do() -> Result<()> {
    let folder = repository("tests/goldens/ipt/six_tasks");
    let model = FloatIpt::load(&folder.join("six_tasks.pt"), &heads(2))?;
    let pixels = Golden::read(&folder)?.pixels()?;
    for task in &model.config.tasks {
        let one = ReferenceIpt::new(&model.keep_task(task)?)?.restore(&pixels, task)?;
        ensure!(one == ReferenceIpt::new(&model)?.restore(&pixels, task)?, "{task}");
    }
    let absent = parse_task("denoise10").map_err(anyhow::Error::msg)?;
    let error = ReferenceIpt::new(&model)?.restore(&pixels, &absent).unwrap_err().to_string();
    ensure!(error.contains("no task denoise10; its tasks are x2, x3"), "{error}");
    Ok(())
}

/// Whatever is changed in a file, the import says what is wrong or accepts it. It never panics or takes
/// unlimited memory.
#[test]
fn damaged_files_are_imported_or_refused() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let damaged = dir.path().join("damaged.pt");
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let (mut refused, mut tried) = (0, 0);
    for (name, heads) in [("patch_3", 3), ("one_task", 4)] {
        let whole = std::fs::read(repository("tests/goldens/ipt").join(name).join(format!("{name}.pt")))?;
        for round in 0..400 {
            let mut bytes = whole.clone();
            if round % 4 == 0 {
                bytes.truncate(rng.random_range(0..whole.len()));
            }
            // The descriptions of the tensors lie in the first few thousand bytes.
            for _ in 0..rng.random_range(1..4) {
                let end = if round % 2 == 0 { bytes.len() } else { bytes.len().min(8000) };
                if end > 0 {
                    bytes[rng.random_range(0..end)] = rng.random();
                }
            }
            std::fs::write(&damaged, &bytes)?;
            let tasks = (name == "patch_3").then(|| vec![parse_task("denoise30"), parse_task("derain")]);
            let tasks = tasks.map(|tasks| tasks.into_iter().flatten().collect());
            let options = IptLoadOptions { tasks, ..self::heads(heads) };
            refused += usize::from(FloatIpt::load(&damaged, &options).is_err());
            tried += 1;
        }
    }
    println!("{refused} of {tried} damaged files refused");
    ensure!(refused > tried / 4);
    Ok(())
}

/// Where to find a model of the published size; see tests/goldens/README.md.
const FULL_SIZE: &str = "VITREOUS_FULL_SIZE_IPT";

/// The import holds the model once, and little more than its file.
#[test]
#[cfg(target_os = "linux")]
#[ignore = "needs VITREOUS_FULL_SIZE_IPT: a file by tests/goldens/ipt/make.py --full-size"]
fn the_published_size_is_imported_in_little_more_memory_than_its_file() -> Result<()> {
    let path = std::env::var_os(FULL_SIZE).with_context(|| format!("{FULL_SIZE} is not set"))?;
    let file = std::fs::metadata(&path)?.len();
    let start = std::time::Instant::now();
    let model = FloatIpt::load(Path::new(&path), &IptLoadOptions::default())?;
    let seconds = start.elapsed().as_secs_f64();
    let status = std::fs::read_to_string("/proc/self/status")?;
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).context("no peak")?;
    let peak: u64 = 1024 * peak.trim().trim_end_matches("kB").trim().parse::<u64>()?;
    println!("{} weights in {seconds:.1} s, file {file} bytes, peak {peak} bytes", model.parameters());
    ensure!(peak < 2 * file, "peak memory {peak} bytes for a file of {file}");
    ensure!((model.config.dim(), model.config.tokens(), model.config.heads) == (576, 256, 12));
    Ok(())
}
