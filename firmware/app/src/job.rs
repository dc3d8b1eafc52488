//! The job file: what to run, and the pixels, read strip by strip.

use vitreous::{PixelSource, SourceError};
use vitreous_protocol::{frame, Failure, Job, Phase, JOB_FILE};

use crate::failure;
use crate::file::{File, Refused};

/// Opens the job file and returns its images and the job.
pub fn open() -> Result<(Images, Job), Failure> {
    let broken = |step| failure(Phase::Job, Failure::JOB, [step, 0]);
    let mut file = File::open(JOB_FILE).map_err(|_| broken(0))?;
    let mut head = [0; frame::MAX_FRAME];
    let length = read_all(&mut file, &mut head).map_err(|_| broken(1))?;
    let decoded = frame::decode::<Job>(head.get(..length).unwrap_or(&[])).map_err(|_| broken(2))?;
    Ok((Images { file, next: decoded.bytes as u64 }, decoded.payload))
}

/// Reads until `buffer` is full or the file ends.
fn read_all(file: &mut File, buffer: &mut [u8]) -> Result<usize, Refused> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match file.read(rest)? {
            0 => break,
            read => length += read,
        }
    }
    Ok(length)
}

/// The images of the job file, one after the other.
pub struct Images {
    file: File,
    next: u64,
}

impl Images {
    /// Source error code: the job file can't be read.
    const UNREADABLE: u32 = 2;
    /// Source error code: the job file ends before the rows do.
    const TOO_SHORT: u32 = 3;

    /// The pixels of the next image.
    pub fn pixels(&mut self, row_bytes: u64, rows: u64) -> Strips<'_> {
        let start = self.next;
        self.next = start.saturating_add(row_bytes.saturating_mul(rows));
        Strips { file: &mut self.file, start, row_bytes }
    }

    /// The size that stands before the next image's pixels.
    #[cfg(feature = "restore")]
    pub fn size(&mut self) -> Result<vitreous_protocol::ImageSize, Refused> {
        use vitreous_protocol::ImageSize;
        let mut bytes = [0; ImageSize::BYTES];
        self.file.seek(self.next)?;
        if read_all(&mut self.file, &mut bytes)? != bytes.len() {
            return Err(Refused);
        }
        self.next = self.next.saturating_add(bytes.len() as u64);
        Ok(ImageSize::from_bytes(bytes))
    }
}

/// One image of the job file; only requested rows are read.
pub struct Strips<'a> {
    file: &'a mut File,
    start: u64,
    row_bytes: u64,
}

impl PixelSource for Strips<'_> {
    fn read_rows(&mut self, first_row: usize, rows: &mut [u8]) -> Result<(), SourceError> {
        let offset = self.start + first_row as u64 * self.row_bytes;
        match self.file.seek(offset).and_then(|()| read_all(self.file, rows)) {
            Ok(length) if length == rows.len() => Ok(()),
            Ok(_) => Err(SourceError { code: Images::TOO_SHORT }),
            Err(Refused) => Err(SourceError { code: Images::UNREADABLE }),
        }
    }
}
