//! Raven's gRPC server: one thread that drains rings to any number of subscribers.
//!
//! Who writes what, on which thread:
//!
//! ```text
//! ingest thread(s)   publish to rings, ring the doorbell            raven_core::hub
//! raven-serve        pump: rings -> wire logs (encoded once)        pump, channel
//!                    bodies: wire logs -> HTTP/2, one cursor each   stream, body
//!                    accept, TLS, limits, health, reflection        accept, route
//! Python threads     policy: who may read what, answers to calls    server, calls
//! ```
//!
//! Everything on the serve thread is single-threaded (`Rc`, `RefCell`, a local task set), so nothing there is locked.
//! Two things cross threads: calls that wait for policy ([`Server::next_call`], a bounded queue) and commands from
//! policy ([`Server::attach`] and the like, another one). The server decodes nothing of what clients say.

mod accept;
mod body;
mod calls;
mod channel;
mod commands;
mod config;
mod frame;
mod local;
mod output;
mod past;
mod proto;
mod pump;
mod route;
mod server;
mod stats;
mod stream;
mod take_up;
mod tls;
mod watched;

pub use calls::Call;
pub use config::{Attach, Config, Overflow, Tls, UnknownOverflow};
pub use past::{encode, Encoded, Pushed};
pub use proto::{raven, DESCRIPTORS};
pub use server::{Server, StartError, UnknownTopic};
pub use stream::StreamInfo;
