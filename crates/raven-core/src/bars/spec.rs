//! What to build: a kind, its parameters and options. Every bar carries them, so that it says by itself what it is.

use super::any::AnyBuilder;
use super::expectation::Adaptive;
use crate::record::{bar as word, data_type};

/// The kinds of bars. The discriminants are part of the ring's layout, and of the data types.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum BarKind {
    /// [`super::time`].
    Time = 0,
    /// [`super::tick`].
    Tick = 1,
    /// [`super::volume`], base volume.
    Volume = 2,
    /// [`super::volume`], quote volume.
    QuoteVolume = 3,
    /// [`super::imbalance`], trades.
    TickImbalance = 4,
    /// [`super::imbalance`], base volume.
    VolumeImbalance = 5,
    /// [`super::run`], trades.
    TickRun = 6,
    /// [`super::run`], base volume.
    VolumeRun = 7,
    /// [`super::vpin`].
    Vpin = 8,
}

impl BarKind {
    /// Every kind, in the order of their codes.
    pub const ALL: [Self; 9] = [
        Self::Time,
        Self::Tick,
        Self::Volume,
        Self::QuoteVolume,
        Self::TickImbalance,
        Self::VolumeImbalance,
        Self::TickRun,
        Self::VolumeRun,
        Self::Vpin,
    ];

    /// Its name, as in `raven.bars.build`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Time => "time",
            Self::Tick => "tick",
            Self::Volume => "volume",
            Self::QuoteVolume => "quote_volume",
            Self::TickImbalance => "tick_imbalance",
            Self::VolumeImbalance => "volume_imbalance",
            Self::TickRun => "tick_run",
            Self::VolumeRun => "volume_run",
            Self::Vpin => "vpin",
        }
    }

    /// Names of its parameters, in their order.
    pub fn parameters(self) -> &'static [&'static str] {
        match self {
            Self::Time => &["seconds"],
            Self::Tick => &["ticks"],
            Self::Volume => &["volume"],
            Self::QuoteVolume => &["quote_volume"],
            Self::TickImbalance | Self::VolumeImbalance | Self::TickRun | Self::VolumeRun => {
                &["initial_size", "initial_p_buy", "alpha_size", "alpha_imbl", "size_min", "size_max", "floor", "cap"]
            }
            Self::Vpin => &["bucket_volume", "buckets"],
        }
    }
}

/// Options, as they stand above the kind's code in [`word::RULE`].
const KEEPS_EMPTY: u64 = 1 << 8;
const IS_SPLIT: u64 = 1 << 9;
const USES_TICK_RULE: u64 = 1 << 10;

/// See the module.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Spec {
    /// The kind.
    pub kind: BarKind,
    /// Its parameters in the order of [`BarKind::parameters`].
    pub parameters: [f64; word::MAX_PARAMETERS],
    /// Time bars: also of intervals without a trade.
    pub keeps_empty: bool,
    /// Volume bars: a print larger than what is left of a bar is split.
    pub is_split: bool,
    /// Imbalance and run bars: a trade goes up or down with the price, not with the taker.
    pub uses_tick_rule: bool,
}

impl Spec {
    /// A kind with its parameters, missing ones 0, and no options.
    pub fn new(kind: BarKind, parameters: &[f64]) -> Self {
        let mut all = [0.0; word::MAX_PARAMETERS];
        all.iter_mut().zip(parameters).for_each(|(to, from)| *to = *from);
        Self { kind, parameters: all, keeps_empty: false, is_split: false, uses_tick_rule: false }
    }

    /// What the words of a bar's body say of its rule.
    pub fn from_words(body: &[u64]) -> Option<Self> {
        let rule = *body.get(word::RULE)?;
        let kind = *BarKind::ALL.get((rule & 0xff) as usize)?;
        let words = body.get(word::PARAMETERS..word::WORDS)?;
        let mut parameters = [0.0; word::MAX_PARAMETERS];
        parameters.iter_mut().zip(words).for_each(|(to, from)| *to = f64::from_bits(*from));
        Some(Self {
            kind,
            parameters,
            keeps_empty: rule & KEEPS_EMPTY != 0,
            is_split: rule & IS_SPLIT != 0,
            uses_tick_rule: rule & USES_TICK_RULE != 0,
        })
    }

    /// The words of a bar's body from [`word::RULE`] on.
    pub fn to_words(&self) -> [u64; word::WORDS - word::RULE] {
        let mut words = [0; word::WORDS - word::RULE];
        let set = |bit: u64, is_set: bool| if is_set { bit } else { 0 };
        words[0] = self.kind as u64
            | set(KEEPS_EMPTY, self.keeps_empty)
            | set(IS_SPLIT, self.is_split)
            | set(USES_TICK_RULE, self.uses_tick_rule);
        words[1..].iter_mut().zip(self.parameters).for_each(|(to, from)| *to = from.to_bits());
        words
    }

    /// The data type of its topic: minutes, five minutes and hours have their own, every other kind one.
    pub fn data_type(&self) -> i32 {
        match (self.kind, self.parameters[0] as i64) {
            (BarKind::Time, 60) => data_type::CANDLES_1M,
            (BarKind::Time, 300) => data_type::CANDLES_5M,
            (BarKind::Time, 3600) => data_type::CANDLES_1H,
            (kind, _) => data_type::TIME_BARS + kind as i32,
        }
    }

