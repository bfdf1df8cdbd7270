//! Files that survive: private, written whole or not at all, and locked while they are in use.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Why the journal can't be used. Nothing is paid then.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JournalError {
    /// The file system failed.
    #[error("journal {}: {error}", path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// How.
        error: std::io::Error,
    },
    /// A file is not what was written.
    #[error(
        "journal file {} is damaged ({why}): it may name a payment that is still spendable; repair it, or remove it once you know that it is not",
        path.display()
    )]
    Corrupt {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// What was to be written could not be read again, or is too long: it was not written.
    #[error("journal file {} was not written: {why}", path.display())]
    NotWritten {
        /// Which.
        path: PathBuf,
        /// Why.
        why: String,
    },
    /// Another process holds the journal's lock.
    #[error("journal {} is locked by another process", path.display())]
    Busy {
        /// Which.
        path: PathBuf,
    },
    /// The program is shutting down.
    #[error("the journal's task was stopped")]
    Stopped,
}

pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> JournalError {
    let path = path.to_owned();
    |error| JournalError::Io { path, error }
}

pub(crate) fn corrupt(path: &Path, why: impl std::fmt::Display) -> JournalError {
    JournalError::Corrupt { path: path.to_owned(), why: why.to_string() }
}

pub(crate) fn not_written(path: &Path, why: impl std::fmt::Display) -> JournalError {
    JournalError::NotWritten { path: path.to_owned(), why: why.to_string() }
}

fn private() -> OpenOptions {
    let mut options = OpenOptions::new();
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options
}

/// Creates a directory that only its owner can use, or takes away others' rights.
pub(crate) fn directory(path: &Path) -> Result<(), JournalError> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(path).map_err(io(path))?;
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o700)).map_err(io(path))?;
    Ok(())
}

/// Makes the names in a directory durable.
pub(crate) fn sync_directory(path: &Path) -> Result<(), JournalError> {
    #[cfg(unix)]
    File::open(path).and_then(|directory| directory.sync_all()).map_err(io(path))?;
    Ok(())
}

/// Waits for the file's lock.
pub(crate) fn lock(path: &Path, patience: Duration) -> Result<File, JournalError> {
    let file = private().create(true).append(true).open(path).map_err(io(path))?;
    let until = Instant::now().checked_add(patience);
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::Error(error)) => return Err(io(path)(error)),
            Err(TryLockError::WouldBlock) if until.is_none_or(|until| Instant::now() >= until) => {
                return Err(JournalError::Busy { path: path.to_owned() });
            }
            Err(TryLockError::WouldBlock) => std::thread::sleep(Duration::from_millis(1)),
        }
    }
}

/// Opens a file and takes its lock if nobody has it.
pub(crate) fn open(path: &Path) -> Result<(File, bool), JournalError> {
    let file = private().read(true).write(true).open(path).map_err(io(path))?;
    match file.try_lock() {
        Ok(()) => Ok((file, true)),
        Err(TryLockError::WouldBlock) => Ok((file, false)),
        Err(TryLockError::Error(error)) => Err(io(path)(error)),
    }
}

/// At most `limit` bytes of a file; more is damage.
pub(crate) fn read(file: &File, path: &Path, limit: usize) -> Result<Vec<u8>, JournalError> {
    let mut bytes = Vec::new();
    let most = u64::try_from(limit).unwrap_or(u64::MAX).saturating_add(1);
    file.take(most).read_to_end(&mut bytes).map_err(io(path))?;
    if bytes.len() > limit {
        return Err(corrupt(path, "too long"));
    }
    Ok(bytes)
}

/// Puts `bytes` at `path` in one step and durably. The file is locked before it can be seen.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> Result<File, JournalError> {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(corrupt(path, "no such place"));
    };
    let temporary = parent.join(format!(".tmp-{}", name.to_string_lossy()));
    let mut file = private()
        .create(true)
        .truncate(true)
        .read(true)
        .write(true)
        .open(&temporary)
        .map_err(io(&temporary))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => return Err(JournalError::Busy { path: temporary }),
        Err(TryLockError::Error(error)) => return Err(io(&temporary)(error)),
    }
    file.write_all(bytes).and_then(|()| file.sync_all()).map_err(io(&temporary))?;
    fs::rename(&temporary, path).map_err(io(path))?;
    sync_directory(parent)?;
    Ok(file)
}

/// Removes a file durably.
pub(crate) fn remove(path: &Path) -> Result<(), JournalError> {
    match fs::remove_file(path) {
        Ok(()) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => return Err(io(path)(error)),
    }
    path.parent().map_or(Ok(()), sync_directory)
}

/// Opens a file to be read and appended to.
pub(crate) fn log(path: &Path) -> Result<File, JournalError> {
    private().create(true).read(true).append(true).open(path).map_err(io(path))
}

/// 32 hex digits that no other payment has.
pub(crate) fn random_id() -> std::io::Result<String> {
    let mut bytes = [0u8; 16];
    getrandom::fill(&mut bytes).map_err(|error| std::io::Error::other(error.to_string()))?;
    Ok(hex::encode(bytes))
}
