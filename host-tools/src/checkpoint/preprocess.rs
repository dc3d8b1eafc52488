//! The preprocessing that a checkpoint was trained with, value by value: from options, from the files beside
//! it, from what its architecture is known for; what none of them says is assumed.
use super::architectures::IMAGENET;
use super::exact::Exact;
use super::json::Json;
use super::metadata::Identity;
use super::settings::{Said, Settings};
use super::CheckpointError;
use vitreous::format::{Crop, Filter, Preprocess};
use vitreous::models::vit::VitConfig;

/// What the caller knows of the preprocessing.
#[derive(Clone, Debug, Default)]
pub struct PreprocessOptions {
    /// Mean per channel of pixels scaled to 0..1, or one for all.
    pub mean: Option<Vec<f64>>,
    /// Standard deviation per channel of pixels scaled to 0..1, or one for all.
    pub std: Option<Vec<f64>>,
    /// Length of the shorter side after the resize, in pixels.
    pub resize: Option<usize>,
    /// The crop's share of the resized image; timm's way to say `resize`.
    pub crop_pct: Option<f64>,
    /// How the model's aspect ratio is reached.
    pub crop: Option<Crop>,
    /// Resampling filter.
    pub interpolation: Option<Filter>,
    /// Order of the colour channels that the weights were trained with.
    pub channel_order: Option<ChannelOrder>,
}

/// Order of an image's colour channels.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChannelOrder {
    /// Red first, as Pillow, timm, torchvision and transformers have it.
    Rgb,
    /// Blue first, as OpenCV has it.
    Bgr,
}

/// Everything that may say something.
pub(super) struct Sources<'a> {
    pub options: &'a PreprocessOptions,
    pub exact: Option<&'a Exact>,
    /// config.json.
    pub config: Option<&'a Json>,
    /// preprocessor_config.json.
    pub processor: Option<&'a Json>,
    pub identity: &'a Identity,
    /// Whose names the tensors have.
    pub library: &'static str,
    /// Name of the weights' file and of its folder, in lower case, which may tell whose release it is.
    pub names: &'a str,
    pub model: &'a VitConfig,
    /// (height, width) of the training's images.
    pub trained: (usize, usize),
}

/// What the sources say, before it is put together.
#[derive(Default)]
struct Found {
    mean: Option<Said<Vec<f64>>>,
    std: Option<Said<Vec<f64>>>,
    resize: Option<Said<usize>>,
    crop: Option<Said<Crop>>,
    interpolation: Option<Said<Filter>>,
    channel_order: Option<Said<ChannelOrder>>,
}

impl Found {
    /// Keeps what is there already and takes the rest of `other`.
    fn or(self, other: Self) -> Self {
        Self {
            mean: self.mean.or(other.mean),
            std: self.std.or(other.std),
            resize: self.resize.or(other.resize),
            crop: self.crop.or(other.crop),
            interpolation: self.interpolation.or(other.interpolation),
            channel_order: self.channel_order.or(other.channel_order),
        }
    }
}

