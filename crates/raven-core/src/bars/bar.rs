//! A trade on its way into a bar, a bar that is being made, and one that is done.

use crate::record::bar as word;

/// One trade, prices and quantities in the scales that the builder has been told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trade {
    /// The venue's time of the trade, ms since 1970.
    pub time_ms: i64,
    /// Price.
    pub price: i64,
    /// Base quantity, or contracts.
    pub quantity: i64,
    /// Whether the taker sold.
    pub sells: bool,
    /// The venue's id, rising by one; 0 when there are none.
    pub id: u64,
}

/// Decimals of prices and quantities.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scales {
    /// Of prices.
    pub price: u8,
    /// Of quantities.
    pub quantity: u8,
}

/// A bar; while it is open, what it has so far.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    /// How many bars its builder had begun before it: a correction has the serial of the bar it replaces.
    pub serial: u64,
    /// When it opened, ms.
    pub open_ms: i64,
    /// The last ms that belongs to it.
    pub close_ms: i64,
    /// First price.
    pub open: i64,
    /// Highest price.
    pub high: i64,
    /// Lowest price.
    pub low: i64,
    /// Last price.
    pub close: i64,
    /// Base volume.
    pub volume: i64,
    /// Base volume whose taker bought.
    pub buy_volume: i64,
    /// Sum of price times quantity, in both scales together.
    pub quote_volume: i128,
    /// Trades whose taker bought.
    pub buy_ticks: u64,
    /// Trades whose taker sold.
    pub sell_ticks: u64,
    /// Trades up less trades down, in the direction that the rule goes by.
    pub signed_ticks: i64,
    /// Base volume up less base volume down, in that direction.
    pub signed_volume: i64,
    /// What the rule summed up.
    pub theta: f64,
    /// What θ had to exceed.
    pub threshold: f64,
    /// Id of the first trade.
    pub first_id: u64,
    /// Id of the last trade.
    pub last_id: u64,
    /// Trades that may be missing.
    pub gap_count: u64,
    /// Whether it began or ended otherwise than by its rule, or lacks trades that nobody can count.
    pub is_cut: bool,
    /// Whether the rule's averages are still those of its parameters.
    pub is_warming_up: bool,
    /// How often it was corrected.
    pub revision: u32,
    /// How many bars its first trade was in before it: above 0 only where prints are split.
    pub part: u32,
}

impl Bar {
    /// A bar of nothing at a price.
    pub fn empty(serial: u64, open_ms: i64, price: i64) -> Self {
        Self {
            serial,
            open_ms,
            close_ms: open_ms,
            open: price,
            high: price,
            low: price,
            close: price,
            volume: 0,
            buy_volume: 0,
            quote_volume: 0,
            buy_ticks: 0,
            sell_ticks: 0,
            signed_ticks: 0,
            signed_volume: 0,
            theta: 0.0,
            threshold: 0.0,
            first_id: 0,
            last_id: 0,
            gap_count: 0,
            is_cut: false,
            is_warming_up: false,
            revision: 0,
            part: 0,
        }
    }

    /// Number of trades; one that was split counts where it began.
    pub fn ticks(&self) -> u64 {
        self.buy_ticks.wrapping_add(self.sell_ticks)
    }

    /// Whether nothing was traded in it. What a split print left in it is a part of a trade that counts elsewhere.
    pub fn is_empty(&self) -> bool {
        self.ticks() == 0 && self.volume == 0
    }

    /// Whether it began and ended by its rule and lacks nothing.
    pub fn is_complete(&self) -> bool {
        !self.is_cut && self.gap_count == 0
    }

    /// Add a trade that comes after all others, or the part of it that fits; `is_down`: its direction for the rule;
    /// `is_rest`: it was counted in another bar.
    #[inline(always)]
    pub fn add(&mut self, trade: &Trade, quantity: i64, is_down: bool, is_rest: bool) {
        self.high = self.high.max(trade.price);
        self.low = self.low.min(trade.price);
        self.close = trade.price;
        self.close_ms = trade.time_ms;
        self.last_id = trade.id;
        self.sum(trade, quantity, is_down, is_rest);
    }

    /// Add a trade that belongs somewhere in the middle of it.
    pub fn insert(&mut self, trade: &Trade) {
        self.high = self.high.max(trade.price);
        self.low = self.low.min(trade.price);
        if trade.id < self.first_id {
            self.open = trade.price;
            self.first_id = trade.id;
        }
        if trade.id > self.last_id {
            self.close = trade.price;
            self.close_ms = self.close_ms.max(trade.time_ms);
            self.last_id = trade.id;
        }
        self.sum(trade, trade.quantity, trade.sells, false);
    }

    #[inline(always)]
    fn sum(&mut self, trade: &Trade, quantity: i64, is_down: bool, is_rest: bool) {
        // Without branches: the side of a trade is what no predictor guesses.
        let (bought, tick, sign) = (i64::from(!trade.sells), i64::from(!is_rest), 1 - 2 * i64::from(is_down));
        self.volume = self.volume.saturating_add(quantity);
        self.buy_volume = self.buy_volume.saturating_add(quantity * bought);
        self.quote_volume += i128::from(trade.price) * i128::from(quantity);
        self.buy_ticks += (tick & bought) as u64;
        self.sell_ticks += (tick & (1 - bought)) as u64;
        self.signed_ticks += sign * tick;
        self.signed_volume = self.signed_volume.saturating_add(sign * quantity);
    }

