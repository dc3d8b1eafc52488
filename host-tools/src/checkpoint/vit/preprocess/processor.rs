//! The preprocessing that preprocessor_config.json of transformers says.
//!
//! A processor is code, and the file holds its arguments: what an argument means depends on the processor's
//! class, and what the engine's resize and crop do not do is named as an assumption.
use super::sources::{longer, resize_of, ChannelOrder, Found, Sources};
use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::Json;
use crate::checkpoint::settings::Said;
use vitreous::format::{Crop, Filter};

/// What a class of processors does with its arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Class {
    /// Resizes to `size`; cuts the centre where `do_center_crop` says so.
    Plain,
    /// The same, and `do_center_crop` holds where it is not said.
    Cropping,
    /// The same, and a size of one number is of the shorter side.
    Clip,
    /// LeViT's: the shorter side becomes 256/224 of what is said.
    Levit,
    /// ConvNeXt's: below 384 pixels the crop is a share `crop_pct` of the resized image.
    ConvNext,
    /// Of which nothing is known here.
    Unknown,
}

/// Classes by their names without `ImageProcessor`, `ImageProcessorFast` or `FeatureExtractor`.
const CLASSES: [(&str, Class); 15] = [
    ("ViT", Class::Plain),
    ("ViTMSN", Class::Plain),
    ("ViTHybrid", Class::Cropping),
    ("DeiT", Class::Cropping),
    ("BEiT", Class::Plain),
    ("Beit", Class::Plain),
    ("CLIP", Class::Clip),
    ("Bit", Class::Clip),
    ("ChineseCLIP", Class::Clip),
    ("Siglip", Class::Plain),
    ("Base", Class::Plain),
    ("", Class::Plain),
    ("Levit", Class::Levit),
    ("LeViT", Class::Levit),
    ("ConvNext", Class::ConvNext),
];

/// Fields that change nothing, or that are read here.
const KNOWN: [&str; 30] = [
    "image_processor_type",
    "feature_extractor_type",
    "processor_class",
    "size",
    "crop_size",
    "crop_pct",
    "resample",
    "rescale_factor",
    "rescale_offset",
    "image_mean",
    "image_std",
    "default_to_square",
    "do_resize",
    "do_rescale",
    "do_normalize",
    "do_center_crop",
    "do_flip_channel_order",
    "do_convert_rgb",
    // What segmentation does with its labels.
    "do_reduce_labels",
    "reduce_labels",
    "pad_size",
    "data_format",
    "input_data_format",
    "return_tensors",
    "device",
    "disable_grouping",
    "auto_map",
    "_processor_class",
    "_valid_processor_keys",
    "_name_or_path",
];

/// What processors do to the place or the size of things.
const OF_PLACES: [&str; 6] = [
    "do_pad",
    "do_thumbnail",
    "do_align_long_axis",
    "do_crop_margin",
    "do_split_image",
    "do_image_splitting",
];
/// What they do to colours.
const OF_COLOURS: [&str; 3] = ["do_grayscale", "do_color_quantize", "do_invert"];