/// Decides every value of the preprocessing. The channel order is returned beside it: the importer exchanges
/// the weights of red and blue, so that the model takes RGB.
pub(super) fn decide(
    sources: &Sources,
    settings: &mut Settings,
) -> Result<(Preprocess, ChannelOrder), CheckpointError> {
    let mut found = of_options(sources)?;
    found = found.or(sources.exact.map(of_exact).unwrap_or_default());
    if let Some(json) = sources.processor {
        found = found.or(of_transformers(json, sources)?);
    }
    if let Some(json) = sources.config {
        found = found.or(of_timm(json, sources)?);
    }
    found = found.or(of_known(sources)).or(assumed(sources));
    scale_with_image(&mut found, sources);
    let colours = sources.model.channels;
    let list =
        |values: &Vec<f64>| values.iter().map(|v| format!("{}", *v as f32)).collect::<Vec<_>>().join(",");
    let broadcast = |said: Option<Said<Vec<f64>>>, name: &str| {
        said.unwrap_or(Said::assumed(vec![0.5], "")).try_map(|values, place| {
            per_channel(&values, colours).ok_or_else(|| {
                invalid(format!("{} values of {name} for {colours} channels ({place})", values.len()))
            })
        })
    };
    let (mean, std) = (broadcast(found.mean, "mean")?, broadcast(found.std, "std")?);
    let mut result = Preprocess {
        mean: [0.0; 4],
        std: [1.0; 4],
        resize: settings.decide(
            "resize",
            "--resize",
            found.resize.unwrap_or(Said::assumed(0, "")),
            usize::to_string,
        ),
        crop: settings.decide(
            "crop",
            "--crop",
            found.crop.unwrap_or(Said::assumed(Crop::Center, "")),
            |crop| crop_name(*crop).to_string(),
        ),
        filter: settings.decide(
            "interpolation",
            "--interpolation",
            found.interpolation.unwrap_or(Said::assumed(Filter::Bicubic, "")),
            |filter| filter_name(*filter).to_string(),
        ),
    };
    refuse_bars(&result, sources)?;
    let (mean, std) =
        (settings.decide("mean", "--mean", mean, list), settings.decide("std", "--std", std, list));
    let is_sound = mean.iter().all(|m| m.is_finite()) && std.iter().all(|s| s.is_finite() && *s > 0.0);
    if !is_sound {
        return Err(invalid(format!("mean {}, std {}", list(&mean), list(&std))));
    }
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

/// An option that leaves less of a photograph than the model takes would put black bars around it. A file may
/// say so: then the training had them too.
fn refuse_bars(preprocess: &Preprocess, sources: &Sources) -> Result<(), CheckpointError> {
    let side = shorter(sources.size());
    match sources.options.resize {
        Some(resize) if resize < side && preprocess.crop == Crop::Center => Err(CheckpointError::Config {
            path: "preprocessing".into(),
            what: format!("--resize {resize} is less than the {side} pixels that the crop takes"),
            way_out: format!("give at least {side}, or --crop squash"),
        }),
        _ => Ok(()),
    }
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
    // No photograph has a mean beyond 10 where white is 1, and hardly one below where it is 255.
    if o.mean.iter().chain(&o.std).flatten().any(|value| value.abs() > 10.0) {
        return Err(invalid(
            "--mean and --std are of pixels scaled to 0..1, and these look like those of 0..255".into(),
        ));
    }
    let of_pct = o.crop_pct.map(|pct| resize_of(shorter(sources.size()), pct));
    Ok(Found {
        mean: o.mean.clone().map(Said::by_option),
        std: o.std.clone().map(Said::by_option),
        resize: o.resize.or(of_pct).map(Said::by_option),
        crop: o.crop.map(Said::by_option),
        interpolation: o.interpolation.map(Said::by_option),
        channel_order: o.channel_order.map(Said::by_option),
    })
}

fn of_exact(exact: &Exact) -> Found {
    let (p, place) = (&exact.preprocess, "config.json `vitreous`");
    let colours = exact.config.channels.min(4);
    let list = |values: &[f32; 4]| values[..colours].iter().map(|v| f64::from(*v)).collect::<Vec<_>>();
    Found {
        mean: Some(Said::by_file(list(&p.mean), place)),
        std: Some(Said::by_file(list(&p.std), place)),
        resize: Some(Said::by_file(p.resize, place)),
        crop: Some(Said::by_file(p.crop, place)),
        interpolation: Some(Said::by_file(p.filter, place)),
        channel_order: Some(Said::by_file(ChannelOrder::Rgb, place)),
    }
}

impl Sources<'_> {
    fn size(&self) -> (usize, usize) {
        (self.model.image_height, self.model.image_width)
    }

    fn is_resized(&self) -> bool {
        self.size() != self.trained
    }
}

fn shorter((height, width): (usize, usize)) -> usize {
    height.min(width)
}

