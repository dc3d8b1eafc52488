//! A folder with inputs for every command, and what the commands do to it.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use tempfile::TempDir;
use vitreous_tools::degrade::Picture;

/// A model that is trained in a moment, and whose training can be made to last.
pub const TRAIN_VIT: &str = "train vit --data digits --no-augment --dim 8 --depth 1 --heads 1 --batch 400";
/// The same of a restorer.
pub const TRAIN_IPT: &str = "train ipt --data photos --task denoise30 --features 4 --window 8 --heads 2 \
                             --hidden 8 --head-hidden 8 --encoder-layers 1 --decoder-layers 1 --batch 1 \
                             --held-out 1";
const TRAIN_DNCNN: &str = "train dncnn --data photos --depth 2 --width 2 --window 8 --batch 1 --held-out 1";
const STUDY: &str = "study data-efficiency restoration --data photos --percent 100 --steps 1 --batch 1 \
                     --held-out 1 --features 4 --window 8 --encoder-layers 1 --decoder-layers 1 --depth 2 \
                     --width 2";

/// Every way of every command to write files, into the folder `out`.
pub fn writers() -> Vec<(&'static str, String)> {
    let own = |text: &str| text.to_owned();
    vec![
        ("convert", own("convert digits -o out/a.vtr")),
        ("convert to Rust", own("convert digits -o out/b.vtr --emit-rust out/b.rs")),
        ("parity", own("parity digits.vtr --reference digits --images held-out --html out/parity.html")),
        ("bench", own("bench digits.vtr --runs 1 --warm-up 0 --output out/bench.json")),
        ("bench chart", own("bench digits.vtr --runs 1 --warm-up 0 --svg out/bench.svg")),
        ("eval", own("eval restorer.vtr --clean photos --limit 1 --html out/eval.html")),
        ("eval sheets", own("eval restorer.vtr --clean photos --limit 1 --save out/sheets")),
        ("digits", own("digits --limit 1 --out out/held-out")),
        ("restore", own("restore restorer.vtr photos/0.png --out out/restored")),
        ("train vit", format!("{TRAIN_VIT} --epochs 1 --out out/vit")),
        ("train ipt", format!("{TRAIN_IPT} --steps 1 --out out/ipt")),
        ("train dncnn", format!("{TRAIN_DNCNN} --steps 1 --out out/dncnn")),
        ("study", format!("{STUDY} --out out/study")),
    ]
}

/// The same command where its results are already. (A study goes on by itself.)
pub fn again(arguments: &str) -> String {
    if arguments.starts_with("train") {
        format!("{arguments} --overwrite")
    } else {
        arguments.to_owned()
    }
}

/// A folder with `digits` (float weights), `digits.vtr`, `held-out`, `photos`, `restorer` (float) and
/// `restorer.vtr`.
pub fn prepared() -> TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path();
    fs::create_dir(path.join("digits")).expect("a folder");
    let shipped = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/digits");
    for file in ["model.safetensors", "config.json", "labels.txt"] {
        fs::copy(shipped.join(file), path.join("digits").join(file)).expect("a copy");
    }
    fs::create_dir(path.join("photos")).expect("a folder");
    for i in 0..3usize {
        let data = (0..12 * 10).flat_map(|p| [(p * (i + 2) % 250) as u8, (p * 2) as u8, (p % 12 * 20) as u8]);
        let picture = Picture { width: 12, height: 10, data: data.collect() };
        picture.save_png(&path.join("photos").join(format!("{i}.png"))).expect("a file");
    }
    for arguments in [
        "convert digits -o digits.vtr",
        "digits --out held-out --limit 1",
        &format!("{TRAIN_IPT} --steps 1 --out restorer"),
        "convert restorer -o restorer.vtr",
    ] {
        let output = vitreous(arguments, path).output().expect("the tool starts");
        assert!(output.status.success(), "{arguments}: {}", errors(&output));
    }
    folder
}

/// The command, not started yet.
pub fn vitreous(arguments: &str, folder: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vitreous"));
    command.current_dir(folder).args(arguments.split_whitespace());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// Standard error, on which no panic may be.
pub fn errors(output: &Output) -> String {
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!errors.contains("panicked"), "{errors}");
    errors
}

/// All files below a folder, with what is in them.
pub fn files_below(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut files = BTreeMap::new();
    let Ok(entries) = fs::read_dir(folder) else { return files };
    for entry in entries {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            files.extend(files_below(&path));
        } else {
            let bytes = fs::read(&path).expect("readable");
            files.insert(path, bytes);
        }
    }
    files
}

/// Whether a file is a whole one of what its name says.
pub fn is_whole(path: &Path, bytes: &[u8]) -> bool {
    let text = || String::from_utf8_lossy(bytes).trim_end().to_owned();
    match path.extension().and_then(|e| e.to_str()) {
        Some("vtr") => {
            vitreous::Model::parse(vitreous_tools::vtr::AlignedBytes::copy_of(bytes).as_slice()).is_ok()
        }
        Some("png") => image::load_from_memory(bytes).is_ok(),
        Some("html") => text().ends_with('>'),
        Some("svg") => text().ends_with("</svg>"),
        Some("json") => serde_json::from_slice::<serde_json::Value>(bytes).is_ok(),
        Some("safetensors") => safetensors::SafeTensors::deserialize(bytes).is_ok(),
        Some("rs") => text().ends_with("];"),
        Some("txt") => bytes.ends_with(b"\n"),
        _ => false,
    }
}
