//! The modular dialect: streams that say once what they want, and control by unary calls.

mod support;

use prost::Message;
use raven_serve::raven::control_client::ControlClient;
use raven_serve::raven::market_data_client::MarketDataClient;
use raven_serve::raven::{
    CollectionInfo, ControlRequest, ControlResponse, ListRequest, ListResponse, MarketDataMessage, MarketDataRequest,
    StopAllRequest, StopAllResponse, StreamKind,
};
use raven_serve::{Attach, Config};
use support::{publish_trades, Fixture};
use tokio::task::JoinHandle;
use tonic::transport::Channel;
use tonic::{Code, Status, Streaming};

fn bitcoin() -> MarketDataRequest {
    MarketDataRequest { symbol: "BTCUSDT".into(), data_type: StreamKind::Trade.into(), venue: "binance_spot".into() }
}

async fn market_data(fixture: &Fixture) -> MarketDataClient<Channel> {
    MarketDataClient::new(fixture.endpoint().connect().await.unwrap())
}

/// Subscribe; what policy is told, and the stream.
async fn subscribe(fixture: &Fixture) -> (u64, Streaming<MarketDataMessage>) {
    let mut client = market_data(fixture).await;
    let asking = tokio::spawn(async move { client.subscribe(bitcoin()).await });
    let opened = fixture.call("stream_opened").await;
    let request = fixture.call("stream_request").await;
    assert_eq!((request.stream_id, request.call_id), (opened.stream_id, 0));
    assert_eq!(MarketDataRequest::decode(request.payload).unwrap(), bitcoin());
    (opened.stream_id, asking.await.unwrap().unwrap().into_inner())
}

#[tokio::test]
async fn one_request_makes_an_ordinary_stream() {
    let fixture = Fixture::new();
    let mut trades = fixture.trades();
    let (id, mut messages) = subscribe(&fixture).await;
    assert_eq!(fixture.server.attach(id, trades.topic().id(), Attach::default()), Ok(true));
    fixture.server.streams();

    publish_trades(&fixture, &mut trades, 1..=3);

    for sequence in 1..=3 {
        let message = messages.message().await.unwrap().unwrap();
        assert_eq!((message.sequence, message.venue.as_str()), (sequence, "binance_futures"));
    }
    assert_eq!(fixture.server.streams()[0].messages_sent, 3);
    assert_eq!(fixture.stat("streams"), 1);
    fixture.server.close_stream(id, Code::NotFound as i32, "no such symbol");
    let end = messages.message().await.unwrap_err();
    assert_eq!((end.code(), end.message()), (Code::NotFound, "no such symbol"));
    assert_eq!(fixture.call("stream_closed").await.stream_id, id);
}

#[tokio::test]
async fn a_client_that_leaves_is_reported() {
    let fixture = Fixture::new();
    let (id, messages) = subscribe(&fixture).await;

    drop(messages);

    assert_eq!(fixture.call("stream_closed").await.stream_id, id);
    fixture.until("the stream is gone", |fixture| fixture.stat("streams") == 0).await;
}

#[tokio::test]
async fn limits_hold_for_these_streams_too() {
    let fixture = Fixture::with(Config { max_connections: 1, max_message_bytes: 100, ..Config::default() });
    let mut client = market_data(&fixture).await;

    let long = MarketDataRequest { symbol: "X".repeat(200), ..bitcoin() };
    assert_eq!(client.subscribe(long).await.unwrap_err().code(), Code::ResourceExhausted);

    let first = client.subscribe(bitcoin()).await.unwrap();
    let second = client.subscribe(bitcoin()).await.unwrap_err();
    assert_eq!(second.code(), Code::ResourceExhausted);
    assert!(second.message().contains("1 streams"), "{}", second.message());
    drop(first);
}

#[tokio::test]
async fn a_stream_that_policy_cannot_be_told_of_is_not_opened() {
    // Room for the news of the stream, none for what it wants.
    let fixture = Fixture::with(Config { max_waiting_calls: 1, ..Config::default() });

    let refused = market_data(&fixture).await.subscribe(bitcoin()).await.unwrap_err();

    assert_eq!(refused.code(), Code::ResourceExhausted);
    let opened = fixture.call("stream_opened").await;
    assert_eq!(fixture.call("stream_closed").await.stream_id, opened.stream_id);
    assert_eq!(fixture.stat("streams"), 0);
}

/// Answer the next call, which must be of this method, and return what it asked.
async fn answer<Request: Message + Default>(fixture: &Fixture, method: &str, answer: &impl Message) -> Request {
    let call = fixture.call(method).await;
    assert_eq!(call.stream_id, 0);
    assert!(fixture.server.reply(call.call_id, answer.encode_to_vec()));
    Request::decode(call.payload).unwrap()
}

async fn answered<T>(asking: JoinHandle<Result<tonic::Response<T>, Status>>) -> T {
    asking.await.unwrap().unwrap().into_inner()
}

#[tokio::test]
async fn control_calls_are_answered_by_policy() {
    let fixture = Fixture::new();
    let control = ControlClient::new(fixture.endpoint().connect().await.unwrap());
    let request = ControlRequest { symbol: "BTCUSDT".into(), venue: String::new(), data_type: 2 };
    let done = ControlResponse { success: true, message: "collecting".into() };
    let row =
        CollectionInfo { symbol: "BTCUSDT".into(), status: "live".into(), subscriber_count: 2, ..Default::default() };
    let list = ListResponse { collections: vec![row] };
    let stopped = StopAllResponse { success: true, message: "stopped 1 symbol".into() };

    let asking = tokio::spawn({
        let (mut control, request) = (control.clone(), request.clone());
        async move { control.start_collection(request).await }
    });
    assert_eq!(answer::<ControlRequest>(&fixture, "StartCollection", &done).await, request);
    assert_eq!(answered(asking).await, done);

    let asking = tokio::spawn({
        let (mut control, request) = (control.clone(), request.clone());
        async move { control.stop_collection(request).await }
    });
    assert_eq!(answer::<ControlRequest>(&fixture, "StopCollection", &done).await, request);
    assert_eq!(answered(asking).await, done);

    let mut client = control.clone();
    let asking = tokio::spawn(async move { client.list_collections(ListRequest {}).await });
    answer::<ListRequest>(&fixture, "ListCollections", &list).await;
    assert_eq!(answered(asking).await, list);

    let mut client = control.clone();
    let asking = tokio::spawn(async move { client.stop_all_collections(StopAllRequest {}).await });
    answer::<StopAllRequest>(&fixture, "StopAllCollections", &stopped).await;
    assert_eq!(answered(asking).await, stopped);
}

#[tokio::test]
async fn control_and_these_streams_want_the_token_too() {
    let fixture = Fixture::with(Config { token: Some("secret".into()), ..Config::default() });
    let channel = fixture.endpoint().connect().await.unwrap();

    let mut control = ControlClient::new(channel.clone());
    assert_eq!(control.list_collections(ListRequest {}).await.unwrap_err().code(), Code::Unauthenticated);
    assert_eq!(control.stop_all_collections(StopAllRequest {}).await.unwrap_err().code(), Code::Unauthenticated);
    let refused = MarketDataClient::new(channel).subscribe(bitcoin()).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unauthenticated);
}
