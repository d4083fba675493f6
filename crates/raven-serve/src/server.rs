//! The face of the crate: starts the serve thread, and carries commands and calls across to it.

use std::fmt;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::mpsc::{sync_channel, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use bytes::Bytes;
use raven_core::hub::{Hub, Listening};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;
use tonic::{Code, Status};

use crate::accept::{accept, bind};
use crate::calls::Call;
use crate::commands::Command;
use crate::config::{Attach, Config};
use crate::local::{Local, Shared};
use crate::past::{Encoded, Pushed};
use crate::pump::Pump;
use crate::route::Delegates;
use crate::stream::StreamInfo;
use crate::tls;

/// How long a question to the serve thread may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);
/// Local tasks and turns between two looks at the sockets. The default of 61 lets window updates wait behind
/// thousands of polls when many streams are busy.
const EVENT_INTERVAL: u32 = 2;

/// Why a server did not start.
#[derive(Debug)]
pub enum StartError {
    /// The address cannot be listened on.
    Bind(String, std::io::Error),
    /// The certificates cannot be used; the text says which.
    Tls(String),
    /// It was started before.
    Started,
    /// The hub has no room for another server, or the thread could not be made.
    Resources(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind(address, error) => {
                write!(f, "cannot listen on {address}: {error}; free the port or choose another one")
            }
            Self::Tls(text) => f.write_str(text),
            Self::Started => f.write_str("this server was started before; make a new one"),
            Self::Resources(text) => write!(f, "cannot start the server thread: {text}"),
        }
    }
}

impl std::error::Error for StartError {}

/// There is no topic of this id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct UnknownTopic(pub u32);

impl fmt::Display for UnknownTopic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "there is no topic {}; it may have ended, ask `Hub::find` again", self.0)
    }
}

impl std::error::Error for UnknownTopic {}

/// `MarketDataService`, `MarketData`, `Control`, health and reflection on a thread of their own. Every method may be
/// called from any thread.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    running: Mutex<Running>,
}

#[derive(Debug, Default)]
struct Running {
    is_started: bool,
    thread: Option<JoinHandle<()>>,
    finished: Option<Receiver<()>>,
}

impl Server {
    /// A server of this hub's topics that does not run yet.
    pub fn new(hub: Arc<Hub>, config: Config) -> Self {
        Self { shared: Arc::new(Shared::new(hub, config)), running: Mutex::default() }
    }

    /// Bind and serve; the port that is listened on.
    ///
    /// # Errors
    /// [`StartError`] says what is in the way.
    pub fn start(&self) -> Result<u16, StartError> {
        let config = &self.shared.config;
        let mut running = self.running();
        if running.is_started {
            return Err(StartError::Started);
        }
        let resources = |error: &dyn fmt::Display| StartError::Resources(error.to_string());
        let tls = config.tls.as_ref().map(tls::acceptor).transpose().map_err(StartError::Tls)?;
        let runtime = Builder::new_current_thread()
            .enable_all()
            .event_interval(EVENT_INTERVAL)
            .build()
            .map_err(|error| resources(&error))?;
        let bound = {
            let _guard = runtime.enter();
            bind(&config.host, config.port).and_then(|listener| Ok((listener.local_addr()?.port(), listener)))
        };
        let (port, listener) = match bound {
            Ok(bound) => bound,
            Err(error) => {
                // Dropping it would block, which a caller on another runtime must not.
                runtime.shutdown_background();
                return Err(StartError::Bind(format!("{}:{}", config.host, config.port), error));
            }
        };
        let listening = self.shared.hub.listen().ok_or_else(|| resources(&"the hub has all its listeners"))?;
        let (finished, wait) = sync_channel(1);
        let shared = Arc::clone(&self.shared);
        shared.commands.open();
        let thread = thread::Builder::new()
            .name("raven-serve".into())
            .spawn(move || {
                if let Some(core) = shared.config.cpu {
                    core_affinity::set_for_current(core_affinity::CoreId { id: core });
                }
                let served = Arc::clone(&shared);
                run(&runtime, Start { shared, listener, tls, listening });
                drop(runtime);
                served.commands.close();
                served.calls.stop();
                // Nobody may be waiting for the news.
                let _ = finished.try_send(());
            })
            .map_err(|error| resources(&error))?;
        *running = Running { is_started: true, thread: Some(thread), finished: Some(wait) };
        Ok(port)
    }

