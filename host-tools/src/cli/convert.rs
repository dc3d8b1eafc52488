use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde::Serialize;
use vitreous::models::vit::{Activation, Pool};
use vitreous::tensor::PanelLayout;

use super::progress::Bars;
use super::samples;
use crate::checkpoint::{FloatVit, LoadOptions};
use crate::engine::Engine;
use crate::inspect::{grouped, inspect};
use crate::quantize::{
    choose_precision, quantize_vit, rust_source, LayerName, PrecisionChoice, QuantizeOptions,
};
use crate::vtr::AlignedBytes;

#[derive(Args, Debug)]
pub struct ConvertArgs {
    /// Float weights: a .safetensors file, or a folder with model.safetensors and, if there is one, config.json.
    checkpoint: PathBuf,
    /// The .vtr file to write.
    #[arg(short, long)]
    output: PathBuf,
    #[command(flatten)]
    load: LoadArgs,
    /// Name in the model's header, if not the checkpoint's.
    #[arg(long)]
    name: Option<String>,
    /// The model's own version.
    #[arg(long, default_value_t = 1)]
    model_version: u32,
    /// Layers that keep f16 weights, separated by commas: blocks.N.qkv, blocks.N.proj, blocks.N.fc1, blocks.N.fc2, head.
    #[arg(long, value_delimiter = ',')]
    keep_f16: Vec<LayerName>,
    /// Error budget: keep as many layers in f16 as the output needs to reach this mean SQNR, in dB, on the images of --images.
    #[arg(long, value_name = "DB", requires = "images")]
    min_sqnr: Option<f64>,
    /// Folder of labelled images on which the layers' sensitivity is measured for --min-sqnr.
    #[arg(long, value_name = "FOLDER", requires = "min_sqnr")]
    images: Option<PathBuf>,
    /// Images to measure on, evenly spread over the folder.
    #[arg(long, value_name = "N", default_value_t = 16)]
    limit: usize,
    /// Kernels that the file is meant for: their order of the int8 weights. Every machine reads every order, but only this one
    /// in place.
    #[arg(long = "for", value_name = "KERNELS", value_enum, default_value_t = LayoutArg::Portable)]
    layout: LayoutArg,
    /// Also write a Rust file with the model as an aligned static, the arena's size and the labels.
    #[arg(long, value_name = "FILE")]
    emit_rust: Option<PathBuf>,
}

/// What a checkpoint may not say of itself.
#[derive(Args, Debug, Default)]
pub struct LoadArgs {
    /// Attention heads per block, where neither shapes nor config.json tell.
    #[arg(long)]
    heads: Option<usize>,
    /// Image height and width, as HxW.
    #[arg(long, value_name = "HxW", value_parser = parse_size)]
    image_size: Option<(usize, usize)>,
    /// The MLP's nonlinearity.
    #[arg(long, value_enum)]
    activation: Option<ActivationArg>,
    /// ε of the layer norms.
    #[arg(long)]
    norm_eps: Option<f32>,
    /// How features are pooled.
    #[arg(long, value_enum)]
    pool: Option<PoolArg>,
    /// A text file with one class name per line.
    #[arg(long, value_name = "FILE")]
    labels: Option<PathBuf>,
    /// Leave out tensors that are no part of a plain ViT, with a warning, instead of refusing the file.
    #[arg(long)]
    allow_extra_tensors: bool,
}

/// Orders of int8 weights by the kernels that read them.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum LayoutArg {
    /// Row by row: microcontrollers, and any other machine without kernels of its own.
    Portable,
    /// AVX2 and AVX-512 VNNI: 16 outputs side by side, 4 inputs of each together.
    #[value(name = "x86-64")]
    X86,
}