    /// What it is called in `interval`: `1m`, `90s`; for other kinds the kind and its parameters, `tick_500`.
    pub fn label(&self) -> String {
        let kind = self.kind;
        let mut label = match kind {
            BarKind::Time => time_label(self.parameters[0]),
            _ => kind.name().to_owned(),
        };
        let named = if kind == BarKind::Time { 0 } else { kind.parameters().len() };
        for parameter in &self.parameters[..named] {
            label.push_str(&format!("_{parameter}"));
        }
        for (is_set, name) in [
            (self.keeps_empty, "_empty"),
            (self.is_split && kind != BarKind::Vpin, "_split"),
            (self.uses_tick_rule, "_tick_rule"),
        ] {
            if is_set {
                label.push_str(name);
            }
        }
        label
    }

    /// The spec with this label; `None` when no spec is called so.
    pub fn from_label(label: &str) -> Option<Self> {
        let mut rest = label;
        let mut has = |suffix: &str| {
            let found = rest.strip_suffix(suffix);
            rest = found.unwrap_or(rest);
            found.is_some()
        };
        let (uses_tick_rule, is_split, keeps_empty) = (has("_tick_rule"), has("_split"), has("_empty"));
        // The longest name first: `tick` is also how `tick_run` begins.
        let mut named: Vec<BarKind> = BarKind::ALL.into_iter().filter(|kind| *kind != BarKind::Time).collect();
        named.sort_by_key(|kind| std::cmp::Reverse(kind.name().len()));
        let kind = named.into_iter().find_map(|kind| Some((kind, rest.strip_prefix(kind.name())?.strip_prefix('_')?)));
        let (kind, parameters) = match kind {
            Some((kind, numbers)) => (kind, numbers.split('_').map(|text| text.parse().ok()).collect::<Option<_>>()?),
            None => (BarKind::Time, vec![seconds_of(rest)?]),
        };
        let spec = Self { keeps_empty, is_split, uses_tick_rule, ..Self::new(kind, &parameters) };
        (spec.label() == label).then_some(spec)
    }

    /// A number that tells specs apart: the 64-bit FNV-1a hash of the label.
    pub fn config_hash(&self) -> u64 {
        self.label()
            .bytes()
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
    }

    /// A builder of such bars.
    pub fn builder(&self) -> AnyBuilder {
        AnyBuilder::new(self)
    }

    /// The parameters of imbalance and run bars.
    pub(super) fn adaptive(&self) -> Adaptive {
        let [initial_size, initial_p_buy, alpha_size, alpha_imbl, size_min, size_max, floor, cap] = self.parameters;
        let size_max = if size_max > 0.0 { size_max } else { f64::INFINITY };
        let size_min = size_min.clamp(0.0, size_max);
        Adaptive { initial_size, initial_p_buy, alpha_size, alpha_imbl, size_min, size_max, floor, cap }
    }
}

/// `1m`, `4h`, `90s`, and `250ms` for parts of a second.
fn time_label(seconds: f64) -> String {
    let ms = (seconds * 1000.0).round() as i64;
    for (unit_ms, unit) in [(604_800_000, "w"), (86_400_000, "d"), (3_600_000, "h"), (60_000, "m"), (1000, "s")] {
        if ms % unit_ms == 0 {
            return format!("{}{unit}", ms / unit_ms);
        }
    }
    format!("{ms}ms")
}

/// What [`time_label`] was made of.
fn seconds_of(label: &str) -> Option<f64> {
    let digits = label.trim_end_matches(|letter: char| letter.is_ascii_alphabetic());
    let unit_ms = match &label[digits.len()..] {
        "w" => 604_800_000.0,
        "d" => 86_400_000.0,
        "h" => 3_600_000.0,
        "m" => 60_000.0,
        "s" => 1000.0,
        "ms" => 1.0,
        _ => return None,
    };
    Some(digits.parse::<u32>().ok().map(f64::from)? * unit_ms / 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_names_kind_and_parameters() {
        let label = |kind, parameters: &[f64]| Spec::new(kind, parameters).label();
        assert_eq!(label(BarKind::Time, &[60.0]), "1m");
        assert_eq!(label(BarKind::Time, &[90.0]), "90s");
        assert_eq!(label(BarKind::Time, &[0.25]), "250ms");
        assert_eq!(label(BarKind::Tick, &[500.0]), "tick_500");
        assert_eq!(label(BarKind::Vpin, &[12.5, 50.0]), "vpin_12.5_50");
        let literal = [100.0, 0.7, 0.1, 0.1, 90.0, 110.0];
        assert_eq!(label(BarKind::TickImbalance, &literal), "tick_imbalance_100_0.7_0.1_0.1_90_110_0_0");
        assert_eq!(Spec { is_split: true, ..Spec::new(BarKind::Volume, &[5.0]) }.label(), "volume_5_split");
    }

    #[test]
    fn a_label_says_everything() {
        for kind in BarKind::ALL {
            let parameters = &[90.0, 0.25, 0.125, 0.1, 1e-7, 1e22, 1.0, 10.0][..kind.parameters().len()];
            let plain = Spec::new(kind, parameters);
            for spec in [plain, Spec { keeps_empty: true, uses_tick_rule: true, ..plain }] {
                assert_eq!(Spec::from_label(&spec.label()), Some(spec), "{}", spec.label());
            }
        }
        for nothing in ["", "m", "1x", "tick", "tick_", "tick_a", "volume_1_2", "01m", "candle_5"] {
            assert_eq!(Spec::from_label(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn it_survives_the_trip_through_words() {
        for kind in BarKind::ALL {
            let spec = Spec { keeps_empty: true, uses_tick_rule: true, ..Spec::new(kind, &[1.5, 2.0, 0.1]) };
            let mut body = vec![0; word::RULE];
            body.extend(spec.to_words());
            assert_eq!(Spec::from_words(&body), Some(spec));
        }
        assert_eq!(Spec::from_words(&[0; word::RULE]), None);
    }
}
