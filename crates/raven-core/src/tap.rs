//! A copy of what is received, on its way to whoever writes it to disk: bounded, in the order of arrival.
//!
//! The feed appends (one copy, no allocation once warm, never a wait for the disk); another thread takes a block at a
//! time and turns it into lines. What does not fit is counted, and as soon as there is room again a line says so.
//! A mutex orders the two; both hold it for a copy or for a swap of two pointers.

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Bytes of a block: what the other side takes at once.
const BLOCK_BYTES: usize = 256 << 10;
/// Blocks that are kept for use again.
const SPARE_BLOCKS: usize = 4;
/// Connection, length, receive time, note or not.
const HEAD_BYTES: usize = 4 + 4 + 8 + 1;
const HOUR_NS: i64 = 3_600_000_000_000;
/// How our own lines begin. A frame that begins like this, or that is no line, is written in hexadecimal.
const OURS: &[u8] = b"{\"raven\"";

/// Lines of one connection and hour, in the order of arrival: `<receive time, ns> <message>\n`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Lines {
    /// Where the messages came from.
    pub connection: u32,
    /// Receive time of the first.
    pub first_ns: i64,
    /// How many messages.
    pub count: u64,
    /// The lines.
    pub text: Vec<u8>,
}

/// Messages that did not fit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// How many.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Tap {
    limit: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    filling: Vec<u8>,
    full: VecDeque<Vec<u8>>,
    spare: Vec<Vec<u8>>,
    waiting: usize,
    taken: u64,
    /// By connection: what was lost since the last line that said so, and the first and last receive time of it.
    untold: BTreeMap<u32, (Lost, i64, i64)>,
    lost: Lost,
}

impl Tap {
    /// A tap that keeps at most about so many bytes for the other side.
    pub fn new(limit: usize) -> Self {
        Self { limit, inner: Mutex::default() }
    }

    /// Append a message as received; false when there is no room for it.
    #[inline]
    pub fn frame(&self, connection: u32, recv_ns: i64, message: &[u8]) -> bool {
        self.push(connection, recv_ns, message, false)
    }

    /// Append a line of our own (no line feed in it); false when there is no room for it.
    pub fn note(&self, connection: u32, recv_ns: i64, line: &[u8]) -> bool {
        self.push(connection, recv_ns, line, true)
    }

    /// Take what waits longest, about 256 KiB at most, by connection and hour; empty when there is nothing.
    pub fn take(&self) -> Vec<Lines> {
        let block = {
            let mut inner = self.inner();
            inner.tell_losses();
            let next = inner.full.pop_front();
            let block = next.unwrap_or_else(|| {
                let spare = inner.spare.pop().unwrap_or_default();
                std::mem::replace(&mut inner.filling, spare)
            });
            inner.waiting -= block.len();
            inner.taken += block.len() as u64;
            block
        };
        let lines = lines_of(&block);
        let mut inner = self.inner();
        if inner.spare.len() < SPARE_BLOCKS {
            let mut block = block;
            block.clear();
            inner.spare.push(block);
        }
        lines
    }

    /// Bytes that wait.
    pub fn waiting(&self) -> usize {
        self.inner().waiting
    }

    /// Bytes that were taken so far: with those that wait, everything that was appended.
    pub fn taken(&self) -> u64 {
        self.inner().taken
    }

    /// What did not fit, in all.
    pub fn lost(&self) -> Lost {
        self.inner().lost
    }

    #[inline]
    fn push(&self, connection: u32, recv_ns: i64, message: &[u8], is_note: bool) -> bool {
        let mut inner = self.inner();
        if inner.waiting + message.len() > self.limit {
            inner.lose(connection, recv_ns, message.len());
            return false;
        }
        if !inner.untold.is_empty() {
            inner.tell_losses();
        }
        inner.append(connection, recv_ns, message, is_note);
        true
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // Nothing in here can be left half done: a panic while it is held is one of memory, and ends the program.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    #[inline]
    fn append(&mut self, connection: u32, recv_ns: i64, message: &[u8], is_note: bool) {
        let size = HEAD_BYTES + message.len();
        if self.filling.len() + size > BLOCK_BYTES {
            let mut next = self.spare.pop().unwrap_or_default();
            next.reserve(BLOCK_BYTES.max(size));
            if !self.filling.is_empty() {
                self.full.push_back(std::mem::replace(&mut self.filling, next));
            }
        }
        let block = &mut self.filling;
        block.extend_from_slice(&connection.to_le_bytes());
        block.extend_from_slice(&(message.len() as u32).to_le_bytes());
        block.extend_from_slice(&recv_ns.to_le_bytes());
        block.push(u8::from(is_note));
        block.extend_from_slice(message);
        self.waiting += size;
    }

    #[cold]
    fn lose(&mut self, connection: u32, recv_ns: i64, bytes: usize) {
        let (untold, _, last_ns) = self.untold.entry(connection).or_insert((Lost::default(), recv_ns, recv_ns));
        for lost in [untold, &mut self.lost] {
            lost.messages += 1;
            lost.bytes += bytes as u64;
        }
        *last_ns = recv_ns;
    }

    /// Say where messages are missing; there is always room for that.
    #[cold]
    fn tell_losses(&mut self) {
        for (connection, (lost, first_ns, last_ns)) in std::mem::take(&mut self.untold) {
            let line = format!(
                "{{\"raven\":\"lost\",\"messages\":{},\"bytes\":{},\"until_ns\":{last_ns}}}",
                lost.messages, lost.bytes
            );
            self.append(connection, first_ns, line.as_bytes(), true);
        }
    }
}

fn lines_of(block: &[u8]) -> Vec<Lines> {
    let mut found: Vec<Lines> = Vec::new();
    let mut rest = block;
    while let Some((entry, behind)) = entry(rest) {
        rest = behind;
        let hour = entry.recv_ns.div_euclid(HOUR_NS);
        let is_same =
            |lines: &Lines| lines.connection == entry.connection && lines.first_ns.div_euclid(HOUR_NS) == hour;
        let place = found.iter().rposition(is_same).unwrap_or_else(|| {
            found.push(Lines { connection: entry.connection, first_ns: entry.recv_ns, ..Lines::default() });
            found.len() - 1
        });
        write_line(&mut found[place], &entry);
    }
    found
}

struct Entry<'a> {
    connection: u32,
    recv_ns: i64,
    is_note: bool,
    message: &'a [u8],
}

