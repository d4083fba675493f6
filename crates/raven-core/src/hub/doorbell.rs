//! The listener side of a hub: which topics have something new, and who must be woken for it.

use std::sync::atomic::{fence, AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use super::{Topic, MAX_TOPICS};

/// Listeners that a hub can have at once.
pub const MAX_LISTENERS: usize = 16;

/// All places for listeners, and which of them are taken (one bit each).
#[derive(Debug, Default)]
pub(super) struct Listeners {
    pub(super) active: AtomicU32,
    places: [Listener; MAX_LISTENERS],
}

/// One place: a bit per topic slot, set by publishers and taken by the listener.
#[derive(Debug)]
pub(super) struct Listener {
    map: Box<[AtomicU64]>,
    /// Words of the map in use; grows when a topic is watched.
    used: AtomicUsize,
    /// Whether a bit was set since the listener last took them.
    pub(super) noted: AtomicBool,
    pub(super) sleeping: AtomicBool,
    waker: Mutex<Option<Waker>>,
}

impl Default for Listener {
    fn default() -> Self {
        Self {
            map: (0..MAX_TOPICS / 64).map(|_| AtomicU64::new(0)).collect(),
            used: AtomicUsize::new(0),
            noted: AtomicBool::new(false),
            sleeping: AtomicBool::new(false),
            waker: Mutex::new(None),
        }
    }
}

impl Listener {
    /// Set the bit of a topic. Called by the topic's writer after each record.
    #[inline]
    fn note(&self, slot: usize) {
        self.map[slot / 64].fetch_or(1 << (slot % 64), Ordering::SeqCst);
        // In the one order of all these operations: the bit is set before `noted` is looked at, and `take` clears
        // `noted` before it takes bits. So a `noted` seen as true belongs to a `take` that still comes.
        if !self.noted.load(Ordering::SeqCst) {
            self.noted.store(true, Ordering::SeqCst);
        }
    }

    /// Wake the listener, once per sleep whoever rings.
    #[cold]
    pub(super) fn wake(&self) {
        if self.sleeping.swap(false, Ordering::AcqRel) {
            if let Some(waker) = &*self.waker() {
                waker.wake_by_ref();
            }
        }
    }

    fn waker(&self) -> MutexGuard<'_, Option<Waker>> {
        self.waker.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Listeners {
    /// Set a topic's bit for every listener.
    #[inline]
    pub(super) fn note(&self, slot: usize) {
        for listener in self.in_mask(self.active.load(Ordering::Relaxed)) {
            listener.note(slot);
        }
    }

    /// The listeners of a mask, at the cost of those that are there.
    #[inline]
    pub(super) fn in_mask(&self, mut mask: u32) -> impl Iterator<Item = &Listener> {
        std::iter::from_fn(move || {
            let index = mask.trailing_zeros() as usize;
            mask &= mask.wrapping_sub(1);
            self.places.get(index)
        })
    }
}

/// A listener's own handle. One thread uses it; dropping it frees the place.
#[derive(Debug)]
pub struct Listening {
    listeners: Arc<Listeners>,
    index: usize,
}

impl Listening {
    pub(super) fn join(listeners: &Arc<Listeners>) -> Option<Self> {
        let index = (0..MAX_LISTENERS).find(|index| {
            let bit = 1 << index;
            listeners.active.fetch_or(bit, Ordering::AcqRel) & bit == 0
        })?;
        Some(Self { listeners: Arc::clone(listeners), index })
    }

    /// Be told of publications in this topic from now on. Pair it with [`Listening::unwatch`].
    pub fn watch(&self, topic: &Topic) {
        self.place().used.fetch_max(topic.slot() / 64 + 1, Ordering::Relaxed);
        topic.watchers.fetch_add(1, Ordering::SeqCst);
    }

    /// Be told no more.
    pub fn unwatch(&self, topic: &Topic) {
        topic.watchers.fetch_sub(1, Ordering::Relaxed);
    }

    /// Append the slots of all topics with something new to `slots`, and forget them.
    ///
    /// Topics that only another listener watches may be among them.
    pub fn take(&self, slots: &mut Vec<usize>) {
        let place = self.place();
        if !place.noted.load(Ordering::Relaxed) {
            return;
        }
        place.noted.store(false, Ordering::SeqCst);
        for (at, word) in place.map[..place.used.load(Ordering::Relaxed)].iter().enumerate() {
            if word.load(Ordering::SeqCst) == 0 {
                continue;
            }
            let mut bits = word.swap(0, Ordering::SeqCst);
            while bits != 0 {
                slots.push(at * 64 + bits.trailing_zeros() as usize);
                bits &= bits - 1;
            }
        }
    }

    /// Whether something was noted since the last [`Listening::take`].
    pub fn is_noted(&self) -> bool {
        self.place().noted.load(Ordering::Acquire)
    }

    /// Ask to be woken through `waker`; false when there is something to take already.
    ///
    /// After true the bell wakes the waker once. A listener that polls without end never calls this and is never woken.
    pub fn may_sleep(&self, waker: &Waker) -> bool {
        let place = self.place();
        {
            let mut kept = place.waker();
            if !kept.as_ref().is_some_and(|kept| kept.will_wake(waker)) {
                *kept = Some(waker.clone());
            }
        }
        place.sleeping.store(true, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        let is_quiet = !place.noted.load(Ordering::Relaxed);
        if !is_quiet {
            self.awake();
        }
        is_quiet
    }

    /// Say that the bell need not wake anyone, because something else did.
    pub fn awake(&self) {
        self.place().sleeping.store(false, Ordering::Relaxed);
    }

    fn place(&self) -> &Listener {
        &self.listeners.places[self.index]
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.awake();
        *self.place().waker() = None;
        self.listeners.active.fetch_and(!(1 << self.index), Ordering::AcqRel);
    }
}
