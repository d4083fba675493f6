//! gRPC's own framing: five bytes, then a message.

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;
use std::future::poll_fn;
use std::pin::Pin;
use tonic::Status;

/// Bytes before each message: one that says whether it is compressed, four of length, big endian.
pub(crate) const PREFIX_BYTES: usize = 5;

/// Reads the messages of a request body, of at most `limit` bytes each.
#[derive(Debug)]
pub(crate) struct Frames<B> {
    body: B,
    buffer: BytesMut,
    limit: usize,
}

impl<B: Body<Data = Bytes> + Unpin> Frames<B> {
    pub(crate) fn new(body: B, limit: usize) -> Self {
        Self { body, buffer: BytesMut::new(), limit }
    }

    /// The next message, `None` at the end of the request.
    ///
    /// # Errors
    /// A status that says what was wrong with the frame.
    pub(crate) async fn next(&mut self) -> Option<Result<Bytes, Status>> {
        loop {
            match self.split() {
                Ok(None) => {}
                Ok(Some(message)) => return Some(Ok(message)),
                Err(status) => return Some(Err(status)),
            }
            match poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await {
                Some(Ok(frame)) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
                Some(Err(_)) => return Some(Err(Status::cancelled("the request was cut off"))),
                None if self.buffer.is_empty() => return None,
                None => return Some(Err(Status::invalid_argument("the request ends inside a message"))),
            }
        }
    }

    fn split(&mut self) -> Result<Option<Bytes>, Status> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX_BYTES>() else { return Ok(None) };
        let length = u32::from_be_bytes([prefix[1], prefix[2], prefix[3], prefix[4]]) as usize;
        if prefix[0] != 0 {
            return Err(Status::unimplemented(
                "compressed requests are not supported; send them with identity encoding",
            ));
        }
        if length > self.limit {
            return Err(Status::resource_exhausted(format!(
                "request message larger than max ({length} vs. {} bytes)",
                self.limit
            )));
        }
        if self.buffer.len() < PREFIX_BYTES + length {
            return Ok(None);
        }
        self.buffer.advance(PREFIX_BYTES);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

/// Write the prefix of the message that starts at `at + PREFIX_BYTES` and goes to the end of `bytes`.
pub(crate) fn close_frame(bytes: &mut [u8], at: usize) {
    let length = (bytes.len() - at - PREFIX_BYTES) as u32;
    bytes[at] = 0;
    bytes[at + 1..at + PREFIX_BYTES].copy_from_slice(&length.to_be_bytes());
}

/// A frame around one message.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut bytes = vec![0; PREFIX_BYTES];
    bytes.extend_from_slice(message);
    close_frame(&mut bytes, 0);
    bytes.into()
}

/// Length of the first frame in `bytes`, prefix included.
pub(crate) fn frame_len(bytes: &[u8]) -> usize {
    let length = u32::from_be_bytes([bytes[1], bytes[2], bytes[3], bytes[4]]);
    PREFIX_BYTES + length as usize
}
