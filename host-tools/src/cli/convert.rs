use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};
use clap::Args;
use serde::Serialize;
use vitreous::models::ipt::Task;
use vitreous::models::vit::DEFAULT_TILE_ROWS;

use super::load::{FloatModel, LoadArgs};
use super::progress::Bars;
use super::samples;
use crate::checkpoint::ipt::{parse_task, FloatIpt};
use crate::checkpoint::{FloatVit, Settings};
use crate::console;
use crate::converted::ConvertedModel;
use crate::degrade::Picture;
use crate::image_input::{images_below, Loaded};
use crate::inspect::{inspect, Inspection};
use crate::machine::Machine;
use crate::output::{self, Kind, Plan};
use crate::quantize::{
    choose_precision, quantize, rust_source, IptSensitivity, PrecisionChoice, Quantize, QuantizeOptions,
    Sensitivity, Trial, VitSensitivity,
};
use crate::text::{grouped, path_text, printable, serialize_path, shown};
use crate::vtr::AlignedBytes;

#[derive(Args, Debug)]
pub struct ConvertArgs {
    /// Float weights: a .safetensors or .pt file, or a folder with model.safetensors and, if there is one,
    /// config.json.
    checkpoint: PathBuf,
    /// The .vtr file to write.
    #[arg(short, long, alias = "out", value_name = "FILE")]
    output: PathBuf,
    /// Name in the model's header, if not the checkpoint's.
    #[arg(long, value_parser = super::parse_name)]
    name: Option<String>,
    /// The model's own version.
    #[arg(long, default_value_t = 1)]
    model_version: u32,
    /// Layers that keep f16 weights, separated by commas: blocks.N.qkv, blocks.N.proj, blocks.N.fc1,
    /// blocks.N.fc2, head; of a restorer encoding, head.T.convN, tail.T.convN, encoder.N.qkv (proj, fc1,
    /// fc2), decoder.N.cross_qkv (and so on), mlp_head.fc1. A * stands for any one part: blocks.*.qkv.
    #[arg(long, value_delimiter = ',', value_name = "LAYER")]
    keep_f16: Vec<String>,
    /// Keep the head and tail of one task of a restorer: denoise30, x2, derain, jpeg40, …
    #[arg(long, value_parser = parse_task)]
    task: Option<Task>,
    /// Side of a restorer's windows in pixels, if not that of its training: positions and queries are
    /// interpolated. Larger windows need more memory and overlap less.
    #[arg(long, value_name = "PIXELS")]
    window: Option<usize>,
    /// Error budget of a classifier: keep as many layers in f16 as the output needs to reach this mean SQNR,
    /// in dB, on the images of --images.
    #[arg(long, value_name = "DB", requires = "images", value_parser = super::parse_limit)]
    min_sqnr: Option<f64>,
    /// Error budget of a restorer: the same for the PSNR between its pictures and the float weights', in dB,
    /// least over its tasks.
    #[arg(long, value_name = "DB", requires = "images", conflicts_with = "min_sqnr")]
    #[arg(value_parser = super::parse_limit)]
    min_psnr: Option<f64>,
    /// Folder of images on which the layers' sensitivity is measured (labelled ones for --min-sqnr, clean
    /// ones for --min-psnr), and beside synthetic ones the range of the residual stream.
    #[arg(long, value_name = "FOLDER")]
    images: Option<PathBuf>,
    /// Images to measure on, evenly spread over the folder.
    #[arg(long, value_name = "N", default_value_t = 16)]
    limit: usize,
    /// Machine that the file is meant for: its kernels' order of the int8 weights. A core (cortex-m0plus,
    /// cortex-m4, m33, cortex-m55, riscv32, …), a chip (rp2350, stm32h743, nrf52840, esp32c3, …), a target
    /// triple, or x86-64, aarch64, portable. A host reads every order, a microcontroller only its own.
    #[arg(long = "for", value_name = "MACHINE", value_parser = Machine::parse, default_value = "portable")]
    machine: Machine,
    /// Also write a Rust file with the model as an aligned static, the memory that it needs, and its labels
    /// or tasks.
    #[arg(long, value_name = "FILE")]
    emit_rust: Option<PathBuf>,
    /// Section of the firmware in which the Rust file places the model, such as that of an external flash in
    /// the linker script.
    #[arg(long, value_name = "SECTION", requires = "emit_rust", value_parser = parse_section)]
    link_section: Option<String>,
    #[command(flatten)]
    load: LoadArgs,
}

