//! Full disks, closed pipes and signals, on every command that writes: nothing is lost, nothing is left half
//! done.
#![cfg(unix)]

#[path = "common/files.rs"]
mod files;

use std::fs;
use std::io::Read;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use rustix::process::{kill_process, test_kill_process, Pid, Signal};
use vitreous_tools::target::note_skipped;

use files::{again, errors, files_below, is_whole, prepared, vitreous, writers, TRAIN_IPT, TRAIN_VIT};

/// A patience that no slow machine exhausts.
const LONG: Duration = Duration::from_secs(60);
const EPIPE_SIGNAL: i32 = 13;

/// The same command whose files may have `blocks` blocks of 512 or 1024 bytes.
fn limited(arguments: &str, folder: &Path, blocks: u32) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", &format!("ulimit -f {blocks}; exec \"$0\" \"$@\""), env!("CARGO_BIN_EXE_vitreous")]);
    command.current_dir(folder).args(arguments.split_whitespace());
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    command
}

/// It fails, names a file below `out`, and changes none of the files there.
fn fails_and_keeps(name: &str, mut command: Command, out: &Path) {
    let before = files_below(out);
    let output = command.output().expect("the tool starts");
    let errors = errors(&output);
    assert_eq!(output.status.code(), Some(1), "{name}: {errors}");
    assert!(errors.contains("cannot write out/"), "{name}: {errors}");
    let (now, names) =
        (files_below(out), |files: &std::collections::BTreeMap<_, _>| format!("{:?}", files.keys()));
    assert!(now == before, "{name}: {} became {}", names(&before), names(&now));
}

#[test]
fn a_write_that_fails_is_an_error_and_leaves_what_was_there() {
    let folder = prepared();
    let path = folder.path();
    let out = path.join("out");
    for (name, arguments) in writers() {
        fs::create_dir(&out).expect("a folder");
        fails_and_keeps(name, limited(&arguments, path, 0), &out);
        let output = vitreous(&arguments, path).output().expect("the tool starts");
        assert!(output.status.success(), "{name}: {}", errors(&output));
        assert!(!files_below(&out).is_empty(), "{name}");
        fails_and_keeps(name, limited(&again(&arguments), path, 0), &out);
        fs::remove_dir_all(&out).expect("removed");
    }
    let output = limited("convert digits -o a.vtr", path, 8).output().expect("the tool starts");
    let errors = errors(&output);
    assert!(errors.contains("a.vtr: File too large") && errors.contains("ulimit"), "{errors}");
    assert!(!path.join("a.vtr").exists());
}

/// A disk of 64 KiB that is full.
struct FullDisk<'a>(&'a Path);

impl<'a> FullDisk<'a> {
    /// None where it may not be made.
    fn at(path: &'a Path) -> Option<Self> {
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(path).stderr(Stdio::null());
        mount.status().is_ok_and(|status| status.success()).then_some(FullDisk(path))
    }

    fn fill(&self) {
        let _ = fs::write(self.0.join("filler"), vec![0; 1 << 20]);
    }
}

impl Drop for FullDisk<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

#[test]
fn a_full_disk_is_an_error_and_leaves_what_was_there() {
    let folder = prepared();
    let path = folder.path();
    let out = path.join("out");
    fs::create_dir(&out).expect("a folder");
    for (name, arguments) in writers() {
        let Some(disk) = FullDisk::at(&out) else {
            return note_skipped("a_full_disk_is_an_error_and_leaves_what_was_there: no disk can be mounted");
        };
        disk.fill();
        fails_and_keeps(name, vitreous(&arguments, path), &out);
        let told = vitreous(&arguments, path).output().expect("the tool starts");
        assert!(errors(&told).contains("No space left"), "{name}: {}", errors(&told));
    }
    if Path::new("/dev/full").exists() {
        let output = vitreous("inspect digits.vtr", path)
            .stdout(fs::OpenOptions::new().write(true).open("/dev/full").expect("a device"))
            .output()
            .expect("the tool starts");
        let errors = errors(&output);
        assert!(output.status.code() == Some(1) && errors.contains("standard output"), "{errors}");
    }
}

