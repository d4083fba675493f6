//! Clients of a running server, for the benches of the whole way.
//!
//! `stream_clients latency <port> <symbol> <file>` writes `trade id, receive_time_ns, time in hand` of every
//! trade to the file, three little-endian i64 each, until its standard input ends. Run by `benches/latency.py`.
//! `stream_clients many <port> <clients> <symbols, a,b,c> <symbols per client>` says `streaming` once every client has had
//! an answer, checks every topic of every client for holes until its standard input ends, and prints one JSON line.
//! Run by `benches/clients.py`.

use std::cell::RefCell;
use std::error::Error;
use std::io::Write as _;
use std::rc::Rc;
use std::{env, fs, io};

use raven_serve::raven::market_data_message::Data;
use raven_serve::raven::market_data_service_client::MarketDataServiceClient;
use raven_serve::raven::subscription_request::Request;
use raven_serve::raven::{DataType, MarketDataMessage, SubscribeRequest, SubscriptionRequest};
use tokio::sync::watch;
use tokio::task::{spawn_local, LocalSet};
use tokio_stream::StreamExt as _;
use tonic::transport::Endpoint;
use tonic::Streaming;

type Outcome = Result<(), Box<dyn Error>>;

/// Bits of `MarketDataMessage.flags`.
const SNAPSHOT: u32 = 1;
const SKIPPED: u32 = 32;

fn main() -> Outcome {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let text =
        |at: usize| arguments.get(at).map(String::as_str).ok_or("an argument is missing; see the top of the file");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().event_interval(4).build()?;
    let tasks = LocalSet::new();
    match text(0)? {
        "latency" => tasks.block_on(&runtime, latency(text(1)?, text(2)?, text(3)?)),
        "many" => tasks.block_on(&runtime, many(text(1)?, text(2)?.parse()?, text(3)?, text(4)?.parse()?)),
        other => Err(format!("{other:?}: say latency or many; see the top of the file").into()),
    }
}

/// Turns true when standard input ends: the bench has seen enough.
fn end_of_input() -> watch::Receiver<bool> {
    let (said, told) = watch::channel(false);
    std::thread::spawn(move || {
        let _ = io::copy(&mut io::stdin(), &mut io::sink());
        said.send(true)
    });
    told
}

async fn subscribe(
    port: &str,
    client_id: String,
    symbols: Vec<String>,
    data_types: &[DataType],
) -> Result<Streaming<MarketDataMessage>, Box<dyn Error>> {
    let endpoint = Endpoint::from_shared(format!("http://127.0.0.1:{port}"))?
        .tcp_nodelay(true)
        .initial_stream_window_size(1 << 20)
        .initial_connection_window_size(1 << 20);
    let request = SubscribeRequest {
        client_id,
        symbols,
        data_types: data_types.iter().map(|one| *one as i32).collect(),
        ..SubscribeRequest::default()
    };
    let first = SubscriptionRequest { request: Some(Request::Subscribe(request)) };
    let requests = tokio_stream::once(first).chain(tokio_stream::pending());
    let mut client = MarketDataServiceClient::new(endpoint.connect().await?);
    Ok(client.stream_market_data(requests).await?.into_inner())
}

async fn latency(port: &str, symbol: &str, file: &str) -> Outcome {
    let mut stream = subscribe(port, "latency".into(), vec![symbol.into()], &[DataType::Trades]).await?;
    println!("streaming");
    let mut told = end_of_input();
    let mut rows: Vec<[i64; 3]> = Vec::with_capacity(1 << 20);
    loop {
        tokio::select! {
            message = stream.message() => {
                let Some(message) = message? else { return Err("the server ended the stream".into()) };
                if let Some(Data::Trade(trade)) = &message.data {
                    rows.push([trade.trade_id.parse()?, message.receive_time_ns, unix_ns()]);
                }
            }
            _ = told.changed() => break,
        }
    }
    let mut out = io::BufWriter::new(fs::File::create(file)?);
    for number in rows.iter().flatten() {
        out.write_all(&number.to_le_bytes())?;
    }
    out.flush()?;
    Ok(())
}

/// What all clients saw.
#[derive(Default)]
struct Seen {
    /// Clients that got a message, or an end.
    begun: usize,
    disconnected: u64,
    messages: u64,
    gap_marks: u64,
    lost_and_marked: u64,
    skipped_states: u64,
    unmarked_holes: u64,
    /// Arrival at the server to client's hand, of one message in 256.
    late_ns: Vec<i64>,
    fewest: u64,
}

