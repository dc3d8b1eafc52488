//! The preprocessing that a checkpoint was trained with, value by value: from options, from the files beside
//! it, from what its architecture is known for; what none of them says is assumed.
mod processor;
mod sources;

pub(super) use sources::Sources;
pub use sources::{ChannelOrder, PreprocessOptions};

use crate::checkpoint::error::CheckpointError;
use crate::checkpoint::json::Json;
use crate::checkpoint::metadata::architectures::IMAGENET;
use crate::checkpoint::metadata::saved::SavedConfig;
use crate::checkpoint::settings::{Said, Settings};
use crate::text::counted;
use sources::{longer, resize_of, Found};
use vitreous::format::{Crop, Filter, Preprocess};

/// Decides every value of the preprocessing. The channel order is returned beside it: the importer exchanges
/// the weights of red and blue, so that the model takes RGB. What the user must know beside the settings is
/// added to `warnings`.
pub(crate) fn decide(
    sources: &Sources,
    settings: &mut Settings,
    warnings: &mut Vec<String>,
) -> Result<(Preprocess, ChannelOrder), CheckpointError> {
    let mut found = of_options(sources)?;
    found = found.or(sources.saved.map(of_saved).unwrap_or_default());
    if let Some(json) = sources.processor {
        found = found.or(processor::of_transformers(json, sources, warnings)?);
    }
    if let Some(json) = sources.config {
        found = found.or(of_timm(json, sources)?);
    }
    found = found.or(of_known(sources)).or(assumed(sources));
    scale_with_image(&mut found, sources);
    let colours = sources.model.channels;
    let list =
        |values: &Vec<f64>| values.iter().map(|v| format!("{}", *v as f32)).collect::<Vec<_>>().join(",");
    let crop = found.crop.unwrap_or(Said::assumed(Crop::Center, ""));
    let resize = found.resize.unwrap_or(Said::assumed(0, ""));
    let resize = judge_borders(resize, found.is_share, crop.value, sources, warnings)?;
    let mut result = Preprocess {
        mean: [0.0; 4],
        std: [1.0; 4],
        resize: settings.decide("resize", "--resize", resize, usize::to_string),
        crop: settings.decide("crop", "--crop", crop, |crop| crop_name(*crop).to_string()),
        filter: settings.decide(
            "interpolation",
            "--interpolation",
            found.interpolation.unwrap_or(Said::assumed(Filter::Bicubic, "")),
            |filter| filter_name(*filter).to_string(),
        ),
    };
    let checked = |said: Option<Said<Vec<f64>>>, name: &str| {
        let said = said.unwrap_or(Said::assumed(vec![0.5], ""));
        let place = match said.note() {
            _ if said.is_by_option() => format!("--{name}"),
            note if said.is_by_file() => note.to_string(),
            note => format!("what is assumed ({note})"),
        };
        said.try_map(|values, _| for_channels(&values, name, &place, colours))
    };
    let (mean, std) = (checked(found.mean, "mean")?, checked(found.std, "std")?);
    let (mean, std) =
        (settings.decide("mean", "--mean", mean, list), settings.decide("std", "--std", std, list));
    result.mean.iter_mut().zip(mean).for_each(|(to, from)| *to = from as f32);
    result.std.iter_mut().zip(std).for_each(|(to, from)| *to = from as f32);
    let mut order = ChannelOrder::Rgb;
    if let Some(said) = found.channel_order.filter(|_| colours >= 3) {
        order =
            settings.decide("channel-order", "--channel-order", said, |order| order_name(*order).to_string());
        if order == ChannelOrder::Bgr {
            result.mean.swap(0, 2);
            result.std.swap(0, 2);
        }
    }
    Ok((result, order))
}