    /// Multiply what is in the scales, when those grow by so many decimals.
    pub fn rescale(&mut self, price_factor: i64, quantity_factor: i64) {
        for price in [&mut self.open, &mut self.high, &mut self.low, &mut self.close] {
            *price = price.saturating_mul(price_factor);
        }
        self.volume = self.volume.saturating_mul(quantity_factor);
        self.buy_volume = self.buy_volume.saturating_mul(quantity_factor);
        self.signed_volume = self.signed_volume.saturating_mul(quantity_factor);
        self.quote_volume = self.quote_volume.saturating_mul(i128::from(price_factor) * i128::from(quantity_factor));
    }

    /// The body of its record, but for the words that say its rule.
    pub fn to_words(&self) -> [u64; word::RULE] {
        let mut words = [0; word::RULE];
        words[word::OPEN_TIME_MS] = self.open_ms as u64;
        words[word::CLOSE_TIME_MS] = self.close_ms as u64;
        words[word::OPEN] = self.open as u64;
        words[word::HIGH] = self.high as u64;
        words[word::LOW] = self.low as u64;
        words[word::CLOSE] = self.close as u64;
        words[word::VOLUME] = self.volume as u64;
        words[word::BUY_VOLUME] = self.buy_volume as u64;
        words[word::QUOTE_VOLUME] = self.quote_volume as u64;
        words[word::QUOTE_VOLUME + 1] = (self.quote_volume >> 64) as u64;
        words[word::BUY_TICKS] = self.buy_ticks;
        words[word::SELL_TICKS] = self.sell_ticks;
        words[word::THETA] = self.theta.to_bits();
        words[word::THRESHOLD] = self.threshold.to_bits();
        words[word::FIRST_TRADE_ID] = self.first_id;
        words[word::LAST_TRADE_ID] = self.last_id;
        words[word::GAP_COUNT] = self.gap_count;
        let set = |bit: u64, is_set: bool| if is_set { bit } else { 0 };
        words[word::QUALITY] = set(word::COMPLETE, self.is_complete())
            | set(word::WARMING_UP, self.is_warming_up)
            | (u64::from(self.part & word::PART_MASK) << word::PART_BIT)
            | (u64::from(self.revision) << word::REVISION_BIT);
        words
    }

    /// Append what must survive a restart.
    pub fn save(&self, out: &mut Vec<u64>) {
        out.extend(self.to_words());
        out.extend([self.serial, self.signed_ticks as u64, self.signed_volume as u64, u64::from(self.is_cut)]);
    }

    /// What the body of its record says; serial and signed sums are not in it.
    pub fn from_words(body: &[u64]) -> Option<Self> {
        let body = body.get(..word::RULE)?;
        let (low, high) = (body[word::QUOTE_VOLUME], body[word::QUOTE_VOLUME + 1]);
        let (quality, gap_count) = (body[word::QUALITY], body[word::GAP_COUNT]);
        Some(Self {
            serial: 0,
            open_ms: body[word::OPEN_TIME_MS] as i64,
            close_ms: body[word::CLOSE_TIME_MS] as i64,
            open: body[word::OPEN] as i64,
            high: body[word::HIGH] as i64,
            low: body[word::LOW] as i64,
            close: body[word::CLOSE] as i64,
            volume: body[word::VOLUME] as i64,
            buy_volume: body[word::BUY_VOLUME] as i64,
            quote_volume: (i128::from(high as i64) << 64) | i128::from(low),
            buy_ticks: body[word::BUY_TICKS],
            sell_ticks: body[word::SELL_TICKS],
            signed_ticks: 0,
            signed_volume: 0,
            theta: f64::from_bits(body[word::THETA]),
            threshold: f64::from_bits(body[word::THRESHOLD]),
            first_id: body[word::FIRST_TRADE_ID],
            last_id: body[word::LAST_TRADE_ID],
            gap_count,
            is_cut: quality & word::COMPLETE == 0 && gap_count == 0,
            is_warming_up: quality & word::WARMING_UP != 0,
            revision: (quality >> word::REVISION_BIT) as u32,
            part: (quality >> word::PART_BIT) as u32 & word::PART_MASK,
        })
    }

    /// Take back what was saved; `None` when there are words missing.
    pub fn load(words: &mut impl Iterator<Item = u64>) -> Option<Self> {
        let body: Vec<u64> = words.by_ref().take(word::RULE).collect();
        let (serial, signed_ticks, signed_volume) = (words.next()?, words.next()? as i64, words.next()? as i64);
        let is_cut = words.next()? != 0;
        Some(Self { serial, signed_ticks, signed_volume, is_cut, ..Self::from_words(&body)? })
    }
}

/// `amount` as an integer in a scale, rounded up: a volume has reached an amount when it has reached this integer.
pub fn integer_of(amount: f64, scale: u8) -> i128 {
    // The shortest decimal of a double is the one that was configured.
    let text = format!("{amount}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let digits = |text: &str| text.parse::<i128>().unwrap_or(0);
    let (scale, kept) = (u32::from(scale), fraction.len().min(usize::from(scale)));
    let power = |exponent: u32| 10_i128.checked_pow(exponent).unwrap_or(i128::MAX);
    let is_cut = fraction[kept..].bytes().any(|digit| digit != b'0');
    let fraction = digits(&fraction[..kept]).saturating_mul(power(scale - kept as u32));
    digits(whole).saturating_mul(power(scale)).saturating_add(fraction).saturating_add(i128::from(is_cut))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_amount_becomes_the_integer_it_was_written_as() {
        assert_eq!(integer_of(0.1, 3), 100);
        assert_eq!(integer_of(12.5, 0), 13, "13 is the first whole number that reaches 12.5");
        assert_eq!(integer_of(1e6, 2), 100_000_000);
        assert_eq!(integer_of(0.3, 8), 30_000_000);
        assert_eq!(integer_of(1e30, 8), 10_i128.pow(38));
    }
}
