//! Classifies a handwritten digit as firmware does it: model and memory are fixed when the program is
//! compiled, and nothing is allocated while it runs.
//!
//! ```text
//! cargo run -p vitreous --example classify -- 7
//! ```
//!
//! prints what the arena holds, the digit, and the three most probable classes. The number chooses one of ten
//! images that the model has not been trained on.

// What `vitreous convert --emit-rust` has written: see digits/README.md.
#[rustfmt::skip]
#[path = "digits/digits.rs"]
mod digits;

use std::process::ExitCode;

use vitreous::models::vit::Vit;
use vitreous::{pipeline, Arena, Error, Model, SliceSource};

/// Ten images `(8, 8, 1)`, one of each digit.
static IMAGES: &[u8] = include_bytes!("digits/images.raw");

const ROW_BYTES: usize = digits::IMAGE_WIDTH * digits::IMAGE_CHANNELS;
const IMAGE_BYTES: usize = digits::IMAGE_HEIGHT * ROW_BYTES;

fn main() -> ExitCode {
    let argument = std::env::args().nth(1).unwrap_or_else(|| "7".into());
    let image = argument.parse().ok().and_then(|digit: usize| IMAGES.chunks_exact(IMAGE_BYTES).nth(digit));
    let Some(image) = image else {
        eprintln!("`{argument}` is none of the digits from 0 to 9");
        return ExitCode::from(2);
    };
    match show(image) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn show(image: &[u8]) -> Result<(), Error> {
    // Every length and offset of the file is checked here, once.
    let model = Model::parse(digits::MODEL)?;
    let vit = Vit::new(&model)?;

    let plan = vit.plan();
    println!("flash {} bytes, arena {} bytes:", digits::MODEL.len(), plan.arena_bytes());
    for region in plan.regions().iter().filter(|region| region.bytes > 0) {
        println!("  {:16} {:5} bytes at {:5}", region.name, region.bytes, region.offset);
    }
    println!();
    for row in image.chunks_exact(ROW_BYTES) {
        // Five levels of grey, each pixel two columns wide.
        let shades = row.iter().map(|&pixel| [" ", "░", "▒", "▓", "█"][usize::from(pixel) / 52]);
        println!("  {}", shades.map(|shade| shade.repeat(2)).collect::<String>());
    }
    println!();

    // In firmware this is a `static`, which the linker places and counts.
    let mut arena = Arena::<{ digits::ARENA_BYTES }>::new();
    let mut source = SliceSource::new(image, ROW_BYTES);
    for best in pipeline::classify::<3, _>(&vit, arena.bytes_mut(), &mut source)? {
        println!("  {}  {:6.2} %  logit {:7.4}", digits::LABELS[best.class], 100.0 * best.score, best.logit);
    }
    Ok(())
}