    /// Wait for the next call that needs policy; `None` when none came in time or the server has stopped.
    pub fn next_call(&self, timeout: Duration) -> Option<Call> {
        self.shared.calls.next(timeout)
    }

    /// Answer a call with a serialized message; false when nobody waits for it any more.
    pub fn reply(&self, call_id: u64, payload: impl Into<Bytes>) -> bool {
        self.shared.calls.answer(call_id, Ok(payload.into()))
    }

    /// Answer a call with a status code of the gRPC specification; false when nobody waits for it any more.
    pub fn fail(&self, call_id: u64, code: i32, message: &str) -> bool {
        self.shared.calls.answer(call_id, Err(Status::new(Code::from_i32(code), message)))
    }

    /// Let a stream read a topic; false when the stream has gone. Attaching again changes the options.
    ///
    /// # Errors
    /// [`UnknownTopic`] when the topic has ended or never was.
    pub fn attach(&self, stream_id: u64, topic_id: u32, options: Attach) -> Result<bool, UnknownTopic> {
        let topic = self.shared.hub.topic(topic_id).ok_or(UnknownTopic(topic_id))?;
        Ok(self.tell(stream_id, Command::Attach { stream_id, topic, options }))
    }

    /// Let a stream read a topic on from behind the record with the sequence `after`; false when the stream has gone or
    /// what comes behind that record is not kept any more: nothing is attached then.
    ///
    /// # Errors
    /// [`UnknownTopic`] when the topic has ended or never was.
    pub fn resume(&self, stream_id: u64, topic_id: u32, options: Attach, after: u64) -> Result<bool, UnknownTopic> {
        let topic = self.shared.hub.topic(topic_id).ok_or(UnknownTopic(topic_id))?;
        let (answer, answered) = sync_channel(1);
        let is_told = self.tell(stream_id, Command::Resume { stream_id, topic, options, after, answer });
        Ok(is_told && answered.recv_timeout(ANSWER_TIMEOUT).unwrap_or(false))
    }

    /// Let a stream read a topic on from behind the record with this sequence and receive time, which is the last that
    /// its client had. What the ring does not have any more is a mark with reason `upstream`, and so is another life of
    /// the topic. False when the stream has gone.
    ///
    /// # Errors
    /// [`UnknownTopic`] when the topic has ended or never was.
    pub fn take_up(
        &self,
        stream_id: u64,
        topic_id: u32,
        options: Attach,
        after: u64,
        recv_ns: i64,
    ) -> Result<bool, UnknownTopic> {
        let topic = self.shared.hub.topic(topic_id).ok_or(UnknownTopic(topic_id))?;
        let (answer, answered) = sync_channel(1);
        let is_told = self.tell(stream_id, Command::TakeUp { stream_id, topic, options, after, recv_ns, answer });
        Ok(is_told && answered.recv_timeout(ANSWER_TIMEOUT).unwrap_or(false))
    }

    /// Send messages on a stream before whatever else is on its way, waiting for room up to `timeout`.
    pub fn push(&self, stream_id: u64, frames: Encoded, timeout: Duration) -> Pushed {
        let Some(waiting) = self.shared.open().get(&stream_id).cloned() else { return Pushed::Gone };
        let outcome = waiting.has_room(timeout, || !self.shared.open().contains_key(&stream_id));
        if outcome != Pushed::Taken {
            return outcome;
        }
        waiting.add(frames.bytes.len());
        if self.tell(stream_id, Command::Push { stream_id, frames }) {
            Pushed::Taken
        } else {
            Pushed::Gone
        }
    }

