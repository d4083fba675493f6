//! What Redis answers, one reply per command: counted and looked at for refusals, never kept.

/// How one command went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// It was done.
    Done,
    /// Redis refused it; its words, such as `OOM command not allowed when used memory > 'maxmemory'.`
    Refused(String),
}

/// The other side does not speak the protocol of Redis, or answers what no command of ours leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotAReply(pub String);

impl std::fmt::Display for NotAReply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the server answered {:?}, which no Redis does here; is it one, and is the port right?", self.0)
    }
}

impl std::error::Error for NotAReply {}

/// Longest line that is kept; Redis writes short ones.
const MAX_LINE: usize = 4096;

/// Takes the stream of replies in whatever pieces it comes.
#[derive(Clone, Debug, Default)]
pub struct Replies {
    line: Vec<u8>,
    /// Bytes of a text that still come, its line end included.
    skip: usize,
}

impl Replies {
    /// Take a piece, and give every reply that ends in it to `each`.
    ///
    /// # Errors
    /// [`NotAReply`]; what follows cannot be understood any more.
    pub fn take(&mut self, mut piece: &[u8], mut each: impl FnMut(Reply)) -> Result<(), NotAReply> {
        while !piece.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(piece.len());
                self.skip -= skipped;
                piece = &piece[skipped..];
                if self.skip == 0 {
                    each(Reply::Done);
                }
                continue;
            }
            let end = piece.iter().position(|byte| *byte == b'\n');
            let (part, rest) = piece.split_at(end.map_or(piece.len(), |end| end + 1));
            self.line.extend_from_slice(part);
            piece = rest;
            if self.line.len() > MAX_LINE {
                return Err(self.nonsense());
            }
            if end.is_some() {
                self.end_line(&mut each)?;
            }
        }
        Ok(())
    }

    fn end_line(&mut self, each: &mut impl FnMut(Reply)) -> Result<(), NotAReply> {
        let Some(line) = self.line.strip_suffix(b"\r\n") else { return Err(self.nonsense()) };
        match line.split_first() {
            Some((b'+' | b':' | b'_', _)) => each(Reply::Done),
            Some((b'-', reason)) => each(Reply::Refused(String::from_utf8_lossy(reason).into_owned())),
            Some((b'$', b"-1")) => each(Reply::Done),
            Some((b'$', length)) => {
                let length = std::str::from_utf8(length).ok().and_then(|length| length.parse::<u32>().ok());
                let Some(length) = length else { return Err(self.nonsense()) };
                self.skip = length as usize + 2;
            }
            _ => return Err(self.nonsense()),
        }
        self.line.clear();
        Ok(())
    }

    fn nonsense(&self) -> NotAReply {
        NotAReply(String::from_utf8_lossy(&self.line[..self.line.len().min(80)]).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(pieces: &[&[u8]]) -> Result<Vec<Reply>, NotAReply> {
        let (mut replies, mut all) = (Replies::default(), Vec::new());
        for piece in pieces {
            replies.take(piece, |reply| all.push(reply))?;
        }
        Ok(all)
    }

    #[test]
    fn replies_are_the_same_however_they_are_cut() {
        let text = b":0\r\n:12\r\n-OOM command not allowed\r\n+OK\r\n$15\r\n1700000000000-0\r\n$0\r\n\r\n$-1\r\n:1\r\n";
        let refused = Reply::Refused("OOM command not allowed".into());
        let mut expected = vec![Reply::Done; 8];
        expected[2] = refused;
        assert_eq!(taken(&[text]), Ok(expected.clone()));
        for cut in 0..text.len() {
            assert_eq!(taken(&[&text[..cut], &text[cut..]]), Ok(expected.clone()), "cut at {cut}");
        }
        assert_eq!(taken(&text.chunks(1).collect::<Vec<_>>()), Ok(expected));
    }

    #[test]
    fn what_is_no_reply_is_an_error_with_its_beginning() {
        for text in [&b"HTTP/1.1 400 Bad Request\r\n"[..], b"\r\n", b":1\n", b"$x\r\n", b"*1\r\n", &[b'+'; 5000]] {
            let error = taken(&[text]).expect_err("no reply");
            assert!(text.starts_with(error.0.trim_end_matches('\u{fffd}').as_bytes()));
        }
    }
}
