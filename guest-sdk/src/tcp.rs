//! Raw connections that `--listen` accepts.
//!
//! Either the host calls a handler for each of them, every connection in an instance of its own:
//!
//! ```no_run
//! #[host::tcp]
//! async fn echo(mut connection: host::tcp::Connection) -> host::Result<()> {
//!     while let Some(bytes) = connection.read().await? {
//!         connection.write(&bytes).await?;
//!     }
//!     Ok(())
//! }
//! ```
//!
//! or a plain `main` serves them all in one instance, where they can share values ([`serve`]).

mod address;
mod halves;

use std::{future::Future, rc::Rc};

use bytes::Bytes;

pub use address::Address;
pub use halves::{Reader, Writer};

use crate::{
    IoError, Result,
    bindings::imports::host::cluster::connections::{self as raw, ConnectionError, Direction},
    io::{Input, Output},
    process, task,
};

/// Why [`Connection::hand_back`] and its like did not work; the connection is still there.
#[derive(Debug)]
pub struct Refused {
    /// The connection, as it was.
    pub connection: Connection,
    /// The reason, in the words of `connection-error`.
    pub reason: ConnectionError,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "hand connection on: {:?}", self.reason)
    }
}

/// For `?`; the connection is dropped, and so closed.
impl From<Box<Refused>> for crate::Error {
    fn from(refused: Box<Refused>) -> Self {
        refused.to_string().into()
    }
}

/// An open connection of a client. Dropping it closes it.
pub struct Connection {
    reader: Option<Reader>,
    writer: Option<Writer>,
    raw: raw::Connection,
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Connection({})", self.id())
    }
}

impl Connection {
    pub(crate) fn new(raw: raw::Connection) -> Self {
        Self { reader: None, writer: None, raw }
    }

    pub(crate) fn into_raw(self) -> raw::Connection {
        self.raw
    }

    /// A number for logs, unique in this worker.
    pub fn id(&self) -> u64 {
        self.raw.id()
    }

    /// The client's end.
    pub fn peer(&self) -> Address {
        self.raw.peer_address().into()
    }

    /// This end.
    pub fn local(&self) -> Address {
        self.raw.local_address().into()
    }

    /// What the worker before this one attached when it handed the connection on.
    pub fn state(&self) -> Option<Vec<u8>> {
        self.raw.state()
    }

    /// Whether small writes go out at once, which is the default.
    pub fn set_nodelay(&self, enabled: bool) -> Result<()> {
        Ok(self.raw.set_nodelay(enabled)?)
    }

    /// Tells the client that nothing more will come, after what was written.
    pub fn finish(&self) -> Result<()> {
        Ok(self.raw.shutdown(Direction::Send)?)
    }

    /// The next bytes of the client, or none at the end.
    pub async fn read(&mut self) -> Result<Option<Bytes>, IoError> {
        self.reader()?.read().await
    }

    /// The next line, without its line end; see [`Reader::line`].
    pub async fn line(&mut self, limit: usize) -> Result<Option<String>> {
        self.reader()?.line(limit).await
    }