async fn many(port: &str, clients: usize, symbols: &str, per_client: usize) -> Outcome {
    let symbols: Vec<String> = symbols.split(',').map(str::to_owned).collect();
    let seen = Rc::new(RefCell::new(Seen { fewest: u64::MAX, ..Seen::default() }));
    let told = end_of_input();
    let mut tasks = Vec::new();
    for number in 0..clients {
        let own: Vec<String> =
            (0..per_client).map(|offset| symbols[(number * per_client + offset) % symbols.len()].clone()).collect();
        let types = [DataType::Orderbook, DataType::Trades, DataType::Quotes];
        let stream = subscribe(port, format!("client-{number}"), own, &types).await?;
        tasks.push(spawn_local(follow(stream, Rc::clone(&seen), told.clone(), clients)));
    }
    for task in tasks {
        task.await?;
    }
    let mut seen = seen.borrow_mut();
    seen.late_ns.sort_unstable();
    let late = |part: usize| seen.late_ns.get(seen.late_ns.len() * part / 1000).copied().unwrap_or(0) / 1000;
    println!(
        "{{\"disconnected\":{},\"messages\":{},\"gap_marks\":{},\"lost_and_marked\":{},\"skipped_states\":{},\
         \"unmarked_holes\":{},\"fewest_messages_of_a_client\":{},\"late_us_p50\":{},\"late_us_p99\":{}}}",
        seen.disconnected,
        seen.messages,
        seen.gap_marks,
        seen.lost_and_marked,
        seen.skipped_states,
        seen.unmarked_holes,
        seen.fewest,
        late(500),
        late(990),
    );
    Ok(())
}

/// Where a client stands in one topic.
struct Topic {
    symbol: String,
    kind: u8,
    reached: u64,
}

async fn follow(
    mut stream: Streaming<MarketDataMessage>,
    seen: Rc<RefCell<Seen>>,
    mut told: watch::Receiver<bool>,
    clients: usize,
) {
    let mut topics: Vec<Topic> = Vec::new();
    let mut messages = 0;
    loop {
        let message = tokio::select! {
            message = stream.message() => message,
            _ = told.changed() => break,
        };
        let mut seen = seen.borrow_mut();
        let is_first = messages == 0;
        if is_first {
            seen.begun += 1;
            if seen.begun == clients {
                println!("streaming");
            }
        }
        let message = match message {
            Ok(Some(message)) => message,
            ended => {
                seen.disconnected += 1;
                if seen.disconnected == 1 {
                    eprintln!("the first client that was disconnected: {ended:?}");
                }
                break;
            }
        };
        messages += 1;
        check(&mut topics, &message, &mut seen);
    }
    let mut seen = seen.borrow_mut();
    seen.fewest = seen.fewest.min(messages);
}

/// Every topic goes up by one, or says that states were skipped or how many records were lost.
fn check(topics: &mut Vec<Topic>, message: &MarketDataMessage, seen: &mut Seen) {
    let (symbol, kind, lost) = match &message.data {
        Some(Data::Orderbook(book)) => (&book.symbol, 0, 0),
        Some(Data::Trade(trade)) => (&trade.symbol, 1, 0),
        Some(Data::Quote(quote)) => (&quote.symbol, 100, 0),
        Some(Data::Gap(mark)) => {
            seen.gap_marks += 1;
            let is_ours = mark.reason == "slow_reader";
            (&mark.symbol, mark.data_type as u8, if is_ours { mark.count } else { 0 })
        }
        _ => return,
    };
    seen.messages += 1;
    seen.lost_and_marked += lost;
    if seen.messages.is_multiple_of(256) && message.flags & SNAPSHOT == 0 {
        seen.late_ns.push(unix_ns() - message.receive_time_ns);
    }
    let Some(topic) = topics.iter_mut().find(|topic| topic.kind == kind && topic.symbol == *symbol) else {
        topics.push(Topic { symbol: symbol.clone(), kind, reached: message.sequence });
        return;
    };
    // A mark stands in the place of the last record that was lost; a mark of the venue's own gap is a record itself.
    let is_mark = matches!(message.data, Some(Data::Gap(_))) && lost > 0;
    let expected = topic.reached + if is_mark { lost } else { 1 };
    if message.sequence != expected {
        if message.flags & SKIPPED != 0 && message.sequence > expected {
            seen.skipped_states += message.sequence - expected;
        } else {
            seen.unmarked_holes += 1;
        }
    }
    topic.reached = message.sequence;
}

fn unix_ns() -> i64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |since| since.as_nanos() as i64)
}
