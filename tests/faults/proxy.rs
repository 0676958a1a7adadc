//! A TCP proxy under the test's control, between the binary and brokers or node. Owns its
//! connections; understands nothing of what passes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// What becomes of connections and of what they carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    Open,
    /// Connections end, and new ones end at once.
    Cut,
    /// So many bytes a second, in each direction of each connection.
    Slow(u32),
    /// Nothing passes, nothing ends.
    Silent,
    /// Requests pass; where an answer would come, the connection ends.
    AnswersLost,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    Request,
    Answer,
}

/// Proxies that change their mode together.
pub struct Proxy {
    mode: watch::Sender<Mode>,
    struck: Arc<AtomicU64>,
    /// Ends all connections when it is dropped.
    runtime: Runtime,
}

impl Proxy {
    pub fn new() -> Self {
        let mut runtime = tokio::runtime::Builder::new_multi_thread();
        let runtime = runtime.worker_threads(1).enable_all().build().expect("a runtime");
        Self { mode: watch::channel(Mode::Open).0, struck: Arc::default(), runtime }
    }

    /// Listens at an address (port 0: any) and leads to another; returns where it listens.
    pub fn lead(&self, from: &str, to: &str) -> String {
        let listener = self.runtime.block_on(TcpListener::bind(from)).expect("the port is free");
        let address = listener.local_addr().expect("an address").to_string();
        let (to, mode, struck) = (to.to_owned(), self.mode.subscribe(), Arc::clone(&self.struck));
        self.runtime.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let link = Link { mode: mode.clone(), struck: Arc::clone(&struck) };
                tokio::spawn(link.serve(client, to.clone()));
            }
        });
        address
    }

    pub fn set(&self, mode: Mode) {
        self.mode.send_replace(mode);
    }

    /// How often a connection was ended or something held back.
    pub fn struck(&self) -> u64 {
        self.struck.load(Ordering::Relaxed)
    }
}

/// One connection.
#[derive(Clone)]
struct Link {
    mode: watch::Receiver<Mode>,
    struck: Arc<AtomicU64>,
}

impl Link {
    async fn serve(self, client: TcpStream, to: String) {
        if self.mode() == Mode::Cut {
            self.strike();
            return;
        }
        let Ok(server) = TcpStream::connect(to).await else { return };
        let (client_read, client_write) = client.into_split();
        let (server_read, server_write) = server.into_split();
        let mut cut = self.mode.clone();
        tokio::select! {
            _ = self.clone().pipe(client_read, server_write, Way::Request) => {}
            _ = self.clone().pipe(server_read, client_write, Way::Answer) => {}
            _ = cut.wait_for(|mode| *mode == Mode::Cut) => self.strike(),
        }
    }

    /// Until an end is closed, or the mode ends the connection.
    async fn pipe(
        mut self,
        from: OwnedReadHalf,
        to: OwnedWriteHalf,
        way: Way,
    ) -> std::io::Result<()> {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let most =
                if let Mode::Slow(rate) = self.mode() { rate as usize / 10 } else { 16 << 10 };
            let read = read(&from, &mut buffer[..most.clamp(1, 16 << 10)]).await?;
            match self.mode() {
                _ if read == 0 => return Ok(()),
                Mode::AnswersLost if way == Way::Answer => {
                    self.strike();
                    return Ok(());
                }
                Mode::Slow(rate) => {
                    self.strike();
                    let time = Duration::from_secs_f64(read as f64 / f64::from(rate));
                    tokio::time::sleep(time).await;
                }
                Mode::Silent => {
                    self.strike();
                    let _ = self.mode.wait_for(|mode| *mode != Mode::Silent).await;
                }
                _ => {}
            }
            write(&to, &buffer[..read]).await?;
        }
    }

    fn mode(&self) -> Mode {
        *self.mode.borrow()
    }

    fn strike(&self) {
        self.struck.fetch_add(1, Ordering::Relaxed);
    }
}

/// What has come, at least a byte; nothing where the connection has ended.
async fn read(from: &OwnedReadHalf, buffer: &mut [u8]) -> std::io::Result<usize> {
    loop {
        from.readable().await?;
        match from.try_read(buffer) {
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            read => return read,
        }
    }
}

async fn write(to: &OwnedWriteHalf, mut bytes: &[u8]) -> std::io::Result<()> {
    while !bytes.is_empty() {
        to.writable().await?;
        match to.try_write(bytes) {
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
