//! Every topic of a process, and the bell that tells readers that something was published.
//!
//! A topic is one ring with a name. Who writes: the one [`Publisher`] of the topic, on whatever thread it lives.
//! Who reads: [`TopicReader`]s with their own cursors, and *listeners* (the gRPC server, a bridge) that serve many
//! topics at once and must not look at all of them in turn.
//!
//! A listener watches topics. Publishing to a watched topic sets the topic's bit in each listener's map:
//! one atomic or, whatever the number of readers, and nothing at all for a topic that nobody watches. What orders them:
//! the bit is set with release after the record is published and taken with acquire before the ring is read, so a
//! taken bit shows the record, and a bit set later stays for the next round.
//!
//! Publishing wakes nobody. The engine calls [`Hub::ring_doorbell`] once per batch, which wakes a listener only if it
//! sleeps. The listener announces its sleep, then looks at its map once more; the bell sets bits, then looks whether the
//! listener sleeps; a sequentially consistent fence between the two steps on both sides lets at least one see the other.
//!
//! One window stays open by choice, to keep a full fence out of every publication: a record published in the very
//! nanoseconds in which a topic is watched for the first time may set no bit. Listeners therefore sweep all watched
//! topics once in a while (the gRPC server: ten times a second).

use std::collections::BTreeMap;
use std::sync::atomic::{fence, AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::record::{data_type, Header};
use crate::ring::{ring, ring_in, storage_words, Cursor, Read, Ring, RingWriter};
use crate::storage::{Lent, Storage};

mod doorbell;
use doorbell::Listeners;
pub use doorbell::{Listening, MAX_LISTENERS};

/// Topics that can be alive at once; bounds every listener's map to 8 KiB.
pub const MAX_TOPICS: usize = 1 << 16;

/// What a topic is called.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicKey {
    /// Name of the venue, such as `binance_futures`.
    pub venue: Box<str>,
    /// Symbol as the venue writes it.
    pub symbol: Box<str>,
    /// `DataType` of the wire contract, see [`data_type`].
    pub data_type: i32,
    /// Levels per side of a book topic, 0 for everything else.
    pub depth: u16,
}

/// A ring with a name.
#[derive(Debug)]
pub struct Topic {
    id: u32,
    key: TopicKey,
    ring: Arc<Ring>,
    readers: AtomicU32,
    watchers: AtomicU32,
    ended: AtomicBool,
    slots: Arc<Slots>,
}

impl Topic {
    /// Number of this topic in its hub; not given to another topic for a long time after this one ended.
    pub fn id(&self) -> u32 {
        self.id
    }

    /// Position of this topic in a listener's map; unique among the topics alive.
    pub fn slot(&self) -> usize {
        (self.id as usize) % MAX_TOPICS
    }

    /// What it is called.
    pub fn key(&self) -> &TopicKey {
        &self.key
    }

    /// The records.
    pub fn ring(&self) -> &Arc<Ring> {
        &self.ring
    }

    /// How many subscribers read it now.
    pub fn readers(&self) -> u32 {
        self.readers.load(Ordering::Relaxed)
    }

    /// Whether nothing will be published any more.
    pub fn is_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Count one subscriber; pair it with [`Topic::remove_reader`].
    pub fn add_reader(&self) {
        self.readers.fetch_add(1, Ordering::Relaxed);
    }

    /// Count one subscriber less.
    pub fn remove_reader(&self) {
        self.readers.fetch_sub(1, Ordering::Relaxed);
    }

    /// Open a cursor: on the newest record, or behind it.
    pub fn reader(self: &Arc<Self>, from_latest: bool) -> TopicReader {
        self.add_reader();
        let cursor = if from_latest { self.ring.cursor_at_latest() } else { self.ring.cursor_at_end() };
        TopicReader { topic: Arc::clone(self), cursor, lost: 0 }
    }

    /// Open a cursor before the very first record: what was overwritten already counts as lost.
    pub fn reader_from_start(self: &Arc<Self>) -> TopicReader {
        self.add_reader();
        TopicReader { topic: Arc::clone(self), cursor: self.ring.cursor_at_start(), lost: 0 }
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        self.slots.free(self.id);
    }
}

