//! Images for a model: labelled folders, or files and folders of them.

use std::borrow::Cow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::{bail, Result};
use rayon::prelude::*;
use vitreous::format::Preprocess;
use vitreous::models::vit::{Output, VitConfig};

use super::progress::Bars;
use crate::checkpoint::FloatVit;
use crate::console;
use crate::engine::Engine;
use crate::image_input::{
    find_images, is_unlabelled, labelled, load_pixels, print_warnings, Failed, Found, FoundImage, ImageError,
    Labelled, Loaded,
};
use crate::parity::Sample;
use crate::text::{printable, shown};

/// How a classifier takes images.
#[derive(Clone, Copy)]
pub struct Input<'m> {
    pub config: &'m VitConfig,
    pub preprocess: &'m Preprocess,
    pub labels: &'m [String],
}

impl<'m> From<&'m Engine> for Input<'m> {
    fn from(engine: &'m Engine) -> Self {
        Self { config: engine.config(), preprocess: engine.preprocess(), labels: engine.labels() }
    }
}

impl<'m> From<&'m FloatVit> for Input<'m> {
    fn from(float: &'m FloatVit) -> Self {
        Self { config: &float.config, preprocess: &float.preprocess, labels: &float.labels }
    }
}

/// Labelled images, and those that could not be taken.
pub struct Samples {
    /// As the model takes them.
    pub samples: Vec<Sample>,
    /// The others.
    pub failed: Failed,
}

impl Samples {
    /// The samples, if there is one of every image.
    ///
    /// # Errors
    /// The images that could not be taken, with reasons.
    pub fn all(self) -> Result<Vec<Sample>> {
        self.failed.check(self.samples.len() + self.failed.count(), "read")?;
        Ok(self.samples)
    }
}

/// Loads one image as the model takes it, and prints its warnings.
pub fn load(input: Input, path: &Path) -> Result<Loaded<Vec<u8>>, ImageError> {
    let c = input.config;
    let loaded = load_pixels(path, input.preprocess, c.image_height, c.image_width, c.channels)?;
    print_warnings(path, &loaded.warnings);
    Ok(loaded)
}

/// The images given and those of the folders given; says which files were passed over.
pub fn find(given: &[PathBuf]) -> Result<Vec<FoundImage>> {
    let found = find_images(given)?;
    note_passed_over(&found);
    Ok(found.images)
}

fn note_passed_over(found: &Found) {
    if let Some(note) = found.passed_over_note() {
        console::note(&format!("note: {note}"));
    }
}

/// Loads the images of folders, labelled ones of a classifier; of each at most `limit`, evenly spread.
pub fn load_folders(input: Input, folders: &[PathBuf], limit: Option<usize>, bars: &Bars) -> Result<Samples> {
    let mut files = Vec::new();
    for folder in folders {
        let all = files_of(input, folder)?;
        let take = limit.unwrap_or(all.len()).min(all.len());
        files.extend((0..take).map(|i| all[i * all.len() / take].clone()));
    }
    let done = AtomicUsize::new(0);
    let loaded: Vec<_> = files
        .par_iter()
        .map(|(path, class)| {
            let loaded = load(input, path);
            bars.report("loading images", 1 + done.fetch_add(1, Ordering::Relaxed), files.len());
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            loaded.map(|loaded| Sample { name, pixels: loaded.value, class: *class })
        })
        .collect();
    let mut failed = Failed::default();
    let taken = files.iter().zip(loaded).filter_map(|((path, _), sample)| failed.keep(path, sample));
    Ok(Samples { samples: taken.collect(), failed })
}

