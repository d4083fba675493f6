//! Requests on their way to policy and back, limits, health, and how a server ends.

mod support;

use std::time::Duration;

use prost::Message;
use raven_core::record::data_type;
use raven_serve::raven::market_data_service_client::MarketDataServiceClient;
use raven_serve::raven::subscription_request::Request;
use raven_serve::raven::{
    HeartbeatRequest, SubscribeRequest, SubscribeResponse, SubscriptionRequest, UnsubscribeRequest,
};
use raven_serve::{Attach, Config, Overflow, Server, StartError, Tls, UnknownTopic};
use support::{publish_trades, Fixture};
use tonic::metadata::MetadataValue;
use tonic::transport::{Certificate, ClientTlsConfig};
use tonic::Code;

fn heartbeat(timestamp: i64) -> SubscriptionRequest {
    SubscriptionRequest { request: Some(Request::Heartbeat(HeartbeatRequest { client_id: "c".into(), timestamp })) }
}

#[tokio::test]
async fn a_unary_call_is_answered_by_policy() {
    let fixture = Fixture::new();
    let mut client = fixture.client().await;
    let request = SubscribeRequest { client_id: "c".into(), symbols: vec!["BTCUSDT".into()], ..Default::default() };
    let asking = tokio::spawn({
        let request = request.clone();
        async move { client.subscribe(request).await }
    });

    let call = fixture.call("Subscribe").await;
    assert_eq!(SubscribeRequest::decode(call.payload.clone()).unwrap(), request);
    let answer = SubscribeResponse { success: true, ..Default::default() };
    assert!(fixture.server.reply(call.call_id, answer.encode_to_vec()));

    assert_eq!(asking.await.unwrap().unwrap().into_inner(), answer);
    assert!(!fixture.server.reply(call.call_id, vec![]), "answered already");
}

#[tokio::test]
async fn a_refusal_keeps_its_code_and_words() {
    let fixture = Fixture::new();
    let mut client = fixture.client().await;
    let asking = tokio::spawn(async move { client.unsubscribe(UnsubscribeRequest::default()).await });

    let call = fixture.call("Unsubscribe").await;
    fixture.server.fail(call.call_id, Code::Unimplemented as i32, "no storage yet: 100 % honest");

    let status = asking.await.unwrap().unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Unimplemented, "no storage yet: 100 % honest"));
}

#[tokio::test]
async fn a_call_that_nobody_answers_times_out() {
    let fixture = Fixture::with(Config { reply_timeout: Duration::from_millis(50), ..Config::default() });
    let status = fixture.client().await.subscribe(SubscribeRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::DeadlineExceeded);
}

#[tokio::test]
async fn what_a_client_says_on_its_stream_reaches_policy_in_order() {
    let fixture = Fixture::new();
    let stream = fixture.open().await;
    for timestamp in 1..=3 {
        stream.requests.send(heartbeat(timestamp)).await.unwrap();
    }
    for timestamp in 1..=3 {
        let call = fixture.call("stream_message").await;
        assert_eq!((call.stream_id, call.call_id), (stream.id, 0));
        assert_eq!(SubscriptionRequest::decode(call.payload).unwrap(), heartbeat(timestamp));
    }

    let id = stream.id;
    drop(stream);
    let closed = fixture.call("stream_closed").await;
    assert_eq!(closed.stream_id, id);
    assert!(!fixture.server.detach(id, 0), "the stream has gone");
}

#[tokio::test]
async fn a_client_that_stops_talking_keeps_listening() {
    let fixture = Fixture::new();
    let mut trades = fixture.trades();
    let mut stream = fixture.open().await;
    fixture.attach(&stream, &trades, Attach::default());
    let (unused, _) = tokio::sync::mpsc::channel(1);
    drop(std::mem::replace(&mut stream.requests, unused));

    publish_trades(&fixture, &mut trades, [1]);

    assert_eq!(stream.next().await.sequence, 1);
}

#[tokio::test]
async fn a_flood_of_requests_ends_its_stream_and_no_other() {
    let fixture = Fixture::with(Config { max_waiting_calls_per_stream: 4, ..Config::default() });
    let (mut flood, quiet) = (fixture.open().await, fixture.open().await);
    let talker = flood.requests.clone();
    tokio::spawn(async move { while talker.send(heartbeat(1)).await.is_ok() {} });

    assert_eq!(flood.end().await.code(), Code::ResourceExhausted);
    assert!(fixture.server.configure_stream(quiet.id, 1, 0));
}

#[tokio::test]
async fn a_full_queue_refuses_calls() {
    let fixture = Fixture::with(Config { max_waiting_calls: 1, ..Config::default() });
    let mut client = fixture.client().await;
    let mut second = client.clone();
    tokio::spawn(async move { client.subscribe(SubscribeRequest::default()).await });
    fixture.until("the first call waits", |fixture| fixture.stat("requests") == 1).await;

    let status = second.subscribe(SubscribeRequest::default()).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
}

