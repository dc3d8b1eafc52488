//! The job file: what to run, and the pixels, read strip by strip.

use semihosting::fd::AsFd;
use semihosting::fs::File;
use semihosting::io::{Seek, SeekFrom};
use semihosting::sys::arm_compat::syscall::{syscall, OperationNumber, ParamRegW};
use vitreous::{PixelSource, SourceError};
use vitreous_protocol::{frame, Failure, Job, Phase, JOB_FILE};

use crate::failure;

/// Opens the job file and returns it with the job and the offset of its first image.
pub fn open() -> Result<(File, Job, u64), Failure> {
    let broken = |step| failure(Phase::Job, Failure::JOB, [step, 0]);
    let mut file = File::open(JOB_FILE).map_err(|_| broken(0))?;
    let mut head = [0; frame::MAX_FRAME];
    let length = read_all(&mut file, &mut head).map_err(|_| broken(1))?;
    let decoded = frame::decode::<Job>(head.get(..length).unwrap_or(&[])).map_err(|_| broken(2))?;
    Ok((file, decoded.payload, decoded.bytes as u64))
}

/// Reads until `buffer` is full or the file ends.
fn read_all(file: &mut File, buffer: &mut [u8]) -> Result<usize, SourceError> {
    let mut length = 0;
    while let Some(rest) = buffer.get_mut(length..).filter(|rest| !rest.is_empty()) {
        match read(file, rest) {
            Some(0) => break,
            Some(read) => length += read,
            None => return Err(SourceError { code: Images::UNREADABLE }),
        }
    }
    Ok(length)
}

/// SYS_READ. The crate's own `read` splits the buffer and with that could panic, as far as the compiler can see; without
/// it nothing in the application can.
fn read(file: &File, buffer: &mut [u8]) -> Option<usize> {
    let length = buffer.len();
    let mut block = [ParamRegW::fd(file.as_fd()), ParamRegW::buf(buffer), ParamRegW::usize(length)];
    // SAFETY: the block is the operation's: an open file, writable memory and its length.
    let result = unsafe { syscall(OperationNumber::SYS_READ, ParamRegW::block(&mut block)) };
    length.checked_sub(result.usize())
}

/// The images of the job file.
pub struct Images {
    file: File,
    start: u64,
    image_bytes: u64,
}

impl Images {
    /// Source error code: the job file can't be read.
    const UNREADABLE: u32 = 2;
    /// Source error code: the job file ends before the rows do.
    const TOO_SHORT: u32 = 3;

    /// The images that begin at `start` of the job file.
    pub fn new(file: File, job: &Job, start: u64) -> Self {
        Self { file, start, image_bytes: u64::from(job.image_bytes) }
    }

    /// The pixels of image `index`.
    pub fn image(&mut self, index: u32, row_bytes: usize) -> Strips<'_> {
        let start = self.start + u64::from(index) * self.image_bytes;
        Strips { file: &mut self.file, start, row_bytes: row_bytes as u64 }
    }
}

/// One image of the job file; only the rows that are asked for are read.
pub struct Strips<'a> {
    file: &'a mut File,
    start: u64,
    row_bytes: u64,
}

impl PixelSource for Strips<'_> {
    fn read_rows(&mut self, first_row: usize, rows: &mut [u8]) -> Result<(), SourceError> {
        let offset = self.start + first_row as u64 * self.row_bytes;
        self.file.seek(SeekFrom::Start(offset)).map_err(|_| SourceError { code: Images::UNREADABLE })?;
        if read_all(self.file, rows)? == rows.len() {
            Ok(())
        } else {
            Err(SourceError { code: Images::TOO_SHORT })
        }
    }
}
