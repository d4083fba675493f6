//! Raven's rings in shared memory: one process writes them, any number on the same machine read them.
//!
//! [`Segment`] is the writer's side: a file in `/dev/shm` with a header, a directory of topics and the rings themselves.
//! A hub makes its rings right in it ([`raven_core::hub::Hub::in_memory_of`]), so nothing is copied and nobody is woken.
//! [`Reader`] is the other side; it maps the file for reading only and cannot disturb anybody.
//! `docs/reference/shm.md` says byte by byte what is where.

pub mod claim;
pub mod error;
pub mod layout;
pub mod mapping;
pub mod reader;
pub mod segment;

pub use error::ShmError;
pub use reader::{Reader, Seen, TopicReader};
pub use segment::Segment;
