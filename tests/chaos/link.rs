//! A worker's connection to the broker, which a test may cut, slow down, reset or leave half
//! open. The broker tells its clients where it listens; on the way it is made to say that it
//! listens here.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How much is passed on at a time.
const CHUNK_BYTES: usize = 16 * 1024;
/// How much of it where the link is slow, and how long that takes.
const SLOW_CHUNK_BYTES: usize = 1_024;
const SLOW_CHUNK_TAKES: Duration = Duration::from_millis(60);
/// A frame that says where the broker listens is not longer.
const ADDRESS_FRAME_BYTES: usize = 1_024;

/// What comes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Passes {
    Everything,
    /// Connections are closed.
    Nothing,
    /// Connections stand, now and for ever; these and new ones are silent.
    Silence,
    Slowly,
    /// Each connection is reset after that many bytes either way.
    SomeBytes(usize),
}

/// One worker's.
pub struct Link {
    port: u16,
    passes: watch::Sender<Passes>,
    accepting: JoinHandle<()>,
}

/// How a connection ends.
enum End {
    Closed,
    Reset,
}

impl Link {
    /// One to the broker at that port of 127.0.0.1.
    pub async fn to(broker_port: u16) -> Self {
        // Its address is written in the place of the broker's: both ports have five digits.
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        assert!(port >= 10_000 && broker_port >= 10_000, "ports of five digits each");
        let (passes, watched) = watch::channel(Passes::Everything);
        let addresses = Arc::new(Addresses {
            theirs: format!("127.0.0.1:{broker_port}").into_bytes(),
            ours: format!("127.0.0.1:{port}").into_bytes(),
        });
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(carry(client, broker_port, watched.clone(), Arc::clone(&addresses)));
            }
        });
        Self { port, passes, accepting }
    }

    /// `pulsar://…`
    pub fn url(&self) -> String {
        format!("pulsar://127.0.0.1:{}", self.port)
    }

    /// From now on.
    pub fn lets_pass(&self, passes: Passes) {
        self.passes.send_replace(passes);
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn carry(
    client: TcpStream,
    port: u16,
    passes: watch::Receiver<Passes>,
    addresses: Arc<Addresses>,
) {
    if *passes.borrow() == Passes::Nothing {
        return;
    }
    let Ok(broker) = TcpStream::connect(("127.0.0.1", port)).await else { return };
    let _ = (client.set_nodelay(true), broker.set_nodelay(true));
    let (mut client, mut broker) = (client, broker);
    let end = {
        let (from_client, to_client) = client.split();
        let (from_broker, to_broker) = broker.split();
        let mut up = passes.clone();
        let mut down = passes;
        tokio::select! {
            end = pump(from_client, to_broker, &mut up, None) => end,
            end = pump(from_broker, to_client, &mut down, Some(&addresses)) => end,
        }
    };
    if matches!(end, End::Reset) {
        let _ = (client.set_zero_linger(), broker.set_zero_linger());
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    passes: &mut watch::Receiver<Passes>,
    addresses: Option<&Addresses>,
) -> End {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut frames = Frames::default();
    let mut passed = 0;
    loop {
        let mode = *passes.borrow_and_update();
        let size = match mode {
            Passes::Nothing => return End::Closed,
            // Whoever was there stays in the dark, also when others come through again.
            Passes::Silence => std::future::pending().await,
            Passes::SomeBytes(bytes) if passed >= bytes => return End::Reset,
            Passes::Slowly => SLOW_CHUNK_BYTES,
            Passes::Everything | Passes::SomeBytes(_) => CHUNK_BYTES,
        };
        let read = tokio::select! {
            read = from.read(&mut chunk[..size]) => read,
            _ = passes.changed() => continue,
        };
        let Ok(size @ 1..) = read else { return End::Closed };
        if mode == Passes::Slowly {
            tokio::time::sleep(SLOW_CHUNK_TAKES).await;
        }
        passed += size;
        let written = match addresses {
            None => to.write_all(&chunk[..size]).await,
            Some(addresses) => to.write_all(&frames.next(&chunk[..size], addresses)).await,
        };
        if written.is_err() {
            return End::Closed;
        }
    }
}

struct Addresses {
    theirs: Vec<u8>,
    ours: Vec<u8>,
}

/// What the broker sends, frame by frame: each begins with how many bytes follow.
#[derive(Default)]
struct Frames {
    waiting: Vec<u8>,
}

impl Frames {
    /// The frames that are whole by now, with our address in the place of the broker's.
    fn next(&mut self, more: &[u8], addresses: &Addresses) -> Vec<u8> {
        self.waiting.extend_from_slice(more);
        let mut whole = 0;
        while let Some([a, b, c, d]) = self.waiting.get(whole..whole + 4) {
            let size = 4 + u32::from_be_bytes([*a, *b, *c, *d]) as usize;
            let Some(frame) = self.waiting.get_mut(whole..whole + size) else { break };
            let theirs = &addresses.theirs;
            let place = frame.windows(theirs.len()).position(|bytes| bytes == theirs);
            if let Some(place) = place.filter(|_| size <= ADDRESS_FRAME_BYTES) {
                frame[place..place + theirs.len()].copy_from_slice(&addresses.ours);
            }
            whole += size;
        }
        self.waiting.drain(..whole).collect()
    }
}
