//! Requests: who may ask, what is ours, and what health and reflection answer.

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::Arc;

use bytes::Bytes;
use http::{header, HeaderValue, Request, Response, StatusCode};
use hyper::body::Incoming;
use tonic::codegen::Service;
use tonic::Status;

use crate::body::{PiecesBody, Reply, StreamBody};
use crate::calls::Call;
use crate::frame::{framed, Frames};
use crate::local::{Local, Phase};
use crate::proto::DESCRIPTORS;
use crate::stream::Stream;

/// Our services: what health checking knows by name, besides the server as a whole.
pub(crate) const SERVICES: [&str; 3] = ["raven.MarketDataService", "raven.MarketData", "raven.Control"];

/// Services of tonic, by the prefix of their path.
type Delegate = Box<dyn Fn(Request<tonic::body::Body>) -> Pin<Box<dyn Future<Output = Response<tonic::body::Body>>>>>;

/// What answers besides our own service.
pub(crate) struct Delegates {
    health: Delegate,
    reflection: Delegate,
    reflection_alpha: Delegate,
    pub(crate) reporter: tonic_health::server::HealthReporter,
}

impl Delegates {
    pub(crate) fn new() -> Result<Self, tonic_reflection::server::Error> {
        let (reporter, health) = tonic_health::server::health_reporter();
        let builder = || {
            tonic_reflection::server::Builder::configure()
                .register_encoded_file_descriptor_set(DESCRIPTORS)
                .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        };
        Ok(Self {
            health: delegate(health),
            reflection: delegate(builder().build_v1()?),
            reflection_alpha: delegate(builder().build_v1alpha()?),
            reporter,
        })
    }
}

fn delegate<S>(service: S) -> Delegate
where
    S: Service<Request<tonic::body::Body>, Response = Response<tonic::body::Body>, Error = Infallible>
        + Clone
        + 'static,
    S::Future: 'static,
{
    Box::new(move |request| {
        let answer = service.clone().call(request);
        Box::pin(async move {
            match answer.await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        })
    })
}

/// A connection as its requests see it.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) local: Rc<Local>,
    pub(crate) delegates: Rc<Delegates>,
    pub(crate) peer: Arc<str>,
    /// Beyond the limit: only told so.
    pub(crate) is_surplus: bool,
}

impl Caller {
    /// Answer one request.
    pub(crate) async fn answer(self, request: Request<Incoming>) -> Result<Response<Reply>, Infallible> {
        let stats = &self.local.shared.stats;
        stats.requests.add(1);
        let is_grpc = request
            .headers()
            .get(header::CONTENT_TYPE)
            .is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"));
        if !is_grpc {
            stats.errors.add(1);
            let mut response = Response::new(Reply::empty());
            *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            return Ok(response);
        }
        let answered = self.clone().dispatch(request).await;
        Ok(answered.unwrap_or_else(|status| {
            stats.errors.add(1);
            status.into_http::<()>().map(|()| Reply::empty())
        }))
    }

    async fn dispatch(self, request: Request<Incoming>) -> Result<Response<Reply>, Status> {
        let path = request.uri().path();
        if path.starts_with("/grpc.health.v1.Health/") {
            return Ok((self.delegates.health)(request.map(tonic::body::Body::new)).await.map(Reply::Tonic));
        }
        self.admit(&request)?;
        match path {
            "/raven.MarketDataService/StreamMarketData" => self.stream(request.into_body()),
            "/raven.MarketDataService/Subscribe" => self.unary("Subscribe", request.into_body()).await,
            "/raven.MarketDataService/Unsubscribe" => self.unary("Unsubscribe", request.into_body()).await,
            "/raven.MarketDataService/GetHistoricalData" => self.past("GetHistoricalData", request.into_body()).await,
            "/raven.MarketData/Subscribe" => self.one_topic(request.into_body()).await,
            "/raven.Control/StartCollection" => self.unary("StartCollection", request.into_body()).await,
            "/raven.Control/StopCollection" => self.unary("StopCollection", request.into_body()).await,
            "/raven.Control/ListCollections" => self.unary("ListCollections", request.into_body()).await,
            "/raven.Control/StopAllCollections" => self.unary("StopAllCollections", request.into_body()).await,
            path if path.starts_with("/grpc.reflection.v1.") => {
                Ok((self.delegates.reflection)(request.map(tonic::body::Body::new)).await.map(Reply::Tonic))
            }
            path if path.starts_with("/grpc.reflection.v1alpha.") => {
                Ok((self.delegates.reflection_alpha)(request.map(tonic::body::Body::new)).await.map(Reply::Tonic))
            }
            path => Err(Status::unimplemented(format!("{path} is not served here; ask reflection for what is"))),
        }
    }

    /// Whether this caller may ask anything now.
    fn admit(&self, request: &Request<Incoming>) -> Result<(), Status> {
        let config = &self.local.shared.config;
        if self.is_surplus {
            let limit = config.max_connections;
            return Err(Status::resource_exhausted(format!(
                "the server has its {limit} connections (max_connections); try later"
            )));
        }
        if *self.local.phase.borrow() != Phase::Open {
            return Err(Status::unavailable("the server is shutting down; connect again"));
        }
        let Some(token) = &config.token else { return Ok(()) };
        let given = request.headers().get(header::AUTHORIZATION).map_or(&[][..], HeaderValue::as_bytes);
        let given = given.strip_prefix(b"Bearer ").or_else(|| given.strip_prefix(b"bearer ")).unwrap_or_default();
        if is_equal(given, token.as_bytes()) {
            Ok(())
        } else {
            Err(Status::unauthenticated(
                "this server wants `authorization: Bearer <token>` and the token is missing or wrong",
            ))
        }
    }

