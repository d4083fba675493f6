//! A hub with topics, a server over it, and a client.
#![allow(dead_code)]

use std::sync::Arc;
use std::time::{Duration, Instant};

use raven_core::hub::{Hub, Publisher, TopicKey};
use raven_core::record::{data_type, Header, Kind};
use raven_serve::raven::market_data_service_client::MarketDataServiceClient;
use raven_serve::raven::{MarketDataMessage, SubscriptionRequest};
use raven_serve::{Attach, Call, Config, Server};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::{Channel, Endpoint};
use tonic::{Status, Streaming};

pub const PATIENCE: Duration = Duration::from_secs(10);

pub struct Fixture {
    pub hub: Arc<Hub>,
    pub server: Arc<Server>,
    pub port: u16,
}

impl Fixture {
    pub fn new() -> Self {
        Self::with(Config::default())
    }

    pub fn with(config: Config) -> Self {
        let hub = Hub::new();
        let server = Arc::new(Server::new(Arc::clone(&hub), Config { port: 0, ..config }));
        let port = server.start().unwrap();
        Self { hub, server, port }
    }

    pub fn topic(&self, symbol: &str, data_type: i32, depth: u16, ring_bytes: usize) -> Publisher {
        let key = TopicKey { venue: "binance_futures".into(), symbol: symbol.into(), data_type, depth };
        self.hub.create_topic(key, ring_bytes).unwrap()
    }

    pub fn trades(&self) -> Publisher {
        self.topic("BTCUSDT", data_type::TRADES, 0, 1 << 20)
    }

    pub fn books(&self) -> Publisher {
        self.topic("BTCUSDT", data_type::ORDERBOOK, 20, 1 << 20)
    }

    pub fn endpoint(&self) -> Endpoint {
        Endpoint::from_shared(format!("http://127.0.0.1:{}", self.port)).unwrap()
    }

    pub async fn client(&self) -> MarketDataServiceClient<Channel> {
        MarketDataServiceClient::new(self.endpoint().connect().await.unwrap())
    }

    /// Open a stream on a connection of its own.
    pub async fn open(&self) -> OpenStream {
        let channel = self.endpoint().connect().await.unwrap();
        self.open_on(MarketDataServiceClient::new(channel)).await
    }

    pub async fn open_on(&self, mut client: MarketDataServiceClient<Channel>) -> OpenStream {
        let (requests, outgoing) = mpsc::channel(64);
        let messages = client.stream_market_data(ReceiverStream::new(outgoing)).await.unwrap().into_inner();
        let opened = self.call("stream_opened").await;
        OpenStream { id: opened.stream_id, requests, messages, client }
    }

    /// The next call, which must be of this method.
    pub async fn call(&self, method: &str) -> Call {
        let server = Arc::clone(&self.server);
        let call = tokio::task::spawn_blocking(move || server.next_call(PATIENCE)).await.unwrap().expect(method);
        assert_eq!(call.method, method);
        call
    }

    pub fn attach(&self, stream: &OpenStream, publisher: &Publisher, options: Attach) {
        assert_eq!(self.server.attach(stream.id, publisher.topic().id(), options), Ok(true));
        // Asking for the streams comes after attaching in the same queue.
        self.server.streams();
    }

    pub fn stat(&self, name: &str) -> u64 {
        self.server.stats().into_iter().find(|(key, _)| *key == name).unwrap().1
    }

    /// Wait until something holds, without assuming how long it takes.
    pub async fn until(&self, what: &str, mut holds: impl FnMut(&Self) -> bool) {
        let start = Instant::now();
        while !holds(self) {
            assert!(start.elapsed() < PATIENCE, "{what}: {:?}", self.server.stats());
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

pub struct OpenStream {
    pub id: u64,
    pub requests: mpsc::Sender<SubscriptionRequest>,
    pub messages: Streaming<MarketDataMessage>,
    pub client: MarketDataServiceClient<Channel>,
}

impl OpenStream {
    pub async fn next(&mut self) -> MarketDataMessage {
        tokio::time::timeout(PATIENCE, self.messages.message())
            .await
            .expect("a message in time")
            .unwrap()
            .expect("a message")
    }

    pub async fn end(&mut self) -> Status {
        loop {
            match tokio::time::timeout(PATIENCE, self.messages.message()).await.expect("an end in time") {
                Ok(Some(_)) => {}
                Ok(None) => return Status::ok(""),
                Err(status) => return status,
            }
        }
    }
}

pub fn header(kind: Kind, id: u64) -> Header {
    Header {
        kind,
        flags: 0,
        sequence: 0,
        recv_ns: 1_700_000_000_123_456_789,
        exchange_ns: 1_700_000_000_100_000_000,
        id,
        price_scale: 2,
        quantity_scale: 3,
        bids: 0,
        asks: 0,
    }
}

/// Publish trades with these ids.
pub fn publish_trades(fixture: &Fixture, publisher: &mut Publisher, ids: impl IntoIterator<Item = u64>) {
    for id in ids {
        publisher.publish(&header(Kind::Trade, id), &[5_712_345, 1500, id % 2, id, id]);
    }
    fixture.hub.ring_doorbell();
}

/// Publish a book of `levels` per side.
pub fn publish_book(fixture: &Fixture, publisher: &mut Publisher, id: u64, levels: u16) {
    let mut body = vec![u64::from(levels) | u64::from(levels) << 32];
    body.extend((0..u64::from(levels)).flat_map(|level| [10_000 - level, 1000 + level]));
    body.extend((0..u64::from(levels)).flat_map(|level| [10_001 + level, 2000 + level]));
    publisher.publish(&Header { bids: levels, asks: levels, ..header(Kind::Book, id) }, &body);
    fixture.hub.ring_doorbell();
}
