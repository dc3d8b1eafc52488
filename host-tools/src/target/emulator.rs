//! QEMU: finding it, starting it, ending it.

use std::env;
use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use vitreous_protocol::{Board, COUNT_INSTRUCTIONS};

use super::group::Group;
use super::TargetError;

/// Between two looks at the results.
const PERIOD: Duration = Duration::from_millis(2);

/// File for the emulator's own messages, in the job's folder.
const MESSAGES: &str = "emulator-messages.txt";

/// The emulator's program for a board.
pub(super) fn find(board: &Board) -> Result<PathBuf, TargetError> {
    let name = format!("{}{}", board.emulator, env::consts::EXE_SUFFIX);
    let path = env::var_os("PATH").unwrap_or_default();
    // What the working directory holds is not run, though PATH may name it, as an empty entry does.
    let folders = env::split_paths(&path).filter(|folder| folder.is_absolute());
    let found = folders.map(|folder| folder.join(&name)).find(|file| file.is_file());
    found.ok_or_else(|| TargetError::EmulatorMissing {
        board: board.name,
        program: board.emulator,
        advice: install_advice(board),
    })
}

fn install_advice(board: &Board) -> String {
    let package = match board.emulator {
        // Of both word sizes.
        "qemu-system-arm" | "qemu-system-aarch64" => "qemu-system-arm",
        _ => "qemu-system-misc",
    };
    format!(
        "`apt-get install --no-install-recommends {package}` on Debian or Ubuntu, `dnf install {}` on \
         Fedora, `brew install qemu` on macOS",
        board.emulator
    )
}

/// Most bytes of messages. An emulator that goes on and on about something does not fill the disk.
const MESSAGES_LIMIT: u64 = 8 << 20;

/// Bytes at their end of which lines are quoted.
const QUOTED: u64 = 4 << 10;

/// What to start.
pub(super) struct Launch<'a> {
    pub emulator: &'a Path,
    pub board: &'static Board,
    pub firmware: &'a Path,
    pub model: &'a Path,
    pub count: bool,
    /// Job, results and messages; semihosting resolves the firmware's file names here.
    pub folder: &'a Path,
}

impl Launch<'_> {
    fn command(&self) -> Command {
        let mut command = Command::new(self.emulator);
        command.current_dir(self.folder).args(self.board.emulator_options());
        if self.count {
            command.args(COUNT_INSTRUCTIONS);
        }
        command.arg("-kernel").arg(self.firmware);
        let mut loader =
            OsString::from(format!("loader,addr={:#x},force-raw=on,file=", self.board.model.start));
        loader.push(doubled_commas(self.model));
        command.arg("-device").arg(loader);
        command
    }

    fn program(&self) -> String {
        self.emulator.display().to_string()
    }
}

/// QEMU splits options at commas, and takes two for one.
fn doubled_commas(path: &Path) -> OsString {
    match path.to_str() {
        Some(text) => text.replace(',', ",,").into(),
        None => path.as_os_str().to_owned(),
    }
}

/// A running emulator, ended when dropped.
pub(super) struct Process {
    child: Child,
    group: Group,
    board: &'static str,
    program: String,
    messages: PathBuf,
    timeout: Duration,
    deadline: Instant,
}

impl Process {
    pub fn start(launch: &Launch<'_>, timeout: Duration) -> Result<Self, TargetError> {
        let messages = launch.folder.join(MESSAGES);
        let file = File::create(&messages).map_err(|error| TargetError::file(&messages, error))?;
        let copy = file.try_clone().map_err(|error| TargetError::file(&messages, error))?;
        let mut command = launch.command();
        command.stdin(Stdio::null()).stdout(file).stderr(copy);
        let mut start = || {
            let group = Group::start()?;
            group.take_in(&mut command);
            Ok((command.spawn()?, group))
        };
        let (child, group) = start().map_err(|error: std::io::Error| TargetError::Emulator {
            program: launch.program(),
            reason: error.to_string(),
            messages: String::new(),
        })?;
        let (board, deadline) = (launch.board.name, Instant::now() + timeout);
        Ok(Self { child, group, board, program: launch.program(), messages, timeout, deadline })
    }

    /// Waits for a moment; returns how the process ended, if it did.
    pub fn wait_a_little(&mut self) -> Result<Option<ExitStatus>, TargetError> {
        thread::sleep(PERIOD);
        let ended = self.child.try_wait().map_err(|error| self.failed(error.to_string()))?;
        if self.messages.metadata().is_ok_and(|file| file.len() > MESSAGES_LIMIT) {
            return Err(self.failed(format!("it wrote more than {MESSAGES_LIMIT} bytes of messages")));
        }
        if ended.is_none() && Instant::now() > self.deadline {
            return Err(TargetError::Timeout { board: self.board, seconds: self.timeout.as_secs() });
        }
        Ok(ended)
    }

    fn failed(&self, reason: String) -> TargetError {
        TargetError::Emulator { program: self.program.clone(), reason, messages: self.messages() }
    }

    /// What the emulator has said so far: its last lines.
    pub fn messages(&self) -> String {
        let read = || {
            let mut file = File::open(&self.messages)?;
            let start = file.metadata()?.len().saturating_sub(QUOTED);
            file.seek(SeekFrom::Start(start))?;
            let mut text = Vec::new();
            file.take(QUOTED).read_to_end(&mut text).map(|_| text)
        };
        // Messages that cannot be read are none: they only explain another error.
        let text: Vec<u8> = read().unwrap_or_else(|_: std::io::Error| Vec::new());
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.group.end();
        // Both fail only if the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
