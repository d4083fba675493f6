//! A Binance frame seen from outside: combined or raw, one event or many, market data or an answer.
//!
//! The usual order of keys takes a short way; everything else is walked once to find out what it is.

use super::binance::{members, ASK_QUANTITY, EVENT, UPDATE_ID};
use super::event::Stop;
use super::scan::{key, Key, Next, Scanner, Seen};
use crate::reject::{Reason, Reject};

const STREAM: Key = key("stream");
const DATA: Key = key("data");
const RESULT: Key = key("result");
const ERROR: Key = key("error");
const ID: Key = key("id");
const CODE: Key = key("code");

/// The event types that Raven reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventType {
    /// `depthUpdate` of a diff stream.
    Depth,
    /// The best 5, 10 or 20 levels, whole.
    PartialDepth,
    /// `trade`
    Trade,
    /// `aggTrade`
    AggTrade,
    /// `bookTicker`
    BookTicker,
    /// `kline`
    Kline,
    /// `markPriceUpdate`
    MarkPrice,
    /// `forceOrder`
    ForceOrder,
}

/// A frame, seen from outside.
#[derive(Clone, Copy, Debug)]
pub enum Frame<'a> {
    /// One event, or an array of events, of this type; the scanner stands on its first byte.
    Events {
        /// What the events are.
        event_type: EventType,
        /// Stands on `{` or `[`.
        scanner: Scanner<'a>,
        /// The stream's name in a combined stream; empty otherwise.
        stream: &'a [u8],
        /// What has to follow the events.
        end: End,
    },
    /// An answer to a request.
    Reply,
    /// A notice of the venue that is not market data (`serverShutdown`).
    Notice(&'a [u8]),
    /// A well-formed event of a type that Raven does not read.
    Unknown(&'a [u8]),
}

/// What has to follow the events of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The rest of the combined stream's wrapper.
    Wrapper,
    /// Nothing.
    Frame,
    /// It was looked at before.
    Checked,
}

impl End {
    /// Check it; the scanner stands behind the events.
    ///
    /// # Errors
    /// A [`Reject`] at the first byte that should not be there.
    #[inline(always)]
    pub fn check(self, mut scanner: Scanner<'_>) -> Result<(), Reject> {
        match self {
            Self::Wrapper => {
                while scanner.next(b'}')? == Next::More {
                    if matches!(scanner.member()?, STREAM | DATA) {
                        return Err(scanner.refuse(Reason::DuplicateKey));
                    }
                    scanner.skip()?;
                }
                scanner.finish()
            }
            Self::Frame => scanner.finish(),
            Self::Checked => Ok(()),
        }
    }
}

fn event_type_of_name(name: &[u8], stream: &[u8]) -> Option<EventType> {
    Some(match name {
        b"depthUpdate" if is_partial_depth(stream) => EventType::PartialDepth,
        b"depthUpdate" => EventType::Depth,
        b"trade" => EventType::Trade,
        b"aggTrade" => EventType::AggTrade,
        b"bookTicker" => EventType::BookTicker,
        b"kline" => EventType::Kline,
        b"markPriceUpdate" => EventType::MarkPrice,
        b"forceOrder" => EventType::ForceOrder,
        _ => return None,
    })
}

fn is_partial_depth(stream: &[u8]) -> bool {
    after_at(stream).strip_prefix(b"depth").and_then(<[u8]>::first).is_some_and(u8::is_ascii_digit)
}

fn after_at(stream: &[u8]) -> &[u8] {
    match stream.iter().position(|byte| *byte == b'@') {
        Some(at) => &stream[at + 1..],
        None => &stream[..0],
    }
}

/// Spot `bookTicker` and partial depth carry no event type: only the stream's name tells.
fn event_type_of_stream(stream: &[u8]) -> Option<EventType> {
    let kind = match stream {
        [b'!', all @ ..] => all.split(|byte| *byte == b'@').next()?,
        _ => after_at(stream),
    };
    Some(match kind {
        b"bookTicker" => EventType::BookTicker,
        b"forceOrder" => EventType::ForceOrder,
        b"trade" => EventType::Trade,
        b"aggTrade" => EventType::AggTrade,
        _ if kind.starts_with(b"markPrice") => EventType::MarkPrice,
        _ if kind.starts_with(b"kline_") => EventType::Kline,
        _ if is_partial_depth(stream) => EventType::PartialDepth,
        _ if kind.starts_with(b"depth") => EventType::Depth,
        _ => return None,
    })
}

