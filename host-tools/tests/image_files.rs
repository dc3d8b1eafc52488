//! Image files at the command line: folders, bad files among good ones, and what restorations keep.

mod common;

use std::path::{Path, PathBuf};

use image::{
    DynamicImage, GrayAlphaImage, GrayImage, ImageBuffer, ImageDecoder, ImageFormat, Rgb, RgbImage, RgbaImage,
};
use serde_json::Value;

use common::{fail, restorer, succeed, vitreous};

const GOLDENS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/goldens/images");

/// Standard output and standard error of a command that must fail at its end.
fn fails_at_its_end(arguments: &[&str]) -> (String, String) {
    let output = vitreous(arguments);
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    let errors = text(output.stderr);
    assert_eq!(output.status.code(), Some(1), "vitreous {arguments:?}: {errors}");
    assert!(!errors.contains("panicked"), "{errors}");
    (text(output.stdout), errors)
}

fn json(text: &str) -> Value {
    serde_json::from_str(text).expect("JSON")
}

/// A folder with digits.vtr and two images of each digit in `images`.
fn classifier() -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name).display().to_string();
    let digits = Path::new(env!("CARGO_MANIFEST_DIR")).join("../models/digits").display().to_string();
    succeed(&["convert", &digits, "-o", &path("digits.vtr")]);
    succeed(&["digits", "--out", &path("images"), "--limit", "2"]);
    (folder, digits)
}

fn half_of(name: &str, to: &Path) {
    let bytes = std::fs::read(Path::new(GOLDENS).join(name)).expect("there");
    std::fs::write(to, &bytes[..bytes.len() / 2]).expect("writable");
}

#[test]
fn one_bad_image_does_not_lose_the_others() {
    let (folder, digits) = classifier();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let sevens = folder.path().join("images/7");
    half_of("baseline.jpg", &sevens.join("cut.jpg"));
    half_of("rgb.png", &sevens.join("cut.png"));
    std::fs::write(sevens.join("empty.png"), b"").expect("writable");
    std::fs::write(sevens.join("notes.txt"), b"of sevens").expect("writable");
    std::fs::copy(sevens.join("0000.png"), sevens.join("without-suffix")).expect("a copy");
    std::fs::copy(sevens.join("0000.png"), sevens.join("wrong.JPG")).expect("a copy");
    let (model, missing) = (path("digits.vtr"), path("missing.png"));
    let run = ["run", &model, &path("images/7"), &missing, "--json"];
    let (report, errors) = fails_at_its_end(&run);
    let report = json(&report);
    assert_eq!(report["images"].as_array().expect("a list").len(), 4, "{report}");
    let failed = report["failed"].as_array().expect("a list");
    let failed: Vec<&str> = failed.iter().filter_map(|f| f["image"].as_str()).collect();
    assert_eq!(failed.len(), 4, "{report}");
    assert!(failed
        .iter()
        .zip(["cut.jpg", "cut.png", "empty.png", "missing.png"])
        .all(|(f, n)| f.ends_with(n)));
    for words in ["4 of 8 images are not read", "the file is cut off", "the file is empty", "notes.txt"] {
        assert!(errors.contains(words), "{words}: {errors}");
    }
    let (table, _) = fails_at_its_end(&run[..4]);
    assert!(table.contains("0000.png") && table.contains("wrong.JPG"), "{table}");
    let (table, errors) = fails_at_its_end(&["run", &model, &missing]);
    assert!(table.is_empty() && errors.contains("1 of 1 images is not read"), "{errors}");

    let html = path("parity.html");
    let images = path("images");
    let parity = ["parity", &model, "--reference", &digits, "--images", &images, "--html", &html];
    let (report, errors) = fails_at_its_end(&[&parity[..], &["--json"]].concat());
    let report = json(&report);
    assert_eq!((&report["images"], report["failed"].as_array().expect("a list").len()), (&22.into(), 3));
    assert!(errors.contains("3 of 25 images are not read") && errors.contains("cut.jpg"), "{errors}");
    let (report, _) = fails_at_its_end(&parity);
    assert!(report.contains("on 22 images") && !report.contains("PASS"), "{report}");
    assert!(std::fs::read_to_string(&html).expect("a page").contains("3 of 25 images"));
}

