//! Where everything is in the file, in 64-bit words. `docs/reference/shm.md` says the same in bytes, for other languages.

use raven_core::ring::Word;
use std::sync::atomic::{fence, Ordering};

/// First word: "RAVENSHM".
pub const MAGIC: u64 = u64::from_le_bytes(*b"RAVENSHM");
/// Version of this layout; changes with every change of it.
pub const VERSION: u64 = 1;
/// Reads like this only on a machine of the writer's byte order.
pub const BYTE_ORDER: u64 = 0x0102_0304_0506_0708;

/// Bytes in front of the directory, and the unit in which rings take memory.
pub const PAGE: usize = 4096;
/// Topics that the directory has room for.
pub const ENTRIES: usize = 16_384;
/// Words of a directory entry: two cache lines.
pub const ENTRY_WORDS: usize = 16;
/// Where rings begin, bytes.
pub const RINGS_AT: usize = PAGE + ENTRIES * ENTRY_WORDS * 8;
/// Longest name of a venue, bytes of UTF-8.
pub const VENUE_BYTES: usize = 32;
/// Longest symbol, bytes of UTF-8.
pub const SYMBOL_BYTES: usize = 48;

/// Words of the file's header.
pub mod header {
    /// [`super::MAGIC`].
    pub const MAGIC: usize = 0;
    /// [`super::VERSION`].
    pub const VERSION: usize = 1;
    /// [`super::BYTE_ORDER`].
    pub const BYTE_ORDER: usize = 2;
    /// Bytes of the file.
    pub const BYTES: usize = 3;
    /// 1 while it is written, 2 once the writer has said goodbye.
    pub const STATE: usize = 4;
    /// Process id of the writer.
    pub const PID: usize = 5;
    /// When that process started: field 22 of `/proc/PID/stat`.
    pub const STARTED: usize = 6;
    /// When the file was made, ns since 1970.
    pub const CREATED_NS: usize = 7;
    /// When the writer last said that it runs, ns since 1970.
    pub const HEARTBEAT_NS: usize = 8;
    /// Where the directory begins, bytes.
    pub const DIRECTORY: usize = 9;
    /// Entries that it has room for.
    pub const ENTRIES: usize = 10;
    /// Entries that were ever used: nobody needs to look further.
    pub const USED: usize = 11;
    /// Goes up with every change of the directory.
    pub const CHANGES: usize = 12;
    /// Words that are used.
    pub const WORDS: usize = 13;
}

/// [`header::STATE`]: somebody writes.
pub const OPEN: u64 = 1;
/// [`header::STATE`]: the writer has said goodbye.
pub const CLOSED: u64 = 2;

/// Words of a directory entry.
pub mod entry {
    /// Goes up when the entry gets a topic and when it loses it; odd while it is being changed.
    pub const GENERATION: usize = 0;
    /// Low 32 bits: 0 empty, 1 live, 2 ended. High 32 bits: data type.
    pub const STATE: usize = 1;
    /// Levels a side of books, else 0.
    pub const DEPTH: usize = 2;
    /// Where the ring begins, bytes from the start of the file.
    pub const OFFSET: usize = 3;
    /// Bytes of the ring, control words included.
    pub const BYTES: usize = 4;
    /// Name of the venue, zeros behind it.
    pub const VENUE: usize = 5;
    /// Symbol, zeros behind it.
    pub const SYMBOL: usize = 9;
}

/// State of an entry without a topic.
pub const EMPTY: u32 = 0;
/// State of an entry whose topic is written.
pub const LIVE: u32 = 1;
/// State of an entry whose topic will not be written any more.
pub const ENDED: u32 = 2;

/// What a directory entry says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// See [`entry::GENERATION`].
    pub generation: u64,
    /// [`EMPTY`], [`LIVE`] or [`ENDED`].
    pub state: u32,
    /// `DataType` of the wire contract.
    pub data_type: i32,
    /// Levels a side of books, else 0.
    pub depth: u16,
    /// Where the ring begins, bytes.
    pub offset: usize,
    /// Bytes of the ring.
    pub bytes: usize,
    /// Name of the venue.
    pub venue: String,
    /// Symbol as the venue writes it.
    pub symbol: String,
}