#[tokio::test]
async fn a_request_that_is_too_long_is_refused() {
    let fixture = Fixture::with(Config { max_message_bytes: 1000, ..Config::default() });
    let request = SubscribeRequest { client_id: "x".repeat(1001), ..Default::default() };
    let status = fixture.client().await.subscribe(request).await.unwrap_err();
    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("larger than max (1004 vs. 1000 bytes)"), "{}", status.message());
}

#[tokio::test]
async fn connections_beyond_the_limit_are_told_so() {
    let fixture = Fixture::with(Config { max_connections: 2, ..Config::default() });
    let _streams = [fixture.open().await, fixture.open().await];

    let status = fixture.client().await.subscribe(SubscribeRequest::default()).await.unwrap_err();

    assert_eq!(status.code(), Code::ResourceExhausted);
    assert!(status.message().contains("2 connections"), "{}", status.message());
    assert_eq!((fixture.stat("connections"), fixture.stat("connections_refused")), (3, 1));
}

#[tokio::test]
async fn streams_beyond_the_limit_are_refused_and_their_place_comes_back() {
    let fixture = Fixture::with(Config { max_connections: 1, ..Config::default() });
    let mut client = fixture.client().await;
    let stream = fixture.open_on(client.clone()).await;

    let refused = client.stream_market_data(tokio_stream::empty()).await.unwrap_err();
    assert_eq!(refused.code(), Code::ResourceExhausted);

    drop(stream);
    fixture.call("stream_closed").await;
    assert!(client.stream_market_data(tokio_stream::empty()).await.is_ok());
}

#[tokio::test]
async fn a_token_is_wanted_when_there_is_one_but_not_for_health() {
    let fixture = Fixture::with(Config { token: Some("secret".into()), ..Config::default() });
    let channel = fixture.endpoint().connect().await.unwrap();
    let ask = |token: &str| {
        let mut request = tonic::Request::new(tokio_stream::empty());
        let value: MetadataValue<_> = format!("Bearer {token}").parse().unwrap();
        request.metadata_mut().insert("authorization", value);
        request
    };
    let mut client = MarketDataServiceClient::new(channel.clone());

    for wrong in ["", "secre", "secret1", "Secret"] {
        assert_eq!(client.stream_market_data(ask(wrong)).await.unwrap_err().code(), Code::Unauthenticated);
    }
    assert!(client.stream_market_data(ask("secret")).await.is_ok());
    assert_eq!(health(channel).await, 1);
}

async fn health(channel: tonic::transport::Channel) -> i32 {
    health_of(channel, "raven.MarketDataService").await
}

async fn health_of(channel: tonic::transport::Channel, service: &str) -> i32 {
    let mut client = tonic_health::pb::health_client::HealthClient::new(channel);
    let request = tonic_health::pb::HealthCheckRequest { service: service.into() };
    client.check(request).await.unwrap().into_inner().status
}

#[tokio::test]
async fn health_says_what_policy_says() {
    let fixture = Fixture::new();
    let channel = fixture.endpoint().connect().await.unwrap();
    for (is_serving, status) in [(true, 1), (false, 2)] {
        fixture.server.set_serving(is_serving);
        fixture.server.streams();
        for service in ["", "raven.MarketDataService", "raven.MarketData", "raven.Control"] {
            assert_eq!(health_of(channel.clone(), service).await, status, "{service}");
        }
    }
}

#[tokio::test]
async fn reflection_knows_every_service() {
    use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
    use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
    use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
    use tonic_reflection::pb::v1::ServerReflectionRequest;
    let fixture = Fixture::new();
    let mut client = ServerReflectionClient::new(fixture.endpoint().connect().await.unwrap());
    let message_request = Some(MessageRequest::ListServices(String::new()));
    let request = ServerReflectionRequest { host: String::new(), message_request };

    let mut answers = client.server_reflection_info(tokio_stream::once(request)).await.unwrap().into_inner();

    let answer = answers.message().await.unwrap().unwrap().message_response;
    let Some(MessageResponse::ListServicesResponse(list)) = answer else { panic!("{answer:?}") };
    let names: Vec<_> = list.service.iter().map(|service| service.name.as_str()).collect();
    for service in ["raven.MarketDataService", "raven.MarketData", "raven.Control", "grpc.health.v1.Health"] {
        assert!(names.contains(&service), "{service} is not among {names:?}");
    }
}

/// What an HTTP/2 client says first, with empty settings.
const HELLO: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