#[derive(Serialize)]
struct Converted {
    #[serde(serialize_with = "serialize_path")]
    output: PathBuf,
    name: String,
    flash_bytes: usize,
    arena_bytes: usize,
    parameters: u64,
    macs: u64,
    /// What the multiplications are counted for.
    per: &'static str,
    keep_f16: Vec<String>,
    /// How the f16 layers were chosen, with --min-sqnr.
    choice: Option<PrecisionChoice>,
    /// What the residual stream was multiplied by.
    stream: Trial,
    rust: Option<String>,
    /// What the weights do not say, and where each value comes from.
    settings: Settings,
}

impl ConvertArgs {
    pub fn execute(self, json: bool) -> Result<()> {
        let plan = Plan::new().reads_weights([&self.checkpoint]).reads(self.load.files());
        let plan = plan.reads_data(&self.images);
        plan.writes([&self.output], Kind::Vtr).writes(&self.emit_rust, Kind::Rust).check()?;
        let report = match self.load.load_any(&self.checkpoint)? {
            FloatModel::Vit(float) => self.convert_vit(&float)?,
            FloatModel::Ipt(float) => self.convert_ipt(*float)?,
        };
        super::print(json, &report, render)
    }

    fn convert_vit(self, float: &FloatVit) -> Result<Converted> {
        ensure!(
            self.task.is_none() && self.min_psnr.is_none() && self.window.is_none(),
            "{} is a classifier: --task, --window and --min-psnr are for restorers",
            self.checkpoint.display()
        );
        let (images, budget) = (self.samples(float)?, self.min_sqnr);
        self.convert(float, &images, budget, |options| VitSensitivity::new(float, options, &images))
    }

    fn convert_ipt(self, mut float: FloatIpt) -> Result<Converted> {
        ensure!(
            self.min_sqnr.is_none(),
            "{} is a restorer: --min-sqnr is for classifiers; its error budget is --min-psnr",
            self.checkpoint.display()
        );
        if let Some(task) = &self.task {
            float = float.keep_task(task)?;
        }
        if let Some(window) = self.window {
            float = float.with_window(window)?;
        }
        let (pictures, budget) = (self.pictures()?, self.min_psnr);
        let windows = middles(&pictures, float.config.window);
        self.convert(&float, &windows, budget, |options| IptSensitivity::new(&float, options, &pictures))
    }

    /// Converts float weights of any architecture: `images`, as the model takes them, show the range of the
    /// residual stream, and `sensitivity` chooses layers if there is an error budget in dB.
    fn convert<M: Quantize, S: Sensitivity<Layer = M::Layer>>(
        self,
        float: &M,
        images: &[Vec<u8>],
        budget: Option<f64>,
        sensitivity: impl FnOnce(QuantizeOptions<M::Layer>) -> Result<S>,
    ) -> Result<Converted> {
        let mut options = QuantizeOptions {
            model_version: self.model_version,
            name: self.name.clone(),
            layout: self.machine.layout(),
            ..QuantizeOptions::default()
        };
        for pattern in &self.keep_f16 {
            options.keep_f16.extend(float.layers_named(pattern)?);
        }
        let stream = float.trial(images)?;
        options.stream_exponent = stream.exponent;
        options.extents = stream.extents.clone();
        let mut choice = None;
        if let Some(budget) = budget {
            let (bars, kept) = (Bars::default(), options.keep_f16.clone());
            let progress = |done, all| bars.report("layers measured", done, all);
            let (kept, chosen) = choose_precision(&sensitivity(options.clone())?, kept, budget, &progress)?;
            (options.keep_f16, choice) = (kept, Some(chosen));
        }
        let bytes = quantize(float, &options)
            .with_context(|| format!("cannot convert {}", self.checkpoint.display()))?;
        let model = ConvertedModel::from_bytes(M::FAMILY, AlignedBytes::copy_of(&bytes), &self.output)?;
        let inspection = inspect(&model, None, DEFAULT_TILE_ROWS)?;
        let section = self.link_section.as_deref();
        self.write(&bytes, |include| rust_source(&model, &inspection.name, include, section))?;
        let keep_f16 = options.keep_f16.iter().map(M::Layer::to_string).collect();
        Ok(self.report(inspection, keep_f16, choice, stream))
    }