/// Look at a frame's envelope and find out what it carries.
///
/// # Errors
/// A [`Reject`] when the envelope is not JSON of a known form.
#[inline]
pub fn open(frame: &[u8]) -> Result<Frame<'_>, Reject> {
    let mut scanner = Scanner::new(frame, 0);
    if scanner.take(b"{\"stream\":") {
        let stream = scanner.string()?;
        if scanner.take(b",\"data\":") {
            if let Some(event_type) = classify(scanner, stream) {
                return Ok(Frame::Events { event_type, scanner, stream, end: End::Wrapper });
            }
        }
    } else if frame.starts_with(b"{\"e\":\"") {
        if let Some(event_type) = classify(scanner, b"") {
            return Ok(Frame::Events { event_type, scanner, stream: b"", end: End::Frame });
        }
    }
    open_any(frame)
}

/// The event type, when the event starts with it or the stream's name tells.
#[inline(always)]
fn classify(mut event: Scanner<'_>, stream: &[u8]) -> Option<EventType> {
    if event.take(b"{\"e\":") {
        event_type_of_name(event.string().ok()?, stream)
    } else {
        event_type_of_stream(stream)
    }
}

/// Everything that does not come in the usual order: replies, notices, arrays, other key orders, rubbish.
#[cold]
fn open_any(frame: &[u8]) -> Result<Frame<'_>, Reject> {
    let mut scanner = Scanner::new(frame, 0);
    let mut whole = scanner;
    whole.skip()?;
    whole.finish()?;
    if scanner.peek()? == b'[' {
        return open_event(scanner, b"", frame);
    }
    let (mut stream, mut data) = (None, None);
    let mut is_reply = false;
    let mut seen = Seen::default();
    members(&mut scanner, |scanner, name| {
        match name {
            STREAM if scanner.peek()? == b'"' => {
                seen.note(1, scanner)?;
                stream = Some(scanner.string()?);
            }
            DATA => {
                seen.note(2, scanner)?;
                data = Some(*scanner);
                scanner.skip()?;
            }
            _ => {
                is_reply |= matches!(name, RESULT | ERROR | ID | CODE);
                scanner.skip()?;
            }
        }
        Ok(())
    })
    .map_err(as_reject)?;
    match (stream, data) {
        (Some(stream), Some(data)) => open_event(data, stream, frame),
        _ if is_reply => Ok(Frame::Reply),
        _ => open_event(Scanner::new(frame, 0), b"", frame),
    }
}

fn as_reject(stop: Stop) -> Reject {
    match stop {
        Stop::Refused(reject) => reject,
        _ => Reject::at(Reason::MalformedJson, 0),
    }
}

fn open_event<'a>(event: Scanner<'a>, stream: &'a [u8], frame: &'a [u8]) -> Result<Frame<'a>, Reject> {
    let mut first = event;
    if first.peek()? == b'[' && first.open(b'[', b']')? == Next::End {
        return Ok(Frame::Unknown(b"[]"));
    }
    if first.peek()? != b'{' {
        return Err(first.refuse(Reason::WrongType));
    }
    let (mut name, mut has_ticker_keys) = (None, Seen::default());
    members(&mut first, |scanner, member| {
        match member {
            EVENT if scanner.peek()? == b'"' => name = Some(scanner.string()?),
            UPDATE_ID => {
                has_ticker_keys.note(1, scanner)?;
                scanner.skip()?;
            }
            ASK_QUANTITY => {
                has_ticker_keys.note(2, scanner)?;
                scanner.skip()?;
            }
            _ => scanner.skip()?,
        }
        Ok(())
    })
    .map_err(as_reject)?;
    let event_type = match name {
        Some(name) => event_type_of_name(name, stream),
        None if has_ticker_keys.has(3) => Some(EventType::BookTicker),
        None => event_type_of_stream(stream),
    };
    match (event_type, name) {
        // The whole frame was checked by `open_any`, so its end needs no second look.
        (Some(event_type), _) => Ok(Frame::Events { event_type, scanner: event, stream, end: End::Checked }),
        (None, Some(b"serverShutdown")) => Ok(Frame::Notice(b"serverShutdown")),
        (None, Some(name)) => Ok(Frame::Unknown(name)),
        (None, None) if !stream.is_empty() => Ok(Frame::Unknown(stream)),
        (None, None) => Err(Reject::at(Reason::UnknownEvent, frame.len().min(event.offset()))),
    }
}
