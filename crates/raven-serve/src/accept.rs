//! Connections: how many, how long they may stay silent, and how they end.

use std::future::Future;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{interval, sleep, timeout, Instant};
use tokio_rustls::TlsAcceptor;

use crate::local::{Local, Phase};
use crate::route::{Caller, Delegates};
use crate::watched::Watched;

/// What an HTTP/2 connection starts with, bytes; a peer must have sent it within the keepalive time.
const HELLO_BYTES: usize = 24;
/// A ping waits behind everything that the peer has not read yet, so a missing answer does not tell a dead peer from a
/// slow one. HTTP/2 only asks; `serve` looks whether anything at all comes back, window updates included.
const NEVER: Duration = Duration::from_secs(365 * 24 * 3600);
/// Connections beyond the limit that are still told why; more are closed at once.
const SURPLUS: usize = 64;
/// Bytes that HTTP/2 may hold for one stream whose client does not read.
const SEND_BUFFER_BYTES: usize = 64 << 10;
/// Longest list of request headers, bytes.
const MAX_HEADER_BYTES: u32 = 16 << 10;
/// Streams that a peer may open and reset before it is sent away (rapid reset).
const MAX_PENDING_RESETS: usize = 20;
/// After a failed accept (no file descriptors left) trying at once would only burn the core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Runs hyper's tasks on this thread.
#[derive(Clone, Copy)]
struct LocalExecutor;

impl<F: Future + 'static> Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(async move {
            future.await;
        });
    }
}

/// Accept until the server drains.
pub(crate) async fn accept(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    local: Rc<Local>,
    delegates: Rc<Delegates>,
) {
    let mut phase = local.phase.subscribe();
    let limit = local.shared.config.max_connections;
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = phase.wait_for(|phase| *phase != Phase::Open) => return,
        };
        let stats = &local.shared.stats;
        let Ok((socket, address)) = accepted else {
            stats.errors.add(1);
            sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let is_surplus = local.connections.get() >= limit;
        if is_surplus {
            stats.connections_refused.add(1);
            if local.connections.get() >= limit + SURPLUS {
                continue;
            }
        }
        let caller = Caller {
            local: Rc::clone(&local),
            delegates: Rc::clone(&delegates),
            peer: address.to_string().into(),
            is_surplus,
        };
        tokio::task::spawn_local(connect(socket, tls.clone(), caller));
    }
}

/// Counts a connection for as long as it is there.
struct Counted(Rc<Local>);

impl Counted {
    fn new(local: &Rc<Local>) -> Self {
        let counted = Self(Rc::clone(local));
        counted.change(local.connections.get() + 1);
        counted
    }

    fn change(&self, count: usize) {
        self.0.connections.set(count);
        self.0.shared.stats.connections.set(count as u64);
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.change(self.0.connections.get() - 1);
    }
}

async fn connect(socket: TcpStream, tls: Option<TlsAcceptor>, caller: Caller) {
    let _counted = Counted::new(&caller.local);
    let local = Rc::clone(&caller.local);
    // Messages are small and already gathered; waiting for more would only add latency.
    let is_served = socket.set_nodelay(true).is_ok()
        && match tls {
            None => serve(socket, caller).await,
            Some(tls) => match timeout(caller.local.shared.config.keepalive, tls.accept(socket)).await {
                Ok(Ok(socket)) => serve(socket, caller).await,
                Ok(Err(_)) | Err(_) => false,
            },
        };
    if !is_served {
        local.shared.stats.errors.add(1);
    }
}

/// Serve one connection to its end; false when the peer never spoke HTTP/2.
async fn serve<IO: AsyncRead + AsyncWrite + Unpin + 'static>(io: IO, caller: Caller) -> bool {
    let (io, received) = Watched::new(io);
    let local = Rc::clone(&caller.local);
    let config = &local.shared.config;
    let mut phase = local.phase.subscribe();
    let mut http = http2::Builder::new(LocalExecutor);
    http.timer(TokioTimer::new())
        .keep_alive_interval(config.keepalive)
        .keep_alive_timeout(NEVER)
        .max_concurrent_streams(config.max_streams_per_connection)
        .max_header_list_size(MAX_HEADER_BYTES)
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_send_buf_size(SEND_BUFFER_BYTES);
    let is_surplus = caller.is_surplus;
    let service = service_fn(move |request| caller.clone().answer(request));
    let mut connection = pin!(http.serve_connection(TokioIo::new(io), service));
    let mut hello = pin!(sleep(config.keepalive));
    let (mut is_greeted, mut is_closing) = (false, false);
    let longest_silence = config.keepalive + config.keepalive_timeout;
    let mut look = interval((longest_silence / 4).max(Duration::from_millis(1)));
    let (mut heard, mut heard_at) = (0, Instant::now());
    loop {
        tokio::select! {
            // A client that goes away in the middle is no error of ours; its streams are closed either way.
            _ = connection.as_mut() => return true,
            now = look.tick() => {
                if received.get() != heard {
                    (heard, heard_at) = (received.get(), now);
                } else if now - heard_at > longest_silence {
                    return false;
                }
            }
            () = hello.as_mut(), if !is_greeted => {
                is_greeted = true;
                if received.get() < HELLO_BYTES {
                    return false;
                }
                if is_surplus {
                    is_closing = true;
                    connection.as_mut().graceful_shutdown();
                }
            }
            _ = phase.wait_for(|phase| *phase == Phase::Closing), if !is_closing => {
                is_closing = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}

/// Bind the address, with a queue long enough for a thousand clients that come back at once.
pub(crate) fn bind(host: &str, port: u16) -> std::io::Result<TcpListener> {
    use std::net::ToSocketAddrs;
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    for address in (host, port).to_socket_addrs()? {
        let socket = if address.is_ipv4() { tokio::net::TcpSocket::new_v4() } else { tokio::net::TcpSocket::new_v6() };
        let bound = socket.and_then(|socket| {
            socket.set_reuseaddr(true)?;
            socket.bind(address)?;
            socket.listen(4096)
        });
        match bound {
            Ok(listener) => return Ok(listener),
            Err(error) => last = error,
        }
    }
    Err(last)
}
