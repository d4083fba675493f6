//! What a body hands to HTTP/2 next: frames, gathered up to a limit, in batches if the client asked for them.

use bytes::{BufMut, Bytes, BytesMut};

use crate::channel::{Chunk, CHUNK_BYTES};
use crate::frame::{close_frame, frame_len, PREFIX_BYTES};

/// Chunks from this length on are sent as they are instead of being copied together with others.
const WHOLE_CHUNK_BYTES: usize = 4 << 10;
/// Most bytes gathered for one poll when messages are batched.
const BATCH_BYTES: usize = 128 << 10;
/// Tag of `repeated MarketDataMessage batch = 104`.
const BATCH_TAG: [u8; 2] = [0xc2, 0x06];

/// Frames on their way out.
#[derive(Debug, Default)]
pub(crate) struct Output {
    bytes: BytesMut,
    whole: Option<Bytes>,
    /// Where the open batch starts, and how many messages it has.
    batch: Option<(usize, usize)>,
    batch_size: usize,
    /// Messages in here.
    pub(crate) messages: u64,
}

impl Output {
    /// Gather up to `batch_size` messages per frame; 1 sends each alone.
    pub(crate) fn new(batch_size: usize) -> Self {
        Self { batch_size, ..Self::default() }
    }

    /// Whether the poll has enough.
    pub(crate) fn is_full(&self) -> bool {
        let limit = if self.batch_size > 1 { BATCH_BYTES } else { CHUNK_BYTES };
        self.whole.is_some() || self.bytes.len() >= limit
    }

    /// Add one message without its prefix.
    pub(crate) fn put_message(&mut self, message: &[u8]) {
        self.messages += 1;
        self.reserve(message.len() + 16);
        if self.batch_size > 1 {
            self.put_in_batch(message);
        } else {
            let at = self.bytes.len();
            self.bytes.put_bytes(0, PREFIX_BYTES);
            self.bytes.put_slice(message);
            close_frame(&mut self.bytes, at);
        }
    }

    /// Add the empty message that says nothing but that the server lives.
    pub(crate) fn put_heartbeat(&mut self) {
        self.bytes.put_bytes(0, PREFIX_BYTES);
    }

    /// Add frames as they are in a channel.
    pub(crate) fn put_frames(&mut self, frames: Bytes, messages: u64) {
        if self.batch_size > 1 {
            self.reserve(frames.len() + 16);
            let mut rest = &frames[..];
            while !rest.is_empty() {
                let (frame, others) = rest.split_at(frame_len(rest));
                self.messages += 1;
                self.put_in_batch(&frame[PREFIX_BYTES..]);
                rest = others;
            }
        } else {
            self.messages += messages;
            if self.bytes.is_empty() && frames.len() >= WHOLE_CHUNK_BYTES {
                self.whole = Some(frames);
            } else {
                self.reserve(frames.len());
                self.bytes.put_slice(&frames);
            }
        }
    }

    /// Add a whole chunk.
    pub(crate) fn put_chunk(&mut self, chunk: &Chunk) {
        self.put_frames(chunk.bytes.clone(), chunk.messages);
    }

    /// Everything gathered, `None` when there is nothing.
    pub(crate) fn take(&mut self) -> Option<Bytes> {
        self.close_batch();
        if self.whole.is_some() {
            return self.whole.take();
        }
        let bytes = std::mem::take(&mut self.bytes);
        (!bytes.is_empty()).then(|| bytes.freeze())
    }

    /// Grow at once to what a poll usually takes, so that a busy stream does not copy itself larger step by step.
    fn reserve(&mut self, more: usize) {
        if self.bytes.capacity() - self.bytes.len() < more {
            let grown = if self.bytes.is_empty() { more } else { (self.bytes.len() * 2).max(CHUNK_BYTES) };
            self.bytes.reserve(grown.max(more));
        }
    }

    fn put_in_batch(&mut self, message: &[u8]) {
        let (at, count) = self.batch.unwrap_or_else(|| {
            let at = self.bytes.len();
            self.bytes.put_bytes(0, PREFIX_BYTES);
            (at, 0)
        });
        self.bytes.put_slice(&BATCH_TAG);
        let mut length = message.len();
        while length >= 0x80 {
            self.bytes.put_u8(length as u8 | 0x80);
            length >>= 7;
        }
        self.bytes.put_u8(length as u8);
        self.bytes.put_slice(message);
        self.batch = Some((at, count + 1));
        if count + 1 >= self.batch_size {
            self.close_batch();
        }
    }

    fn close_batch(&mut self) {
        if let Some((at, _)) = self.batch.take() {
            close_frame(&mut self.bytes, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::framed;
    use crate::proto::raven::MarketDataMessage;
    use prost::Message;

    fn message(sequence: u64) -> Vec<u8> {
        MarketDataMessage { sequence, ..Default::default() }.encode_to_vec()
    }

    fn batches(mut bytes: &[u8]) -> Vec<Vec<u64>> {
        let mut all = Vec::new();
        while !bytes.is_empty() {
            let (frame, rest) = bytes.split_at(frame_len(bytes));
            let decoded = MarketDataMessage::decode(&frame[PREFIX_BYTES..]).unwrap();
            all.push(decoded.batch.iter().map(|message| message.sequence).collect());
            bytes = rest;
        }
        all
    }

    #[test]
    fn a_batch_never_waits_and_never_exceeds_its_size() {
        let mut output = Output::new(3);
        output.put_frames([framed(&message(1)), framed(&message(2))].concat().into(), 2);
        output.put_message(&message(3));
        output.put_message(&message(4));

        assert_eq!(batches(&output.take().unwrap()), [vec![1, 2, 3], vec![4]]);
        assert_eq!(output.messages, 4);
        assert_eq!(output.take(), None);
    }

    #[test]
    fn a_large_chunk_is_not_copied() {
        let chunk = Bytes::from(vec![1; WHOLE_CHUNK_BYTES]);
        let mut output = Output::new(1);
        output.put_frames(chunk.clone(), 9);

        assert!(output.is_full());
        assert_eq!(output.take().unwrap().as_ptr(), chunk.as_ptr());
    }
}