    /// Writes the model and the Rust file that includes it, neither without the other.
    fn write(&self, model: &[u8], source: impl FnOnce(&Path) -> Result<String>) -> Result<()> {
        let Some(rust) = &self.emit_rust else { return Ok(output::write(&self.output, model)?) };
        let source = source(&included(&self.output, rust))?;
        Ok(output::write_together(&[(&self.output, model), (rust, source.as_bytes())])?)
    }

    fn report(
        self,
        inspection: Inspection,
        keep_f16: Vec<String>,
        choice: Option<PrecisionChoice>,
        stream: Trial,
    ) -> Converted {
        stream.warnings.iter().for_each(|warning| console::note(&format!("warning: {warning}")));
        Converted {
            output: self.output,
            name: inspection.name,
            settings: inspection.settings,
            flash_bytes: inspection.flash_bytes,
            arena_bytes: inspection.arena_bytes,
            parameters: inspection.parameters,
            macs: inspection.macs,
            per: inspection.per,
            keep_f16,
            choice,
            stream,
            rust: self.emit_rust.as_deref().map(path_text),
        }
    }

    /// Images of --images as a classifier takes them; none without.
    fn samples(&self, float: &FloatVit) -> Result<Vec<Vec<u8>>> {
        let Some(folder) = &self.images else { return Ok(Vec::new()) };
        let (folders, bars) = (std::slice::from_ref(folder), Bars::default());
        let samples = samples::load_folders(float.into(), folders, Some(self.limit), &bars)?;
        Ok(samples.all()?.into_iter().map(|sample| sample.pixels).collect())
    }

    /// Pictures of --images, evenly spread; none without.
    fn pictures(&self) -> Result<Vec<Picture>> {
        let Some(folder) = &self.images else { return Ok(Vec::new()) };
        let files = images_below(folder)?;
        let take = self.limit.min(files.len());
        let spread = (0..take).map(|i| Loaded::or_warn(&files[i * files.len() / take], Picture::load));
        Ok(spread.collect::<Result<_, _>>()?)
    }
}

/// A section's name, which goes into the Rust file and on to the linker.
fn parse_section(name: &str) -> Result<String, String> {
    let is_one = !name.is_empty() && name.chars().all(|c| c.is_ascii_graphic() && !matches!(c, '"' | '\\'));
    is_one.then(|| name.to_owned()).ok_or_else(|| format!("`{}` names no section", printable(name)))
}

/// The middles of pictures, as windows.
fn middles(pictures: &[Picture], window: usize) -> Vec<Vec<u8>> {
    let middle = |length: usize| (length as isize - window as isize) / 2;
    let cut =
        |picture: &Picture| picture.crop(middle(picture.width), middle(picture.height), window, window).data;
    pictures.iter().map(cut).collect()
}

fn render(r: &Converted) -> String {
    let mut text = String::new();
    if let Some(choice) = &r.choice {
        let kept = if choice.keep_f16.is_empty() { "none".into() } else { choice.keep_f16.join(", ") };
        text += &format!(
            "{:.2} dB to the float weights in int8, {:.2} dB with f16 in: {kept}\n",
            choice.int8_db, choice.db
        );
    }
    if r.stream.exponent != 0 {
        let held = if r.stream.is_held { ", and f16 holds it well now (exact, epsilon along)" } else { "" };
        text += &format!(
            "residual stream scaled by 2^{}: the float weights' reaches {:.3e}{held}\n",
            r.stream.exponent, r.stream.largest
        );
    }
    text += &format!(
        "{} → {}: {} parameters, flash {} bytes, arena {} bytes, {} MACs per {}",
        printable(&r.name),
        shown(&r.output),
        grouped(r.parameters),
        grouped(r.flash_bytes as u64),
        grouped(r.arena_bytes as u64),
        grouped(r.macs),
        r.per
    );
    text
}

/// The model's path as a generated Rust file finds it: relative to that file's folder, so that both can be
/// moved together. The model need not be there yet.
fn included(model: &Path, rust: &Path) -> PathBuf {
    // The parent of a bare name is empty, and means the current folder.
    let folder_of = |path: &Path| {
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty());
        std::fs::canonicalize(folder.unwrap_or(Path::new("."))).ok()
    };
    let file_name = model.file_name().map(PathBuf::from).unwrap_or_default();
    let new = || folder_of(model).map(|folder| folder.join(&file_name));
    let model = std::fs::canonicalize(model).ok().or_else(new).unwrap_or_else(|| model.to_owned());
    folder_of(rust).and_then(|from| pathdiff::diff_paths(&model, from)).unwrap_or(model)
}
