//! What Redis is sent of a hub, and that every event ends in exactly one counter.

use proptest::prelude::*;
use raven_core::encode::to_double;
use raven_core::hub::{Hub, Publisher, TopicKey};
use raven_core::record::{data_type, flags, gap, Header, Kind};
use raven_core::redis::payload::put_number;
use raven_core::redis::replies::Replies;
use raven_core::redis::{Channel, Counts, Options, Publications};

const VENUE: &str = "binance_futures";
const SECOND: i64 = 1_000_000_000;

fn topic(hub: &Hub, venue: &str, data_type: i32, depth: u16) -> Publisher {
    let key = TopicKey { venue: venue.into(), symbol: "BTCUSDT".into(), data_type, depth };
    hub.create_topic(key, 1 << 12).expect("first of its name")
}

fn header(kind: Kind, id: u64, recv_ns: i64) -> Header {
    let (flags, sequence, exchange_ns, price_scale, quantity_scale) = (0, 0, 1_700_000_000_123_456_789, 2, 3);
    Header { kind, flags, sequence, recv_ns, exchange_ns, id, price_scale, quantity_scale, bids: 0, asks: 0 }
}

fn trade(publisher: &mut Publisher, id: u64, recv_ns: i64) {
    publisher.publish(&header(Kind::Trade, id, recv_ns), &[6_180_010, 1_500, id & 1, 0, 0]);
}

fn book(publisher: &mut Publisher, id: u64, flags: u32) {
    let header = Header { bids: 2, asks: 1, flags, ..header(Kind::Book, id, 1) };
    publisher.publish(&header, &[0, 6_180_000, 2_000, 6_179_990, 1, 6_180_010, 12_345]);
}

fn publications(hub: &std::sync::Arc<Hub>, options: Options) -> Publications {
    let options = Options { venue: VENUE.into(), ..options };
    Publications::new(std::sync::Arc::clone(hub), options).expect("room")
}

/// The commands as lists of words, however many batches they take.
fn commands(from: &mut Publications, now_ns: i64) -> Vec<Vec<String>> {
    let mut out = Vec::new();
    from.follow();
    from.take(now_ns, usize::MAX, &mut out);
    let text = String::from_utf8(out).expect("text");
    let mut lines = text.split("\r\n");
    let mut commands = Vec::new();
    while let Some(count) = lines.next().and_then(|line| line.strip_prefix('*')) {
        let words = (0..count.parse().expect("a number")).map(|_| {
            let length: usize = lines.next().expect("a length")[1..].parse().expect("a length");
            let word = lines.next().expect("a word");
            assert_eq!(word.len(), length);
            word.to_owned()
        });
        commands.push(words.collect());
    }
    commands
}

fn sequences(commands: &[Vec<String>]) -> Vec<u64> {
    let number = |payload: &str| payload.rsplit_once("\"sequence\":")?.1.strip_suffix('}')?.parse().ok();
    commands.iter().filter(|words| words[0] == "PUBLISH").map(|words| number(&words[2]).expect("a number")).collect()
}

fn counts(of: &Publications) -> Counts {
    of.channels()[0].counts
}

#[test]
fn a_trade_and_a_book_are_the_payloads_of_the_contract() {
    let hub = Hub::new();
    let mut trades = topic(&hub, VENUE, data_type::TRADES, 0);
    let mut books = topic(&hub, VENUE, data_type::ORDERBOOK, 20);
    let mut feed = publications(&hub, Options::default());
    trade(&mut trades, 7, 1);
    book(&mut books, 9, flags::SNAPSHOT);

    let sent = commands(&mut feed, 1);

    let expected = [
        [
            "PUBLISH",
            "trades:BTCUSDT",
            "{\"symbol\":\"BTCUSDT\",\"trade_id\":7,\"price\":61800.1,\"quantity\":1.5,\"timestamp\":1700000000123,\
             \"is_buyer_maker\":true,\"sequence\":1}",
        ],
        [
            "PUBLISH",
            "orderbook:BTCUSDT",
            "{\"symbol\":\"BTCUSDT\",\"bids\":[[61800.0,2.0],[61799.9,0.001]],\"asks\":[[61800.1,12.345]],\
             \"last_update_id\":9,\"timestamp\":1700000000123,\"sequence\":1}",
        ],
    ];
    assert_eq!(sent, expected);
}

#[test]
fn depth_cuts_both_sides() {
    let hub = Hub::new();
    let mut books = topic(&hub, VENUE, data_type::ORDERBOOK, 20);
    book(&mut books, 1, 0);
    let sent = commands(&mut publications(&hub, Options { depth: 1, ..Options::default() }), 1);
    assert!(sent[0][2].contains("\"bids\":[[61800.0,2.0]],\"asks\":[[61800.1,12.345]]"), "{}", sent[0][2]);
}