#[tokio::test]
async fn peers_that_say_nothing_or_stop_answering_are_sent_away() {
    use tokio::io::AsyncWriteExt;
    // Long enough for a healthy client that a busy machine starves.
    let keepalive_timeout = Duration::from_secs(2);
    let fixture =
        Fixture::with(Config { keepalive: Duration::from_millis(100), keepalive_timeout, ..Config::default() });
    let healthy = fixture.open().await;
    let address = ("127.0.0.1", fixture.port);
    let _silent = tokio::net::TcpStream::connect(address).await.unwrap();
    let mut half_open = tokio::net::TcpStream::connect(address).await.unwrap();
    half_open.write_all(HELLO).await.unwrap();

    fixture.until("two are sent away", |fixture| fixture.stat("errors") == 2).await;

    assert_eq!(fixture.stat("connections"), 1, "the healthy one is left");
    assert!(fixture.server.configure_stream(healthy.id, 1, 0));
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented() {
    let fixture = Fixture::new();
    let mut client = tonic::client::Grpc::new(fixture.endpoint().connect().await.unwrap());
    client.ready().await.unwrap();
    let codec = tonic_prost::ProstCodec::<SubscribeRequest, SubscribeResponse>::default();
    let path = http::uri::PathAndQuery::from_static("/raven.MarketDataService/Nonsense");
    let status = client.unary(tonic::Request::new(SubscribeRequest::default()), path, codec).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}

#[tokio::test]
async fn tls_encrypts_and_a_wrong_key_is_named() {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let (certificate, key) = (made.cert.pem(), made.signing_key.serialize_pem());
    let tls = Tls { certificate: certificate.clone().into(), key: key.into(), client_ca: None };
    let fixture = Fixture::with(Config { tls: Some(tls.clone()), ..Config::default() });
    let trust = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(certificate)).domain_name("localhost");
    let uri = format!("https://127.0.0.1:{}", fixture.port);
    let channel =
        tonic::transport::Endpoint::from_shared(uri).unwrap().tls_config(trust).unwrap().connect().await.unwrap();

    assert_eq!(health(channel).await, 1);

    let broken = Server::new(
        fixture.hub.clone(),
        Config { port: 0, tls: Some(Tls { key: vec![], ..tls }), ..Config::default() },
    );
    let error = broken.start().unwrap_err().to_string();
    assert!(error.starts_with("TLS key: "), "{error}");
}

#[tokio::test]
async fn an_occupied_port_is_named() {
    let fixture = Fixture::new();
    let second = Server::new(fixture.hub.clone(), Config { port: fixture.port, ..Config::default() });
    let error = second.start().unwrap_err();
    assert!(matches!(error, StartError::Bind(..)));
    assert!(error.to_string().contains(&format!("127.0.0.1:{}", fixture.port)), "{error}");
}

#[tokio::test]
async fn a_topic_that_is_not_there_cannot_be_attached() {
    let fixture = Fixture::new();
    let stream = fixture.open().await;
    assert_eq!(fixture.server.attach(stream.id, 77, Attach::default()), Err(UnknownTopic(77)));
}

#[tokio::test]
async fn a_drained_server_sends_what_it_has_and_says_goodbye() {
    let fixture = Fixture::new();
    let mut trades = fixture.trades();
    let mut stream = fixture.open().await;
    let options = Attach { overflow: Overflow::Gap, from_latest: false, ..Attach::default() };
    fixture.attach(&stream, &trades, options);
    // More than the pump takes from a ring in one turn.
    publish_trades(&fixture, &mut trades, 1..=7000);

    let server = fixture.server.clone();
    let draining = tokio::task::spawn_blocking(move || server.drain(Duration::from_secs(5)));

    for id in 1..=7000 {
        assert_eq!(stream.next().await.sequence, id);
    }
    assert_eq!(stream.end().await.code(), Code::Unavailable);
    assert!(draining.await.unwrap(), "everything ended in time");
    assert_eq!(fixture.call("stream_closed").await.stream_id, stream.id);
    assert!(fixture.server.next_call(Duration::from_secs(5)).is_none(), "nobody waits for a stopped server");
    assert!(fixture.endpoint().connect().await.is_err());
    assert_eq!(trades.topic().readers(), 0);
}

#[tokio::test]
async fn a_drain_does_not_wait_for_a_client_that_does_not_read() {
    let fixture = Fixture::new();
    let mut trades = fixture.topic("BTCUSDT", data_type::TRADES, 0, 32 << 20);
    let stream = fixture.open().await;
    fixture.attach(&stream, &trades, Attach::default());
    publish_trades(&fixture, &mut trades, 1..=150_000);
    fixture.until("everything is encoded", |fixture| fixture.stat("encoded") == 150_000).await;

    let server = fixture.server.clone();
    let is_clean = tokio::task::spawn_blocking(move || server.drain(Duration::from_millis(300))).await.unwrap();

    assert!(!is_clean);
    assert_eq!(stream.id, 1);
}
