//! Response bodies: the stream of one subscriber, one finished answer, or whatever health and reflection return.

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame};
use tokio::time::{sleep_until, Sleep};
use tonic::Status;

use crate::local::Local;
use crate::past::Pieces;
use crate::stream::Stream;

/// Any response body of this server.
pub(crate) enum Reply {
    /// A subscriber.
    Stream(StreamBody),
    /// Many messages, and the trailers behind them.
    Pieces(PiecesBody),
    /// One message and the trailers behind it.
    Once(Option<Bytes>, Option<HeaderMap>),
    /// A service of tonic.
    Tonic(tonic::body::Body),
}

impl Reply {
    /// Nothing; the status is in the headers.
    pub(crate) fn empty() -> Self {
        Self::Once(None, None)
    }

    /// One message, and all is well.
    pub(crate) fn message(frame: Bytes) -> Self {
        Self::Once(Some(frame), Some(trailers(&Status::ok(""))))
    }
}

impl Body for Reply {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        match self.get_mut() {
            Self::Stream(body) => body.poll_next(cx).map(|frame| frame.map(Ok)),
            Self::Pieces(body) => body.poll_next(cx).map(|frame| frame.map(Ok)),
            Self::Once(message, end) => {
                let frame = message.take().map(Frame::data).or_else(|| end.take().map(Frame::trailers));
                Poll::Ready(frame.map(Ok))
            }
            Self::Tonic(body) => Pin::new(body).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Stream(_) | Self::Pieces(_) => false,
            Self::Once(message, end) => message.is_none() && end.is_none(),
            Self::Tonic(body) => body.is_end_stream(),
        }
    }
}

/// What one subscriber is sent. Dropping it (the client left, or the stream ended) closes the stream.
pub(crate) struct StreamBody {
    local: Rc<Local>,
    stream: Rc<RefCell<Stream>>,
    timer: Option<Pin<Box<Sleep>>>,
    /// Why the stream ended; set once the trailers are out.
    ended: Option<String>,
}

impl StreamBody {
    pub(crate) fn new(local: Rc<Local>, stream: Rc<RefCell<Stream>>) -> Self {
        Self { local, stream, timer: None, ended: None }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        if self.ended.is_some() {
            return Poll::Ready(None);
        }
        loop {
            let stats = &self.local.shared.stats;
            let mut stream = self.stream.borrow_mut();
            stream.signal.wait(cx.waker());
            let mut output = stream.fill(Instant::now(), stats);
            if let Some(bytes) = output.take() {
                stats.messages.add(output.messages);
                stats.bytes.add(bytes.len() as u64);
                return Poll::Ready(Some(Frame::data(bytes)));
            }
            if let Some((status, _)) = stream.end.take() {
                self.ended = Some(format!("{:?}: {}", status.code(), status.message()));
                return Poll::Ready(Some(Frame::trailers(trailers(&status))));
            }
            let Some(deadline) = stream.deadline() else { return Poll::Pending };
            drop(stream);
            let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline.into())));
            if timer.deadline() != deadline.into() {
                timer.as_mut().reset(deadline.into());
            }
            if timer.as_mut().poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }
}

impl Drop for StreamBody {
    fn drop(&mut self) {
        let reason = self.ended.take().unwrap_or_else(|| "Cancelled: the client left".into());
        self.local.close(&self.stream, reason);
    }
}

/// What one call for the past is sent. Dropping it tells whoever pushes that nobody listens any more.
pub(crate) struct PiecesBody {
    local: Rc<Local>,
    call_id: u64,
    pieces: Pieces,
    is_ended: bool,
}

impl PiecesBody {
    pub(crate) fn new(local: Rc<Local>, call_id: u64, pieces: Pieces) -> Self {
        Self { local, call_id, pieces, is_ended: false }
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        if self.is_ended {
            return Poll::Ready(None);
        }
        self.pieces.poll_next(cx).map(|piece| match piece {
            Ok(frames) => {
                let stats = &self.local.shared.stats;
                stats.messages.add(frames.messages);
                stats.bytes.add(frames.bytes.len() as u64);
                Some(Frame::data(frames.bytes))
            }
            Err(status) => {
                self.is_ended = true;
                Some(Frame::trailers(trailers(&status)))
            }
        })
    }
}

impl Drop for PiecesBody {
    fn drop(&mut self) {
        self.local.shared.calls.forget(self.call_id);
    }
}

/// Trailers that carry a status.
pub(crate) fn trailers(status: &Status) -> HeaderMap {
    let mut map = HeaderMap::new();
    if status.add_header(&mut map).is_err() {
        map.insert("grpc-status", http::HeaderValue::from_static("13"));
    }
    map
}
