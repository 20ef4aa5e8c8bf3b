//! Connections between ranks: one TCP connection for each direction and channel, and what arrives over them.
//!
//! ```text
//! rank 0  [sender thread] ── connection ──▶ [reader thread]  rank 1 ─▶ mailbox
//! ```
//! A message is its number and length (16 bytes, little-endian), then its bytes. A connection keeps its messages in
//! order; different channels have connections of their own, so a competing flow delays nobody but over the links.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{self, Sender};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use crate::clock;

/// Where every rank listens for channel 0; the others follow. The three low bits tell queues the channel.
const PORT: u16 = 7000;
/// Channels: collectives and pipelines, then competing flows.
pub(crate) const CHANNELS: u32 = 8;
/// What is read or written at a time.
const CHUNK: usize = 1 << 18;
/// Set in the length of a message whose bytes are kept.
const KEPT: u64 = 1 << 63;

/// What a message carries.
#[derive(Clone)]
pub(crate) enum Payload {
    /// So many bytes that mean nothing.
    Filler(u64),
    /// These.
    Bytes(Arc<Vec<u8>>),
}

impl Payload {
    fn len(&self) -> u64 {
        match self {
            Self::Filler(bytes) => *bytes,
            Self::Bytes(bytes) => bytes.len() as u64,
        }
    }
}

/// A message that has arrived.
pub(crate) struct Arrival {
    /// When its last byte was read.
    pub at_ns: u64,
    /// Its bytes, if they mean something.
    pub bytes: Option<Arc<Vec<u8>>>,
}

/// What a rank's threads tell each other.
#[derive(Default)]
pub(crate) struct Board {
    /// Messages by sender and number, until someone takes them.
    pub arrived: BTreeMap<(u32, u64), Arrival>,
    /// Tasks of the run under way that are done.
    pub done: BTreeSet<u32>,
}

/// The board and a bell.
#[derive(Default)]
pub(crate) struct Shared {
    board: Mutex<Board>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Board> {
        self.board
            .lock()
            .expect("no thread panics while it holds the board")
    }

    /// Changes the board.
    pub(crate) fn note(&self, change: impl FnOnce(&mut Board)) {
        change(&mut self.lock());
        self.changed.notify_all();
    }

    /// Waits until `find` finds something.
    pub(crate) fn wait<T>(&self, mut find: impl FnMut(&mut Board) -> Option<T>) -> T {
        let mut board = self.lock();
        loop {
            if let Some(found) = find(&mut board) {
                return found;
            }
            board = self
                .changed
                .wait(board)
                .expect("no thread panics while it holds the board");
        }
    }
}

/// What a sender thread is given: a message's number and bytes.
type Outgoing = (u64, Payload);

/// The connections of one rank.
pub(crate) struct Mesh {
    rank: u32,
    addresses: Vec<String>,
    senders: BTreeMap<(u32, u32), Sender<Outgoing>>,
    /// Shared with the readers.
    pub shared: Arc<Shared>,
}

impl Mesh {
    /// Listens; `addresses` has one for each rank.
    ///
    /// # Errors
    /// When the port is taken.
    pub(crate) fn new(rank: u32, addresses: Vec<String>) -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        for channel in 0..CHANNELS {
            let address = (addresses[rank as usize].as_str(), port(channel));
            let listener = TcpListener::bind(address)?;
            let readers = Arc::clone(&shared);
            std::thread::spawn(move || {
                for stream in listener.incoming().flatten() {
                    let shared = Arc::clone(&readers);
                    std::thread::spawn(move || read_all(stream, &shared));
                }
            });
        }
        Ok(Self {
            rank,
            addresses,
            senders: BTreeMap::new(),
            shared,
        })
    }

    /// Makes a connection to `to`, unless there is one.
    ///
    /// # Errors
    /// When it cannot be made.
    pub(crate) fn connect(&mut self, to: u32, channel: u32) -> io::Result<()> {
        if self.senders.contains_key(&(to, channel)) {
            return Ok(());
        }
        let address = format!("{}:{}", self.addresses[to as usize], port(channel));
        let address: SocketAddr = address.parse().map_err(io::Error::other)?;
        let mut stream = TcpStream::connect(address)?;
        rustix::net::sockopt::set_tcp_congestion(&stream, "cubic")?;
        stream.set_nodelay(true)?;
        stream.write_all(&self.rank.to_le_bytes())?;
        let (sender, outgoing) = mpsc::channel::<Outgoing>();
        std::thread::spawn(move || {
            for (number, payload) in outgoing {
                if write(&mut stream, number, &payload).is_err() {
                    return;
                }
            }
        });
        self.senders.insert((to, channel), sender);
        Ok(())
    }

    /// Gives a message to the thread that sends it.
    ///
    /// # Panics
    /// If nobody connected to `to`.
    pub(crate) fn send(&self, to: u32, channel: u32, number: u64, payload: Payload) {
        let sender = &self.senders[&(to, channel)];
        sender
            .send((number, payload))
            .expect("a connection lives as long as its rank");
    }

    /// Waits for a message.
    pub(crate) fn receive(&self, from: u32, number: u64) -> Arrival {
        self.shared
            .wait(|board| board.arrived.remove(&(from, number)))
    }
}

fn port(channel: u32) -> u16 {
    PORT + u16::try_from(channel % CHANNELS).expect("there are few channels")
}

fn write(stream: &mut TcpStream, number: u64, payload: &Payload) -> io::Result<()> {
    static FILLER: [u8; CHUNK] = [0x5A; CHUNK];
    let kept = match payload {
        Payload::Filler(_) => 0,
        Payload::Bytes(_) => KEPT,
    };
    let mut head = [0; 16];
    head[..8].copy_from_slice(&number.to_le_bytes());
    head[8..].copy_from_slice(&(payload.len() | kept).to_le_bytes());
    stream.write_all(&head)?;
    match payload {
        Payload::Bytes(bytes) => stream.write_all(bytes),
        Payload::Filler(bytes) => {
            let mut left = *bytes;
            while left > 0 {
                let now = left.min(CHUNK as u64);
                stream.write_all(&FILLER[..now as usize])?;
                left -= now;
            }
            Ok(())
        }
    }
}

/// Reads messages until the connection ends.
fn read_all(mut stream: TcpStream, shared: &Shared) {
    let mut rank = [0; 4];
    if stream.read_exact(&mut rank).is_err() {
        return;
    }
    let from = u32::from_le_bytes(rank);
    let mut scratch = vec![0; CHUNK];
    while let Ok((number, bytes)) = read(&mut stream, &mut scratch) {
        let at_ns = clock::now_ns();
        shared.note(|board| {
            board
                .arrived
                .insert((from, number), Arrival { at_ns, bytes });
        });
    }
}

fn read(stream: &mut TcpStream, scratch: &mut [u8]) -> io::Result<(u64, Option<Arc<Vec<u8>>>)> {
    let mut head = [0; 16];
    stream.read_exact(&mut head)?;
    let word = |at: usize| {
        let mut word = [0; 8];
        word.copy_from_slice(&head[at..at + 8]);
        u64::from_le_bytes(word)
    };
    let (number, length) = (word(0), word(8));
    if length & KEPT != 0 {
        let mut bytes = vec![0; (length & !KEPT) as usize];
        stream.read_exact(&mut bytes)?;
        return Ok((number, Some(Arc::new(bytes))));
    }
    let mut left = length as usize;
    while left > 0 {
        let most = left.min(scratch.len());
        match stream.read(&mut scratch[..most])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            got => left -= got,
        }
    }
    Ok((number, None))
}
