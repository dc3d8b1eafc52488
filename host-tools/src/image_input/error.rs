use std::path::PathBuf;

/// Why an image or a folder of images cannot be taken. Each message names the file and the way out.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// A file cannot be written.
    #[error(transparent)]
    Output(#[from] crate::output::OutputError),
    /// A file or folder cannot be read.
    #[error("{path}: {reason}")]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// The system's reason; part of the message, so not a source that would be printed again.
        reason: std::io::Error,
    },
    /// The bytes are of no known image format.
    #[error("{path}: not an image in a known format (PNG, JPEG, BMP, GIF, WebP, TIFF and PNM are)")]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// The format is known, but the data is damaged or of an unsupported kind.
    #[error("{path}: cannot be decoded ({reason}); open and save it again with an image editor")]
    Decode {
        /// The file.
        path: PathBuf,
        /// The decoder's reason.
        reason: String,
    },
    /// An image that would need an unreasonable amount of memory.
    #[error("{path}: {width}×{height} pixels are {found}, the limit is {limit}; scale the image down first")]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
        /// What is too large.
        found: String,
        /// How large it may be.
        limit: String,
    },
    /// An image of which nothing would be left.
    #[error("{width}×{height} pixels cannot be reduced by {scale}; leave the image out")]
    TooSmall {
        /// Width in pixels.
        width: usize,
        /// Height in pixels.
        height: usize,
        /// How many times smaller it was to become.
        scale: usize,
    },
    /// The model asks for a number of channels that no image has.
    #[error("{channels} colour channels are asked for; images have 1 (grey), 2 (grey, alpha), 3 (RGB) or 4 (RGBA)")]
    Channels {
        /// Channels asked for.
        channels: usize,
    },
    /// A labels.csv that cannot be read.
    #[error("{path}, line {line}: {reason}")]
    Csv {
        /// The file.
        path: PathBuf,
        /// Line number from 1.
        line: usize,
        /// What is wrong, what is expected.
        reason: String,
    },
    /// A folder without labelled images.
    #[error(
        "{path}: no labelled images; expected a labels.csv (columns file,class) or one subfolder of images per class"
    )]
    NoImages {
        /// The folder.
        path: PathBuf,
    },
    /// A folder without images.
    #[error("{path}: no images in it or below; files of PNG, JPEG, BMP, GIF, WebP, TIFF and PNM are found by their extensions")]
    EmptyFolder {
        /// The folder.
        path: PathBuf,
    },
}

impl ImageError {
    pub(crate) fn io(path: &std::path::Path, reason: std::io::Error) -> Self {
        Self::Io { path: path.to_path_buf(), reason }
    }
}
