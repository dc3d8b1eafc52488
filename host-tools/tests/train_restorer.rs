//! Restorers from the command line: train, go on, fine-tune, convert, and what wrong options get.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value;
use vitreous_tools::degrade::Picture;

fn vitreous(arguments: &str, folder: &Path) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_vitreous"));
    command.current_dir(folder).args(arguments.split_whitespace()).output().expect("the tool starts")
}

fn succeed(arguments: &str, folder: &Path) -> String {
    let output = vitreous(arguments, folder);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "vitreous {arguments}: {errors}");
    String::from_utf8(output.stdout).expect("UTF-8")
}

fn fail(arguments: &str, folder: &Path) -> String {
    let output = vitreous(arguments, folder);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success() && !errors.contains("panicked"), "vitreous {arguments}: {errors}");
    errors
}

/// A folder with four small photographs in `photographs`.
fn prepared() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    let photographs = folder.path().join("photographs");
    std::fs::create_dir(&photographs).expect("a folder");
    for i in 0..4usize {
        let data =
            (0..30 * 26).flat_map(|p| [(p * (i + 2) / 9) as u8, (p / 30 * 9) as u8, (p % 30 * 8) as u8]);
        let picture = Picture { width: 30, height: 26, data: data.collect() };
        picture.save_png(&photographs.join(format!("{i}.png"))).expect("a file");
    }
    folder
}

const TRAIN: &str = "train ipt --data photographs --features 4 --window 8 --heads 2 --hidden 8 \
                     --head-hidden 8 --encoder-layers 1 --decoder-layers 1 --batch 2 --held-out 1 --quiet";

#[test]
fn a_restorer_is_trained_goes_on_and_is_fine_tuned() {
    let folder = prepared();
    let folder = folder.path();
    let several = format!("{TRAIN} --tasks denoise30,x2 --steps 4 --out several");
    succeed(&format!("{several} --stop-after 2"), folder);
    let report: Value =
        serde_json::from_str(&succeed(&format!("{several} --resume --json"), folder)).expect("JSON");
    assert_eq!(report["history"].as_array().expect("validations").len(), 2);
    assert_eq!(report["tasks"], serde_json::json!(["denoise30", "x2"]));
    succeed(&format!("{TRAIN} --init several --task denoise50 --steps 2 --out one"), folder);
    let text = succeed("convert one -o one.vtr", folder);
    assert!(text.contains("arena"), "{text}");
    succeed(
        "train dncnn --data photographs --depth 3 --width 4 --steps 2 --held-out 1 --quiet --out cnn",
        folder,
    );
    assert!(folder.join("cnn/samples/denoise30.png").is_file());
}

#[test]
fn a_study_has_a_table_and_curves() {
    let folder = prepared();
    let folder = folder.path();
    let study = "study data-efficiency restoration --data photographs --percent 50,100 --steps 2 --batch 2 \
                 --held-out 1 --features 4 --window 8 --encoder-layers 1 --decoder-layers 1 --depth 3 \
                 --width 4 --quiet --out study";
    let report: Value = serde_json::from_str(&succeed(&format!("{study} --json"), folder)).expect("JSON");
    assert_eq!(report["points"].as_array().expect("points").len(), 4);
    assert!(folder.join("study/study.svg").is_file());
    assert!(succeed(study, folder).contains("DnCNN"), "a finished study is only told again");
}

#[test]
fn wrong_options_are_named() {
    let folder = prepared();
    let folder = folder.path();
    for (options, reason) in [
        ("--tasks denoise30,blur", "unknown task `blur`"),
        ("--tasks x2,x2", "twice"),
        ("--window 9", "multiple of patch"),
        ("--heads 3", "3 heads"),
        ("--features 2", "--features 2"),
        ("--held-out 4", "lower --held-out"),
        ("--data nowhere", "nowhere"),
        ("--lr 9", "--lr 9"),
        ("--init photographs", "photographs"),
    ] {
        let base = TRAIN.split_whitespace().collect::<Vec<_>>();
        let option = options.split_whitespace().next().unwrap_or_default();
        // A later option replaces an earlier one only where clap allows it, so the earlier one goes.
        let mut kept = Vec::new();
        let mut skip = false;
        for word in base {
            if skip {
                skip = false;
            } else if word == option {
                skip = true;
            } else {
                kept.push(word);
            }
        }
        let errors = fail(&format!("{} --out out {options}", kept.join(" ")), folder);
        assert!(errors.contains(reason), "{options}: {errors}");
    }
    let errors = fail("train dncnn --data photographs --task x2 --out cnn", folder);
    assert!(errors.contains("cannot enlarge"), "{errors}");
}
