//! Image files of many kinds, whole and damaged, judged beside Pillow (`tests/goldens/images/make.py`).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use sha2::{Digest, Sha256};
use vitreous_tools::image_input::{decode_bytes, decode_file, ImageError};

const GOLDENS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/goldens/images");

/// Levels by which the mean of 8×8 pixels may differ between JPEG decoders.
const JPEG_LEVELS: f64 = 2.5;

fn golden(name: &str) -> PathBuf {
    Path::new(GOLDENS).join(name)
}

fn json(name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(golden(name)).expect("there")).expect("JSON")
}

fn number(value: &Value) -> usize {
    value.as_u64().expect("a number") as usize
}

/// Means over whole squares of 8×8 pixels, as the script stores them.
fn means(rgb: &image::RgbImage) -> Vec<f64> {
    let (across, down) = (rgb.width() / 8, rgb.height() / 8);
    let squares = (0..down).flat_map(|y| (0..across).map(move |x| (x, y)));
    let mean = |(x, y): (u32, u32), channel: usize| {
        let pixels = (0..64).map(|i| f64::from(rgb.get_pixel(8 * x + i % 8, 8 * y + i / 8)[channel]));
        pixels.sum::<f64>() / 64.0
    };
    squares.flat_map(|square| [0, 1, 2].map(|channel| mean(square, channel))).collect()
}

#[test]
fn pixels_are_pillows() {
    let expected: BTreeMap<String, Value> = serde_json::from_value(json("pixels.json")).expect("an object");
    assert!(expected.len() > 35);
    for (name, expected) in expected {
        if name == "raw.nef" {
            continue;
        }
        let rgb = decode_file(&golden(&name)).expect("an image").image.into_rgb8();
        let size = [&expected["size"][0], &expected["size"][1]].map(|n| number(n) as u32);
        assert_eq!([rgb.width(), rgb.height()], size, "{name}");
        if let Some(means_of) = expected["means"].as_array() {
            for (found, mean) in means(&rgb).iter().zip(means_of) {
                let difference = (found - mean.as_f64().expect("a number")).abs();
                assert!(difference <= JPEG_LEVELS, "{name}: {found} for {mean}");
            }
            continue;
        }
        // Pillow cuts 16 bits to the upper 8 (and 16-bit grey to white); here they are rounded.
        if !name.starts_with("deep") {
            let sha: String = Sha256::digest(rgb.as_raw()).iter().map(|b| format!("{b:02x}")).collect();
            assert_eq!(sha, expected["sha256"].as_str().expect("text"), "{name}");
        }
    }
}

/// Follows the steps by which the script damages a file.
fn damaged(whole: &[u8], steps: &Value) -> Vec<u8> {
    let mut data = whole.to_vec();
    let hex = |text: &Value| -> Vec<u8> {
        let digits = text.as_str().expect("hexadecimal").as_bytes().chunks(2);
        let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).expect("ASCII"), 16);
        digits.map(|pair| byte(pair).expect("a byte")).collect()
    };
    for step in steps.as_array().expect("steps") {
        match step[0].as_str().expect("a kind") {
            "keep" => {
                let count = step[1].as_i64().expect("a number");
                let count =
                    if count < 0 { data.len() - count.unsigned_abs() as usize } else { count as usize };
                data.truncate(count);
            }
            "append" => data.extend(hex(&step[1])),
            "fill" => data.extend(hex(&step[1]).repeat(number(&step[2]))),
            "again" => data.extend(&whole[..number(&step[1]).min(whole.len())]),
            "replace" => {
                let (at, new) = (number(&step[1]), hex(&step[2]));
                data[at..at + new.len()].copy_from_slice(&new);
            }
            "cut" => drop(data.drain(number(&step[1])..number(&step[1]) + number(&step[2]))),
            "insert" => drop(data.splice(number(&step[1])..number(&step[1]), hex(&step[2]))),
            other => panic!("unknown step {other}"),
        }
    }
    data
}

