//! Where a ring's words are: on the heap, or in memory that somebody lends, such as a mapping that other processes read.

use crate::ring::Word;

/// Words of a ring.
#[derive(Debug)]
pub enum Storage {
    /// Its own.
    Heap(Box<[Word]>),
    /// Lent for as long as the ring lives.
    Lent(Lent),
}

/// Words that were lent, and what their owner wants to hear; dropping it gives them back.
#[derive(Debug)]
pub struct Lent {
    words: &'static [Word],
    owner: Box<dyn Owner>,
}

impl Lent {
    /// Words for one ring, and who is told what becomes of it.
    pub fn new(words: &'static [Word], owner: Box<dyn Owner>) -> Self {
        Self { words, owner }
    }
}

/// Who lent the words of a ring; dropped when nobody in this process writes or reads it any more.
pub trait Owner: std::fmt::Debug + Send + Sync {
    /// The ring is made; whoever reads the words from outside may open it.
    fn announce(&self);
    /// Nothing will be published any more.
    fn end(&self);
}

impl Storage {
    /// Tell the owner, if there is one, that the ring is made.
    pub fn announce(&self) {
        if let Self::Lent(lent) = self {
            lent.owner.announce();
        }
    }

    /// Tell the owner, if there is one, that nothing will be published any more.
    pub fn end(&self) {
        if let Self::Lent(lent) = self {
            lent.owner.end();
        }
    }
}

impl AsRef<[Word]> for Storage {
    #[inline(always)]
    fn as_ref(&self) -> &[Word] {
        match self {
            Self::Heap(words) => words,
            Self::Lent(lent) => lent.words,
        }
    }
}
