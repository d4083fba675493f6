//! Why shared memory could not be had.

use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// What went wrong, where, and what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ShmError {
    /// It cannot be a file's name.
    BadName(String),
    /// Another process writes it.
    InUse {
        /// The file.
        path: PathBuf,
        /// Who made it.
        pid: u64,
    },
    /// There is something else under this name.
    NotOurs(PathBuf),
    /// It was written by another release, or on a machine of another kind.
    OtherLayout {
        /// The file.
        path: PathBuf,
        /// The version of its layout.
        version: u64,
    },
    /// Nobody writes under this name.
    Missing(PathBuf),
    /// There is no such topic in it.
    NoTopic(String),
    /// There is no room for what is in it besides rings.
    TooSmall {
        /// Bytes that were asked for.
        bytes: usize,
        /// The least.
        least: usize,
    },
    /// The system refused.
    Io {
        /// What was tried.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What it said.
        errno: Errno,
    },
}

impl ShmError {
    /// For `map_err`: what was tried, and on what.
    pub(crate) fn io<'a>(what: &'static str, path: &'a Path) -> impl FnOnce(Errno) -> Self + 'a {
        move |errno| Self::Io { what, path: path.into(), errno }
    }
}

impl std::fmt::Display for ShmError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::BadName(name) => {
                write!(
                    f,
                    "{name:?} cannot name shared memory: use up to 200 letters, digits, '_', '-' and '.', not first"
                )
            }
            Self::InUse { path, pid } => write!(
                f,
                "{} is written by process {pid}, which lives (or left a child that does); choose another [shm] name or \
                 stop it",
                path.display()
            ),
            Self::NotOurs(path) => {
                write!(f, "{} is not Raven's; choose another [shm] name or remove it", path.display())
            }
            Self::OtherLayout { path, version } => write!(
                f,
                "{} has layout {version}, this release reads {}; use the same release on both sides",
                path.display(),
                crate::layout::VERSION
            ),
            Self::Missing(path) => {
                write!(f, "{} does not exist: no Raven with [shm] enabled runs here under this name", path.display())
            }
            Self::NoTopic(name) => {
                write!(f, "there is no topic {name} in shared memory; topics() lists what is collected now")
            }
            Self::TooSmall { bytes, least } => {
                write!(f, "shared memory of {bytes} bytes has no room for rings; give it more than {least}")
            }
            Self::Io { what, path, errno } => write!(f, "cannot {what} {}: {errno}", path.display()),
        }
    }
}

impl std::error::Error for ShmError {}
