//! Owns accepted connections, so that one can be cut without an answer; never reads HTTP.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

/// A handle on one connection.
#[derive(Debug, Clone, Default)]
pub(crate) struct Link(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    cut: bool,
    reader: Option<Waker>,
}

impl Link {
    /// Closes the connection; nothing more is sent.
    pub(crate) fn cut(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.cut = true;
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }

    fn is_cut(&self, context: &mut Context<'_>) -> bool {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.reader = Some(context.waker().clone());
        state.cut
    }
}

/// All connections of a listener.
#[derive(Debug, Clone, Default)]
pub(crate) struct Links(Arc<Mutex<Vec<Weak<Mutex<State>>>>>);

impl Links {
    fn add(&self, link: &Link) {
        let mut links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.retain(|known| known.strong_count() > 0);
        links.push(Arc::downgrade(&link.0));
    }

    /// Cuts every open connection.
    pub(crate) fn cut_all(&self) {
        let links = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        links.iter().filter_map(Weak::upgrade).for_each(|state| Link(state).cut());
    }
}

/// A TCP stream that ends when its link is cut.
#[derive(Debug)]
pub(crate) struct Stream {
    tcp: TcpStream,
    link: Link,
}

fn reset() -> io::Error {
    io::Error::from(io::ErrorKind::ConnectionReset)
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.link.is_cut(context) {
            return Poll::Ready(Err(reset()));
        }
        Pin::new(&mut self.tcp).poll_read(context, buffer)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.tcp).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.tcp).poll_shutdown(context)
    }
}

/// A listener whose connections can be cut.
#[derive(Debug)]
pub(crate) struct Door {
    pub(crate) tcp: TcpListener,
    pub(crate) links: Links,
}

impl Listener for Door {
    type Io = Stream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Stream, SocketAddr) {
        loop {
            if let Ok((tcp, address)) = self.tcp.accept().await {
                // A connection without this option is only slower.
                let _slower = tcp.set_nodelay(true);
                let link = Link::default();
                self.links.add(&link);
                return (Stream { tcp, link }, address);
            }
            // Out of file handles, most likely: give others time to close some.
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

impl Connected<IncomingStream<'_, Door>> for Link {
    fn connect_info(stream: IncomingStream<'_, Door>) -> Self {
        stream.io().link.clone()
    }
}
