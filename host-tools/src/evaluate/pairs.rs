//! Clean images and what is to be restored.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{bail, ensure, Context, Result};
use rand_chacha::rand_core::SeedableRng;
use rand_chacha::ChaCha8Rng;
use sha2::{Digest, Sha256};
use vitreous::models::ipt::Task;

use crate::degrade::{degrade, Picture};
use crate::image_input::{images_below, Loaded};

/// A clean image and, if it is not to be made, the degraded one.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The clean image's file name, below the folder.
    pub name: String,
    /// Its file.
    pub clean: PathBuf,
    /// The degraded image's file.
    pub degraded: Option<PathBuf>,
}

/// Finds the images below `clean` and, by the same names (extensions may differ), below `degraded`; at most
/// `limit` of them, evenly spread.
///
/// # Errors
/// A folder that cannot be read or holds no images; an image without partner.
pub fn find_pairs(clean: &Path, degraded: Option<&Path>, limit: Option<usize>) -> Result<Vec<Pair>> {
    let files = images_below(clean)?;
    let partners = degraded.map(by_stem).transpose()?;
    let take = limit.unwrap_or(files.len()).min(files.len());
    let files = (0..take).map(|i| &files[i * files.len() / take]);
    files
        .map(|file| {
            let name = below(file, clean);
            let degraded = match &partners {
                None => None,
                Some(partners) => Some(partners.get(&stem(&name)).cloned().with_context(|| {
                    let folder = degraded.unwrap_or(clean).display();
                    format!("{}: no image of that name below {folder}", file.display())
                })?),
            };
            Ok(Pair { name, clean: file.clone(), degraded })
        })
        .collect()
}

fn by_stem(folder: &Path) -> Result<BTreeMap<String, PathBuf>> {
    let mut found: BTreeMap<String, PathBuf> = BTreeMap::new();
    for file in images_below(folder)? {
        let key = stem(&below(&file, folder));
        if let Some(other) = found.insert(key, file.clone()) {
            bail!("{} and {} have the same name", other.display(), file.display());
        }
    }
    Ok(found)
}

/// Path below the folder, with `/` on every system.
fn below(file: &Path, folder: &Path) -> String {
    let path = file.strip_prefix(folder).ok().filter(|p| !p.as_os_str().is_empty());
    let path = path.unwrap_or(Path::new(file.file_name().unwrap_or_default()));
    path.components().map(|part| part.as_os_str().to_string_lossy()).collect::<Vec<_>>().join("/")
}

fn stem(name: &str) -> String {
    Path::new(name).with_extension("").to_string_lossy().into_owned()
}

impl Pair {
    /// The name as that of one file, without extension.
    pub fn stem(&self) -> String {
        stem(&self.name).replace('/', "_")
    }

    /// The degraded and the clean image, the latter cut to the size that the task makes of the former; `warn`
    /// prints what is to be known of the files.
    ///
    /// # Errors
    /// A file that cannot be decoded; a degraded image of another size than the task says.
    pub fn load(&self, task: &Task, seed: u64, warn: bool) -> Result<(Picture, Picture)> {
        let load = |path: &Path| match warn {
            true => Loaded::or_warn(path, Picture::load),
            false => Picture::load(path).map(|loaded| loaded.value),
        };
        let clean = load(&self.clean)?;
        let Some(path) = &self.degraded else {
            let clean_name = || self.clean.display().to_string();
            let degraded =
                degrade(*task, &clean, &mut self.generator(task, seed)).with_context(clean_name)?;
            return Ok((degraded, clean.whole_multiples(task.scale).with_context(clean_name)?));
        };
        let degraded = load(path)?;
        let (width, height) = (degraded.width * task.scale, degraded.height * task.scale);
        let cut = |clean: usize, wanted: usize| (0..task.scale).contains(&clean.wrapping_sub(wanted));
        ensure!(
            cut(clean.width, width) && cut(clean.height, height),
            "{} has {}×{} pixels, of which {task} makes {width}×{height}; {} has {}×{}",
            path.display(),
            degraded.width,
            degraded.height,
            self.clean.display(),
            clean.width,
            clean.height
        );
        Ok((degraded, clean.crop(0, 0, width, height)))
    }

    /// Depends on seed, task and name alone, so that an image is degraded in the same way in every selection.
    fn generator(&self, task: &Task, seed: u64) -> ChaCha8Rng {
        let text = format!("{seed} {task} {}", self.name);
        ChaCha8Rng::from_seed(Sha256::digest(text).into())
    }
}