/// One mean or deviation per channel, of pixels scaled to 0..1.
fn for_channels(
    values: &[f64],
    name: &str,
    place: &str,
    channels: usize,
) -> Result<Vec<f64>, CheckpointError> {
    let shown = values.iter().map(f64::to_string).collect::<Vec<_>>().join(",");
    // No photograph has a mean beyond 10 where white is 1, and hardly one below where it is 255.
    if values.iter().any(|value| value.is_finite() && value.abs() > 10.0) {
        return Err(invalid(format!(
            "{place} says the {name} {shown}, which looks like that of pixels of 0..255, and here pixels are \
             scaled to 0..1"
        )));
    }
    let is_sound = |value: &f64| value.is_finite() && (name == "mean" || *value > 0.0);
    if !values.iter().all(is_sound) {
        return Err(invalid(format!("{place} says the {name} {shown}")));
    }
    per_channel(values, channels).ok_or_else(|| {
        let channels = counted(channels, "channel");
        invalid(format!(
            "{place} says {} of {name}, and the model has {channels}",
            counted(values.len(), "value")
        ))
    })
}

/// What a centre crop shows of photographs, where a resize of the shorter side alone does not reach the
/// whole crop: there it gets black borders. That an option says so is taken, but not for every photograph.
fn judge_borders(
    resize: Said<usize>,
    is_share: bool,
    crop: Crop,
    sources: &Sources,
    warnings: &mut Vec<String>,
) -> Result<Said<usize>, CheckpointError> {
    let (height, width) = sources.size();
    let (short, long) = (height.min(width), height.max(width));
    if crop != Crop::Center {
        return Ok(resize);
    }
    let side = resize.value;
    let of_some = || {
        let shape = if width > height { "wide as high" } else { "high as wide" };
        format!(
            "a photograph that is not {:.3} times as {shape} gets black borders in the crop of \
             {height}×{width}; a resize to {long} covers it for all, and so does --crop squash",
            long as f64 / side.max(1) as f64
        )
    };
    if resize.is_by_option() {
        if side < short {
            return Err(CheckpointError::Config {
                path: "preprocessing".into(),
                what: format!("--resize {side} is less than the {short} pixels that the crop takes"),
                way_out: format!("give at least {long}, or --crop squash"),
            });
        }
        if side < long {
            warnings.push(format!("--resize {side}: {}", of_some()));
        }
        if is_share && short != long {
            return Ok(resize.noting("a share of the crop's longer side"));
        }
        return Ok(resize);
    }
    Ok(if side < short {
        resize.doubted(&format!(
            "it is less than the {short} pixels that the crop takes, so that every photograph gets black \
             borders"
        ))
    } else if side < long {
        resize.doubted(&of_some())
    } else if is_share && short != long {
        resize.doubted(&format!(
            "the shorter side is resized for the longer one of the crop of {height}×{width}, which no \
             photograph leaves uncovered; timm's crop shows more of those that are not square"
        ))
    } else {
        resize
    })
}

/// As the option takes it.
pub fn filter_name(filter: Filter) -> &'static str {
    match filter {
        Filter::Nearest => "nearest",
        Filter::Bilinear => "bilinear",
        Filter::Bicubic => "bicubic",
        Filter::Lanczos3 => "lanczos",
        Filter::Box => "box",
    }
}

/// As the option takes it.
pub fn crop_name(crop: Crop) -> &'static str {
    match crop {
        Crop::Center => "center",
        Crop::Squash => "squash",
    }
}

fn order_name(order: ChannelOrder) -> &'static str {
    match order {
        ChannelOrder::Rgb => "rgb",
        ChannelOrder::Bgr => "bgr",
    }
}

fn of_options(sources: &Sources) -> Result<Found, CheckpointError> {
    let o = sources.options;
    if let Some(pct) = o.crop_pct.filter(|pct| !(*pct > 0.0 && *pct <= 1.0)) {
        return Err(CheckpointError::Config {
            path: "preprocessing".into(),
            what: format!("--crop-pct {pct}: the crop is a share of the resized image"),
            way_out: "give more than 0 and at most 1, such as 0.9, or --resize PIXELS".into(),
        });
    }
    let of_pct = o.crop_pct.map(|pct| resize_of(longer(sources.size()), pct));
    Ok(Found {
        mean: o.mean.clone().map(Said::by_option),
        std: o.std.clone().map(Said::by_option),
        resize: o.resize.or(of_pct).map(Said::by_option),
        is_share: of_pct.is_some(),
        crop: o.crop.map(Said::by_option),
        interpolation: o.interpolation.map(Said::by_option),
        channel_order: o.channel_order.map(Said::by_option),
    })
}

