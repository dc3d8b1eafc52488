//! Files of the host, over semihosting.
//!
//! This uses the calls themselves rather than the file type of the `semihosting` crate. That type asserts
//! that a handle is not -1, so every image would carry the panic machinery. With the calls, nothing in an
//! image can panic.

use core::ffi::CStr;

use semihosting::sys::arm_compat::syscall::{syscall, OperationNumber, ParamRegW};

/// The host did not carry out a call.
pub struct Refused;

/// A file that the host has opened.
pub struct File {
    handle: usize,
}

/// What to open a file for: the mode numbers of SYS_OPEN, which are ISO C's modes in order.
#[derive(Clone, Copy)]
enum Mode {
    /// `rb`
    Read = 1,
    /// `wb`
    Create = 5,
    /// `ab`
    Append = 9,
}

impl File {
    /// Opens a file for reading.
    pub fn open(name: &CStr) -> Result<File, Refused> {
        File::with_mode(name, Mode::Read)
    }

    /// Opens an empty file for writing.
    pub fn create(name: &CStr) -> Result<File, Refused> {
        File::with_mode(name, Mode::Create)
    }

    /// Opens a file, a new one if there is none, for writing at its end.
    pub fn append(name: &CStr) -> Result<File, Refused> {
        File::with_mode(name, Mode::Append)
    }

    fn with_mode(name: &CStr, mode: Mode) -> Result<File, Refused> {
        let length = name.to_bytes().len();
        let name = ParamRegW::ptr(name.as_ptr().cast_mut());
        let mut block = [name, ParamRegW::usize(mode as usize), ParamRegW::usize(length)];
        // SAFETY: the block is SYS_OPEN's: a name that ends with zero, a mode, the name's length. The name is
        // only read.
        let handle = unsafe { call(OperationNumber::SYS_OPEN, &mut block) };
        // -1: it could not be opened.
        if handle == usize::MAX {
            Err(Refused)
        } else {
            Ok(File { handle })
        }
    }

    /// Reads to the start of `buffer` and returns the number of bytes, 0 at the end of the file.
    pub fn read(&mut self, buffer: &mut [u8]) -> Result<usize, Refused> {
        let length = buffer.len();
        let mut block = [ParamRegW::usize(self.handle), ParamRegW::buf(buffer), ParamRegW::usize(length)];
        // SAFETY: the block is SYS_READ's: an open file, writable memory and its length.
        let left = unsafe { call(OperationNumber::SYS_READ, &mut block) };
        // The call returns how many bytes were not read; more than requested (-1) is a failure.
        length.checked_sub(left).ok_or(Refused)
    }

    /// Writes from the start of `bytes` and returns the number of bytes.
    pub fn write(&mut self, bytes: &[u8]) -> Result<usize, Refused> {
        let length = bytes.len();
        let start = ParamRegW::ptr(bytes.as_ptr().cast_mut());
        let mut block = [ParamRegW::usize(self.handle), start, ParamRegW::usize(length)];
        // SAFETY: the block is SYS_WRITE's: an open file, readable memory and its length. The memory is only
        // read.
        let left = unsafe { call(OperationNumber::SYS_WRITE, &mut block) };
        length.checked_sub(left).ok_or(Refused)
    }

    /// Goes to `offset` bytes from the start.
    pub fn seek(&mut self, offset: u64) -> Result<(), Refused> {
        let offset = usize::try_from(offset).map_err(|_| Refused)?;
        let mut block = [ParamRegW::usize(self.handle), ParamRegW::usize(offset)];
        // SAFETY: the block is SYS_SEEK's: an open file and an absolute position.
        match unsafe { call(OperationNumber::SYS_SEEK, &mut block) } {
            0 => Ok(()),
            _ => Err(Refused),
        }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let mut block = [ParamRegW::usize(self.handle)];
        // SAFETY: the block is SYS_CLOSE's: an open file, which nothing uses any more. A failure could be
        // reported to no one.
        let _ = unsafe { call(OperationNumber::SYS_CLOSE, &mut block) };
    }
}

/// One semihosting call.
///
/// # Safety
/// The block must be that of the operation, and memory that it points to must be valid for the operation.
unsafe fn call(operation: OperationNumber, block: &mut [ParamRegW<'_>]) -> usize {
    // SAFETY: what the caller promises is what the call needs.
    unsafe { syscall(operation, ParamRegW::block(block)) }.usize()
}
