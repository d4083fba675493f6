//! Raven's engine: pure functions and state machines over bytes and records.
//!
//! No I/O, no clock (time is an argument), no Python, no async runtime, no `unsafe`,
//! and no allocation per event once warm. The modules follow the way of one event:
//!
//! [`parse`] → [`sequence`] → [`citadel`] → [`book`] → [`store`] → [`ring`] → [`encode`],
//! wired together by [`engine`].

pub mod bars;
pub mod book;
pub mod citadel;
pub mod collector;
pub mod columns;
pub mod counters;
pub mod decode;
pub mod encode;
pub mod engine;
pub mod events;
pub mod hub;
pub mod inlet;
pub mod instrument;
pub mod ladder;
pub mod latency;
pub mod parse;
pub mod pending;
pub mod receiver;
pub mod record;
pub mod redis;
pub mod reject;
pub mod ring;
pub mod sequence;
pub mod slow_kinds;
pub mod storage;
pub mod store;
pub mod symbols;
pub mod tap;
pub mod topics;