/// Split the first entry off.
fn entry(block: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let (connection, rest) = block.split_first_chunk::<4>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (recv_ns, rest) = rest.split_first_chunk::<8>()?;
    let (is_note, rest) = rest.split_first()?;
    let (message, behind) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    let entry = Entry {
        connection: u32::from_le_bytes(*connection),
        recv_ns: i64::from_le_bytes(*recv_ns),
        is_note: *is_note != 0,
        message,
    };
    Some((entry, behind))
}

fn write_line(lines: &mut Lines, entry: &Entry<'_>) {
    let (text, message) = (&mut lines.text, entry.message);
    text.extend_from_slice(entry.recv_ns.max(0).to_string().as_bytes());
    text.push(b' ');
    let is_line =
        !message.is_empty() && !message.starts_with(OURS) && !message.iter().any(|c| matches!(c, b'\n' | b'\r'));
    if entry.is_note || is_line {
        text.extend_from_slice(message);
    } else {
        let mut hex = String::with_capacity(2 * message.len());
        message.iter().for_each(|byte| {
            // Writing to a string cannot fail.
            let _ = write!(hex, "{byte:02x}");
        });
        text.extend_from_slice(b"{\"raven\":\"frame\",\"hex\":\"");
        text.extend_from_slice(hex.as_bytes());
        text.extend_from_slice(b"\"}");
    }
    text.push(b'\n');
    lines.count += 1;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(tap: &Tap) -> String {
        let mut text = String::new();
        loop {
            let taken = tap.take();
            if taken.is_empty() {
                return text;
            }
            taken.iter().for_each(|lines| text.push_str(std::str::from_utf8(&lines.text).expect("text")));
        }
    }

    #[test]
    fn messages_come_out_byte_for_byte_by_connection_and_hour() {
        let tap = Tap::new(1 << 20);
        assert!(tap.note(1, 5, b"{\"raven\":\"capture\"}"));
        assert!(tap.frame(1, 6, b"{\"e\": 1 }"));
        assert!(tap.frame(2, 7, b"{\"e\":2}"));
        assert!(tap.frame(1, HOUR_NS, b"{\"e\":3}"));

        let taken = tap.take();

        let texts: Vec<_> = taken.iter().map(|lines| (lines.connection, lines.count, lines.text.as_slice())).collect();
        assert_eq!(texts[0], (1, 2, &b"5 {\"raven\":\"capture\"}\n6 {\"e\": 1 }\n"[..]));
        assert_eq!(texts[1], (2, 1, &b"7 {\"e\":2}\n"[..]));
        assert_eq!(texts[2], (1, 1, &b"3600000000000 {\"e\":3}\n"[..]));
        assert_eq!((tap.take(), tap.waiting()), (Vec::new(), 0));
    }

    #[test]
    fn what_is_no_line_or_looks_like_ours_is_written_in_hexadecimal() {
        let tap = Tap::new(1 << 20);
        for message in [&b"{\n}"[..], b"", b"{\"raven\":1}"] {
            assert!(tap.frame(0, 1, message));
        }
        assert_eq!(
            all(&tap),
            "1 {\"raven\":\"frame\",\"hex\":\"7b0a7d\"}\n1 {\"raven\":\"frame\",\"hex\":\"\"}\n\
             1 {\"raven\":\"frame\",\"hex\":\"7b22726176656e223a317d\"}\n"
        );
    }

    #[test]
    fn what_does_not_fit_is_counted_and_said_in_its_place() {
        let tap = Tap::new(100);
        let message = [b'x'; 60];
        assert!(tap.frame(3, 1, &message));
        assert!(!tap.frame(3, 2, &message) && !tap.frame(3, 4, &message));
        assert_eq!(tap.lost(), Lost { messages: 2, bytes: 120 });
        let text = all(&tap);
        assert!(text.ends_with("2 {\"raven\":\"lost\",\"messages\":2,\"bytes\":120,\"until_ns\":4}\n"), "{text}");
        assert!(tap.frame(3, 5, &message));
        assert_eq!(all(&tap), format!("5 {}\n", "x".repeat(60)), "said once");
    }

    #[test]
    fn many_blocks_keep_the_order_and_a_large_message_fits() {
        let tap = Tap::new(64 << 20);
        let large = vec![b'y'; 3 * BLOCK_BYTES];
        for at in 0..10_000 {
            assert!(tap.frame(0, at, b"0123456789012345678901234567890123456789"));
        }
        assert!(tap.frame(0, 10_000, &large) && tap.frame(0, 10_001, b"z"));
        let text = all(&tap);
        let stamps: Vec<usize> = text.lines().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
        assert_eq!(stamps, (0..=10_001).collect::<Vec<_>>());
        assert_eq!(tap.waiting(), 0);
    }
}