#[test]
fn venues_never_share_a_channel_and_a_prefix_is_before_all_names() {
    let hub = Hub::new();
    let mut publishers = [topic(&hub, VENUE, data_type::TRADES, 0), topic(&hub, "binance_spot", data_type::TRADES, 0)];
    publishers.iter_mut().for_each(|publisher| trade(publisher, 1, 1));
    let options = Options { prefix: "eu:".into(), latest_ttl_ms: 1500, stream_length: 10, ..Options::default() };

    let sent = commands(&mut publications(&hub, options), 1);

    let mut names: Vec<String> = sent.iter().map(|words| format!("{} {}", words[0], words[1])).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "PUBLISH eu:binance_spot:trades:BTCUSDT",
            "PUBLISH eu:trades:BTCUSDT",
            "SET eu:latest:binance_spot:trades:BTCUSDT",
            "SET eu:latest:trades:BTCUSDT",
            "XADD eu:stream:binance_spot:trades:BTCUSDT",
            "XADD eu:stream:trades:BTCUSDT",
        ]
    );
}

#[test]
fn a_key_gets_the_newest_payload_of_a_batch_only() {
    let hub = Hub::new();
    let mut trades = topic(&hub, VENUE, data_type::TRADES, 0);
    let mut feed = publications(&hub, Options { latest_ttl_ms: 1500, ..Options::default() });
    (1..=3).for_each(|id| trade(&mut trades, id, 1));
    let sent = commands(&mut feed, 1);
    assert_eq!(sent.len(), 4);
    assert_eq!(sent[3][..2], ["SET", "latest:trades:BTCUSDT"]);
    assert_eq!((&sent[3][2], &sent[3][3..]), (&sent[2][2], &["PX".to_owned(), "1500".to_owned()][..]));
}

#[test]
fn what_the_ring_overwrote_is_a_hole_of_exactly_that_size() {
    let hub = Hub::new();
    let mut trades = topic(&hub, VENUE, data_type::TRADES, 0);
    let mut feed = publications(&hub, Options::default());
    trade(&mut trades, 1, 1);
    assert_eq!(sequences(&commands(&mut feed, 1)), [1]);
    (2..=1_000).for_each(|id| trade(&mut trades, id, 1));

    let after = sequences(&commands(&mut feed, 1));

    let dropped = counts(&feed).dropped;
    assert!(dropped > 0);
    assert_eq!(after, (2 + dropped..=1_000).collect::<Vec<_>>());
}

#[test]
fn what_is_too_old_is_dropped_whether_or_not_something_can_be_sent() {
    let hub = Hub::new();
    let mut trades = topic(&hub, VENUE, data_type::TRADES, 0);
    let mut feed = publications(&hub, Options { max_age_ns: 5 * SECOND, ..Options::default() });
    (1..=6).for_each(|id| trade(&mut trades, id, id as i64 * SECOND));
    feed.follow();
    feed.skip(7 * SECOND);
    assert_eq!(counts(&feed).dropped, 1);
    assert_eq!(sequences(&commands(&mut feed, 9 * SECOND)), [4, 5, 6]);
    assert_eq!(counts(&feed).dropped, 3);
}

#[test]
fn a_book_that_is_not_trusted_is_a_hole_and_its_key_goes() {
    let hub = Hub::new();
    let mut books = topic(&hub, VENUE, data_type::ORDERBOOK, 20);
    let mut feed = publications(&hub, Options { latest_ttl_ms: 1500, ..Options::default() });
    book(&mut books, 1, 0);
    assert_eq!(commands(&mut feed, 1).len(), 2);
    book(&mut books, 2, flags::STALE);
    book(&mut books, 3, flags::RESYNCING);
    assert_eq!(commands(&mut feed, 1), [["DEL", "latest:orderbook:BTCUSDT"]]);
    book(&mut books, 4, flags::SNAPSHOT);
    assert_eq!(sequences(&commands(&mut feed, 1)), [4]);
    assert_eq!(counts(&feed).withheld, 2);
}

#[test]
fn a_hole_in_the_feed_leaves_out_a_number_unless_it_was_repaired() {
    let hub = Hub::new();
    let mut trades = topic(&hub, VENUE, data_type::TRADES, 0);
    let mut feed = publications(&hub, Options::default());
    let mut mark = [0; gap::WORDS];
    trade(&mut trades, 1, 1);
    trades.publish(&header(Kind::Gap, 0, 1), &mark);
    trade(&mut trades, 2, 1);
    mark[gap::REPAIRED] = 1;
    trades.publish(&header(Kind::Gap, 0, 1), &mark);
    trade(&mut trades, 3, 1);
    assert_eq!(sequences(&commands(&mut feed, 1)), [1, 3, 4]);
    assert_eq!(counts(&feed).withheld, 1);
}