/// `rescale_factor` (1/255 if not said) and `do_rescale` say what a pixel of 0..255 is multiplied by before
/// mean and standard deviation; here both are of pixels scaled to 0..1.
pub(crate) fn of_transformers(
    json: &Json,
    sources: &Sources,
    warnings: &mut Vec<String>,
) -> Result<Found, CheckpointError> {
    let filter = match json.integer("resample")? {
        None => None,
        Some(0) => Some(Filter::Nearest),
        Some(1) => Some(Filter::Lanczos3),
        Some(2) => Some(Filter::Bilinear),
        Some(3) => Some(Filter::Bicubic),
        Some(4) => Some(Filter::Box),
        Some(other) => return Err(json.error(format!("`resample` is {other}, expected Pillow's 0 to 4"))),
    };
    let factor = match json.boolean("do_rescale")? {
        Some(false) => 1.0,
        _ => json.number("rescale_factor")?.unwrap_or(1.0 / 255.0),
    };
    if !(factor.is_finite() && factor > 0.0) {
        return Err(json.error(format!("`rescale_factor` is {factor}, expected a positive number")));
    }
    let normalises = json.boolean("do_normalize")? != Some(false);
    // ViViT's and EfficientNet's processors subtract 1 behind the factor.
    let offset = if json.boolean("rescale_offset")? == Some(true) { 1.0 } else { 0.0 };
    // (p·factor − o − m)/s = (p·factor − (o + m))/s, and (p·factor − m)/s = (p/255 − m/(255·factor)) /
    // (s/(255·factor)); the usual factor leaves every bit as it is.
    let unit = if (factor * 255.0 - 1.0).abs() < 1e-6 { 1.0 } else { 255.0 * factor };
    let scaled = |values: Option<Vec<f64>>, default: f64, offset: f64, key: &str| {
        let place = if normalises { json.place(key) } else { json.place("do_normalize") };
        let values = if normalises { values } else { Some(vec![default]) };
        values.map(|values| {
            let said = Said::by_file(values.iter().map(|v| (v + offset) / unit).collect::<Vec<_>>(), place);
            if unit == 1.0 {
                said
            } else {
                said.noting(&format!("a pixel is multiplied by {factor}"))
            }
        })
    };
    let flips = json.boolean("do_flip_channel_order")? == Some(true);
    let order = if flips { ChannelOrder::Bgr } else { ChannelOrder::Rgb };
    let mut order = Said::by_file(order, json.place("do_flip_channel_order"));
    let (mut crop, mut resize) = crop(json, sources)?;
    for key in json.keys() {
        let is_set = json.get(key).is_some_and(|value| value.as_bool() == Some(true));
        let why = format!("{} is not done", json.place(key));
        if OF_COLOURS.contains(&key) && is_set {
            order = order.doubted(&why);
        } else if is_set && (OF_PLACES.contains(&key) || key.starts_with("do_") && !KNOWN.contains(&key)) {
            crop = Some(crop.unwrap_or(Said::assumed(Crop::Squash, "usual for transformers")).doubted(&why));
            resize = resize.or(Some(Said::assumed(longer(sources.trained), "usual for transformers")));
        } else if !KNOWN.contains(&key) && !key.starts_with("do_") && json.get(key).is_some() {
            warnings.push(format!("{} is not known, and is passed over", json.place(key)));
        }
    }
    Ok(Found {
        mean: scaled(json.numbers("image_mean")?, 0.0, offset, "image_mean"),
        std: scaled(json.numbers("image_std")?, 1.0, 0.0, "image_std"),
        resize,
        is_share: false,
        crop,
        interpolation: filter.map(|filter| Said::by_file(filter, json.place("resample"))),
        channel_order: Some(order),
    })
}

/// The processor's class, and its name with its place.
fn class(json: &Json) -> Result<(Class, String), CheckpointError> {
    for key in ["image_processor_type", "feature_extractor_type"] {
        let Some(name) = json.string(key)? else { continue };
        let short = name.trim_end_matches("Fast").trim_end_matches("ImageProcessor");
        let short = short.trim_end_matches("FeatureExtractor");
        let known = CLASSES.iter().find(|(known, _)| *known == short);
        let place = format!("{} {name}", json.place(key));
        return Ok((known.map_or(Class::Unknown, |(_, class)| *class), place));
    }
    Ok((Class::Plain, String::new()))
}

type CropAndResize = (Option<Said<Crop>>, Option<Said<usize>>);

fn crop(json: &Json, sources: &Sources) -> Result<CropAndResize, CheckpointError> {
    let (class, name) = class(json)?;
    let (crop, resize) = crop_of(json, sources, class, &name)?;
    let why = match class {
        Class::Unknown => format!("{name} is not known here, and may do something else"),
        _ if class != Class::ConvNext && json.get("crop_pct").is_some() => {
            format!("{} is not read by every processor, and is passed over", json.place("crop_pct"))
        }
        _ => return Ok((crop, resize)),
    };
    Ok((crop.map(|said| said.doubted(&why)), resize.map(|said| said.doubted(&why))))
}