    fn stream(self, body: Incoming) -> Result<Response<Reply>, Status> {
        let waiting = Arc::new(AtomicU32::new(0));
        let stream = self.local.open(&self.peer, &waiting)?;
        tokio::task::spawn_local(hear(Rc::clone(&self.local), Rc::clone(&stream), waiting, body));
        Ok(grpc(Reply::Stream(StreamBody::new(self.local, stream))))
    }

    /// A stream of the modular dialect: it says once what it wants, and is an ordinary stream from then on.
    async fn one_topic(self, body: Incoming) -> Result<Response<Reply>, Status> {
        let shared = &self.local.shared;
        let payload = one_message(body, shared.config.max_message_bytes).await?;
        let waiting = Arc::new(AtomicU32::new(0));
        let stream = self.local.open(&self.peer, &waiting)?;
        let stream_id = stream.borrow().id;
        // Dropping the body, too, tells policy that the stream has gone.
        let body = StreamBody::new(Rc::clone(&self.local), stream);
        let (call_id, peer, waiting) = (0, Arc::clone(&self.peer), Some(waiting));
        let call = Call { call_id, method: "stream_request", stream_id, peer, payload, waiting };
        if !shared.calls.push(call, false) {
            return Err(Status::resource_exhausted("too many requests wait for an answer; try later"));
        }
        Ok(grpc(Reply::Stream(body)))
    }

    /// A call that is answered with many messages, as policy has them and the client takes them.
    async fn past(self, method: &'static str, body: Incoming) -> Result<Response<Reply>, Status> {
        let shared = &self.local.shared;
        let payload = one_message(body, shared.config.max_message_bytes).await?;
        let (call_id, pieces) = shared.calls.expect_pieces();
        let body = PiecesBody::new(Rc::clone(&self.local), call_id, pieces);
        let call = Call { call_id, method, stream_id: 0, peer: Arc::clone(&self.peer), payload, waiting: None };
        if !shared.calls.push(call, false) {
            return Err(Status::resource_exhausted("too many requests wait for an answer; try later"));
        }
        Ok(grpc(Reply::Pieces(body)))
    }

    async fn unary(self, method: &'static str, body: Incoming) -> Result<Response<Reply>, Status> {
        let shared = &self.local.shared;
        let payload = one_message(body, shared.config.max_message_bytes).await?;
        let (call_id, answer) = shared.calls.expect_answer();
        let awaited = Awaited { local: &self.local, call_id };
        let call = Call { call_id, method, stream_id: 0, peer: Arc::clone(&self.peer), payload, waiting: None };
        if !shared.calls.push(call, false) {
            return Err(Status::resource_exhausted("too many requests wait for an answer; try later"));
        }
        let answer = tokio::time::timeout(shared.config.reply_timeout, answer).await;
        drop(awaited);
        match answer {
            Ok(Ok(answer)) => Ok(grpc(Reply::message(framed(&answer?)))),
            Ok(Err(_)) => Err(Status::unavailable("the server is shutting down; connect again")),
            Err(_) => Err(Status::deadline_exceeded(format!("no answer within {:?}", shared.config.reply_timeout))),
        }
    }
}

/// The message of a request that has one.
async fn one_message(body: Incoming, limit: usize) -> Result<Bytes, Status> {
    let mut frames = Frames::new(body, limit);
    frames.next().await.unwrap_or_else(|| Err(Status::invalid_argument("the request has no message")))
}

/// Forgets a call when its client does.
struct Awaited<'a> {
    local: &'a Local,
    call_id: u64,
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.local.shared.calls.forget(self.call_id);
    }
}

/// Hand what a client says on its stream to policy, until it stops talking. The stream itself goes on.
async fn hear(local: Rc<Local>, stream: Rc<RefCell<Stream>>, waiting: Arc<AtomicU32>, body: Incoming) {
    let config = &local.shared.config;
    let (id, peer) = (stream.borrow().id, Arc::clone(&stream.borrow().peer));
    let mut frames = Frames::new(body, config.max_message_bytes);
    let broken = loop {
        let payload: Bytes = match frames.next().await {
            None => return,
            // The client went away; its stream notices by itself.
            Some(Err(status)) if status.code() == tonic::Code::Cancelled => return,
            Some(Ok(payload)) => payload,
            Some(Err(status)) => break status,
        };
        let is_flood = waiting.load(Ordering::Relaxed) >= config.max_waiting_calls_per_stream;
        let call = Call {
            call_id: 0,
            method: "stream_message",
            stream_id: id,
            peer: Arc::clone(&peer),
            payload,
            waiting: Some(Arc::clone(&waiting)),
        };
        if is_flood || !local.shared.calls.push(call, false) {
            break Status::resource_exhausted("requests come faster than they are answered; slow down");
        }
    };
    local.shared.stats.errors.add(1);
    stream.borrow_mut().end_with(broken, false);
}

/// A successful gRPC response.
fn grpc(reply: Reply) -> Response<Reply> {
    let mut response = Response::new(reply);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    response
}

/// Compare without telling by the time taken how much of it is right.
fn is_equal(given: &[u8], expected: &[u8]) -> bool {
    let difference = given.iter().zip(expected).fold(0, |sum, (a, b)| sum | (a ^ b));
    std::hint::black_box(difference) == 0 && given.len() == expected.len()
}
