//! The state folder of an agent: its lock, its journal in two copies, and the stop switch.

use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::perturb::journal::{Entry, Held, kept, line, read};

const COPIES: [&str; 2] = ["journal.1", "journal.2"];
const STOP: &str = "stop";

/// A journal is written anew, with what still holds and the last entries, from so many bytes on: some 40,000 entries.
const FULL_BYTES: u64 = 16 << 20;

/// How often a lock is tried.
const STEP: Duration = Duration::from_millis(20);

/// Something about the state folder does not work.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A file cannot be made, read or written.
    #[error("{}: cannot {what}", .path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// Do what.
        what: &'static str,
        /// Why.
        source: io::Error,
    },
    /// Somebody else holds the lock.
    #[error("{}: in use by {holder}", .folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
        /// Who: `agent 123`.
        holder: String,
    },
}

/// A state folder that we hold alone.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    held: Held,
    bytes: u64,
    _lock: File,
}

impl Store {
    /// Takes the folder, which is made if need be, as `role`; waits up to `patience` for whoever has it.
    ///
    /// # Errors
    /// When it cannot be read, or somebody has it.
    pub fn open(folder: &Path, role: &str, patience: Duration) -> Result<Store, StoreError> {
        let lock = lock(folder, role, patience)?;
        let (entries, same) = load(folder)?;
        let mut store = Store { folder: folder.into(), held: Held::of(&entries), bytes: 0, _lock: lock };
        store.bytes = fs::metadata(folder.join(COPIES[0])).map_or(0, |file| file.len());
        if !same || store.bytes > FULL_BYTES {
            // On a full disk the copies stay as they are, and we have read them.
            if let Err(error) = store.rewrite(entries) {
                eprintln!("lwt: {error}; the journal stays as it is");
            }
        }
        Ok(store)
    }

    /// What holds.
    pub fn held(&self) -> &Held {
        &self.held
    }

    /// Writes an entry to both copies, and to the disk; gives its number. What is over is not waited for: who finds that it
    /// is not, puts back what is there already.
    ///
    /// # Errors
    /// When any of that fails: then it may be there or not, and what it announces must not be done.
    pub fn append(&mut self, entry: &Entry) -> Result<u64, StoreError> {
        let n = self.held.next;
        self.held.take(n, entry);
        let bytes = line(n, entry).map_err(|error| self.failed("", "write an entry", error.into()))?;
        let is_over = matches!(entry, Entry::Closed { .. });
        let write = |name: &str| {
            let mut file = OpenOptions::new().append(true).create(true).open(self.folder.join(name))?;
            file.write_all(&bytes)?;
            if is_over { Ok(()) } else { file.sync_data() }
        };
        // The second one also where the first fails: what one of them has is known.
        let done = COPIES.map(|name| write(name).map_err(|error| self.failed(name, "write it", error)));
        self.bytes += bytes.len() as u64;
        done.into_iter().collect::<Result<Vec<()>, StoreError>>()?;
        if self.bytes > FULL_BYTES {
            let (entries, _) = load(&self.folder)?;
            self.rewrite(entries)?;
        }
        Ok(n)
    }

    fn rewrite(&mut self, entries: BTreeMap<u64, Entry>) -> Result<(), StoreError> {
        let entries = if self.bytes > FULL_BYTES { kept(entries) } else { entries };
        let lines: Result<Vec<Vec<u8>>, _> = entries.iter().map(|(n, entry)| line(*n, entry)).collect();
        let bytes = lines.map_err(|error| self.failed("", "write an entry", error.into()))?.concat();
        for name in COPIES {
            let path = self.folder.join(name);
            let new = path.with_extension("new");
            let write = || {
                let mut file = File::create(&new)?;
                file.write_all(&bytes)?;
                file.sync_data()?;
                fs::rename(&new, &path)?;
                File::open(&self.folder)?.sync_all()
            };
            write().map_err(|error| self.failed(name, "write it anew", error))?;
        }
        self.bytes = bytes.len() as u64;
        Ok(())
    }

    fn failed(&self, name: &str, what: &'static str, source: io::Error) -> StoreError {
        StoreError::File { path: self.folder.join(name), what, source }
    }
}

/// The entries that both copies have between them, and whether they are the same, and there.
fn load(folder: &Path) -> Result<(BTreeMap<u64, Entry>, bool), StoreError> {
    let copy = |name: &str| match fs::read(folder.join(name)) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(vec![]),
        Err(source) => Err(StoreError::File { path: folder.join(name), what: "read it", source }),
        Ok(bytes) => Ok(bytes),
    };
    let [one, two] = COPIES.map(copy);
    let (one, two) = (one?, two?);
    let mut entries = read(&one);
    entries.extend(read(&two));
    Ok((entries, one == two && !one.is_empty()))
}