fn of_saved(saved: &SavedConfig) -> Found {
    let (p, place) = (&saved.preprocess, "config.json `vitreous`");
    let colours = saved.config.channels.min(4);
    let list = |values: &[f32; 4]| values[..colours].iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
    Found {
        mean: Some(Said::by_file(list(&p.mean), place)),
        std: Some(Said::by_file(list(&p.std), place)),
        resize: Some(Said::by_file(p.resize, place)),
        is_share: false,
        crop: Some(Said::by_file(p.crop, place)),
        interpolation: Some(Said::by_file(p.filter, place)),
        channel_order: Some(Said::by_file(ChannelOrder::Rgb, place)),
    }
}

/// timm: `pretrained_cfg` of config.json, or the whole of it in files of older versions.
fn of_timm(json: &Json, sources: &Sources) -> Result<Found, CheckpointError> {
    let nested = json.object("pretrained_cfg");
    let config = nested.as_ref().unwrap_or(json);
    let place = |key: &str| match nested {
        Some(_) => json.place(&format!("pretrained_cfg.{key}")),
        None => json.place(key),
    };
    let filter = config.string("interpolation")?.map(|name| match name.as_str() {
        "random" => {
            Ok(Said::by_file(Filter::Bicubic, place("interpolation")).noting("random while training"))
        }
        name => match filter_of(name) {
            Some(filter) => Ok(Said::by_file(filter, place("interpolation"))),
            None => Err(json.error(format!("`interpolation` is {name:?}, which is not known"))),
        },
    });
    let crop_pct = config.number("crop_pct")?;
    if let Some(pct) = crop_pct.filter(|pct| !(*pct > 0.0 && *pct <= 1.0)) {
        return Err(json.error(format!("`crop_pct` is {pct}, expected more than 0 and at most 1")));
    }
    let trained = longer(sources.trained);
    Ok(Found {
        mean: config.numbers("mean")?.map(|mean| Said::by_file(mean, place("mean"))),
        std: config.numbers("std")?.map(|std| Said::by_file(std, place("std"))),
        resize: crop_pct.map(|pct| Said::by_file(resize_of(trained, pct), place("crop_pct"))),
        is_share: true,
        crop: crop_of_mode(config.string("crop_mode")?.as_deref(), crop_pct, &place("crop_mode")),
        interpolation: filter.transpose()?,
        channel_order: config.get("mean").map(|_| Said::by_file(ChannelOrder::Rgb, "timm has no other")),
    })
}

fn filter_of(name: &str) -> Option<Filter> {
    [Filter::Nearest, Filter::Bilinear, Filter::Bicubic, Filter::Lanczos3, Filter::Box]
        .into_iter()
        .find(|filter| filter_name(*filter) == name)
}

/// timm centres a crop unless it says otherwise.
fn crop_of_mode(mode: Option<&str>, crop_pct: Option<f64>, place: &str) -> Option<Said<Crop>> {
    match (mode, crop_pct) {
        (None, None) => None,
        (None, Some(_)) => Some(Said::by_file(Crop::Center, "timm's default")),
        (Some("center"), _) => Some(Said::by_file(Crop::Center, place)),
        (Some("squash"), pct) if pct.unwrap_or(1.0) == 1.0 => Some(Said::by_file(Crop::Squash, place)),
        (Some(other), _) => {
            let why = format!("{place} says {other:?}, which is run as a centre crop");
            Some(Said::assumed(Crop::Center, why))
        }
    }
}

/// What the architecture that a file names is known for.
fn of_known(sources: &Sources) -> Found {
    let Some(known) = sources.identity.timm else { return Found::default() };
    let i = sources.identity;
    Found {
        mean: i.says_of_images(known.mean.as_deref().map(collapsed)),
        std: i.says_of_images(known.std.as_deref().map(collapsed)),
        resize: i.says_of_images(known.crop_pct.map(|pct| resize_of(longer(sources.trained), pct))),
        is_share: true,
        crop: known.crop_mode.and_then(|mode| match crop_of_mode(Some(mode), known.crop_pct, known.name)? {
            said if said.is_assumed() => Some(said),
            said => i.says_of_images(Some(said.value)),
        }),
        interpolation: i.says_of_images(known.interpolation.and_then(filter_of)),
        channel_order: i.says_of_images(Some(ChannelOrder::Rgb)),
    }
}

