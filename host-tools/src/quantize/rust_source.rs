//! A Rust file for a firmware author: the model in an aligned static, the memory that it needs, the names of
//! what it gives.

use std::path::Path;

use anyhow::{Context, Result};
use vitreous::kernels::spec::TableSpec;
use vitreous::models::ipt::Task;
use vitreous::models::vit::Output;
use vitreous::tensor::PanelLayout;
use vitreous::Model;

use crate::converted::ConvertedModel;
use crate::engine::Engine;
use crate::restorer::Restorer;
use crate::text::{printable, shown};

/// The text of a model's file. `path` is that of the `.vtr` as `include_bytes!` finds it from the generated
/// file; `section` that of the firmware in which the model shall lie.
///
/// # Errors
/// A path that is no UTF-8.
pub fn rust_source(model: &ConvertedModel, name: &str, path: &Path, section: Option<&str>) -> Result<String> {
    let file = match model {
        ConvertedModel::Classifier(engine) => engine.file(),
        ConvertedModel::Restorer(restorer) => restorer.file(),
    };
    let start = start(name, path, file.bytes(), section)?;
    match model {
        ConvertedModel::Classifier(engine) => Ok(of_classifier(engine, &start)),
        ConvertedModel::Restorer(restorer) => of_restorer(restorer, &start),
    }
}

/// Of every item, since no firmware needs all of them.
const ALLOW: &str = "#[allow(dead_code, reason = \"few programs use all items\")]";

fn of_classifier(engine: &Engine, start: &str) -> String {
    let c = engine.config();
    let labels = labels(engine);
    let outputs = match c.output {
        Output::Softmax => "logits",
        Output::Sigmoid => "logits, each of which counts for itself",
        Output::Values => "values",
    };
    format!(
        r#"{start}
/// Bytes of arena that a run needs: `static mut ARENA: vitreous::Arena<ARENA_BYTES> =
/// vitreous::Arena::new();`
{ALLOW}
pub const ARENA_BYTES: usize = {arena};

/// Rows of the input image.
{ALLOW}
pub const IMAGE_HEIGHT: usize = {height};

/// Columns of the input image.
{ALLOW}
pub const IMAGE_WIDTH: usize = {width};

/// Bytes per pixel of the input image.
{ALLOW}
pub const IMAGE_CHANNELS: usize = {channels};

/// Names of the classes, in the order of the {outputs}.
{ALLOW}
pub static LABELS: [&str; {count}] = [
{lines}];
"#,
        arena = engine.arena_bytes(),
        height = c.image_height,
        width = c.image_width,
        channels = c.channels,
        count = labels.len(),
        lines = labels.iter().map(|label| format!("    {label:?},\n")).collect::<String>(),
    )
}

/// A name for every class, `class 7` where the model has none. Without it, firmware that looks a class up
/// would give the same answer for all of them. Values that are no classes need no names.
fn labels(engine: &Engine) -> Vec<String> {
    let config = engine.config();
    if config.output == Output::Values && engine.labels().is_empty() {
        return Vec::new();
    }
    let name = |class: usize| match engine.label(class) {
        label if label.trim().is_empty() => format!("class {class}"),
        label => label,
    };
    (0..config.classes).map(name).collect()
}