/// State and data type as they share a word.
pub fn state_word(state: u32, data_type: i32) -> u64 {
    u64::from(state) | u64::from(data_type as u32) << 32
}

/// Read an entry; `None` while the writer changes it.
pub fn read_entry(words: &[Word]) -> Option<Entry> {
    let get = |at: usize| words[at].load(Ordering::Relaxed);
    let generation = get(entry::GENERATION);
    fence(Ordering::Acquire);
    let found = Entry {
        generation,
        state: get(entry::STATE) as u32,
        data_type: (get(entry::STATE) >> 32) as i32,
        depth: get(entry::DEPTH) as u16,
        offset: get(entry::OFFSET) as usize,
        bytes: get(entry::BYTES) as usize,
        venue: text((entry::VENUE..entry::SYMBOL).map(get)),
        symbol: text((entry::SYMBOL..entry::SYMBOL + SYMBOL_BYTES / 8).map(get)),
    };
    fence(Ordering::Acquire);
    (generation % 2 == 0 && get(entry::GENERATION) == generation).then_some(found)
}

/// Write an entry; its generation goes up by two.
pub fn write_entry(words: &[Word], new: &Entry) {
    let set = |at: usize, value: u64| words[at].store(value, Ordering::Relaxed);
    let generation = words[entry::GENERATION].load(Ordering::Relaxed);
    set(entry::GENERATION, generation + 1);
    // Whoever sees a word from here on, of the entry or of its ring, sees the odd generation or a later one, too.
    fence(Ordering::Release);
    set(entry::STATE, state_word(new.state, new.data_type));
    set(entry::DEPTH, u64::from(new.depth));
    set(entry::OFFSET, new.offset as u64);
    set(entry::BYTES, new.bytes as u64);
    put_text(&words[entry::VENUE..entry::SYMBOL], &new.venue);
    put_text(&words[entry::SYMBOL..entry::SYMBOL + SYMBOL_BYTES / 8], &new.symbol);
    words[entry::GENERATION].store(generation + 2, Ordering::Release);
    fence(Ordering::Release);
}

/// The words of entry `index`, out of those of the file.
pub fn entry_words(file: &[Word], index: usize) -> &[Word] {
    let at = PAGE / 8 + index * ENTRY_WORDS;
    &file[at..at + ENTRY_WORDS]
}

fn text(words: impl Iterator<Item = u64>) -> String {
    let bytes: Vec<u8> = words.flat_map(u64::to_ne_bytes).take_while(|byte| *byte != 0).collect();
    String::from_utf8_lossy(&bytes).into_owned()
}

fn put_text(words: &[Word], text: &str) {
    let mut bytes = text.as_bytes().to_vec();
    bytes.resize(8 * words.len(), 0);
    for (word, chunk) in words.iter().zip(bytes.chunks_exact(8)) {
        let value = chunk.try_into().map_or(0, u64::from_ne_bytes);
        word.store(value, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_comes_back_as_it_was_written_but_not_while_it_is_being_changed() {
        let words: Vec<Word> = (0..ENTRY_WORDS).map(|_| Word::new(0)).collect();
        let entry = Entry {
            generation: 2,
            state: LIVE,
            data_type: -1,
            depth: 1000,
            offset: RINGS_AT,
            bytes: 512,
            venue: "v".repeat(VENUE_BYTES),
            symbol: "BTCUSDT".into(),
        };
        write_entry(&words, &entry);
        assert_eq!(read_entry(&words), Some(entry));

        words[entry::GENERATION].store(3, Ordering::Relaxed);
        assert_eq!(read_entry(&words), None);
    }

    #[test]
    fn the_layout_is_the_one_that_is_documented() {
        assert_eq!((PAGE, ENTRY_WORDS * 8, ENTRIES, RINGS_AT), (4096, 128, 16_384, 2_101_248));
        assert_eq!((entry::VENUE + VENUE_BYTES / 8, entry::SYMBOL + SYMBOL_BYTES / 8), (entry::SYMBOL, 15));
        assert_eq!((header::WORDS, raven_core::ring::CONTROL_WORDS), (13, 48));
    }
}