#[test]
fn damage_that_is_read_over_is_warned_of() {
    let (folder, _) = classifier();
    let path = |name: &str| folder.path().join(name).display().to_string();
    half_of("baseline.jpg", &folder.path().join("short.jpg"));
    let mut bytes = std::fs::read(folder.path().join("short.jpg")).expect("there");
    bytes.extend([0xff, 0xd9]);
    std::fs::write(folder.path().join("short.jpg"), bytes).expect("writable");
    let output = vitreous(&["run", &path("digits.vtr"), &path("short.jpg"), "--json"]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success() && errors.contains("warning: ") && errors.contains("stops after"),
        "{errors}"
    );
    let report = json(&String::from_utf8_lossy(&output.stdout));
    assert!(
        report["images"][0]["warnings"][0].as_str().expect("a warning").contains("stops after"),
        "{report}"
    );
}

#[test]
fn folders_that_are_not_the_models_classes_are_refused() {
    let (folder, digits) = classifier();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let parity = ["parity", &path("digits.vtr"), "--reference", &digits, "--images", &path("images")];
    for number in 0..7 {
        std::fs::remove_dir_all(folder.path().join(format!("images/{number}"))).expect("there");
    }
    let report = json(&succeed(&[&parity[..], &["--json"]].concat()));
    assert!(report["outputs"]["classes"]["reference_top1"].as_f64().expect("a number") > 60.0, "{report}");
    std::fs::rename(folder.path().join("images/7"), folder.path().join("images/seven")).expect("renamed");
    let errors = fail(&parity);
    assert!(errors.contains("3 class folders, the model has 10 classes, and `seven`"), "{errors}");
    std::fs::create_dir(folder.path().join("empty")).expect("a folder");
    let errors = fail(&["run", &path("digits.vtr"), &path("empty")]);
    assert!(errors.contains("no images in it or below"), "{errors}");
}

/// The pixels of one restored image, and its profile.
fn restored(path: &Path) -> (DynamicImage, Option<Vec<u8>>) {
    let mut decoder = image::ImageReader::open(path).expect("there").into_decoder().expect("a PNG");
    let profile = decoder.icc_profile().expect("readable");
    (DynamicImage::from_decoder(decoder).expect("a PNG"), profile)
}

