-- Written by `make docs` from src/raven/sinks/postgres/. `ravenctl init-db` runs what of it is missing.
CREATE SCHEMA IF NOT EXISTS raven;
CREATE TABLE IF NOT EXISTS raven.schema_version (version integer NOT NULL);
INSERT INTO raven.schema_version
    SELECT 1 WHERE NOT EXISTS (SELECT FROM raven.schema_version);
CREATE TABLE IF NOT EXISTS raven.trades (
    venue text NOT NULL,
    symbol text NOT NULL,
    exchange_time timestamptz NOT NULL,
    recv_time timestamptz NOT NULL,
    id bigint NOT NULL,
    price numeric NOT NULL,
    quantity numeric NOT NULL,
    side text NOT NULL,
    first_fill_id bigint NOT NULL,
    last_fill_id bigint NOT NULL,
    sequence bigint NOT NULL,
    flags bigint NOT NULL,
    run text NOT NULL,
    PRIMARY KEY (venue, symbol, exchange_time, id)
);
SELECT create_hypertable('raven.trades', 'exchange_time', chunk_time_interval => INTERVAL '1 day', if_not_exists => TRUE);
CREATE TABLE IF NOT EXISTS raven.quotes (
    venue text NOT NULL,
    symbol text NOT NULL,
    exchange_time timestamptz NOT NULL,
    recv_time timestamptz NOT NULL,
    id bigint NOT NULL,
    bid_price numeric NOT NULL,
    bid_quantity numeric NOT NULL,
    ask_price numeric NOT NULL,
    ask_quantity numeric NOT NULL,
    sequence bigint NOT NULL,
    flags bigint NOT NULL,
    run text NOT NULL,
    PRIMARY KEY (venue, symbol, exchange_time, run, sequence)
);
SELECT create_hypertable('raven.quotes', 'exchange_time', chunk_time_interval => INTERVAL '1 day', if_not_exists => TRUE);
CREATE TABLE IF NOT EXISTS raven.orderbook (
    venue text NOT NULL,
    symbol text NOT NULL,
    exchange_time timestamptz NOT NULL,
    recv_time timestamptz NOT NULL,
    id bigint NOT NULL,
    bid_prices numeric[] NOT NULL,
    bid_quantities numeric[] NOT NULL,
    bid_proven bigint NOT NULL,
    ask_prices numeric[] NOT NULL,
    ask_quantities numeric[] NOT NULL,
    ask_proven bigint NOT NULL,
    sequence bigint NOT NULL,
    flags bigint NOT NULL,
    run text NOT NULL,
    PRIMARY KEY (venue, symbol, exchange_time, run, sequence)
);
SELECT create_hypertable('raven.orderbook', 'exchange_time', chunk_time_interval => INTERVAL '1 day', if_not_exists => TRUE);
CREATE TABLE IF NOT EXISTS raven.candles_1m (
    venue text NOT NULL,
    symbol text NOT NULL,
    exchange_time timestamptz NOT NULL,
    recv_time timestamptz NOT NULL,
    id bigint NOT NULL,
    open_time timestamptz NOT NULL,
    open numeric NOT NULL,
    high numeric NOT NULL,
    low numeric NOT NULL,
    close numeric NOT NULL,
    volume numeric NOT NULL,
    buy_volume numeric NOT NULL,
    interval_s bigint NOT NULL,
    ticks bigint NOT NULL,
    closed boolean NOT NULL,
    sequence bigint NOT NULL,
    flags bigint NOT NULL,
    run text NOT NULL,
    PRIMARY KEY (venue, symbol, open_time)
);
SELECT create_hypertable('raven.candles_1m', 'open_time', chunk_time_interval => INTERVAL '1 day', if_not_exists => TRUE);
CREATE TABLE IF NOT EXISTS raven.candles_5m (
    venue text NOT NULL,
    symbol text NOT NULL,
    exchange_time timestamptz NOT NULL,
    recv_time timestamptz NOT NULL,
    id bigint NOT NULL,
    open_time timestamptz NOT NULL,
    open numeric NOT NULL,
    high numeric NOT NULL,
    low numeric NOT NULL,
    close numeric NOT NULL,
    volume numeric NOT NULL,
    buy_volume numeric NOT NULL,
    interval_s bigint NOT NULL,
    ticks bigint NOT NULL,
    closed boolean NOT NULL,
    sequence bigint NOT NULL,
    flags bigint NOT NULL,
    run text NOT NULL,
    PRIMARY KEY (venue, symbol, open_time)
);
SELECT create_hypertable('raven.candles_5m', 'open_time', chunk_time_interval => INTERVAL '1 day', if_not_exists => TRUE);
CREATE TABLE IF NOT EXISTS raven.candles_1h (
    venue text NOT NULL,
    symbol text NOT NULL,
    exchange_time timestamptz NOT NULL,
    recv_time timestamptz NOT NULL,
    id bigint NOT NULL,
    open_time timestamptz NOT NULL,
    open numeric NOT NULL,
    high numeric NOT NULL,
    low numeric NOT NULL,
    close numeric NOT NULL,
    volume numeric NOT NULL,
    buy_volume numeric NOT NULL,
    interval_s bigint NOT NULL,
    ticks bigint NOT NULL,
    closed boolean NOT NULL,
    sequence bigint NOT NULL,
    flags bigint NOT NULL,
    run text NOT NULL,
    PRIMARY KEY (venue, symbol, open_time)
);
SELECT create_hypertable('raven.candles_1h', 'open_time', chunk_time_interval => INTERVAL '1 day', if_not_exists => TRUE);
CREATE TABLE IF NOT EXISTS raven.funding_rates (
    venue text NOT NULL,
    symbol text NOT NULL,
    exchange_time timestamptz NOT NULL,
    recv_time timestamptz NOT NULL,
    id bigint NOT NULL,
    mark_price numeric NOT NULL,
    index_price numeric NOT NULL,
    rate numeric NOT NULL,
    settle_price numeric NOT NULL,
    next_funding_time timestamptz NOT NULL,
    sequence bigint NOT NULL,
    flags bigint NOT NULL,
    run text NOT NULL,
    PRIMARY KEY (venue, symbol, exchange_time, run, sequence)
);
SELECT create_hypertable('raven.funding_rates', 'exchange_time', chunk_time_interval => INTERVAL '1 day', if_not_exists => TRUE);
CREATE TABLE IF NOT EXISTS raven.liquidations (
    venue text NOT NULL,
    symbol text NOT NULL,
    exchange_time timestamptz NOT NULL,
    recv_time timestamptz NOT NULL,
    id bigint NOT NULL,
    price numeric NOT NULL,
    average_price numeric NOT NULL,
    quantity numeric NOT NULL,
    side text NOT NULL,
    sequence bigint NOT NULL,
    flags bigint NOT NULL,
    run text NOT NULL,
    PRIMARY KEY (venue, symbol, exchange_time, run, sequence)
);
SELECT create_hypertable('raven.liquidations', 'exchange_time', chunk_time_interval => INTERVAL '1 day', if_not_exists => TRUE);
CREATE TABLE IF NOT EXISTS raven.gaps (
    venue text NOT NULL,
    symbol text NOT NULL,
    exchange_time timestamptz NOT NULL,
    recv_time timestamptz NOT NULL,
    id bigint NOT NULL,
    data_type text NOT NULL,
    count bigint NOT NULL,
    first_id bigint NOT NULL,
    last_id bigint NOT NULL,
    reason text NOT NULL,
    repaired boolean NOT NULL,
    sequence bigint NOT NULL,
    flags bigint NOT NULL,
    run text NOT NULL,
    PRIMARY KEY (venue, symbol, exchange_time, data_type, reason, run, sequence)
);
SELECT create_hypertable('raven.gaps', 'exchange_time', chunk_time_interval => INTERVAL '1 day', if_not_exists => TRUE);
