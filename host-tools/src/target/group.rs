//! The group of processes that an emulator runs in. It ends with this program, however that ends.

use std::io;
use std::process::{Child, Command};

#[cfg(unix)]
use std::process::Stdio;

#[cfg(unix)]
use crate::interrupt::cleanup::{self, Entry, Item};

/// Leads the group. Its standard input is a pipe from here, at which it waits; when this program is gone,
/// killed even, the pipe ends, and it kills its group. (Linux's own way, PR_SET_PDEATHSIG, would need unsafe
/// code, and looks at threads, not processes.)
#[cfg(unix)]
const WATCHDOG: &str = "read -r _; kill -s KILL 0";

/// A group, ended when dropped.
#[derive(Debug)]
pub(super) struct Group {
    #[cfg(unix)]
    watchdog: Child,
    #[cfg(unix)]
    _entry: Entry,
}

#[cfg(unix)]
impl Group {
    pub fn start() -> io::Result<Self> {
        use std::os::unix::process::CommandExt;
        let start = || {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", WATCHDOG]).process_group(0);
            command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(Stdio::null()).spawn()
        };
        let (watchdog, entry) = cleanup::noted(start, |watchdog: &Child| Item::Group(watchdog.id()))?;
        Ok(Self { watchdog, _entry: entry })
    }

    /// Has a command run in the group.
    pub fn take_in(&self, command: &mut Command) {
        use std::os::unix::process::CommandExt;
        if let Ok(leader) = i32::try_from(self.watchdog.id()) {
            command.process_group(leader);
        }
    }

    /// Ends all of it.
    pub fn end(&self) {
        // The leader has not been waited for yet, so its number is still the group's.
        cleanup::end_group(self.watchdog.id());
    }
}

#[cfg(unix)]
impl Drop for Group {
    fn drop(&mut self) {
        self.end();
        let _ = self.watchdog.wait();
    }
}

/// Without groups, the emulator's own handle must do.
#[cfg(not(unix))]
impl Group {
    pub fn start() -> io::Result<Self> {
        Ok(Self {})
    }

    pub fn take_in(&self, _: &mut Command) {}

    pub fn end(&self) {}
}

#[cfg(all(test, unix))]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    fn sleeper(group: &Group) -> Child {
        let mut command = Command::new("sleep");
        command.arg("600");
        group.take_in(&mut command);
        command.spawn().unwrap()
    }

    fn ends_soon(child: &mut Child) -> bool {
        let start = Instant::now();
        while start.elapsed() < Duration::from_secs(20) {
            if child.try_wait().unwrap().is_some() {
                return true;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        child.kill().unwrap();
        false
    }

    #[test]
    fn a_dropped_group_takes_its_processes_with_it() {
        let group = Group::start().unwrap();
        let mut child = sleeper(&group);
        drop(group);
        assert!(ends_soon(&mut child));
    }

    #[test]
    fn a_group_whose_program_is_gone_ends_by_itself() {
        let mut group = Group::start().unwrap();
        let mut child = sleeper(&group);
        // What the system does with the pipe of a killed process.
        drop(group.watchdog.stdin.take());
        assert!(ends_soon(&mut child));
    }
}