/// timm's `math.floor(size / crop_pct)`, in the same f64 arithmetic.
fn resize_of(side: usize, crop_pct: f64) -> usize {
    (side as f64 / crop_pct).floor() as usize
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
    let trained = shorter(sources.trained);
    Ok(Found {
        mean: config.numbers("mean")?.map(|mean| Said::by_file(mean, place("mean"))),
        std: config.numbers("std")?.map(|std| Said::by_file(std, place("std"))),
        resize: crop_pct.map(|pct| Said::by_file(resize_of(trained, pct), place("crop_pct"))),
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

/// transformers: preprocessor_config.json. `rescale_factor` (1/255 if not said) and `do_rescale` say what a
/// pixel of 0..255 is multiplied by before mean and standard deviation; here both are of pixels scaled to
/// 0..1.
fn of_transformers(json: &Json, sources: &Sources) -> Result<Found, CheckpointError> {
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
    let (crop, resize) = transformers_crop(json, sources)?;
    let flips = json.boolean("do_flip_channel_order")? == Some(true);
    let order = if flips { ChannelOrder::Bgr } else { ChannelOrder::Rgb };
    Ok(Found {
        mean: scaled(json.numbers("image_mean")?, 0.0, offset, "image_mean"),
        std: scaled(json.numbers("image_std")?, 1.0, 0.0, "image_std"),
        resize,
        crop,
        interpolation: filter.map(|filter| Said::by_file(filter, json.place("resample"))),
        channel_order: Some(Said::by_file(order, json.place("do_flip_channel_order"))),
    })
}

type CropAndResize = (Option<Said<Crop>>, Option<Said<usize>>);

fn transformers_crop(json: &Json, sources: &Sources) -> Result<CropAndResize, CheckpointError> {
    let place = json.place("size");
    let (trained, crops) = (sources.trained, json.boolean("do_center_crop")? == Some(true));
    if json.boolean("do_resize")? == Some(false) {
        let why = format!(
            "{} is false: photographs are resized to the model's size all the same",
            json.place("do_resize")
        );
        return Ok((
            Some(Said::assumed(Crop::Squash, why.clone())),
            Some(Said::assumed(shorter(trained), why)),
        ));
    }
    let shortest_edge = match json.object("size") {
        Some(sizes) => sizes.integer("shortest_edge")?,
        None => None,
    };
    if let Some(resize) = shortest_edge {
        let crop = if crops {
            Said::by_file(Crop::Center, json.place("do_center_crop"))
        } else {
            Said::assumed(
                Crop::Center,
                "without a crop images would keep their aspect ratio, and the model takes one size",
            )
        };
        return Ok((Some(crop), Some(Said::by_file(resize, place))));
    }
    let Some(resized) = json.height_width("size")? else { return Ok((None, None)) };
    if crops {
        let why = format!(
            "{place} says {}×{} before the crop, whatever the image's aspect ratio, which is kept here",
            resized.0, resized.1
        );
        let said = if resized == sources.trained {
            Said::by_file(shorter(resized), place)
        } else {
            Said::assumed(shorter(resized), why)
        };
        return Ok((Some(Said::by_file(Crop::Center, json.place("do_center_crop"))), Some(said)));
    }
    if resized != trained {
        let why =
            format!("{place} says {}×{}, the model takes {}×{}", resized.0, resized.1, trained.0, trained.1);
        return Ok((
            Some(Said::assumed(Crop::Squash, why.clone())),
            Some(Said::assumed(shorter(trained), why)),
        ));
    }
    Ok((Some(Said::by_file(Crop::Squash, place.clone())), Some(Said::by_file(shorter(resized), place))))
}

/// What the architecture that a file names is known for.
fn of_known(sources: &Sources) -> Found {
    let Some(known) = sources.identity.timm else { return Found::default() };
    let i = sources.identity;
    Found {
        mean: i.says_of_images(known.mean.clone()),
        std: i.says_of_images(known.std.clone()),
        resize: i.says_of_images(known.crop_pct.map(|pct| resize_of(shorter(sources.trained), pct))),
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

/// What a library's models usually have.
fn assumed(sources: &Sources) -> Found {
    let trained = shorter(sources.trained);
    let release = IMAGENET_RELEASES.into_iter().find(|name| {
        sources.names.split(|c: char| !c.is_ascii_alphabetic()).any(|word| word.starts_with(name))
    });
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
        mean: Some(Said::assumed(mean.to_vec(), why.clone())),
        std: Some(Said::assumed(std.to_vec(), why)),
        resize: Some(Said::assumed(resize, how)),
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
    let (from, to) = (shorter(sources.trained), shorter(sources.size()));
    found.resize = found.resize.take().map(|said| {
        if said.is_by_option() {
            return said;
        }
        let note = format!("in proportion to --image-size, from {}", said.value);
        said.map(|side| (side * to / from.max(1)).max(1)).noting(&note)
    });
}

/// Broadcasts one value, or several equal ones, to all channels; three values of colours become their mean
/// for a grey image.
fn per_channel(values: &[f64], channels: usize) -> Option<Vec<f64>> {
    match values.len() {
        n if n == channels => Some(values.to_vec()),
        1 => Some(vec![values[0]; channels]),
        n if n > 0 && ((channels, n) == (1, 3) || values.iter().all(|v| *v == values[0])) => {
            Some(vec![values.iter().sum::<f64>() / n as f64; channels])
        }
        _ => None,
    }
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
