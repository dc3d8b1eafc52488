//! QEMU: finding it, starting it, ending it.

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use vitreous_protocol::Board;

use super::TargetError;

/// Between two looks at the results.
const PERIOD: Duration = Duration::from_millis(2);

/// File for the emulator's own messages, in the job's folder.
const MESSAGES: &str = "emulator-messages.txt";

/// The emulator's program for a board.
pub(super) fn find(board: &Board) -> Result<PathBuf, TargetError> {
    let name = format!("{}{}", board.emulator, env::consts::EXE_SUFFIX);
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).map(|folder| folder.join(&name)).find(|file| file.is_file());
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
        "`apt-get install --no-install-recommends {package}` on Debian or Ubuntu, `dnf install {}` on Fedora, \
         `brew install qemu` on macOS",
        board.emulator
    )
}

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
        command.current_dir(self.folder).args(["-M", self.board.machine]);
        command.args([
            "-display",
            "none",
            "-monitor",
            "none",
            "-serial",
            "none",
            "-nic",
            "none",
            "-no-reboot",
        ]);
        command.args(["-semihosting-config", "enable=on,target=native"]);
        command.args(self.board.emulator_options());
        if self.count {
            // 64 ns of virtual time per instruction: the counters' ticks become instructions.
            command.args(["-icount", "shift=6"]);
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
        let child = command.stdin(Stdio::null()).stdout(file).stderr(copy).spawn().map_err(|error| {
            TargetError::Emulator {
                program: launch.program(),
                reason: error.to_string(),
                messages: String::new(),
            }
        })?;
        let deadline = Instant::now() + timeout;
        Ok(Self { child, board: launch.board.name, program: launch.program(), messages, timeout, deadline })
    }

    /// Waits for a moment; returns how the process ended, if it did.
    pub fn wait_a_little(&mut self) -> Result<Option<ExitStatus>, TargetError> {
        thread::sleep(PERIOD);
        let ended = self.child.try_wait().map_err(|error| TargetError::Emulator {
            program: self.program.clone(),
            reason: error.to_string(),
            messages: self.messages(),
        })?;
        if ended.is_none() && Instant::now() > self.deadline {
            return Err(TargetError::Timeout { board: self.board, seconds: self.timeout.as_secs() });
        }
        Ok(ended)
    }

    /// What the emulator has said so far: its last lines.
    pub fn messages(&self) -> String {
        let text = fs::read(&self.messages).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Both fail only if the process has already ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
