//! Bytes to events: borrow, never copy; refuse with offset and reason.
//!
//! [`scan`] knows JSON, [`decimal`] knows numbers, [`binance`] and [`binance_slow`] know one venue's messages.

pub mod binance;
pub mod binance_slow;
pub mod decimal;
pub mod scan;
