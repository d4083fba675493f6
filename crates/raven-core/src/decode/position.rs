//! Where a reader of messages is in a topic, and what the sequence of the next message says about it.

use super::{Event, Message};
use crate::record::{flags, GapReason, Kind};

/// The last message of a topic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Position {
    /// Its sequence at the sender; 0 before the first.
    pub sequence: u64,
    /// When it arrived at the source, ns.
    pub recv_ns: i64,
}

impl Position {
    /// Go on to a message. `None`: it was there before. Else how many messages are missing before it: 0 when it is the
    /// next one, when states were left out on purpose, or when a mark says itself what it stands for.
    #[inline]
    pub fn advance(&mut self, message: &Message<'_>, event: &Event<'_>) -> Option<u64> {
        let (sequence, known) = (message.sequence, self.sequence);
        // A mark of the server stands for all that it lost; a hole may lie before even that.
        let (covers, may_go_back) = match event.gap() {
            Some((GapReason::SlowReader, 0)) => (u64::MAX, false),
            Some((GapReason::SlowReader, count)) => (count, false),
            Some((GapReason::Upstream, 0)) => (u64::MAX, true),
            Some((GapReason::Upstream, count)) => (count, true),
            _ if event.kind == Kind::Book && message.flags & flags::SNAPSHOT != 0 => (u64::MAX, true),
            _ => (1, false),
        };
        if sequence <= known && sequence != 0 && !may_go_back {
            return None;
        }
        *self = Self { sequence, recv_ns: message.recv_ns };
        let is_judged = known != 0 && message.flags & flags::SKIPPED == 0;
        Some(if is_judged { sequence.saturating_sub(known).saturating_sub(covers) } else { 0 })
    }
}