/// A counted reader of one topic; never slows the writer.
#[derive(Debug)]
pub struct TopicReader {
    topic: Arc<Topic>,
    cursor: Cursor,
    lost: u64,
}

impl TopicReader {
    /// Read the next record into `out`.
    pub fn read(&mut self, out: &mut Vec<u64>) -> Read {
        let read = self.topic.ring.read(&mut self.cursor, out);
        if let Read::Lapped { lost } = read {
            self.lost += lost;
        }
        read
    }

    /// Records lost to laps so far.
    pub fn lost(&self) -> u64 {
        self.lost
    }

    /// Records that wait.
    pub fn lag(&self) -> u64 {
        self.topic.ring.lag(&self.cursor)
    }

    /// The topic that is read.
    pub fn topic(&self) -> &Arc<Topic> {
        &self.topic
    }
}

impl Drop for TopicReader {
    fn drop(&mut self) {
        self.topic.remove_reader();
    }
}

/// The one writer of a topic.
#[derive(Debug)]
pub struct Publisher {
    writer: RingWriter,
    topic: Arc<Topic>,
    listeners: Arc<Listeners>,
}

impl Publisher {
    /// Append one record and return its sequence. Wakes nobody; call [`Hub::ring_doorbell`] after the batch.
    ///
    /// # Panics
    /// If the record is longer than half the ring.
    #[inline]
    pub fn publish(&mut self, header: &Header, body: &[u64]) -> u64 {
        let sequence = self.writer.publish(header, body);
        if self.topic.watchers.load(Ordering::Relaxed) > 0 {
            self.listeners.note(self.topic.slot());
        }
        sequence
    }

    /// The topic that is written.
    pub fn topic(&self) -> &Arc<Topic> {
        &self.topic
    }
}

/// Why a topic could not be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TopicExists {
    /// There is one of this name already.
    Exists(TopicKey),
    /// [`MAX_TOPICS`] are alive.
    TooMany,
}

impl std::fmt::Display for TopicExists {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exists(TopicKey { venue, symbol, data_type, depth }) => write!(
                f,
                "topic {venue} {symbol} (data type {data_type}, depth {depth}) exists and has its writer; read it or end it first"
            ),
            Self::TooMany => write!(f, "{MAX_TOPICS} topics exist, which is the limit; end some first"),
        }
    }
}

impl std::error::Error for TopicExists {}

/// Who lends memory to the rings of a hub.
pub trait Lender: std::fmt::Debug + Send + Sync {
    /// So many words for the ring of this topic; `None`: the ring is made on the heap.
    fn lend(&self, key: &TopicKey, words: usize) -> Option<Lent>;
}

/// Every topic of this process.
#[derive(Debug)]
pub struct Hub {
    lender: Option<Arc<dyn Lender>>,
    topics: RwLock<Topics>,
    slots: Arc<Slots>,
    listeners: Arc<Listeners>,
}

#[derive(Debug, Default)]
struct Topics {
    by_key: BTreeMap<TopicKey, Arc<Topic>>,
    by_id: BTreeMap<u32, Arc<Topic>>,
}

impl Hub {
    /// An empty hub.
    #[allow(clippy::new_ret_no_self)]
    pub fn new() -> Arc<Self> {
        Self::in_memory_of(None)
    }

    /// An empty hub whose rings are made in the memory of this lender, as far as it has any.
    pub fn in_memory_of(lender: Option<Arc<dyn Lender>>) -> Arc<Self> {
        Arc::new(Self { lender, topics: RwLock::default(), slots: Arc::default(), listeners: Arc::default() })
    }

