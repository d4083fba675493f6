//! The name in `/dev/shm`: one writer at a time, and what a dead one left is cleaned.
//!
//! A file gets its name when it is whole (it is made nameless and linked), and its writer holds a lock on it that the
//! kernel takes away when the process dies, however it dies. So a file whose lock is free is stale. Process id and start
//! time in the header say the same to people and to readers in other languages.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use rustix::fd::{AsRawFd, OwnedFd};
use rustix::fs::{flock, fstat, linkat, open, stat, unlink, AtFlags, FileType, FlockOperation, Mode, OFlags, CWD};
use rustix::io::{pread, Errno};

use crate::error::ShmError;
use crate::layout::{header, CLOSED, MAGIC};

/// Where shared memory has its names.
const FOLDER: &str = "/dev/shm";
/// A reader that asks whether the writer lives holds the lock for some microseconds; this often we ask again.
const TRIES: usize = 20;
const PAUSE: Duration = Duration::from_millis(5);

/// The path of a name.
pub fn path_of(name: &str) -> Result<PathBuf, ShmError> {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte);
    let is_good = (1..=200).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(is_plain);
    is_good.then(|| Path::new(FOLDER).join(name)).ok_or_else(|| ShmError::BadName(name.into()))
}

/// Make a file without a name, locked by us.
pub fn nameless(path: &Path) -> Result<OwnedFd, ShmError> {
    let flags = OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC;
    let file = open(FOLDER, flags, Mode::RUSR | Mode::WUSR).map_err(ShmError::io("make a file for", path))?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(ShmError::io("lock", path))?;
    Ok(file)
}

/// Give a nameless file its name, in place of one that a dead writer left.
pub fn link(file: &OwnedFd, path: &Path) -> Result<(), ShmError> {
    let ours = format!("/proc/self/fd/{}", file.as_raw_fd());
    for _ in 0..TRIES {
        clean(path)?;
        match linkat(CWD, &ours, CWD, path, AtFlags::SYMLINK_FOLLOW) {
            Err(Errno::EXIST) => {}
            done => return done.map_err(ShmError::io("name", path)),
        }
    }
    Err(ShmError::InUse { path: path.into(), pid: 0 })
}

/// Take the name away, if it still is this file's.
pub fn unlink_own(file: &OwnedFd, path: &Path) {
    if is_same(file, path) {
        // Somebody may have been faster; then there is nothing left to do.
        let _ = unlink(path);
    }
}

/// Open a file that a writer made, for reading.
pub fn open_made(path: &Path) -> Result<OwnedFd, ShmError> {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let file = match open(path, flags, Mode::empty()) {
        Err(Errno::NOENT) => return Err(ShmError::Missing(path.into())),
        Err(Errno::LOOP) => return Err(ShmError::NotOurs(path.into())),
        opened => opened.map_err(ShmError::io("open", path))?,
    };
    let is_file = FileType::from_raw_mode(fstat(&file).map_err(ShmError::io("look at", path))?.st_mode).is_file();
    if !is_file || word(&file, header::MAGIC) != Some(MAGIC) {
        return Err(ShmError::NotOurs(path.into()));
    }
    Ok(file)
}

/// Whether a writer holds this file.
pub fn is_held(file: &OwnedFd) -> bool {
    match flock(file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => {
            // Ours now; it cannot fail to be given back but by being closed.
            let _ = flock(file, FlockOperation::NonBlockingUnlock);
            false
        }
        Err(_) => true,
    }
}

/// When a process started, in ticks since the machine did; `None` when there is no such process.
pub fn started(pid: u64) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name in parentheses may hold anything; behind it begins field 3.
    stat.rsplit_once(')')?.1.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// Remove what a dead writer left. A living one's, and what is not Raven's, stays and is an error.
fn clean(path: &Path) -> Result<(), ShmError> {
    let file = match open_made(path) {
        Err(ShmError::Missing(_)) => return Ok(()),
        opened => opened?,
    };
    let pid = word(&file, header::PID).unwrap_or(0);
    let is_free = (0..TRIES).any(|attempt| {
        if attempt > 0 {
            thread::sleep(PAUSE);
        }
        flock(&file, FlockOperation::NonBlockingLockExclusive).is_ok()
    });
    let is_closed = word(&file, header::STATE) == Some(CLOSED);
    let lives = !is_closed && started(pid).is_some() && started(pid) == word(&file, header::STARTED);
    if !is_free || lives {
        return Err(ShmError::InUse { path: path.into(), pid });
    }
    // Whoever cleans holds this lock, so nobody takes away the name of a file that came meanwhile.
    unlink_own(&file, path);
    Ok(())
}

fn is_same(file: &OwnedFd, path: &Path) -> bool {
    match (fstat(file), stat(path)) {
        (Ok(ours), Ok(there)) => (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino),
        _ => false,
    }
}

fn word(file: &OwnedFd, at: usize) -> Option<u64> {
    let mut bytes = [0; 8];
    let read = pread(file, &mut bytes, 8 * at as u64).ok()?;
    (read == 8).then(|| u64::from_ne_bytes(bytes))
}
