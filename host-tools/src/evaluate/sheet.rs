//! Pictures side by side, each under its label.

use anyhow::Result;
use font8x8::UnicodeFonts;
use image::codecs::jpeg::JpegEncoder;

use crate::degrade::Picture;

/// Height of the label and space between pictures, in pixels.
const BAR: usize = 14;
const GAP: usize = 4;
/// Side of a character.
const CHARACTER: usize = 8;
const PAPER: u8 = 255;
const INK: [u8; 3] = [0; 3];
/// Quality of the pictures on HTML pages.
const JPEG_QUALITY: u8 = 92;

/// Pictures next to each other on white, each under its label (characters of ASCII; what is wider than the
/// picture is cut off).
pub fn sheet(parts: &[(&Picture, &str)]) -> Picture {
    let width = parts.iter().map(|(picture, _)| picture.width + GAP).sum::<usize>().saturating_sub(GAP);
    let height = BAR + parts.iter().map(|(picture, _)| picture.height).max().unwrap_or(0);
    let mut sheet = Picture { width, height, data: vec![PAPER; width * height * 3] };
    let mut left = 0;
    for (picture, label) in parts {
        for y in 0..picture.height {
            let row = &picture.data[y * picture.width * 3..][..picture.width * 3];
            sheet.data[((BAR + y) * width + left) * 3..][..row.len()].copy_from_slice(row);
        }
        for (index, character) in label.chars().take(picture.width / CHARACTER).enumerate() {
            draw(&mut sheet, character, left + index * CHARACTER);
        }
        left += picture.width + GAP;
    }
    sheet
}

fn draw(sheet: &mut Picture, character: char, left: usize) {
    let Some(rows) = font8x8::BASIC_FONTS.get(character) else { return };
    for (y, row) in rows.iter().enumerate() {
        for x in (0..CHARACTER).filter(|x| row >> x & 1 == 1) {
            let at = (((BAR - CHARACTER) / 2 + y) * sheet.width + left + x) * 3;
            sheet.data[at..at + 3].copy_from_slice(&INK);
        }
    }
}

/// The picture as a JPEG file.
pub(super) fn jpeg(picture: &Picture) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let (width, height) = (u32::try_from(picture.width)?, u32::try_from(picture.height)?);
    JpegEncoder::new_with_quality(&mut bytes, JPEG_QUALITY).encode(
        &picture.data,
        width,
        height,
        image::ExtendedColorType::Rgb8,
    )?;
    Ok(bytes)
}