fn lock(folder: &Path, role: &str, patience: Duration) -> Result<File, StoreError> {
    let at = |path: PathBuf, what| move |source| StoreError::File { path, what, source };
    fs::create_dir_all(folder).map_err(at(folder.into(), "make the folder"))?;
    let path = folder.join("lock");
    let opened = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut lock = opened.map_err(at(path.clone(), "open it"))?;
    let mut left = patience.as_millis() / STEP.as_millis();
    loop {
        match lock.try_lock() {
            Ok(()) => break,
            Err(TryLockError::Error(error)) => return Err(at(path, "lock it")(error)),
            Err(TryLockError::WouldBlock) if left == 0 => {
                let mut holder = String::new();
                drop(lock.read_to_string(&mut holder));
                return Err(StoreError::InUse { folder: folder.into(), holder: holder.trim().into() });
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(STEP),
        }
        left -= 1;
    }
    // Who it is, for those who wait. On a full disk nobody knows.
    let written = lock.set_len(0).and_then(|()| lock.rewind());
    drop(written.and_then(|()| writeln!(lock, "{role} {}", std::process::id())));
    Ok(lock)
}

/// What the journal in `folder` says, for those who only look.
///
/// # Errors
/// When it cannot be read.
pub fn look(folder: &Path) -> Result<BTreeMap<u64, Entry>, StoreError> {
    load(folder).map(|(entries, _)| entries)
}

/// Who holds the folder, if anybody does: `agent 123`.
pub fn holder(folder: &Path) -> Option<String> {
    let mut lock = File::open(folder.join("lock")).ok()?;
    let mut holder = String::new();
    let held = matches!(lock.try_lock_shared(), Err(TryLockError::WouldBlock));
    held.then(|| lock.read_to_string(&mut holder).map(|_| holder.trim().to_owned()).ok())?
}

/// Whether the stop switch is on; why it must be taken as on, if the folder cannot be read.
pub fn is_stopped(folder: &Path) -> Option<String> {
    match fs::symlink_metadata(folder.join(STOP)) {
        Ok(_) => Some("the stop switch is on (lwt perturb resume takes it off)".into()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => Some(format!("whether the stop switch is on cannot be told: {error}")),
    }
}

/// Sets the stop switch; it holds over restarts.
///
/// # Errors
/// When the file cannot be made or removed.
pub fn set_stop(folder: &Path, on: bool) -> Result<(), StoreError> {
    let path = folder.join(STOP);
    let done = match on {
        true => fs::create_dir_all(folder).and_then(|()| File::create(&path)?.sync_all()),
        false => fs::remove_file(&path).or_else(|error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        }),
    };
    done.map_err(|source| StoreError::File { path, what: "set the stop switch", source })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::ZERO;

    #[test]
    fn either_copy_is_enough() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let mut store = Store::open(folder, "agent", NOW).unwrap();
        for at_ms in 0..5 {
            assert_eq!(store.append(&Entry::Begun { at_ms }).unwrap(), at_ms as u64);
        }
        assert!(matches!(Store::open(folder, "keeper", NOW).unwrap_err(), StoreError::InUse { holder, .. }
            if holder == format!("agent {}", std::process::id())));
        assert!(holder(folder).is_some());
        let before = store.held().clone();
        drop(store);
        assert_eq!(holder(folder), None);
        let whole = fs::read(folder.join(COPIES[0])).unwrap();
        for (at, copy) in COPIES.into_iter().enumerate() {
            for length in 0..whole.len() {
                fs::write(folder.join(copy), &whole[..length]).unwrap();
                assert_eq!(Store::open(folder, "agent", NOW).unwrap().held(), &before, "{length}");
                assert_eq!(fs::read(folder.join(COPIES[1 - at])).unwrap(), whole);
                assert_eq!(fs::read(folder.join(copy)).unwrap(), whole);
            }
            fs::remove_file(folder.join(copy)).unwrap();
            assert_eq!(Store::open(folder, "agent", NOW).unwrap().held(), &before);
        }
    }

    #[test]
    fn a_long_journal_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path(), "agent", NOW).unwrap();
        store.append(&Entry::Begun { at_ms: 1 }).unwrap();
        let filler: Vec<u8> =
            (1..99_999).flat_map(|n| line(n, &Entry::Begun { at_ms: 0 }).unwrap()).collect();
        for copy in COPIES {
            fs::write(
                folder.path().join(copy),
                [&filler[..], &filler[..], &filler[..], &filler[..]].concat(),
            )
            .unwrap();
        }
        drop(store);
        let store = Store::open(folder.path(), "agent", NOW).unwrap();
        assert_eq!(store.held().next, 99_999);
        assert!(store.bytes < FULL_BYTES);
    }

    #[test]
    fn the_switch() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().join("state");
        set_stop(&folder, false).unwrap();
        assert_eq!(is_stopped(&folder), None);
        set_stop(&folder, true).unwrap();
        assert!(is_stopped(&folder).is_some());
        set_stop(&folder, false).unwrap();
        assert_eq!(is_stopped(&folder), None);
        // What is no folder cannot say no.
        fs::write(folder.with_file_name("file"), "").unwrap();
        assert!(is_stopped(&folder.with_file_name("file")).is_some());
    }
}
