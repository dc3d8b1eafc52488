//! The preprocessing that a checkpoint was trained with: from its config files, else its library's default.
use super::metadata::Json;
use super::CheckpointError;
use vitreous::format::{Crop, Filter, Preprocess};

const IMAGENET_MEAN: [f64; 3] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f64; 3] = [0.229, 0.224, 0.225];

/// What the model's first layer takes.
#[derive(Clone, Copy)]
pub(super) struct InputSize {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
}

/// timm: `pretrained_cfg` of config.json, or the whole of it in files of older versions.
pub(super) fn timm(
    config: Option<&Json>,
    size: InputSize,
    distilled: bool,
    warnings: &mut Vec<String>,
) -> Result<Preprocess, CheckpointError> {
    let short = size.height.min(size.width);
    // timm's ViTs were trained with mean = std = 0.5; DeiT with ImageNet's.
    let (mean, std) = if distilled { (IMAGENET_MEAN, IMAGENET_STD) } else { ([0.5; 3], [0.5; 3]) };
    let Some(config) = config else {
        warnings.push("no config.json: timm's usual preprocessing is assumed (bicubic, crop_pct 0.9)".into());
        let resize = resize_of(short, 0.9);
        return preprocess(Filter::Bicubic, Crop::Center, resize, size, &mean, &std);
    };
    let config = config.object("pretrained_cfg").unwrap_or_else(|| config.clone());
    let filter = match config.string("interpolation")?.as_deref() {
        None | Some("bicubic" | "random") => Filter::Bicubic,
        Some("bilinear") => Filter::Bilinear,
        Some("nearest") => Filter::Nearest,
        Some("lanczos") => Filter::Lanczos3,
        Some("box") => Filter::Box,
        Some(other) => return Err(config.error(format!("`interpolation` is {other:?}, which is not known"))),
    };
    let crop_pct = config.number("crop_pct")?.unwrap_or(0.9);
    if !(crop_pct > 0.0 && crop_pct <= 1.0) {
        return Err(config.error(format!("`crop_pct` is {crop_pct}, expected more than 0 and at most 1")));
    }
    let crop = match config.string("crop_mode")?.as_deref() {
        None | Some("center") => Crop::Center,
        Some("squash") if crop_pct == 1.0 => Crop::Squash,
        Some(other) => {
            warnings.push(format!("crop_mode {other:?} with crop_pct {crop_pct} is run as a centre crop"));
            Crop::Center
        }
    };
    let mean = config.numbers("mean")?.unwrap_or(mean.to_vec());
    let std = config.numbers("std")?.unwrap_or(std.to_vec());
    preprocess(filter, crop, resize_of(short, crop_pct), size, &mean, &std)
        .map_err(|e| config.error(format!("`mean` and `std`: {e}")))
}

/// timm's `math.floor(size / crop_pct)`, in the same f64 arithmetic.
fn resize_of(side: usize, crop_pct: f64) -> usize {
    (side as f64 / crop_pct).floor() as usize
}

/// Hugging Face: preprocessor_config.json. Without it, what `ViTImageProcessor` does: squash to the model's size.
pub(super) fn hugging_face(
    processor: Option<&Json>,
    size: InputSize,
    warnings: &mut Vec<String>,
) -> Result<Preprocess, CheckpointError> {
    let short = size.height.min(size.width);
    let Some(json) = processor else {
        warnings.push(
            "no preprocessor_config.json: the whole image is resized bilinearly, mean = std = 0.5".into(),
        );
        return preprocess(Filter::Bilinear, Crop::Squash, short, size, &[0.5; 3], &[0.5; 3]);
    };
    let filter = match json.integer("resample")? {
        Some(0) => Filter::Nearest,
        Some(1) => Filter::Lanczos3,
        None | Some(2) => Filter::Bilinear,
        Some(3) => Filter::Bicubic,
        Some(4) => Filter::Box,
        Some(other) => return Err(json.error(format!("`resample` is {other}, expected Pillow's 0 to 4"))),
    };
    let (crop, resize) = hugging_face_crop(json, size, warnings)?;
    if let Some(factor) = json.number("rescale_factor")?.filter(|f| (f * 255.0 - 1.0).abs() > 1e-3) {
        return Err(json.error(format!("`rescale_factor` is {factor}, expected 1/255")));
    }
    if json.boolean("do_normalize")? == Some(false) {
        return preprocess(filter, crop, resize, size, &[0.0; 3], &[1.0; 3]);
    }
    let mean = json.numbers("image_mean")?.unwrap_or(vec![0.5; 3]);
    let std = json.numbers("image_std")?.unwrap_or(vec![0.5; 3]);
    preprocess(filter, crop, resize, size, &mean, &std)
        .map_err(|e| json.error(format!("`image_mean` and `image_std`: {e}")))
}