    /// Make a topic with a ring of at least `ring_bytes` (rounded up to a power of two) and return its writer.
    ///
    /// # Errors
    /// [`TopicExists`] when the name is taken or the hub is full.
    pub fn create_topic(&self, key: TopicKey, ring_bytes: usize) -> Result<Publisher, TopicExists> {
        let mut topics = self.write();
        if topics.by_key.contains_key(&key) {
            return Err(TopicExists::Exists(key));
        }
        let id = self.slots.take().ok_or(TopicExists::TooMany)?;
        let (writer, ring) = self.make_ring(&key, ring_bytes.div_ceil(8));
        let topic = Arc::new(Topic {
            id,
            key: key.clone(),
            ring,
            readers: AtomicU32::new(0),
            watchers: AtomicU32::new(0),
            ended: AtomicBool::new(false),
            slots: Arc::clone(&self.slots),
        });
        topics.by_key.insert(key, Arc::clone(&topic));
        topics.by_id.insert(id, Arc::clone(&topic));
        Ok(Publisher { writer, topic, listeners: Arc::clone(&self.listeners) })
    }

    fn make_ring(&self, key: &TopicKey, capacity_words: usize) -> (RingWriter, Arc<Ring>) {
        let lent = self.lender.as_ref().and_then(|lender| lender.lend(key, storage_words(capacity_words)));
        let Some(lent) = lent else { return ring(capacity_words) };
        let made = ring_in(Storage::Lent(lent));
        made.1.storage().announce();
        made
    }

    /// Find a topic by name. For books `depth` asks for the smallest tier that holds as many levels, 0 for the smallest of all.
    pub fn find(&self, venue: &str, symbol: &str, data_type: i32, depth: u16) -> Option<Arc<Topic>> {
        let depth = if data_type == data_type::ORDERBOOK { depth } else { 0 };
        let from = TopicKey { venue: venue.into(), symbol: symbol.into(), data_type, depth };
        let topics = self.read();
        let (key, topic) = topics.by_key.range(&from..).next()?;
        let is_same = *key.venue == *venue && *key.symbol == *symbol && key.data_type == data_type;
        is_same.then(|| Arc::clone(topic))
    }

    /// The topic of this id.
    pub fn topic(&self, id: u32) -> Option<Arc<Topic>> {
        self.read().by_id.get(&id).cloned()
    }

    /// Every topic, by id.
    pub fn topics(&self) -> Vec<Arc<Topic>> {
        self.read().by_id.values().cloned().collect()
    }

    /// End a topic: nobody finds it any more, and who reads it is told once the ring is empty. False when there is none.
    pub fn end_topic(&self, id: u32) -> bool {
        let mut topics = self.write();
        let Some(topic) = topics.by_id.remove(&id) else { return false };
        topics.by_key.remove(&topic.key);
        drop(topics);
        topic.ended.store(true, Ordering::Release);
        topic.ring.storage().end();
        self.listeners.note(topic.slot());
        self.ring_doorbell();
        true
    }

    /// Wake the listeners that sleep and have something to read. Cheap when none sleeps; call it once per batch.
    #[inline]
    pub fn ring_doorbell(&self) {
        let active = self.listeners.active.load(Ordering::Relaxed);
        if active == 0 {
            return;
        }
        // Before this fence: the bits. After it: who sleeps. `Listening::may_sleep` does the reverse.
        fence(Ordering::SeqCst);
        for listener in self.listeners.in_mask(active) {
            if listener.sleeping.load(Ordering::Relaxed) && listener.noted.load(Ordering::Relaxed) {
                listener.wake();
            }
        }
    }

    /// Become a listener; `None` when [`MAX_LISTENERS`] are there already.
    pub fn listen(&self) -> Option<Listening> {
        Listening::join(&self.listeners)
    }

    fn read(&self) -> RwLockReadGuard<'_, Topics> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Topics> {
        self.topics.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Ids for topics: the low 16 bits are a slot, the high ones count how often the slot was used.
#[derive(Debug, Default)]
struct Slots(Mutex<(u32, Vec<u32>)>);

impl Slots {
    fn take(&self) -> Option<u32> {
        let (used, free) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        free.pop().or_else(|| {
            let is_room = (*used as usize) < MAX_TOPICS;
            is_room.then(|| std::mem::replace(used, *used + 1))
        })
    }

    fn free(&self, id: u32) {
        let (_, free) = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        free.push(id.wrapping_add(MAX_TOPICS as u32));
    }
}
