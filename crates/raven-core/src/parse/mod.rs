//! Bytes to events: borrow, never copy; refuse with offset and reason.
//!
//! [`scan`] knows JSON, [`decimal`] knows numbers, [`levels`] knows runs of price levels, [`envelope`], [`binance`] and [`binance_slow`] know one venue's
//! messages, [`event`] is what they have in common with every other venue's.

pub mod binance;
pub mod binance_slow;
pub mod decimal;
pub mod envelope;
pub mod event;
pub mod levels;
pub mod scan;
