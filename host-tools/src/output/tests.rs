use std::fs;
use std::io::Write;
use std::path::Path;

use super::*;

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

#[test]
fn a_file_is_replaced_as_a_whole_and_by_nothing_if_its_body_fails() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a");
    write(&path, "first").unwrap();
    let failed = create(&path, |writer| -> anyhow::Result<()> {
        writer.write_all(b"half of the sec")?;
        anyhow::bail!("no more")
    });
    assert_eq!(failed.unwrap_err().to_string(), "no more");
    assert_eq!(fs::read(&path).unwrap(), b"first");
    write(&path, vec![b'x'; 200_000]).unwrap();
    assert_eq!(fs::read(&path).unwrap().len(), 200_000);
    assert_eq!(names(folder.path()), ["a"]);
}

#[test]
fn places_that_are_no_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    fs::create_dir(path("folder")).unwrap();
    fs::write(path("file"), "").unwrap();
    let refused = |path: &Path| write(path, "x").unwrap_err().to_string();
    for (name, reason) in [
        ("folder", "it is a folder"),
        ("folder/", "it is a folder"),
        ("none/a", "there is no folder"),
        ("file/a", "file is a file, no folder"),
        ("file/b/a", "file is a file, no folder"),
        ("new/", "a folder's"),
    ] {
        let message = refused(&path(name));
        assert!(message.contains(reason) && message.contains("cannot write"), "{name}: {message}");
    }
    for name in ["", "-"] {
        assert!(refused(Path::new(name)).contains("give a file's name"), "{name}");
    }
    let message = refused(&path(&"n".repeat(300)));
    assert!(message.contains("nnnn") && message.to_lowercase().contains("name too long"), "{message}");
    write(&path(&"n".repeat(250)), "as long as names may be").unwrap();
    let message = super::folder(&path("file/deeper")).unwrap_err().to_string();
    assert!(message.contains("file is a file, no folder"), "{message}");
    assert_eq!(names(folder.path()).len(), 3);
}

#[test]
fn inputs_and_results_do_not_meet() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["weights", "weights/deeper", "photos", "photos/deeper"] {
        fs::create_dir(path(name)).unwrap();
    }
    for name in ["weights/model.safetensors", "weights/labels.txt", "photos/a.png", "single.pt", "text"] {
        fs::write(path(name), "something").unwrap();
    }
    fs::write(path("old.vtr"), vitreous::format::MAGIC).unwrap();
    fs::write(path("old.html"), "<!DOCTYPE html><html>").unwrap();
    fs::write(path("empty"), "").unwrap();
    let plan = || Plan::new().reads_weights([path("weights")]).reads_data([path("photos")]);
    let vtr = |name: &str| plan().writes([path(name)], Kind::Vtr).check();
    for fine in ["new.vtr", "old.vtr", "empty", "weights/new.vtr", "weights/deeper/config.json"] {
        vtr(fine).unwrap();
    }
    let refused = |plan: Plan, reason: &str| {
        let message = plan.check().unwrap_err().to_string();
        assert!(message.contains(reason), "{message}");
    };
    for (name, reason) in [
        ("weights/model.safetensors", "is read by this command and would be lost"),
        ("weights/deeper/../labels.txt", "is read by this command and would be lost"),
        ("weights/config.json", "taken for part of what is there"),
        ("weights/other.safetensors", "taken for part of what is there"),
        ("photos/labels.csv", "taken for part of what is there"),
        ("photos/a.png", "that is no .vtr model"),
        ("old.html", "that is no .vtr model"),
        ("none/new.vtr", "there is no folder"),
    ] {
        refused(plan().writes([path(name)], Kind::Vtr), reason);
    }
    let single = || Plan::new().reads_weights([path("single.pt")]).reads([path("text")]);
    refused(single().writes([path("single.pt")], Kind::Vtr), "is read by this command");
    refused(single().writes([path("text")], Kind::Html), "is read by this command");
    refused(single().writes([path("labels.txt")], Kind::Vtr), "taken for part of");
    refused(single().writes([path("new"), path("weights/../new")], Kind::Vtr), "to the same place");
    single().writes([path("old.html")], Kind::Html).check().unwrap();
    // Folders of results.
    refused(plan().writes_into([path("photos/new")]), "would be read the next time");
    refused(plan().writes_into([path("text/new")]), "is a file, no folder");
    refused(plan().writes_into([path("weights")]), "is read by this command");
    let inside = path("new/folder");
    plan().writes_into([&inside]).writes([inside.join("b.png")], Kind::Png).check().unwrap();
}