#[test]
fn every_command_is_confirmed_refused_or_given_up() {
    let hub = Hub::new();
    let mut trades = topic(&hub, VENUE, data_type::TRADES, 0);
    let mut feed = publications(&hub, Options { stream_length: 10, ..Options::default() });
    (1..=3).for_each(|id| trade(&mut trades, id, 1));
    assert_eq!(commands(&mut feed, 1).len(), 6);

    assert_eq!(feed.confirm(b":1\r\n-OOM too much\r\n-NOPERM no\r\n$3\r\n1-0"), Ok(3));
    assert_eq!(feed.abandon(), 1);

    let expected = Counts { published: 1, refused: 1, unconfirmed: 1, keys_refused: 1, ..Counts::default() };
    assert_eq!((counts(&feed), feed.refusals(), feed.last_refusal()), (expected, 2, "NOPERM no"));
    // A new connection begins anew: nothing is left of the reply that was cut.
    trade(&mut trades, 4, 1);
    assert_eq!(sequences(&commands(&mut feed, 1)), [4]);
    assert_eq!(feed.confirm(b":0\r\n$3\r\n1-0\r\n"), Ok(0));
    assert!(feed.confirm(b":0\r\n").is_err(), "nobody asked");
}

#[test]
fn a_topic_that_comes_again_goes_on_with_the_numbers_of_its_channel() {
    let hub = Hub::new();
    let mut first = topic(&hub, VENUE, data_type::TRADES, 0);
    let mut feed = publications(&hub, Options::default());
    trade(&mut first, 1, 1);
    feed.follow();
    trade(&mut first, 2, 1);
    hub.end_topic(first.topic().id());
    let mut second = topic(&hub, VENUE, data_type::TRADES, 0);
    trade(&mut second, 1, 1);
    assert_eq!(sequences(&commands(&mut feed, 1)), [1, 2]);
    assert_eq!(sequences(&commands(&mut feed, 1)), [3]);
    assert_eq!(
        feed.channels().iter().map(|channel: &Channel| channel.name.as_str()).collect::<Vec<_>>(),
        ["trades:BTCUSDT"]
    );
}

#[test]
fn deeper_tiers_are_left_alone_because_reading_them_would_keep_them_alive() {
    let hub = Hub::new();
    let base = topic(&hub, VENUE, data_type::ORDERBOOK, 20);
    let deep = topic(&hub, VENUE, data_type::ORDERBOOK, 100);
    let mut feed = publications(&hub, Options::default());
    feed.follow();
    assert_eq!((base.topic().readers(), deep.topic().readers()), (1, 0));
    drop(feed);
    assert_eq!(base.topic().readers(), 0);
}

#[test]
fn a_batch_has_about_the_size_that_was_asked_for_and_the_rest_comes_next() {
    let hub = Hub::new();
    let key = TopicKey { venue: VENUE.into(), symbol: "BTCUSDT".into(), data_type: data_type::TRADES, depth: 0 };
    let mut trades = hub.create_topic(key, 1 << 18).expect("first of its name");
    let mut feed = publications(&hub, Options::default());
    (1..=1_000).for_each(|id| trade(&mut trades, id, 1));
    feed.follow();
    let (mut small, mut rest) = (Vec::new(), Vec::new());
    feed.take(1, 1, &mut small);
    feed.take(1, usize::MAX, &mut rest);
    assert!(!small.is_empty() && 2 * small.len() < rest.len(), "{} and {} bytes", small.len(), rest.len());
    assert_eq!(feed.abandon(), 1_000);
}

proptest! {
    #[test]
    fn a_number_is_the_decimal_itself_whoever_reads_it(mantissa: i64, scale in 0_u8..=19) {
        let mut out = Vec::new();
        put_number(&mut out, mantissa, scale);
        let text = String::from_utf8(out).expect("digits");

        prop_assert_eq!(text.parse::<f64>().expect("a number"), to_double(mantissa, scale));
        let (whole, fraction) = text.split_once('.').expect("a decimal point");
        let digits = format!("{whole}{fraction:0<width$}", width = scale as usize);
        let exact = if scale == 0 { i128::from(mantissa) * 10 } else { i128::from(mantissa) };
        prop_assert_eq!(digits.parse::<i128>().expect("digits"), exact, "{}", text);
        prop_assert!(fraction.len() == 1 || !fraction.ends_with('0'));
        prop_assert!(whole.trim_start_matches('-') == "0" || !whole.trim_start_matches('-').starts_with('0'));
    }

    #[test]
    fn whatever_a_server_answers_is_taken_or_refused(pieces: Vec<Vec<u8>>) {
        let (mut replies, mut count) = (Replies::default(), 0_usize);
        let bytes: usize = pieces.iter().map(Vec::len).sum();
        for piece in pieces {
            if replies.take(&piece, |_| count += 1).is_err() {
                break;
            }
        }
        prop_assert!(count <= bytes);
    }
}