#[test]
fn restorations_keep_alpha_profile_and_folders() {
    let folder = restorer();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let inputs = folder.path().join("inputs");
    let save = |name: &str, image: DynamicImage| {
        std::fs::create_dir_all(inputs.join(name).parent().expect("a folder")).expect("a folder");
        image.save_with_format(inputs.join(name), ImageFormat::Png).expect("writable");
    };
    let clear = |x: u32| if x < 6 { 0 } else { 255 };
    let hidden = |colour: [u8; 3]| {
        RgbaImage::from_fn(12, 10, |x, y| match x < 6 {
            true => [colour[0], colour[1], colour[2], 0].into(),
            false => [90, 90 + y as u8, 60, clear(x)].into(),
        })
    };
    save("a/alpha.png", hidden([255, 0, 255]).into());
    save("b/alpha.png", hidden([0, 255, 0]).into());
    save("l.png", GrayImage::from_fn(9, 9, |x, _| [x as u8 * 20].into()).into());
    save("la.png", GrayAlphaImage::from_fn(9, 9, |x, _| [77, clear(x)].into()).into());
    save("rgb.png", RgbImage::from_fn(9, 9, |x, y| [9, x as u8, y as u8].into()).into());
    save("deep.png", ImageBuffer::from_pixel(9, 9, Rgb([0u16, 40_000, 65_535])).into());
    for name in ["palette_clear.png", "profile.png", "cmyk.jpg", "turned.jpg", "clear.gif", "animated.gif"] {
        std::fs::copy(Path::new(GOLDENS).join(name), inputs.join(name)).expect("a copy");
    }
    let (model, given, out) = (path("model.vtr"), path("inputs"), path("out"));
    let output = vitreous(&["restore", &model, &given, "--task", "x2", "--out", &out]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{errors}");
    for words in [
        "EXIF and XMP data are not kept",
        "more than 8 bits per channel become 8",
        "animated.gif: it holds 2 frames",
    ] {
        assert_eq!(errors.matches(words).count(), 1, "{words}: {errors}");
    }
    let result = |name: &str| restored(&Path::new(&out).join(name));
    for (name, channels, size) in [
        ("a/alpha.png", 4, (24, 20)),
        ("l.png", 3, (18, 18)),
        ("la.png", 4, (18, 18)),
        ("rgb.png", 3, (18, 18)),
        ("deep.png", 3, (18, 18)),
        ("palette_clear.png", 4, (46, 34)),
        ("cmyk.png", 3, (154, 106)),
        // Turned upright once.
        ("turned.png", 3, (34, 46)),
        ("clear.png", 4, (46, 34)),
        ("animated.png", 3, (46, 34)),
    ] {
        let image = result(name).0;
        assert_eq!(
            (image.color().channel_count(), (image.width(), image.height())),
            (channels, size),
            "{name}"
        );
    }
    let profile = |name: &str| restored(Path::new(name)).1;
    assert_eq!(result("profile.png").1, profile(&format!("{GOLDENS}/profile.png")));
    assert!(result("profile.png").1.is_some() && result("rgb.png").1.is_none());
    // Hidden colours leave no trace; alpha is enlarged like the picture.
    let (first, second) = (result("a/alpha.png").0.into_rgba8(), result("b/alpha.png").0.into_rgba8());
    assert_eq!(first, second);
    assert!((0..20).all(|y| first.get_pixel(0, y)[3] == 0 && first.get_pixel(23, y)[3] == 255));

    succeed(&["restore", &model, &path("inputs/a/alpha.png"), "--task", "denoise30", "--out", &path("same")]);
    let same = restored(&folder.path().join("same/alpha.png")).0.into_rgba8();
    assert!(same.pixels().zip(hidden([0; 3]).pixels()).all(|(a, b)| a[3] == b[3]));
    let greys = ["restore", &model, &path("inputs/l.png"), &path("inputs/la.png"), &path("inputs/rgb.png")];
    succeed(&[&greys[..], &["--task", "x2", "--keep-grey", "--out", &path("grey")]].concat());
    let channels = ["l.png", "la.png", "rgb.png"]
        .map(|name| restored(&folder.path().join("grey").join(name)).0.color().channel_count());
    assert_eq!(channels, [1, 2, 3]);
}

#[test]
fn outputs_never_meet_each_other_or_an_input() {
    let folder = restorer();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let restore = |inputs: &[&str], out: &str| {
        let inputs: Vec<String> = inputs.iter().map(|name| path(name)).collect();
        let inputs: Vec<&str> = inputs.iter().map(String::as_str).collect();
        fail(&[&["restore", &path("model.vtr"), "--task", "x2", "--out", &path(out)], &inputs[..]].concat())
    };
    let copy = |from: &str, to: &str| {
        let to = folder.path().join(to);
        std::fs::create_dir_all(to.parent().expect("a folder")).expect("a folder");
        std::fs::copy(folder.path().join(from), to).expect("a copy");
    };
    copy("photos/a.png", "more/a.png");
    copy("photos/a.png", "twice/a.jpg");
    copy("photos/a.png", "twice/a.png");
    let errors = restore(&["photos/a.png", "more/a.png"], "out");
    assert!(errors.contains("would both become") && !folder.path().join("out").exists(), "{errors}");
    assert!(restore(&["twice"], "out").contains("would both become"));
    copy("photos/a.png", "set/x/a.png");
    let errors = restore(&["set", "more/a.png"], "set/x");
    assert!(errors.contains("set/x/a.png is read by this command and would be lost"), "{errors}");
    assert!(restore(&["photos"], "photos").contains("is read by this command and would be lost"));
}

#[test]
fn an_evaluation_goes_on_without_a_bad_image() {
    let folder = restorer();
    let path = |name: &str| folder.path().join(name).display().to_string();
    let bad: PathBuf = folder.path().join("photos/cut.jpg");
    half_of("progressive.jpg", &bad);
    let eval = ["eval", &path("model.vtr"), "--clean", &path("photos"), "--json"];
    let (report, errors) = fails_at_its_end(&eval);
    let report = json(&report);
    assert_eq!(report["tasks"][1]["images"].as_array().expect("a list").len(), 2, "{report}");
    assert_eq!(report["failed"].as_array().expect("a list").len(), 1, "{report}");
    assert!(errors.contains("1 of 3 images is not scored") && errors.contains("cut.jpg"), "{errors}");
}