/// What Pillow takes is taken, what it refuses is at least warned of, and no file that was cut is taken in
/// silence.
#[test]
fn damaged_files_are_refused_or_warned_of() {
    let variants = json("damaged.json");
    let variants = variants.as_array().expect("a list");
    assert!(variants.len() > 800);
    let mut faults = Vec::new();
    for variant in variants {
        let (name, pillow) = (variant[0].as_str().expect("a name"), &variant[1]);
        let whole = std::fs::read(golden(name)).expect("there");
        let found = decode_bytes(Path::new(name), &damaged(&whole, &variant[2]));
        // A phone's second picture is none that is asked for.
        let is_cut = name != "two_pictures.jpg"
            && variant[2].as_array().is_some_and(|steps| steps.len() == 1 && steps[0][0] == "keep");
        let fault = match &found {
            Err(error) if pillow == "taken" => Some(format!("refused: {error}")),
            Ok(decoded) if decoded.warnings.is_empty() && (is_cut || pillow == "refused") => {
                Some("silent".into())
            }
            Ok(_) if is_cut && pillow == "refused" && variant[2][0][1].as_i64() > Some(0) => {
                Some("taken, though a tenth and more is missing".into())
            }
            _ => None,
        };
        faults.extend(fault.map(|fault| format!("{variant}: {fault}")));
    }
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), variants.len(), faults.join("\n"));
}

#[test]
fn files_that_are_whole_give_no_false_alarm() {
    for (name, warning) in [
        ("baseline.jpg", None),
        ("progressive.jpg", None),
        ("restarts.jpg", None),
        ("progressive_restarts.jpg", None),
        ("two_pictures.jpg", None),
        ("cmyk.jpg", None),
        ("rgb.png", None),
        ("plain.gif", None),
        ("lossy.webp", None),
        ("turned.tif", None),
        ("plain.bmp", None),
        ("animated.png", Some("2 frames, of which the first")),
        ("animated.gif", Some("2 frames, of which the first")),
        ("animated.webp", Some("2 frames, of which the first")),
        ("pages.tif", Some("2 pages, of which the first")),
    ] {
        let warnings = decode_file(&golden(name)).expect("an image").warnings.join("; ");
        assert!(warning.map_or(warnings.is_empty(), |w| warnings.contains(w)), "{name}: {warnings}");
    }
}

#[test]
fn what_is_not_read_is_named() {
    let error = |bytes: &[u8]| decode_bytes(Path::new("a.jpg"), bytes).expect_err("refused").to_string();
    let raw = std::fs::read(golden("raw.nef")).expect("there");
    for (bytes, words) in [
        (&b""[..], "the file is empty"),
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC, which is not read"),
        (b"\0\0\0\x1cftypavif\0\0\0\0mif1avifmiaf", "AVIF, which is not read"),
        (b"%PDF-1.7\n", "a PDF document, no image"),
        (b"<?xml version=\"1.0\"?><svg/>", "an SVG drawing, no image"),
        (b"<html><body>404 Not Found", "an HTML page, no image; download the image itself"),
        (b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer"),
        (b"II*\0\x10\0\0\0CR\x02\0", "a camera's RAW file"),
        (&raw, "a camera's RAW file"),
        (b"hello", "not an image in a known format"),
    ] {
        let found = error(bytes);
        assert!(found.starts_with("a.jpg: ") && found.contains(words), "{found}");
    }
    let folder = decode_file(Path::new(GOLDENS)).expect_err("a folder");
    assert!(matches!(folder, ImageError::Io { .. }), "{folder}");
}

#[cfg(unix)]
#[test]
fn a_file_without_an_end_is_refused() {
    let error = decode_file(Path::new("/dev/zero")).expect_err("refused").to_string();
    assert!(error.contains("/dev/zero"), "{error}");
}