#[test]
fn a_closed_pipe_ends_a_command_quietly_and_costs_no_file() {
    let folder = prepared();
    let path = folder.path();
    let closed = || {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        Stdio::from(writer)
    };
    let readers = [
        "inspect digits.vtr",
        "inspect restorer.vtr --json",
        "inspect --cpu",
        "run digits.vtr held-out/7/0000.png --json",
    ];
    for arguments in readers {
        let output = vitreous(arguments, path).stdout(closed()).output().expect("the tool starts");
        assert_eq!(
            (output.status.signal(), errors(&output).as_str()),
            (Some(EPIPE_SIGNAL), ""),
            "{arguments}"
        );
    }
    let out = path.join("out");
    for (name, arguments) in writers() {
        fs::create_dir(&out).expect("a folder");
        let output = vitreous(&arguments, path).output().expect("the tool starts");
        assert!(output.status.success(), "{name}: {}", errors(&output));
        let names: Vec<_> = files_below(&out).into_keys().collect();
        fs::remove_dir_all(&out).expect("removed");
        for json in ["", " --json"] {
            fs::create_dir(&out).expect("a folder");
            let arguments = format!("{arguments}{json}");
            let output = vitreous(&arguments, path).stdout(closed()).output().expect("the tool starts");
            assert_eq!(output.status.signal(), Some(EPIPE_SIGNAL), "{arguments}: {}", errors(&output));
            let written = files_below(&out);
            assert!(written.keys().eq(&names), "{arguments}: {:?}", written.keys());
            assert!(written.iter().all(|(path, bytes)| is_whole(path, bytes)), "{arguments}");
            fs::remove_dir_all(&out).expect("removed");
        }
        // Nobody to be told on standard error is no reason to stop.
        fs::create_dir(&out).expect("a folder");
        let status = vitreous(&arguments, path).stderr(closed()).status().expect("the tool starts");
        assert!(status.success(), "{name}: {status}");
        assert!(files_below(&out).keys().eq(&names), "{name}");
        fs::remove_dir_all(&out).expect("removed");
    }
}

fn signal(process: u32, signal: Signal) {
    let process = i32::try_from(process).ok().and_then(Pid::from_raw).expect("a number of a process");
    // It may have ended before.
    let _ = kill_process(process, signal);
}

fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LONG, "{what}");
        sleep(Duration::from_millis(2));
    }
}

fn ended(mut child: Child) -> (ExitStatus, String) {
    let mut errors = String::new();
    child.stderr.take().expect("a pipe").read_to_string(&mut errors).expect("UTF-8");
    assert!(!errors.contains("panicked"), "{errors}");
    (child.wait().expect("a status"), errors)
}

/// Files but for the temporary ones, which only SIGKILL leaves.
fn is_temporary(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b".vitreous-"))
}

#[test]
fn a_signal_at_any_time_leaves_whole_files_alone() {
    let folder = prepared();
    let path = folder.path();
    let out = path.join("out");
    for (name, arguments) in writers() {
        fs::create_dir(&out).expect("a folder");
        let started = Instant::now();
        assert!(vitreous(&arguments, path).status().expect("the tool starts").success(), "{name}");
        let all = started.elapsed();
        // First in the place of finished results, then in an empty folder.
        for (turn, kind) in [Signal::INT, Signal::TERM, Signal::KILL, Signal::KILL].into_iter().enumerate() {
            let before = files_below(&out);
            let arguments = if before.is_empty() { arguments.clone() } else { again(&arguments) };
            let child = vitreous(&arguments, path).spawn().expect("the tool starts");
            sleep(all.mul_f64(0.35 + 0.15 * turn as f64));
            signal(child.id(), kind);
            let (status, errors) = ended(child);
            let is_ours = status.signal() == Some(kind.as_raw()) || status.success();
            assert!(is_ours, "{name} by {kind:?}: {status}: {errors}");
            let now = files_below(&out);
            for (path, bytes) in &now {
                if kind == Signal::KILL && is_temporary(path) {
                    continue;
                }
                assert!(
                    !is_temporary(path) && is_whole(path, bytes),
                    "{name} by {kind:?}: {}",
                    path.display()
                );
            }
            if !arguments.starts_with("train") {
                let kept = before.keys().all(|path| is_temporary(path) || now.contains_key(path));
                assert!(kept, "{name} by {kind:?} loses files");
            }
            if turn == 2 {
                fs::remove_dir_all(&out).expect("removed");
                fs::create_dir(&out).expect("a folder");
            }
        }
        fs::remove_dir_all(&out).expect("removed");
    }
}

