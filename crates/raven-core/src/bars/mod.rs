//! Bars made of trades: one file per kind, one code path for live, replay and offline.
//!
//! A [`Spec`] says what to build; a [`Builder`] takes trades one by one and hands out bars. It knows nothing of rings,
//! files or clocks: [`live`] feeds it from topics, [`offline`] from columns, and both get the same bars.
//!
//! Everything that is summed is an integer in the instrument's scales, so the order of additions cannot matter. Doubles
//! appear only in the averages of imbalance and run bars, where the published rule has them.
//!
//! | file | closes when |
//! |---|---|
//! | [`time`] | the clock reaches the end of its interval |
//! | [`tick`] | it has so many trades |
//! | [`volume`] | it has so much base or quote volume |
//! | [`imbalance`] | buys outweigh sells, or the reverse, by more than expected |
//! | [`run`] | the heavier side alone has more than expected |
//! | [`vpin`] | it has so much base volume; θ is the share of it that was one-sided, over the last buckets |

pub mod any;
pub mod bar;
pub mod builder;
pub mod decimals;
pub mod expectation;
pub mod imbalance;
pub mod live;
pub mod offline;
pub mod order;
pub mod run;
pub mod spec;
pub mod table;
pub mod tick;
pub mod time;
pub mod volume;
pub mod vpin;
pub mod vwap;

pub use any::AnyBuilder;
pub use bar::{Bar, Trade};
pub use builder::{Builder, Rule};
pub use spec::Spec;