fn hugging_face_crop(
    json: &Json,
    size: InputSize,
    warnings: &mut Vec<String>,
) -> Result<(Crop, usize), CheckpointError> {
    let short = size.height.min(size.width);
    let shortest_edge = match json.object("size") {
        Some(sizes) => sizes.integer("shortest_edge")?,
        None => None,
    };
    if let Some(resize) = shortest_edge {
        return Ok((Crop::Center, resize));
    }
    let resized = json.height_width("size")?.unwrap_or((size.height, size.width));
    if json.boolean("do_center_crop")? == Some(true) {
        // DeiT: transformers squashes to 256×256 and crops 224; the training kept the aspect ratio, and so do we.
        let resize = resized.0.min(resized.1);
        warnings.push(format!(
            "the shorter side is resized to {resize} before the crop; the aspect ratio is kept"
        ));
        return Ok((Crop::Center, resize));
    }
    if resized != (size.height, size.width) {
        warnings.push(format!(
            "the processor resizes to {resized:?}, the model takes {:?}",
            (size.height, size.width)
        ));
    }
    Ok((Crop::Squash, short))
}

/// torchvision stores nothing beside its weights; these are its `IMAGENET1K_V1` transforms.
pub(super) fn torchvision(
    size: InputSize,
    warnings: &mut Vec<String>,
) -> Result<Preprocess, CheckpointError> {
    let short = size.height.min(size.width);
    let (filter, resize) = if short == 224 { (Filter::Bilinear, 256) } else { (Filter::Bicubic, short) };
    warnings.push(format!(
        "torchvision stores no preprocessing: {filter:?} resize to {resize}, centre crop and ImageNet's mean and std \
         are assumed"
    ));
    preprocess(filter, Crop::Center, resize, size, &IMAGENET_MEAN, &IMAGENET_STD)
}

/// Broadcasts one value to all channels; three ImageNet values for a grey image become their mean.
fn per_channel(values: &[f64], channels: usize) -> Option<Vec<f64>> {
    match values.len() {
        n if n == channels => Some(values.to_vec()),
        1 => Some(vec![values[0]; channels]),
        n if n > 0 && (channels == 1 || values.iter().all(|v| *v == values[0])) => {
            Some(vec![values.iter().sum::<f64>() / n as f64; channels])
        }
        _ => None,
    }
}

fn preprocess(
    filter: Filter,
    crop: Crop,
    resize: usize,
    size: InputSize,
    mean: &[f64],
    std: &[f64],
) -> Result<Preprocess, CheckpointError> {
    let invalid = |what: String| CheckpointError::Config {
        path: "preprocessing".into(),
        what,
        way_out: "give one mean and one positive standard deviation per channel".into(),
    };
    let mut result = Preprocess { filter, crop, resize, mean: [0.0; 4], std: [1.0; 4] };
    for (name, values, into) in [("mean", mean, &mut result.mean), ("std", std, &mut result.std)] {
        let values = per_channel(values, size.channels).ok_or_else(|| {
            invalid(format!("{} values of {name} for {} channels", values.len(), size.channels))
        })?;
        for (into, value) in into.iter_mut().zip(values) {
            *into = value as f32;
        }
    }
    let good =
        result.mean.iter().all(|m| m.is_finite()) && result.std.iter().all(|s| s.is_finite() && *s > 0.0);
    if good {
        Ok(result)
    } else {
        Err(invalid(format!("mean {mean:?}, std {std:?}")))
    }
}