impl LayoutArg {
    fn layout(self) -> PanelLayout {
        match self {
            LayoutArg::Portable => PanelLayout::ROW_MAJOR,
            LayoutArg::X86 => PanelLayout::VECTOR,
        }
    }
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum ActivationArg {
    GeluErf,
    GeluTanh,
    Relu,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum PoolArg {
    Token,
    Mean,
}

fn parse_size(text: &str) -> Result<(usize, usize), String> {
    let parts = text.split_once('x').map(|(h, w)| (h.parse(), w.parse()));
    match parts {
        Some((Ok(height), Ok(width))) if height > 0 && width > 0 => Ok((height, width)),
        _ => Err(format!("`{text}` is no size: write height x width, such as 224x224")),
    }
}

impl LoadArgs {
    /// Loads float weights, with what the command line adds; warnings go to standard error.
    pub fn load(&self, path: &Path) -> Result<FloatVit> {
        let options = LoadOptions {
            heads: self.heads,
            image_size: self.image_size,
            activation: self.activation.map(|a| match a {
                ActivationArg::GeluErf => Activation::GeluErf,
                ActivationArg::GeluTanh => Activation::GeluTanh,
                ActivationArg::Relu => Activation::Relu,
            }),
            norm_eps: self.norm_eps,
            pool: self.pool.map(|p| match p {
                PoolArg::Token => Pool::Token,
                PoolArg::Mean => Pool::Mean,
            }),
            labels: self.labels.clone(),
            allow_extra_tensors: self.allow_extra_tensors,
            ..LoadOptions::default()
        };
        let float = FloatVit::load(path, &options)?;
        for warning in &float.warnings {
            eprintln!("warning: {warning}");
        }
        Ok(float)
    }
}

#[derive(Serialize)]
struct Converted {
    output: PathBuf,
    name: String,
    flash_bytes: usize,
    arena_bytes: usize,
    parameters: u64,
    macs: u64,
    keep_f16: Vec<String>,
    /// How the f16 layers were chosen, with --min-sqnr.
    choice: Option<PrecisionChoice>,
    rust: Option<PathBuf>,
}

impl ConvertArgs {
    pub fn execute(self, json: bool) -> Result<()> {
        let float = self.load.load(&self.checkpoint)?;
        let mut options = QuantizeOptions {
            keep_f16: self.keep_f16.clone(),
            model_version: self.model_version,
            name: self.name.clone(),
            layout: self.layout.layout(),
        };
        let choice = self.choose_precision(&float, &mut options)?;
        let bytes = quantize_vit(&float, &options)
            .with_context(|| format!("cannot convert {}", self.checkpoint.display()))?;
        write_whole(&self.output, &bytes)?;
        let engine = Engine::load(&self.output)?;
        let inspection = inspect(&engine, vitreous::models::vit::DEFAULT_TILE_ROWS)?;
        if let Some(path) = &self.emit_rust {
            // The path is resolved against the generated file's folder, wherever the two are.
            let model = std::fs::canonicalize(&self.output)?;
            let beside = path.parent().and_then(|folder| std::fs::canonicalize(folder).ok());
            let same_folder = beside.is_some() && model.parent() == beside.as_deref();
            let file_name = model.file_name().map(PathBuf::from).unwrap_or_default();
            let include = if same_folder { file_name } else { model };
            write_whole(path, rust_source(&engine, &inspection.name, &include).as_bytes())?;
        }
        let report = Converted {
            output: self.output,
            name: inspection.name,
            flash_bytes: inspection.flash_bytes,
            arena_bytes: inspection.arena_bytes,
            parameters: inspection.parameters,
            macs: inspection.macs,
            keep_f16: options.keep_f16.iter().map(LayerName::to_string).collect(),
            choice,
            rust: self.emit_rust,
        };
        super::print(json, &report, render)
    }

    /// Extends the layers that keep f16 weights until the error budget is met, if one was given.
    fn choose_precision(
        &self,
        float: &FloatVit,
        options: &mut QuantizeOptions,
    ) -> Result<Option<PrecisionChoice>> {
        let (Some(min_sqnr), Some(folder)) = (self.min_sqnr, &self.images) else { return Ok(None) };
        let draft = AlignedBytes::copy_of(&quantize_vit(float, options)?);
        let engine = Engine::from_bytes(draft, &self.output)?;
        let bars = Bars::default();
        let samples = samples::load_folders(&engine, std::slice::from_ref(folder), Some(self.limit), &bars)?;
        let images: Vec<Vec<u8>> = samples.into_iter().map(|sample| sample.pixels).collect();
        let progress = |done, all| bars.report("layers measured", done, all);
        let (kept, choice) = choose_precision(float, options, &images, min_sqnr, &progress)?;
        options.keep_f16 = kept;
        Ok(Some(choice))
    }
}

fn render(r: &Converted) -> String {
    let mut text = String::new();
    if let Some(choice) = &r.choice {
        let kept = if choice.keep_f16.is_empty() { "none".into() } else { choice.keep_f16.join(", ") };
        text += &format!(
            "mean SQNR {:.2} dB in int8, {:.2} dB with f16 in: {kept}\n",
            choice.int8_sqnr_db, choice.sqnr_db
        );
    }
    text += &format!(
        "{} → {}: {} parameters, flash {} bytes, arena {} bytes, {} MACs per image",
        r.name,
        r.output.display(),
        grouped(r.parameters),
        grouped(r.flash_bytes as u64),
        grouped(r.arena_bytes as u64),
        grouped(r.macs)
    );
    text
}

/// Writes a file beside its place and moves it there, so that no half-written one is ever found.
pub fn write_whole(path: &Path, bytes: &[u8]) -> Result<()> {
    use std::io::Write;
    let cannot = || format!("cannot write {}", path.display());
    let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let mut file = tempfile::NamedTempFile::new_in(folder).with_context(cannot)?;
    file.write_all(bytes).with_context(cannot)?;
    make_readable(&file).with_context(cannot)?;
    file.persist(path).with_context(cannot)?;
    Ok(())
}

/// Temporary files are private; a result has the permissions of any other file.
#[cfg(unix)]
fn make_readable(file: &tempfile::NamedTempFile) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(0o644))
}

#[cfg(not(unix))]
fn make_readable(_: &tempfile::NamedTempFile) -> std::io::Result<()> {
    Ok(())
}