    /// Push a piece of the answer to a call that is answered with many messages, waiting for room up to `timeout`.
    /// [`Self::reply`] with nothing, or [`Self::fail`], ends the answer.
    pub fn reply_piece(&self, call_id: u64, frames: Encoded, timeout: Duration) -> Pushed {
        self.shared.calls.push_piece(call_id, frames, timeout)
    }

    /// Stop a stream from reading a topic; false when the stream has gone.
    pub fn detach(&self, stream_id: u64, topic_id: u32) -> bool {
        self.tell(stream_id, Command::Detach { stream_id, topic_id })
    }

    /// Set how many messages share a frame, and after which silence (ms, 0 for never) an empty message is sent.
    pub fn configure_stream(&self, stream_id: u64, batch: usize, heartbeat_ms: u64) -> bool {
        let heartbeat = (heartbeat_ms > 0).then(|| Duration::from_millis(heartbeat_ms));
        self.tell(stream_id, Command::Configure { stream_id, batch, heartbeat })
    }

    /// End a stream with a status after what it has been sent so far; false when it has gone.
    pub fn close_stream(&self, stream_id: u64, code: i32, message: &str) -> bool {
        self.tell(stream_id, Command::Close { stream_id, status: Status::new(Code::from_i32(code), message) })
    }

    /// What the health service answers, for the server and for each of its services. It starts as serving.
    pub fn set_serving(&self, is_serving: bool) {
        self.send(Command::Serving(is_serving));
    }

    /// Every open stream, by number.
    pub fn streams(&self) -> Vec<StreamInfo> {
        let (answer, streams) = sync_channel(1);
        if !self.send(Command::Streams(answer)) {
            return Vec::new();
        }
        let mut streams = streams.recv_timeout(ANSWER_TIMEOUT).unwrap_or_default();
        streams.sort_by_key(|stream| stream.stream_id);
        streams
    }

    /// Every counter by name.
    pub fn stats(&self) -> Vec<(&'static str, u64)> {
        self.shared.stats.list()
    }

    /// Stop accepting, send what the rings hold, end every stream with UNAVAILABLE, and stop; true when all ended in time.
    pub fn drain(&self, timeout: Duration) -> bool {
        if !self.send(Command::Drain) {
            return true;
        }
        let finished = self.running().finished.take();
        let is_clean = finished.is_none_or(|wait| wait.recv_timeout(timeout) != Err(RecvTimeoutError::Timeout));
        self.stop();
        is_clean
    }

    /// Stop now, whatever is on its way.
    fn stop(&self) {
        self.send(Command::Stop);
        let thread = self.running().thread.take();
        if let Some(thread) = thread {
            // A panic of the serve thread was reported where it happened.
            let _ = thread.join();
        }
        self.shared.calls.stop();
    }

    fn tell(&self, stream_id: u64, command: Command) -> bool {
        self.shared.open().contains_key(&stream_id) && self.send(command)
    }

    fn send(&self, command: Command) -> bool {
        self.shared.commands.send(command)
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

/// What the serve thread takes over.
struct Start {
    shared: Arc<Shared>,
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    listening: Listening,
}

/// The serve thread.
fn run(runtime: &Runtime, start: Start) {
    let tasks = LocalSet::new();
    let local = Rc::new(Local::new(start.shared));
    tasks.block_on(runtime, async move {
        let delegates = match Delegates::new() {
            Ok(delegates) => Rc::new(delegates),
            // The descriptors are compiled in; a test asks reflection for them.
            Err(error) => unreachable!("the compiled-in descriptors are broken: {error}"),
        };
        let mut pump = Pump::new(Rc::clone(&local), Rc::clone(&delegates), start.listening);
        pump.report(true);
        tokio::task::spawn_local(accept(start.listener, start.tls, local, delegates));
        poll_fn(|cx| pump.poll(cx)).await;
    });
}