#[cfg(unix)]
mod unix {
    use std::os::unix::fs::{symlink, PermissionsExt};

    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn permissions_are_those_of_the_umask_or_of_the_file_that_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("other"), "").unwrap();
        write(&path("ours"), "").unwrap();
        assert_eq!(mode(&path("ours")), mode(&path("other")));
        fs::set_permissions(path("ours"), fs::Permissions::from_mode(0o640)).unwrap();
        write(&path("ours"), "new").unwrap();
        assert_eq!(mode(&path("ours")), 0o640);
    }

    #[test]
    fn links_are_written_through_and_circles_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::create_dir(path("deep")).unwrap();
        for (link, real) in [("new", "deep/new"), ("twice", "new"), ("round", "about"), ("about", "round")] {
            symlink(real, path(link)).unwrap();
        }
        write(&path("twice"), "1").unwrap();
        assert_eq!(fs::read(path("deep/new")).unwrap(), b"1");
        write(&path("new"), "2").unwrap();
        assert_eq!(fs::read(path("twice")).unwrap(), b"2");
        assert!(fs::symlink_metadata(path("twice")).unwrap().is_symlink());
        assert_eq!(names(&path("deep")), ["new"]);
        let message = write(&path("round"), "").unwrap_err().to_string();
        assert!(message.contains("symbolic links"), "{message}");
    }

    #[test]
    fn links_of_both_kinds_to_an_input_are_the_input() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        fs::write(path("input"), b".VTR").unwrap();
        fs::hard_link(path("input"), path("hard")).unwrap();
        symlink("input", path("soft")).unwrap();
        for name in ["hard", "soft"] {
            let plan = Plan::new().reads([path("input")]).writes([path(name)], Kind::Vtr);
            let message = plan.check().unwrap_err().to_string();
            assert!(message.contains("input is read by this command"), "{message}");
        }
        symlink("new", path("to new")).unwrap();
        let plan = Plan::new().writes([path("new"), path("to new")], Kind::Vtr);
        assert!(plan.check().unwrap_err().to_string().contains("same place"));
        Plan::new().reads([path("input")]).writes(["/dev/null", "/dev/null"], Kind::Vtr).check().unwrap();
    }

    #[test]
    fn a_full_device_is_named_even_if_the_encoder_drops_the_error() {
        let full = Path::new("/dev/full");
        if !full.exists() {
            return crate::target::note_skipped("a_full_device_is_named: there is no /dev/full");
        }
        let message = write(full, vec![0; 100_000]).unwrap_err().to_string();
        assert!(message.contains("/dev/full") && message.contains("No space left"), "{message}");
        let careless = create(full, |writer| -> Result<(), OutputError> {
            let _ = writer.write(&[0; 100_000]);
            Ok(())
        });
        assert!(careless.is_err());
        assert!(create(full, |writer| -> Result<(), OutputError> {
            let _ = writer.write(b"so little that it waits for the last flush");
            Ok(())
        })
        .is_err());
        write(Path::new("/dev/null"), "gone").unwrap();
    }
}

#[test]
fn files_that_belong_together_are_both_new_or_both_old() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("none/two"));
    fs::write(&one, "old").unwrap();
    super::write_together(&[(&one, b"new"), (&two, b"new")]).unwrap_err();
    assert_eq!(fs::read(&one).unwrap(), b"old");
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    fs::create_dir(dir.path().join("none")).unwrap();
    super::write_together(&[(&one, b"new"), (&two, b"newer")]).unwrap();
    assert_eq!((fs::read(&one).unwrap(), fs::read(&two).unwrap()), (b"new".to_vec(), b"newer".to_vec()));
}