    /// Sends all bytes, waiting while the client does not take them.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), IoError> {
        self.writer()?.write(bytes).await
    }

    /// Takes the bytes that were read from the client but not given out by [`line`](Self::line) yet. They belong into
    /// the state of a connection that is handed on.
    pub fn take_unread(&mut self) -> Bytes {
        self.reader.as_mut().map_or_else(Bytes::new, |reader| reader.held.split().freeze())
    }

    /// Puts bytes before what the client sends next; what the worker before took with
    /// [`take_unread`](Self::take_unread).
    pub fn put_unread(&mut self, bytes: &[u8]) -> Result<(), IoError> {
        let held = &mut self.reader()?.held;
        let rest = held.split();
        held.extend_from_slice(bytes);
        held.unsplit(rest);
        Ok(())
    }

    /// Reading and writing apart, for two tasks. Does not give what [`hand_back`](Self::hand_back) needs.
    pub fn split(mut self) -> Result<(Reader, Writer)> {
        self.reader()?;
        self.writer()?;
        match (self.reader, self.writer) {
            (Some(reader), Some(writer)) => Ok((reader, writer)),
            _ => Err(ConnectionError::AlreadyTaken.into()),
        }
    }

    /// Gives the open connection to a worker of the next generation, with up to 64 KiB of state; bytes that were read
    /// and not answered belong into it. Meant for a worker that [drains](process::draining); the client
    /// notices nothing. If nobody can take it, it comes back.
    pub async fn hand_back(mut self, state: &[u8]) -> Result<(), Box<Refused>> {
        if let Some(writer) = &mut self.writer {
            // If it fails, the client is gone and whoever gets the connection will see it.
            let _ = writer.0.flush().await;
        }
        (self.reader, self.writer) = (None, None);
        raw::Connection::hand_back(self.raw, state).map_err(refused)
    }

    fn reader(&mut self) -> Result<&mut Reader, IoError> {
        if self.reader.is_none() {
            let stream = self.raw.input_stream().map_err(taken)?;
            self.reader = Some(Reader::new(Input::of_connection(stream)));
        }
        self.reader.as_mut().ok_or(IoError::Closed)
    }

    fn writer(&mut self) -> Result<&mut Writer, IoError> {
        if self.writer.is_none() {
            self.writer = Some(Writer(Output::new(self.raw.output_stream().map_err(taken)?)));
        }
        self.writer.as_mut().ok_or(IoError::Closed)
    }
}

pub(crate) fn refused(refused: raw::Refused) -> Box<Refused> {
    Box::new(Refused { connection: Connection::new(refused.connection), reason: refused.reason })
}

fn taken(error: ConnectionError) -> IoError {
    IoError::Failed(format!("{error:?}"))
}

/// Serves every connection of every `--listen` address in this one instance, each in a task of its own, until the worker
/// drains; returns when the last connection has ended. To be used with [`task::block_on`] in `main`. An error
/// of a connection goes to stderr and ends that connection.
///
/// ```no_run
/// use std::{cell::Cell, rc::Rc};
///
/// fn main() -> host::Result<()> {
///     let guests = Rc::new(Cell::new(0));
///     host::task::block_on(host::tcp::serve(move |mut connection| {
///         let guests = Rc::clone(&guests);
///         async move {
///             guests.set(guests.get() + 1);
///             connection.write(format!("you are guest {}\n", guests.get()).as_bytes()).await?;
///             Ok(())
///         }
///     }))
/// }
/// ```
pub async fn serve<F>(handler: impl Fn(Connection) -> F + 'static) -> Result<()>
where
    F: Future<Output = Result<()>> + 'static,
{
    let handler = Rc::new(handler);
    for listener in raw::listeners() {
        let handler = Rc::clone(&handler);
        task::spawn(async move {
            if let Err(error) = accept(listener, &*handler).await {
                eprintln!("accept: {error:?}");
            }
        });
    }
    process::draining().await;
    Ok(())
}

async fn accept<F>(
    listener: raw::Listener,
    handler: &impl Fn(Connection) -> F,
) -> Result<(), ConnectionError>
where
    F: Future<Output = Result<()>> + 'static,
{
    let ready = Rc::new(listener.subscribe());
    loop {
        match listener.accept() {
            Ok(connection) => {
                let serving = handler(Connection::new(connection));
                task::spawn(async move {
                    if let Err(error) = serving.await {
                        eprintln!("connection: {error}");
                    }
                });
            }
            Err(ConnectionError::WouldBlock) => task::wait(&ready).await,
            Err(ConnectionError::Closed) => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

/// What `#[host::tcp]` exports.
#[doc(hidden)]
pub fn run_handler<F>(
    connection: raw::Connection,
    handler: impl FnOnce(Connection) -> F,
) -> Result<(), String>
where
    F: Future<Output = Result<()>> + 'static,
{
    task::block_on(handler(Connection::new(connection))).map_err(|error| error.to_string())
}
