//! One connection: hyper speaks HTTP/1.1 on it, and deadlines that really run end it.
//!
//! hyper's own timer covers request heads only, and would cut off an idle connection as early as a slow
//! head. So the connection's phase is read off its socket (bytes came, all bytes went) and every phase
//! has a deadline, looked at whenever anything moves.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    task::{Context, Poll, ready},
    time::Duration,
};

use hyper::{Request, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use nix::sys::socket::{setsockopt, sockopt::Linger};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf},
    net::TcpStream,
    sync::watch,
    time::{sleep_until, timeout},
};
use tracing::debug;

use super::{
    Limits, Routes,
    slots::{Phase, Slot},
    status::Cut,
};

/// What a client gets that there is no room for.
const BUSY: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\n\
    Content-Type: text/plain; charset=utf-8\r\nContent-Length: 21\r\n\
    Retry-After: 1\r\nConnection: close\r\n\r\ntoo many connections\n";
/// How long a refused client may take to read that.
const REFUSAL_LINGER: Duration = Duration::from_millis(100);

/// Serves one connection to its end.
pub(super) async fn serve(
    stream: TcpStream,
    slot: Slot,
    routes: Arc<Routes>,
    limits: Limits,
    stop: watch::Receiver<bool>,
) {
    // The response is written in one go; waiting to fill a segment would only delay it.
    let _ = stream.set_nodelay(true);
    let slot = Arc::new(slot);
    routes.counters().opened();
    let requests = AtomicU32::new(0);
    let service = service_fn(|request: Request<Incoming>| {
        let last = requests.fetch_add(1, Ordering::Relaxed) + 1 >= limits.requests_per_connection;
        let response = routes.answer(&request, last, &slot);
        // Rendering is not the client's time.
        slot.answered();
        async move { Ok::<_, Infallible>(response) }
    });
    let watched = TokioIo::new(Watched { stream, slot: Arc::clone(&slot) });
    let connection = http1::Builder::new()
        .header_read_timeout(None)
        // `nc -N` and the like send their request, close their half, and read.
        .half_close(true)
        .max_buf_size(limits.head_bytes)
        .max_headers(limits.header_fields)
        .serve_connection(watched, service);
    match supervise(connection, &slot, stop).await {
        End::Closed(Err(error)) => debug!(%error, "an HTTP connection failed"),
        End::Closed(Ok(())) | End::GaveWay | End::Stopped => {}
        End::Overdue(phase) => routes.counters().cut(match phase {
            Phase::Head => Cut::HeaderDeadline,
            Phase::Idle => Cut::IdleDeadline,
            Phase::Response => Cut::WriteDeadline,
        }),
    }
    routes.counters().closed();
}

/// Says that there is no room, and gives the client a moment to hear it: closing a socket with unread data
/// would reset the connection under the answer.
pub(super) async fn refuse(mut stream: TcpStream) {
    let answer = async {
        stream.write_all(BUSY).await?;
        stream.shutdown().await?;
        let mut ignored = [0; 1024];
        while stream.read(&mut ignored).await? > 0 {}
        io::Result::Ok(())
    };
    if let Ok(Err(error)) = timeout(REFUSAL_LINGER, answer).await {
        debug!(%error, "a refused HTTP connection failed");
    }
}

/// How a connection ended.
enum End {
    /// By itself.
    Closed(hyper::Result<()>),
    /// Another needed its place.
    GaveWay,
    /// The server stops.
    Stopped,
    /// It took too long over something.
    Overdue(Phase),
}

/// Drives `connection` until it ends or must end.
async fn supervise<S>(
    connection: http1::Connection<TokioIo<Watched>, S>,
    slot: &Slot,
    mut stop: watch::Receiver<bool>,
) -> End
where
    S: hyper::service::HttpService<Incoming>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    S::ResBody: hyper::body::Body + 'static,
    <S::ResBody as hyper::body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut connection = pin!(connection);
    let mut stopped = pin!(stop.changed());
    let mut give_way = pin!(slot.must_give_way());
    let mut timer = pin!(sleep_until(tokio::time::Instant::now()));
    let mut stopping = false;
    poll_fn(move |context| {
        if !stopping && stopped.as_mut().poll(context).is_ready() {
            stopping = true;
            connection.as_mut().graceful_shutdown();
        }
        if let Poll::Ready(result) = connection.as_mut().poll(context) {
            return Poll::Ready(End::Closed(result));
        }
        if give_way.as_mut().poll(context).is_ready() {
            return Poll::Ready(End::GaveWay);
        }
        // Only now: polling the connection is what changes its phase.
        let Some((phase, deadline)) = slot.deadline() else { return Poll::Ready(End::GaveWay) };
        if stopping && phase != Phase::Response {
            return Poll::Ready(End::Stopped);
        }
        timer.as_mut().reset(deadline);
        ready!(timer.as_mut().poll(context));
        if phase == Phase::Response {
            slot.cut();
        }
        Poll::Ready(End::Overdue(phase))
    })
    .await
}

/// A socket that tells its slot what happens on it.
struct Watched {
    stream: TcpStream,
    slot: Arc<Slot>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if self.slot.is_cut() {
            // Else the kernel would go on for minutes offering what is unsent to a client that does not read.
            let at_once = libc::linger { l_onoff: 1, l_linger: 0 };
            if let Err(error) = setsockopt(&self.stream, Linger, &at_once) {
                debug!(%error, "an HTTP connection ends slowly");
            }
        }
    }
}

impl AsyncRead for Watched {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let result = ready!(Pin::new(&mut self.stream).poll_read(context, buffer));
        if buffer.filled().len() > before {
            self.slot.received();
        }
        Poll::Ready(result)
    }
}

impl AsyncWrite for Watched {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(context, bytes))?;
        self.slot.progressed();
        Poll::Ready(Ok(written))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write_vectored(context, slices))?;
        self.slot.progressed();
        Poll::Ready(Ok(written))
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes once a response is written whole, or an event of a stream.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = ready!(Pin::new(&mut self.stream).poll_flush(context));
        self.slot.flushed();
        Poll::Ready(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
