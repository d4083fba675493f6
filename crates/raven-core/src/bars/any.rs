//! A builder of any kind: which one is looked up once per batch of trades.

use super::bar::{Bar, Scales, Trade};
use super::builder::{factor, Builder, Counts};
use super::expectation;
use super::imbalance::Imbalance;
use super::run::Run;
use super::spec::{BarKind, Spec};
use super::tick::Tick;
use super::time::Time;
use super::volume::{QuoteVolume, Volume};
use super::vpin::Vpin;

/// See the module.
#[derive(Clone, Debug)]
pub enum AnyBuilder {
    /// Time bars.
    Time(Builder<Time>),
    /// Tick bars.
    Tick(Builder<Tick>),
    /// Volume bars.
    Volume(Builder<Volume>),
    /// Quote-volume bars.
    QuoteVolume(Builder<QuoteVolume>),
    /// Tick imbalance bars.
    TickImbalance(Builder<Imbalance<expectation::Ticks>>),
    /// Volume imbalance bars.
    VolumeImbalance(Builder<Imbalance<expectation::Volume>>),
    /// Tick run bars.
    TickRun(Builder<Run<expectation::Ticks>>),
    /// Volume run bars.
    VolumeRun(Builder<Run<expectation::Volume>>),
    /// VPIN.
    Vpin(Builder<Vpin>),
}

/// Do the same with a builder, whatever its kind.
macro_rules! with_builder {
    ($any:expr, $builder:ident => $result:expr) => {
        match $any {
            AnyBuilder::Time($builder) => $result,
            AnyBuilder::Tick($builder) => $result,
            AnyBuilder::Volume($builder) => $result,
            AnyBuilder::QuoteVolume($builder) => $result,
            AnyBuilder::TickImbalance($builder) => $result,
            AnyBuilder::VolumeImbalance($builder) => $result,
            AnyBuilder::TickRun($builder) => $result,
            AnyBuilder::VolumeRun($builder) => $result,
            AnyBuilder::Vpin($builder) => $result,
        }
    };
}

impl AnyBuilder {
    /// A builder of such bars.
    pub fn new(spec: &Spec) -> Self {
        let (first, second) = (spec.parameters[0], spec.parameters[1]);
        let by_ticks = spec.uses_tick_rule;
        let (ticks, volume) = (expectation::Ticks, expectation::Volume::default());
        match spec.kind {
            BarKind::Time => Self::Time(Builder::new(Time::new(first, spec.keeps_empty), by_ticks)),
            BarKind::Tick => Self::Tick(Builder::new(Tick::new(first), by_ticks)),
            BarKind::Volume => Self::Volume(Builder::new(Volume::new(first, spec.is_split), by_ticks)),
            BarKind::QuoteVolume => Self::QuoteVolume(Builder::new(QuoteVolume::new(first, spec.is_split), by_ticks)),
            BarKind::TickImbalance => {
                Self::TickImbalance(Builder::new(Imbalance::new(ticks, spec.adaptive()), by_ticks))
            }
            BarKind::VolumeImbalance => {
                Self::VolumeImbalance(Builder::new(Imbalance::new(volume, spec.adaptive()), by_ticks))
            }
            BarKind::TickRun => Self::TickRun(Builder::new(Run::new(ticks, spec.adaptive()), by_ticks)),
            BarKind::VolumeRun => Self::VolumeRun(Builder::new(Run::new(volume, spec.adaptive()), by_ticks)),
            BarKind::Vpin => Self::Vpin(Builder::new(Vpin::new(first, second), by_ticks)),
        }
    }

    /// See [`Builder::rescale`].
    pub fn rescale(&mut self, scales: Scales) {
        with_builder!(self, builder => builder.rescale(scales));
    }

    /// See [`Builder::scales`].
    pub fn scales(&self) -> Scales {
        with_builder!(self, builder => builder.scales())
    }

    /// Take trades whose prices and quantities have these scales; bars are handed out with the scales they are in, which
    /// are the largest so far. The kind is looked up once for all of them.
    #[inline]
    pub fn take_scaled(
        &mut self,
        scales: Scales,
        trades: impl Iterator<Item = Trade>,
        emit: &mut impl FnMut(&Bar, Scales),
    ) {
        let mine = self.scales();
        let both = Scales { price: mine.price.max(scales.price), quantity: mine.quantity.max(scales.quantity) };
        if both != mine {
            self.rescale(both);
        }
        let mut emit = |bar: &Bar| emit(bar, both);
        if both == scales {
            return with_builder!(self, builder => trades.for_each(|trade| builder.take(&trade, &mut emit)));
        }
        let price = factor(both.price, scales.price);
        let quantity = factor(both.quantity, scales.quantity);
        let finer = trades.map(|trade| Trade {
            price: trade.price.saturating_mul(price),
            quantity: trade.quantity.saturating_mul(quantity),
            ..trade
        });
        with_builder!(self, builder => finer.for_each(|trade| builder.take(&trade, &mut emit)));
    }

    /// See [`Builder::note_gap`].
    pub fn note_gap(&mut self, count: u64, emit: &mut impl FnMut(&Bar)) {
        with_builder!(self, builder => builder.note_gap(count, emit));
    }

    /// See [`Builder::on_clock`].
    pub fn on_clock(&mut self, now_ms: i64, emit: &mut impl FnMut(&Bar)) {
        with_builder!(self, builder => builder.on_clock(now_ms, emit));
    }

    /// See [`Builder::open_bar`].
    pub fn open_bar(&self) -> Option<Bar> {
        with_builder!(self, builder => builder.open_bar())
    }

    /// See [`Builder::counts`].
    pub fn counts(&self) -> Counts {
        with_builder!(self, builder => builder.counts())
    }

    /// See [`Builder::last_id`].
    pub fn last_id(&self) -> u64 {
        with_builder!(self, builder => builder.last_id())
    }

    /// See [`Builder::save`].
    pub fn save(&self, out: &mut Vec<u64>) {
        with_builder!(self, builder => builder.save(out));
    }

    /// See [`Builder::load`].
    pub fn load(&mut self, words: &[u64]) -> bool {
        with_builder!(self, builder => builder.load(words))
    }
}