/// Releases that were trained with ImageNet's mean and standard deviation, by what their files are called.
const IMAGENET_RELEASES: [&str; 6] = ["deit", "dino", "mae", "moco", "ibot", "msn"];

/// The release that a name is of: a whole part of it, which may end with a version (`dinov2`, `deit3`).
fn release_of(name: &str) -> Option<&'static str> {
    let mut words = name.split(|c: char| !c.is_ascii_alphabetic());
    words.find_map(|word| {
        let word = word.strip_suffix('v').unwrap_or(word);
        IMAGENET_RELEASES.into_iter().find(|release| *release == word)
    })
}

/// What a library's models usually have.
fn assumed(sources: &Sources) -> Found {
    let trained = longer(sources.trained);
    let of_folder = || IMAGENET_RELEASES.into_iter().find(|release| *release == sources.folder);
    let release = sources.names.iter().find_map(|name| release_of(name)).or_else(of_folder);
    let ([mean, std], why) = match (release, sources.library) {
        (Some(name), _) => (IMAGENET, format!("ImageNet's, as releases called {name} have")),
        _ if sources.model.distill_token => {
            (IMAGENET, "ImageNet's, as DeiT's with their distillation token".into())
        }
        (_, "torchvision") => (IMAGENET, "ImageNet's, as torchvision's weights have".into()),
        (_, library) => ([[0.5; 3], [0.5; 3]], format!("usual for {library}")),
    };
    let (filter, crop, resize, how) = match sources.library {
        "torchvision" if trained == 224 => {
            (Filter::Bilinear, Crop::Center, 256, "as torchvision's IMAGENET1K_V1")
        }
        "torchvision" => {
            (Filter::Bicubic, Crop::Center, trained, "as torchvision's weights for large images")
        }
        "timm" => (Filter::Bicubic, Crop::Center, resize_of(trained, 0.9), "usual for timm, crop_pct 0.9"),
        _ => (Filter::Bilinear, Crop::Squash, trained, "as transformers' ViTImageProcessor"),
    };
    Found {
        mean: Some(Said::assumed(collapsed(&mean), why.clone())),
        std: Some(Said::assumed(collapsed(&std), why)),
        resize: Some(Said::assumed(resize, how)),
        is_share: true,
        crop: Some(Said::assumed(crop, how)),
        interpolation: Some(Said::assumed(filter, how)),
        channel_order: Some(Said::assumed(ChannelOrder::Rgb, format!("usual for {}", sources.library))),
    }
}

/// A resize for the training's images becomes one for the model's, in proportion.
fn scale_with_image(found: &mut Found, sources: &Sources) {
    if !sources.is_resized() {
        return;
    }
    let (from, to) = (longer(sources.trained), longer(sources.size()));
    found.resize = found.resize.take().map(|said| {
        if said.is_by_option() {
            return said;
        }
        let note = format!("in proportion to --image-size, from {}", said.value);
        said.map(|side| (side * to / from.max(1)).max(1)).noting(&note)
    });
}

/// Broadcasts one value to all channels; three values of colours become their mean for a grey image. Other
/// lists are of another model, even if their values are equal.
fn per_channel(values: &[f64], channels: usize) -> Option<Vec<f64>> {
    match *values {
        _ if values.len() == channels => Some(values.to_vec()),
        [value] => Some(vec![value; channels]),
        [r, g, b] if channels == 1 => Some(vec![(r + g + b) / 3.0]),
        _ => None,
    }
}

/// One value for equal ones: what is usual for colours is so for any number of channels.
fn collapsed(values: &[f64]) -> Vec<f64> {
    let is_one = values.iter().all(|value| Some(value) == values.first());
    values[..if is_one { values.len().min(1) } else { values.len() }].to_vec()
}

fn invalid(what: String) -> CheckpointError {
    CheckpointError::Config {
        path: "preprocessing".into(),
        what,
        way_out: "give one mean and one positive standard deviation per channel, such as --mean \
                  0.485,0.456,0.406 --std 0.229,0.224,0.225"
            .into(),
    }
}
