use super::*;
use image::{ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use std::io::Cursor;
use vitreous::format::Filter;

fn squash() -> Preprocess {
    Preprocess { filter: Filter::Bilinear, crop: Crop::Squash, resize: 1, mean: [0.0; 4], std: [1.0; 4] }
}

fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

#[test]
fn the_shorter_side_is_exact_and_the_longer_rounds_down() {
    assert_eq!(shorter_side(500, 375, 248), (330, 248));
    assert_eq!(shorter_side(375, 500, 248), (248, 330));
    assert_eq!(shorter_side(7, 7, 3), (3, 3));
}

#[test]
fn crop_offsets_round_half_to_even_and_pad_rounds_down() {
    let offsets = [(330, 224), (227, 224), (229, 224), (225, 224), (224, 224), (221, 224)]
        .map(|(a, b)| crop_offset(a, b));
    assert_eq!(offsets, [53, 2, 2, 0, 0, -1]);
}

#[test]
fn sixteen_bit_grey_and_alpha_become_the_models_channels() {
    let deep = DynamicImage::from(image::ImageBuffer::<Luma<u16>, _>::from_pixel(2, 2, Luma([0xffffu16])));
    let bytes = encode(&deep, ImageFormat::Png);
    assert_eq!(pixels_from_bytes(&bytes, &squash(), 2, 2, 3).unwrap(), [255; 12]);
    // Alpha is dropped, not flattened.
    let clear = DynamicImage::from(RgbaImage::from_pixel(2, 2, Rgba([9, 8, 7, 0])));
    assert_eq!(pixels_from_image(clear, &squash(), 1, 1, 3).unwrap(), [9, 8, 7]);
    // BT.601 luma, as Pillow: (0, 255, 0) is 150.
    let green = DynamicImage::from(RgbImage::from_pixel(2, 2, Rgb([0, 255, 0])));
    assert_eq!(pixels_from_image(green.clone(), &squash(), 1, 1, 1).unwrap(), [150]);
    assert_eq!(pixels_from_image(green.clone(), &squash(), 1, 1, 4).unwrap(), [0, 255, 0, 255]);
    assert!(pixels_from_image(green, &squash(), 1, 1, 5)
        .unwrap_err()
        .to_string()
        .contains("5 colour channels"));
}

#[test]
fn every_lossless_format_gives_the_same_pixels() {
    let image = DynamicImage::from(RgbImage::from_fn(5, 4, |x, y| Rgb([x as u8 * 40, y as u8 * 60, 99])));
    for format in [ImageFormat::Png, ImageFormat::Bmp, ImageFormat::Tiff, ImageFormat::Pnm, ImageFormat::WebP]
    {
        let pixels = pixels_from_bytes(&encode(&image, format), &squash(), 4, 5, 3).unwrap();
        assert_eq!(pixels, image.as_bytes(), "{format:?}");
    }
}

/// A JPEG of 2×1 pixels, black and white, with an EXIF block that asks for a rotation by 180°.
#[test]
fn exif_orientation_turns_the_image() {
    let image = RgbImage::from_fn(16, 8, |x, _| if x < 8 { Rgb([0; 3]) } else { Rgb([255; 3]) });
    let jpeg = encode(&image.into(), ImageFormat::Jpeg);
    let tiff = b"MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x03\0\0\0\0\0\0";
    let mut exif = vec![0xff, 0xe1, 0, (2 + 6 + tiff.len()) as u8];
    exif.extend_from_slice(b"Exif\0\0");
    exif.extend_from_slice(tiff);
    let turned = [&jpeg[..2], &exif, &jpeg[2..]].concat();
    let left = |bytes: &[u8]| pixels_from_bytes(bytes, &squash(), 8, 16, 3).unwrap()[0];
    assert!(left(&jpeg) < 10 && left(&turned) > 245, "{} {}", left(&jpeg), left(&turned));
}

#[test]
fn what_is_no_image_or_too_large_says_so() {
    let error = |bytes: &[u8]| pixels_from_bytes(bytes, &squash(), 8, 8, 3).unwrap_err().to_string();
    assert!(error(b"hello").contains("not an image in a known format"));
    let png = encode(&RgbImage::new(64, 64).into(), ImageFormat::Png);
    assert!(error(&png[..png.len() / 2]).contains("the file is cut off (it ends within the picture)"));
    // A PNM header that claims 100,000 × 100,000 pixels.
    assert!(
        error(b"P6 100000 100000 255\n").contains("100000×100000"),
        "{}",
        error(b"P6 100000 100000 255\n")
    );
    let thin = RgbImage::new(1, 60_000);
    let centre = Preprocess { crop: Crop::Center, resize: 224, ..squash() };
    let error = pixels_from_image(thin.into(), &centre, 224, 224, 3).unwrap_err().to_string();
    assert!(error.contains("once resized"), "{error}");
    let error = load_pixels(Path::new("/nowhere/cat.png"), &squash(), 8, 8, 3).unwrap_err().to_string();
    assert!(error.contains("/nowhere/cat.png"), "{error}");
}
