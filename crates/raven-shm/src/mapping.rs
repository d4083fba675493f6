//! Files in memory: all the `unsafe` there is.
//!
//! What makes it sound is the same everywhere: the words are atomics, so nobody else's writing is a data race; the file
//! never gets shorter while anybody has it mapped (Raven's files are made at their full size and only ever unlinked);
//! and what is touched was reserved before, so a full `/dev/shm` is an error of the reservation, not a signal.
#![allow(unsafe_code)]

use std::os::fd::AsFd;
use std::ptr::{null_mut, NonNull};
use std::sync::Arc;

use raven_core::ring::Word;
use rustix::io;
use rustix::mm::{mmap, munmap, MapFlags, ProtFlags};

/// Map a file for writing, as long as the process lives: rings outlive whoever made them, by a reader's handle.
///
/// # Errors
/// What the system says.
pub fn map_for_ever(file: impl AsFd, bytes: usize) -> io::Result<&'static [Word]> {
    let start = map(file, bytes, ProtFlags::READ | ProtFlags::WRITE)?;
    // SAFETY: `map` has returned `bytes` readable and writable bytes, aligned to a page, which are never unmapped.
    // Any bits are an `AtomicU64`, and all access is through atomics.
    Ok(unsafe { std::slice::from_raw_parts(start.as_ptr(), bytes / 8) })
}

/// A file that is mapped for reading only.
#[derive(Debug)]
pub struct ReadMapping {
    start: NonNull<Word>,
    bytes: usize,
}

// SAFETY: it is memory of the process, not of a thread, and all access is through atomics.
unsafe impl Send for ReadMapping {}
// SAFETY: as above.
unsafe impl Sync for ReadMapping {}

impl ReadMapping {
    /// Map a file.
    ///
    /// # Errors
    /// What the system says.
    pub fn new(file: impl AsFd, bytes: usize) -> io::Result<Self> {
        Ok(Self { start: map(file, bytes, ProtFlags::READ)?, bytes })
    }

    /// Its words. They may be loaded with relaxed ordering only, since they are not writable; fences do the rest.
    pub fn words(&self) -> &[Word] {
        // SAFETY: mapped in `new` and until `drop`; aligned to a page; any bits are an `AtomicU64`.
        unsafe { std::slice::from_raw_parts(self.start.as_ptr(), self.bytes / 8) }
    }
}

impl Drop for ReadMapping {
    fn drop(&mut self) {
        // SAFETY: what `new` has mapped, once; borrows of it end before. It fails only for other addresses.
        let _ = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
    }
}

/// Some words of a mapping that lives as long as they do.
#[derive(Debug)]
pub struct Window {
    words: NonNull<[Word]>,
    _mapping: Arc<ReadMapping>,
}

// SAFETY: as for the mapping.
unsafe impl Send for Window {}
// SAFETY: as above.
unsafe impl Sync for Window {}

impl Window {
    /// So many words from `at` on; `None` when the mapping has not as many.
    pub fn new(mapping: &Arc<ReadMapping>, at: usize, count: usize) -> Option<Self> {
        let words = mapping.words().get(at..at.checked_add(count)?)?;
        Some(Self { words: NonNull::from(words), _mapping: Arc::clone(mapping) })
    }
}

impl AsRef<[Word]> for Window {
    #[inline(always)]
    fn as_ref(&self) -> &[Word] {
        // SAFETY: a slice of the mapping, which is held beside it; the borrow ends before `self`.
        unsafe { self.words.as_ref() }
    }
}

fn map(file: impl AsFd, bytes: usize, protection: ProtFlags) -> io::Result<NonNull<Word>> {
    // SAFETY: a new mapping at an address that the kernel chooses; nothing that exists is touched.
    let start = unsafe { mmap(null_mut(), bytes, protection, MapFlags::SHARED, file, 0) }?;
    NonNull::new(start.cast()).ok_or(io::Errno::NOMEM)
}