/// Images with their classes; without, where outputs are no classes of which one holds, which no folder could
/// label.
fn files_of(input: Input, folder: &Path) -> Result<Vec<(PathBuf, Option<usize>)>> {
    let config = input.config;
    if config.classes == 0 || config.output != Output::Softmax {
        let found = find(&[folder.to_path_buf()])?;
        return Ok(found.into_iter().map(|image| (image.path, None)).collect());
    }
    if is_unlabelled(folder) {
        console::note(&format!(
            "note: {} has neither a labels.csv nor class folders: its images count for SQNR and agreement, \
             not for accuracy",
            shown(folder)
        ));
        let found = find(&[folder.to_path_buf()])?;
        return Ok(found.into_iter().map(|image| (image.path, None)).collect());
    }
    let mut labelled = labelled(folder)?;
    let passed_over = std::mem::take(&mut labelled.passed_over);
    note_passed_over(&Found { passed_over, ..Found::default() });
    give_classes(&mut labelled, folder, input.labels, config.classes)?;
    Ok(labelled.images.into_iter().map(|(path, class)| (path, Some(class))).collect())
}

/// Makes the numbers of class folders the model's classes: folders that have its labels or numbers as names
/// are those classes; else there must be one for each class, in their order.
fn give_classes(labelled: &mut Labelled, folder: &Path, labels: &[String], classes: usize) -> Result<()> {
    let Some(names) = &labelled.classes else {
        let wrong = labelled.images.iter().find(|(_, class)| *class >= classes);
        return wrong.map_or(Ok(()), |(path, class)| {
            bail!("{}: labelled {class}, but the model has the classes 0 to {}", shown(path), classes - 1)
        });
    };
    let by_label = |name: &String| labels.iter().position(|label| label == name);
    let by_number = |name: &String| name.parse().ok().filter(|class| *class < classes);
    let given = |find: &dyn Fn(&String) -> Option<usize>| names.iter().map(find).collect::<Option<Vec<_>>>();
    let in_order = names.len() == classes
        && names.iter().enumerate().all(|(class, name)| by_label(name).is_none_or(|found| found == class));
    let order = || in_order.then(|| (0..classes).collect());
    let Some(known) = given(&by_label).or_else(|| given(&by_number)).or_else(order) else {
        let unknown = names.iter().find(|name| by_label(name).is_none());
        bail!(
            "{}: {} class folders, the model has {classes} classes, and `{}` is none of their labels; name \
             the folders after the model's labels, or write a labels.csv (columns file,class)",
            shown(folder),
            names.len(),
            unknown.map_or(Cow::Borrowed(""), |name| printable(name)),
        )
    };
    labelled.images.iter_mut().for_each(|(_, class)| *class = known[*class]);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn classes(folders: &[&str], labels: &[&str], count: usize) -> Result<Vec<usize>> {
        let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<String>>();
        let mut labelled = Labelled {
            images: (0..folders.len()).map(|class| ("x.png".into(), class)).collect(),
            classes: Some(names(folders)),
            passed_over: Vec::new(),
        };
        give_classes(&mut labelled, Path::new("images"), &names(labels), count)?;
        Ok(labelled.images.into_iter().map(|(_, class)| class).collect())
    }

    #[test]
    fn class_folders_are_the_models_classes_or_refused() {
        let labels = ["bird", "cat", "dog"];
        assert_eq!(classes(&["cat", "dog"], &labels, 3).unwrap(), [1, 2]);
        assert_eq!(classes(&["10", "2"], &[], 11).unwrap(), [10, 2]);
        assert_eq!(classes(&["n01", "n02", "n03"], &labels, 3).unwrap(), [0, 1, 2]);
        for (folders, named) in
            [(&["cat", "horse"][..], "`horse`"), (&["a", "bird", "c"], "`a`"), (&["a"], "`a`")]
        {
            let error = classes(folders, &labels, 3).unwrap_err().to_string();
            assert!(error.contains(named) && error.contains("3 classes"), "{error}");
        }
    }

    #[test]
    fn a_class_beyond_the_models_is_named() {
        let mut labelled = Labelled { images: vec![("a.png".into(), 3)], ..Labelled::default() };
        let error = give_classes(&mut labelled, Path::new("images"), &[], 3).unwrap_err().to_string();
        assert!(error.contains("a.png: labelled 3") && error.contains("0 to 2"), "{error}");
    }
}
