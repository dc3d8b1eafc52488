//! What must not outlive the process: temporary files and folders, and the process groups of emulators.
//!
//! A value's own destructor removes them in every ordinary case. A signal runs no destructor, so what is
//! alive is also noted here.

use std::fs;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Something that goes away with the process.
#[derive(Clone, Debug)]
pub enum Item {
    /// A temporary file.
    File(PathBuf),
    /// A temporary folder, with all that is in it.
    Folder(PathBuf),
    /// A group of processes, by the id of its leader, which has not been waited for: the id is still that
    /// group's.
    Group(u32),
}

impl Item {
    /// There is nobody to be told if it fails: the process is about to end.
    fn remove(&self) {
        match self {
            Item::File(path) => drop(fs::remove_file(path)),
            Item::Folder(path) => drop(fs::remove_dir_all(path)),
            Item::Group(leader) => end_group(*leader),
        }
    }
}

/// Ends all processes of a group at once. One that has ended already is no error.
#[cfg(unix)]
pub fn end_group(leader: u32) {
    use rustix::process::{kill_process_group, Pid, Signal};
    if let Some(group) = i32::try_from(leader).ok().and_then(Pid::from_raw) {
        let _ = kill_process_group(group, Signal::KILL);
    }
}

/// Other systems have no groups; there the emulator is ended by its own handle.
#[cfg(not(unix))]
pub fn end_group(_: u32) {}

/// All items that are alive, with the numbers of their entries.
static ITEMS: Mutex<Vec<(u64, Item)>> = Mutex::new(Vec::new());

fn items() -> MutexGuard<'static, Vec<(u64, Item)>> {
    // The list is whole at every moment, so a panic elsewhere does not spoil it.
    ITEMS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An item's entry; it is struck out when this is dropped.
#[derive(Debug)]
pub struct Entry(u64);

impl Drop for Entry {
    fn drop(&mut self) {
        items().retain(|(number, _)| *number != self.0);
    }
}

/// Makes something and notes it, with no moment between the two at which a signal would leave it behind.
///
/// # Errors
/// Those of `make`.
pub fn noted<T, E>(
    make: impl FnOnce() -> Result<T, E>,
    item: impl FnOnce(&T) -> Item,
) -> Result<(T, Entry), E> {
    let mut items = items();
    let made = make()?;
    let number = items.last().map_or(0, |(number, _)| number + 1);
    items.push((number, item(&made)));
    Ok((made, Entry(number)))
}

/// Removes everything, and lets nothing new be made: the process is to end while the guard lives.
pub(super) fn remove_all() -> impl Sized {
    let items = items();
    items.iter().rev().for_each(|(_, item)| item.remove());
    items
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_lasts_as_long_as_its_value() {
        let (_, entry) = noted(|| Ok::<_, ()>(()), |()| Item::File("entry of this test".into())).unwrap();
        let is_ours = |item: &Item| matches!(item, Item::File(path) if path.ends_with("entry of this test"));
        assert!(items().iter().any(|(_, item)| is_ours(item)));
        drop(entry);
        assert!(!items().iter().any(|(_, item)| is_ours(item)));
    }
}