fn crop_of(
    json: &Json,
    sources: &Sources,
    class: Class,
    name: &str,
) -> Result<CropAndResize, CheckpointError> {
    let place = json.place("size");
    let trained = sources.trained;
    let squash = |said: fn(usize, String) -> Said<usize>, why: String| {
        let crop = Said::by_file(Crop::Squash, why.clone());
        let resize = said(longer(trained), why.clone());
        let crop = if resize.is_assumed() { Said::assumed(Crop::Squash, why) } else { crop };
        Ok((Some(crop), Some(resize)))
    };
    if json.boolean("do_resize")? == Some(false) {
        let what = json.place("do_resize");
        let why = format!("{what} is false: photographs are resized to the model's size all the same");
        return squash(Said::assumed, why);
    }
    let said_crop = json.boolean("do_center_crop")?;
    let crops = said_crop.unwrap_or(matches!(class, Class::Cropping | Class::Clip | Class::Levit));
    let crop_place = match said_crop {
        Some(_) => json.place("do_center_crop"),
        None => format!("the default of {name}"),
    };
    let sizes = json.object("size");
    let is_short = matches!(class, Class::Clip | Class::Levit | Class::ConvNext);
    let is_square = json.boolean("default_to_square")?.unwrap_or(!is_short);
    let shortest_edge = match &sizes {
        Some(sizes) => sizes.integer("shortest_edge")?,
        // A lone number is of the shorter side where the class, or the file, says so.
        None if !is_square => json.integer("size")?,
        None => None,
    };
    if let (Some(edge), Class::ConvNext) = (shortest_edge, class) {
        if edge >= 384 {
            return squash(Said::by_file, format!("{name} squashes from 384 pixels on"));
        }
        let share = json.number("crop_pct")?.unwrap_or(224.0 / 256.0);
        if !(share > 0.0 && share <= 1.0) {
            return Err(json.error(format!("`crop_pct` is {share}, expected more than 0 and at most 1")));
        }
        let resize = Said::by_file(resize_of(edge, share), json.place("crop_pct"));
        return Ok((
            Some(Said::by_file(Crop::Center, name)),
            Some(of_this_crop((edge, edge), trained, resize)),
        ));
    }
    if let Some(edge) = shortest_edge {
        let edge = if class == Class::Levit { resize_of(edge, 224.0 / 256.0) } else { edge };
        let mut resize = Said::by_file(edge, place);
        if sizes.and_then(|sizes| sizes.get("longest_edge").cloned()).is_some() {
            resize = resize.doubted("the bound of its `longest_edge` is not kept");
        }
        if !crops {
            let why = "without a crop images would keep their aspect ratio, and the model takes one size";
            return Ok((Some(Said::assumed(Crop::Center, why)), Some(resize)));
        }
        return Ok((Some(Said::by_file(Crop::Center, crop_place)), Some(cropped(json, trained, resize)?)));
    }
    let Some(resized) = json.height_width("size")? else { return Ok((None, None)) };
    if crops {
        let why = format!(
            "{place} says {}×{} before the crop, whatever the image's aspect ratio, which is kept here",
            resized.0, resized.1
        );
        let said = match resized == trained {
            // Nothing is cut off: the whole image is squashed.
            true => Said::by_file(longer(resized), place),
            false => Said::assumed(resized.0.min(resized.1), why),
        };
        let crop = if resized == trained { Crop::Squash } else { Crop::Center };
        return Ok((Some(Said::by_file(crop, crop_place)), Some(cropped(json, trained, said)?)));
    }
    if resized != trained {
        let (height, width) = trained;
        let why = format!("{place} says {}×{}, the model takes {height}×{width}", resized.0, resized.1);
        return squash(Said::assumed, why);
    }
    squash(Said::by_file, place)
}

/// The resize before a crop of `crop_size`.
fn cropped(
    json: &Json,
    trained: (usize, usize),
    resize: Said<usize>,
) -> Result<Said<usize>, CheckpointError> {
    let Some(size) = json.height_width("crop_size")? else { return Ok(resize) };
    Ok(of_this_crop(size, trained, resize))
}

/// A crop of another size than the model's leaves open what is cut out.
fn of_this_crop(crop: (usize, usize), trained: (usize, usize), resize: Said<usize>) -> Said<usize> {
    if crop == trained {
        return resize;
    }
    let (height, width) = trained;
    resize
        .doubted(&format!("it is for a crop of {}×{}, and the model takes {height}×{width}", crop.0, crop.1))
}
