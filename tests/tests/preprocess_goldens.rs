//! Resize, crop and channel conversion must equal Pillow's and torchvision's, byte for byte.
use anyhow::Result;
use image::{DynamicImage, GrayAlphaImage, GrayImage, RgbImage, RgbaImage};
use std::path::Path;
use vitreous::format::{Crop, Filter, Preprocess};
use vitreous_tools::image_input::{load_pixels, pixels_from_image};

const GOLDENS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/goldens/pillow");
const PHOTOGRAPHS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/goldens/preprocess");

/// The same formula as in make.py.
fn source(width: u32, height: u32, channels: u32) -> DynamicImage {
    let mut data = Vec::new();
    for y in 0..u64::from(height) {
        for x in 0..u64::from(width) {
            for c in 0..u64::from(channels) {
                let noise = ((x * 7919 + y * 104729 + c * 1299709) * 2654435761 % (1 << 32)) >> 27;
                let edge = if (x / 9 + y / 5 + c) % 2 == 1 { 120 } else { 0 };
                data.push((edge + (x * 3 + y * 2 + c * 40) % 97 + noise).min(255) as u8);
            }
        }
    }
    from_raw(width, height, channels, data)
}

fn from_raw(width: u32, height: u32, channels: u32, data: Vec<u8>) -> DynamicImage {
    match channels {
        1 => GrayImage::from_raw(width, height, data).unwrap().into(),
        2 => GrayAlphaImage::from_raw(width, height, data).unwrap().into(),
        3 => RgbImage::from_raw(width, height, data).unwrap().into(),
        _ => RgbaImage::from_raw(width, height, data).unwrap().into(),
    }
}

fn filter(name: &str) -> Filter {
    match name {
        "nearest" => Filter::Nearest,
        "bilinear" => Filter::Bilinear,
        "bicubic" => Filter::Bicubic,
        "lanczos3" | "lanczos" => Filter::Lanczos3,
        "box" => Filter::Box,
        other => panic!("unknown filter {other}"),
    }
}

#[test]
fn preprocessing_equals_pillow_byte_for_byte() -> Result<()> {
    let text = std::fs::read_to_string(Path::new(GOLDENS).join("cases.json"))?;
    let cases: Vec<serde_json::Value> = serde_json::from_str(&text)?;
    for case in &cases {
        let number = |value: &serde_json::Value| value.as_u64().unwrap() as usize;
        let image = source(
            number(&case["source"][0]) as u32,
            number(&case["source"][1]) as u32,
            number(&case["channels"]) as u32,
        );
        let (width, height) = (number(&case["size"][0]), number(&case["size"][1]));
        let preprocess = Preprocess {
            filter: filter(case["filter"].as_str().unwrap()),
            crop: if case["crop"] == "squash" { Crop::Squash } else { Crop::Center },
            resize: number(&case["resize"]),
            mean: [0.0; 4],
            std: [1.0; 4],
        };
        let found = pixels_from_image(image, &preprocess, height, width, number(&case["to_channels"]))?;
        let expected = image::open(Path::new(GOLDENS).join(case["result"].as_str().unwrap()))?;
        let wrong = found.iter().zip(expected.as_bytes()).filter(|(a, b)| a != b).count();
        assert_eq!(found.len(), expected.as_bytes().len(), "{case}");
        assert_eq!(wrong, 0, "{wrong} of {} bytes differ: {case}", found.len());
    }
    println!("{} cases equal Pillow's bytes", cases.len());
    Ok(())
}

/// Two photographs through decode, resize and crop: the whole path that a user's image takes.
///
/// Pillow 13 filters columns before rows for some tall images. This code always filters rows first, which
/// then differs by one step.
#[test]
fn photographs_equal_pillow_within_one_step() -> Result<()> {
    let folder = Path::new(PHOTOGRAPHS);
    let manifest: Vec<serde_json::Value> =
        serde_json::from_str(&std::fs::read_to_string(folder.join("manifest.json"))?)?;
    let mut equal = 0;
    for entry in &manifest {
        let number = |key: &str| entry[key].as_u64().map(|n| n as usize);
        let crop = number("center_crop");
        let preprocess = Preprocess {
            filter: filter(entry["filter"].as_str().unwrap()),
            crop: if crop.is_some() { Crop::Center } else { Crop::Squash },
            resize: number("resize_shorter_side").unwrap_or(0),
            mean: [0.0; 4],
            std: [1.0; 4],
        };
        let height = crop.or(number("resized_height")).unwrap();
        let width = crop.or(number("resized_width")).unwrap();
        let source = folder.join(entry["source"].as_str().unwrap());
        let found = load_pixels(&source, &preprocess, height, width, 3)?.value;
        let expected = image::open(folder.join(entry["expected"].as_str().unwrap()))?.to_rgb8().into_raw();
        assert_eq!(found.len(), expected.len(), "{entry}");
        let worst = found.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0);
        assert!(worst <= 1, "a byte differs by {worst}: {entry}");
        equal += usize::from(worst == 0);
    }
    println!("{equal} of {} cases equal Pillow's bytes", manifest.len());
    assert!(equal + 1 >= manifest.len());
    Ok(())
}
