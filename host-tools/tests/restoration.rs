//! Restoration from the command line: the whole way on a small model, and what odd and wrong images get.

mod common;

use std::path::Path;

use image::{ImageBuffer, ImageFormat, Luma, LumaA, Rgb, Rgba};
use vitreous_tools::degrade::Picture;

use common::{fail, restorer as prepared, succeed};

#[test]
fn a_model_is_scored_beside_its_float_weights() {
    let folder = prepared();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let eval = ["eval", &path("model.vtr"), "--reference", &path("float"), "--clean", &path("photos")];
    let (sheets, page) = (path("sheets"), path("report.html"));
    let options = ["--max-psnr-drop", "3", "--save", &sheets, "--html", &page];
    let report = succeed(&[&eval[..], &options].concat());
    assert!(report.contains("denoise30 by small on 2 images") && report.contains("PASS"), "{report}");
    assert!(report.contains("x2 by small on 2 images; PSNR in dB of luma, 2 pixels shaved"), "{report}");
    assert!(folder.path().join("sheets/x2/b.png").is_file());
    assert!(std::fs::read_to_string(&page).expect("a page").contains("class=\"pass\">PASS<"));
    let json = succeed(&[&eval[..], &["--task", "denoise30", "--limit", "1", "--json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(
        (json["kind"].as_str(), json["tasks"][0]["images"][0]["image"].as_str()),
        (Some("int8"), Some("a.png"))
    );
    assert!(json["tasks"][0]["mean"]["reference"]["ssim_luma"].is_number(), "{json}");
    let errors = fail(&[&eval[..], &["--max-psnr-drop", "-50"]].concat());
    assert!(errors.contains("denoise30: PSNR drops by") && errors.contains("more than -50 dB"), "{errors}");
    let errors = fail(&[&eval[..], &["--task", "derain"]].concat());
    assert!(errors.contains("no task derain; it has denoise30, x2"), "{errors}");
    let errors = fail(&[&eval[..], &["--degraded", &path("photos")]].concat());
    assert!(errors.contains("name it with --task"), "{errors}");
    let errors = fail(&[&eval[..], &["--degraded", &path("photos"), "--task", "x2"]].concat());
    assert!(errors.contains("of which x2 makes 42×26"), "{errors}");
}

#[test]
fn images_of_every_kind_are_restored_or_refused_with_the_reason() {
    let folder = prepared();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let odd = folder.path().join("odd");
    std::fs::create_dir(&odd).expect("a folder");
    let save = |name: &str, image: image::DynamicImage| {
        image.save_with_format(odd.join(name), ImageFormat::Png).expect("writable");
    };
    save("one.pixel.png", ImageBuffer::from_pixel(1, 1, Rgb([9u8, 99, 199])).into());
    save("grey.png", ImageBuffer::from_pixel(5, 3, Luma([77u8])).into());
    save("grey-alpha.png", ImageBuffer::from_pixel(9, 9, LumaA([77u8, 0])).into());
    save("alpha.png", ImageBuffer::from_pixel(17, 8, Rgba([1u8, 2, 3, 4])).into());
    save("sixteen.png", ImageBuffer::from_pixel(7, 31, Rgb([0u16, 40_000, 65_535])).into());
    for model in ["model.vtr", "float"] {
        let out = path(&format!("out-{model}"));
        let report = succeed(&["restore", &path(model), &path("odd"), "--task", "x2", "--out", &out]);
        assert_eq!(report.lines().count(), 6, "{report}");
        for (name, width, height) in [
            ("one.pixel.png", 2, 2),
            ("grey.png", 10, 6),
            ("grey-alpha.png", 18, 18),
            ("alpha.png", 34, 16),
            ("sixteen.png", 14, 62),
        ] {
            let restored = Picture::load(&Path::new(&out).join(name)).expect("an image").value;
            assert_eq!((restored.width, restored.height), (width, height), "{name}");
        }
    }
    std::fs::write(odd.join("broken.png"), b"\x89PNG\r\n\x1a\n and no more").expect("writable");
    let restore = |task: &[&str]| {
        fail(&[&["restore", &path("model.vtr"), &path("odd"), "--out", &path("out")], task].concat())
    };
    let errors = restore(&["--task", "x2"]);
    assert!(errors.contains("1 of 6 images is not restored") && errors.contains("broken.png"), "{errors}");
    assert!(restore(&[]).contains("pass --task with one of denoise30, x2"));
    let own = fail(&["restore", &path("float"), &path("photos"), "--task", "x2", "--out", &path("photos")]);
    assert!(own.contains("is read by this command and would be lost"), "{own}");
    std::fs::copy(odd.join("grey.png"), odd.join("grey.bmp.png")).expect("a copy");
    std::fs::rename(odd.join("grey.bmp.png"), odd.join("grey.bmp")).expect("renamed");
    assert!(restore(&["--task", "x2"]).contains("would both become"));
}

#[test]
fn a_window_of_a_task_is_timed() {
    let folder = prepared();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (model, result, chart) = (path("model.vtr"), path("bench.json"), path("bench.svg"));
    let bench = ["bench", &model, "--runs", "2", "--warm-up", "0"];
    let files = ["--task", "x2", "--output", &result, "--svg", &chart];
    let table = succeed(&[&bench[..], &files].concat());
    assert!(table.contains("one window of 8×8 pixels") && table.contains("MACs per byte"), "{table}");
    let svg = std::fs::read_to_string(&chart).expect("a chart");
    assert!(svg.contains("small, x2, on") && svg.contains("cross attention"), "{svg}");

    let json: serde_json::Value =
        serde_json::from_str(&std::fs::read_to_string(&result).expect("a result")).expect("JSON");
    assert_eq!((&json["window"]["task"], &json["window"]["side"]), (&"x2".into(), &8.into()));
    let sum = |field: &str| -> u64 {
        json["stages"].as_array().expect("stages").iter().filter_map(|stage| stage[field].as_u64()).sum()
    };
    assert_eq!(Some(sum("macs")), json["macs"].as_u64());
    assert_eq!(Some(sum("bytes")), json["weight_bytes"].as_u64());
    assert!(sum("bytes") < json["model_bytes"].as_u64().expect("bytes"), "{json}");

    let compared = [&bench[..], &["--task", "denoise30", "--compare", &result]].concat();
    let table = succeed(&compared);
    assert!(table.contains("before / now") && table.contains("before: small, x2,"), "{table}");
    assert!(fail(&bench).contains("pass --task with one of denoise30, x2"));
    let errors = fail(&[&bench[..], &["--task", "x4"]].concat());
    assert!(errors.contains("has no task x4; it has denoise30, x2"), "{errors}");
    let threads: serde_json::Value =
        serde_json::from_str(&succeed(&[&bench[..], &["--task", "x2", "--threads", "2", "--json"]].concat()))
            .expect("JSON");
    assert_eq!(threads["threads"], 2);

    let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/digits").display().to_string();
    succeed(&["convert", &digits, "-o", &path("digits.vtr")]);
    let classifier = ["bench", &path("digits.vtr"), "--runs", "1"];
    let errors = fail(&[&classifier[..], &["--task", "x2"]].concat());
    assert!(errors.contains("digits.vtr is a classifier"), "{errors}");
    let errors = fail(&[&classifier[..], &["--compare", &result]].concat());
    assert!(errors.contains("another machine or another model"), "{errors}");
}

#[test]
fn the_authors_files_are_restored_from() {
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/goldens/ipt");
    let folder = prepared();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let (photos, out) = (path("photos"), path("out"));
    let model = goldens.join("six_tasks/six_tasks.pt").display().to_string();
    let restore = ["restore", &model, &photos, "--out", &out, "--task", "x4"];
    let errors = fail(&[&restore[..], &["--heads", "5"]].concat());
    assert!(errors.contains("the token width 12 is no multiple of 5 heads"), "{errors}");
    succeed(&[&restore[..], &["--heads", "2"]].concat());
    let restored = Picture::load(&folder.path().join("out/a.png")).expect("an image").value;
    assert_eq!((restored.width, restored.height), (84, 52));
    let model = goldens.join("patch_3/patch_3.pt").display().to_string();
    let restore = ["restore", &model, &photos, "--out", &out, "--heads", "3"];
    let errors = fail(&restore);
    assert!(errors.contains("scales of the tails: 1, 1") && errors.contains("--tasks"), "{errors}");
    succeed(&[&restore[..], &["--tasks", "denoise30,derain", "--task", "derain"]].concat());
}

/// What a file name may try in a page, in an attribute and on a terminal.
#[cfg(unix)]
#[test]
fn names_of_images_are_text_in_the_report() {
    let folder = prepared();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let name = "\" onerror=\"alert(1)\"><script>\u{1b}[2J\u{202e}.png";
    std::fs::rename(path("photos/a.png"), folder.path().join("photos").join(name)).expect("movable");
    let (page, svg) = (path("report.html"), path("stages.svg"));
    let eval =
        ["eval", &path("model.vtr"), "--clean", &path("photos"), "--task", "denoise30", "--html", &page];
    let shown = "\" onerror=\"alert(1)\"><script>\\u{1b}[2J\\u{202e}.png";
    let report = succeed(&eval);
    assert!(report.contains("onerror") && !report.contains(['\u{1b}', '\u{202e}']), "{report}");
    let page = std::fs::read_to_string(&page).expect("a page");
    let escaped = shown.replace('"', "&quot;").replace('<', "&lt;").replace('>', "&gt;");
    assert!(page.contains(&format!("alt=\"{escaped}: degraded")), "{escaped} is not in the page");
    assert!(
        !page.contains("<script>")
            && !page.contains(['\u{1b}', '\u{202e}'])
            && !page.contains("onerror=\"al")
    );
    let json = succeed(&[&eval[..], &["--json"]].concat());
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json["tasks"][0]["images"][0]["image"], name);
    succeed(&["bench", &path("model.vtr"), "--task", "x2", "--runs", "1", "--warm-up", "0", "--svg", &svg]);
    let restored =
        succeed(&["restore", &path("model.vtr"), &path("photos"), "--task", "x2", "--out", &path("out")]);
    assert!(!restored.contains(['\u{1b}', '\u{202e}']), "{restored}");
}