#[test]
fn an_interrupted_training_goes_on_where_it_stopped() {
    let folder = prepared();
    let path = folder.path();
    let trainings =
        [(format!("{TRAIN_VIT} --epochs 9000"), "vit"), (format!("{TRAIN_IPT} --steps 90000"), "ipt")];
    for (training, out) in &trainings {
        let training = format!("{training} --quiet --checkpoint-seconds 0 --out {out}");
        let (checkpoint, previous) = (
            path.join(out).join("checkpoint.safetensors"),
            path.join(out).join("checkpoint-previous.safetensors"),
        );
        let mut arguments = training.clone();
        let kinds = [Signal::INT, Signal::TERM, Signal::HUP, Signal::KILL, Signal::KILL];
        for kind in kinds.into_iter().filter(|kind| !is_ignored(*kind)) {
            let _ = fs::remove_file(&previous);
            let child = vitreous(&arguments, path).spawn().expect("the tool starts");
            // Two checkpoints after the start.
            until("checkpoints come", || previous.exists());
            if kind == Signal::INT {
                let second =
                    vitreous(&format!("{training} --overwrite"), path).output().expect("the tool starts");
                let errors = errors(&second);
                assert!(errors.contains(&format!("process {}", child.id())), "{errors}");
            }
            signal(child.id(), kind);
            let (status, errors) = ended(child);
            assert_eq!(status.signal(), Some(kind.as_raw()), "{errors}");
            assert!(checkpoint.exists() || previous.exists());
            if kind != Signal::KILL {
                assert!(errors.contains("--resume goes on") && errors.contains("stopping after"), "{errors}");
                assert!(!files_below(&path.join(out)).keys().any(|path| is_temporary(path)));
            }
            let output = vitreous(&training, path).output().expect("the tool starts");
            assert!(errors_of_refusal(&output).contains("--resume to go on"));
            arguments = format!("{training} --resume");
        }
        let output = vitreous(&format!("{training} --resume --stop-after 1"), path).output();
        let output = output.expect("the tool starts");
        assert!(output.status.success(), "{}", errors(&output));
    }
}

/// Whether a signal was ignored already when this process began, as `nohup` does with SIGHUP: the tool leaves
/// it so.
fn is_ignored(signal: Signal) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask >> (signal.as_raw() - 1) & 1 == 1
}

fn errors_of_refusal(output: &std::process::Output) -> String {
    assert_eq!(output.status.code(), Some(1));
    errors(output)
}

/// A program in the place of QEMU, which notes its number and that of a process that it starts, and does not
/// end.
fn with_emulator(folder: &Path, script: &str) -> Command {
    use std::os::unix::fs::PermissionsExt;
    let programs = folder.join("programs");
    fs::create_dir_all(&programs).expect("a folder");
    let program = programs.join("qemu-system-arm");
    fs::write(&program, format!("#!/bin/sh\n{script}\n")).expect("a file");
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).expect("a program");
    fs::write(folder.join("qemu-m4.elf"), "").expect("a file");
    let temporary = folder.join("temporary");
    fs::create_dir_all(&temporary).expect("a folder");
    let mut command = vitreous("run digits.vtr held-out/7/0000.png --target qemu-m4", folder);
    let search = format!("{}:{}", programs.display(), std::env::var("PATH").unwrap_or_default());
    command.env("PATH", search).env("VITREOUS_FIRMWARE_DIR", folder).env("TMPDIR", temporary);
    command
}

#[test]
fn an_emulator_ends_with_the_tool_and_its_folder_too() {
    let folder = prepared();
    let path = folder.path();
    let notes = path.join("numbers");
    let script = format!("sleep 600 & echo $$ $! > {0}.new; mv {0}.new {0}; wait", notes.display());
    let kinds = [Signal::INT, Signal::TERM, Signal::KILL];
    for kind in kinds.into_iter().filter(|kind| !is_ignored(*kind)) {
        let child = with_emulator(path, &script).spawn().expect("the tool starts");
        until("the emulator starts", || notes.exists());
        let numbers = fs::read_to_string(&notes).expect("numbers");
        let numbers: Vec<i32> = numbers.split_whitespace().map(|n| n.parse().expect("a number")).collect();
        signal(child.id(), kind);
        let (status, errors) = ended(child);
        assert_eq!(status.signal(), Some(kind.as_raw()), "{errors}");
        for number in numbers {
            let process = Pid::from_raw(number).expect("a process");
            until("the emulator's processes end", || {
                test_kill_process(process).is_err() || is_zombie(number)
            });
        }
        let left = fs::read_dir(path.join("temporary")).expect("a folder").count();
        assert!(kind == Signal::KILL || left == 0, "{left} temporary folders are left");
        fs::remove_file(&notes).expect("removed");
    }
}

/// Ended, but not waited for: containers often have no process that does.
fn is_zombie(process: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    status.lines().any(|line| line.starts_with("State:") && line.contains('Z'))
}

#[test]
fn a_flood_from_the_emulator_is_bounded() {
    let folder = prepared();
    let path = folder.path();
    let output = with_emulator(path, "yes 'a message'").output().expect("the tool starts");
    let told = errors(&output);
    assert!(output.status.code() == Some(1) && told.contains("bytes of messages"), "{told}");
    assert!(told.len() < 10_000, "{} bytes are quoted", told.len());
    let results = vitreous_protocol::RESULT_FILE.to_str().expect("ASCII");
    let output = with_emulator(path, &format!("yes > {results}")).output().expect("the tool starts");
    assert!(
        output.status.code() == Some(1) && errors(&output).contains("unusable results"),
        "{}",
        errors(&output)
    );
}