fn of_restorer(restorer: &Restorer, start: &str) -> Result<String> {
    let config = restorer.config();
    let tasks = &config.tasks;
    let (mut indices, mut arenas) = (String::new(), Vec::new());
    for (index, task) in tasks.iter().enumerate() {
        let constant = task.to_string().to_uppercase();
        indices +=
            &format!("/// Index of the task `{task}`.\n{ALLOW}\npub const {constant}: usize = {index};\n\n");
        // A width of one pixel: the arena does not depend on it.
        arenas.push(restorer.memory(index, 1)?.arena);
    }
    let names: Vec<String> = tasks.iter().map(Task::to_string).collect();
    let scales: Vec<usize> = tasks.iter().map(|task| task.scale).collect();
    Ok(format!(
        r#"{start}
{indices}/// Names of the tasks.
{ALLOW}
pub static TASKS: [&str; {count}] = {names:?};

/// How many times larger the output of each task is in each direction.
{ALLOW}
pub const SCALES: [usize; {count}] = {scales:?};

/// Bytes of arena that a run of each task needs, whatever the image's size; tasks can share one arena of the
/// largest: `static mut ARENA: vitreous::Arena<{{ ARENA_BYTES[{example}] }}> = vitreous::Arena::new();`
{ALLOW}
pub const ARENA_BYTES: [usize; {count}] = {arenas:?};

/// Side of a window in pixels.
{ALLOW}
pub const WINDOW: usize = {window};

/// Bytes of memory for row bands, beside the arena, for images up to `width` pixels wide:
/// `static mut BAND: vitreous::Arena<{{ band_bytes({example}, 320) }}> = vitreous::Arena::new();`
{ALLOW}
pub const fn band_bytes(task: usize, width: usize) -> usize {{
    // Input rows, sums of 16 bits for output rows, one output row; the same as
    // `vitreous::pipeline::BandPlan`.
    let (scale, row) = (SCALES[task], 3 * width);
    let input = (WINDOW * row).next_multiple_of(16);
    let sums = (2 * WINDOW * scale * scale * row).next_multiple_of(16);
    input + sums + (scale * row).next_multiple_of(16)
}}
"#,
        count = tasks.len(),
        window = config.window,
        example = names.first().map_or(String::new(), |name| name.to_uppercase()),
    ))
}

/// What all such files begin with. The name is on one line whatever it holds, and path and section are
/// literals.
fn start(name: &str, path: &Path, model: &[u8], section: Option<&str>) -> Result<String> {
    let include = path.to_str().with_context(|| {
        format!(
            "{} is no UTF-8, so that Rust code cannot name it: write the model to another place",
            shown(path)
        )
    })?;
    let layout = Model::parse_without_checksums(model)?.layout();
    let section = section.map_or(String::new(), |section| format!("\n#[unsafe(link_section = {section:?})]"));
    Ok(format!(
        r#"// Generated by `vitreous convert --emit-rust` from the model `{name}`. Do not edit.

/// Bytes at an address that the engine's loads are aligned to.
{ALLOW}
#[repr(C, align(64))]
struct Aligned<T>(T);

{ALLOW}{section}
static ALIGNED: Aligned<[u8; {bytes}]> = Aligned(*include_bytes!({include:?}));

/// The model: hand it to `vitreous::Model::parse`.
{ALLOW}
pub static MODEL: &[u8] = &ALIGNED.0;

// Without this, a build for another core than the model's would be refused at run time alone.
#[cfg(target_os = "none")]
const _: () = assert!(
    vitreous::kernels::reads({nr}, {kr}),
    "this model's weights lie in the order of {machine}, which the kernels of this build do not read. \
{way_out}     If the core is another one, convert the model again: `vitreous convert --for` takes the name \
     of this build's core, chip or target triple."
);
"#,
        name = printable(name),
        bytes = model.len(),
        nr = layout.nr,
        kr = layout.kr,
        machine = TableSpec::of_layout(layout).convert_for(),
        way_out = way_out(layout),
    ))
}

/// How a build gets the kernels that read an order of weights, if a compiler's flag can give it: whole lines
/// of the literal.
fn way_out(layout: PanelLayout) -> &'static str {
    match TableSpec::of_layout(layout).name {
        "cortex-m-dsp" => {
            "     \
             If the core is a Cortex-M4, -M7 or -M33 with FPU, build for thumbv7em-none-eabihf or \\\n     \
             thumbv8m.main-none-eabihf, or name it in the rustflags (`-C target-cpu=cortex-m4`). \\\n"
        }
        "cortex-m-helium" => {
            "     \
             If the core is a Cortex-M55, -M85 or -M52, name it in the rustflags \\\n     \
             (`-C target-cpu=cortex-m55`). \\\n"
        }
        _ => "",
    }
}
