//! Raven's engine: pure functions and state machines over bytes and records.
//!
//! No I/O, no clock (time is an argument), no Python, no async runtime, no `unsafe`,
//! and no allocation per event once warm. The modules follow the way of one event:
//!
//! [`parse`] → [`sequence`] → [`citadel`] → [`book`] → [`store`] → [`ring`] → [`encode`],
//! wired together by [`engine`].

pub mod hub;
pub mod record;
pub mod ring;
