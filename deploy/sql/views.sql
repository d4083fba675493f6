-- Views over what Raven writes. Run it whenever you like: psql "$URL" -f deploy/sql/views.sql

-- The newest trade of each symbol of the last hour.
CREATE OR REPLACE VIEW raven.last_trades AS
SELECT DISTINCT ON (venue, symbol) venue, symbol, exchange_time, price, quantity, side, id
FROM raven.trades
WHERE exchange_time > now() - INTERVAL '1 hour'
ORDER BY venue, symbol, exchange_time DESC, id DESC;

-- Bars of a minute from trades, to check the venue's own (raven.candles_1m) against.
CREATE OR REPLACE VIEW raven.bars_1m AS
SELECT
    venue,
    symbol,
    date_trunc('minute', exchange_time) AS open_time,
    (array_agg(price ORDER BY exchange_time, id))[1] AS open,
    max(price) AS high,
    min(price) AS low,
    (array_agg(price ORDER BY exchange_time DESC, id DESC))[1] AS close,
    sum(quantity) AS volume,
    coalesce(sum(quantity) FILTER (WHERE side = 'buy'), 0) AS buy_volume,
    count(*) AS ticks
FROM raven.trades
GROUP BY venue, symbol, date_trunc('minute', exchange_time);

-- Bars that Raven made, of all kinds, with their mean price.
CREATE OR REPLACE VIEW raven.bars AS
SELECT
    kind, venue, symbol, interval, open_time, close_time, open, high, low, close, volume, quote_volume,
    quote_volume / nullif(volume, 0) AS vwap, buy_volume, sell_volume, buy_ticks, sell_ticks,
    buy_ticks + sell_ticks AS total_ticks, theta, threshold, first_trade_id, last_trade_id, part, complete, warming_up,
    gap_count, revision
FROM (
    SELECT 'time' AS kind, * FROM raven.time_bars
    UNION ALL SELECT 'tick', * FROM raven.tick_bars
    UNION ALL SELECT 'volume', * FROM raven.volume_bars
    UNION ALL SELECT 'quote_volume', * FROM raven.quote_volume_bars
    UNION ALL SELECT 'tick_imbalance', * FROM raven.tick_imbalance_bars
    UNION ALL SELECT 'volume_imbalance', * FROM raven.volume_imbalance_bars
    UNION ALL SELECT 'tick_run', * FROM raven.tick_run_bars
    UNION ALL SELECT 'volume_run', * FROM raven.volume_run_bars
    UNION ALL SELECT 'vpin', * FROM raven.vpin_bars
) AS bars;

-- Books level by level; level 1 is the best.
CREATE OR REPLACE VIEW raven.book_levels AS
SELECT venue, symbol, exchange_time, id, run, sequence, 'bid' AS side, level, price, quantity
FROM raven.orderbook, unnest(bid_prices, bid_quantities) WITH ORDINALITY AS bids (price, quantity, level)
UNION ALL
SELECT venue, symbol, exchange_time, id, run, sequence, 'ask', level, price, quantity
FROM raven.orderbook, unnest(ask_prices, ask_quantities) WITH ORDINALITY AS asks (price, quantity, level);

-- What is known to be missing, by day and cause. A count of 0 means that nobody knows how many.
CREATE OR REPLACE VIEW raven.gaps_by_day AS
SELECT
    venue,
    symbol,
    data_type,
    reason,
    date_trunc('day', exchange_time) AS day,
    count(*) AS gaps,
    sum(count) AS records,
    bool_and(repaired) AS repaired
FROM raven.gaps
GROUP BY venue, symbol, data_type, reason, date_trunc('day', exchange_time);

-- Ids of trades that are not there. Some venues skip ids without losing anything: compare with raven.gaps.
CREATE OR REPLACE VIEW raven.missing_trade_ids AS
SELECT venue, symbol, previous + 1 AS first_id, id - 1 AS last_id, id - previous - 1 AS missing, exchange_time
FROM (
    SELECT venue, symbol, id, exchange_time, lag(id) OVER (PARTITION BY venue, symbol ORDER BY id) AS previous
    FROM raven.trades
) AS trades
WHERE id > previous + 1;
