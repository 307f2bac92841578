//! `host:cluster/connections`: accepted connections for plugins that speak their own protocol.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use nix::sys::socket::Shutdown;
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynInputStream, DynOutputStream, DynPollable};

use super::bindings::cluster::connections::{
    ConnectionError, Direction, Host, HostConnection, HostListener, Refused,
};
use super::bindings::cluster::types::SocketAddress;
use super::listening::{Incoming, Queue, Taker};
use super::socket::{Input, Output, Socket};
use super::{Drained, Role, Shared, Wish, address, pollable};
use crate::ipc::message::Ends;
use crate::worker::state::State;

/// What may be attached to a connection that is handed on.
pub const MAX_STATE: usize = 64 << 10;

pub struct Listener(Arc<Queue>);

pub struct Connection {
    id: u64,
    ends: Ends,
    /// `None` once it was given away.
    socket: Option<Arc<Socket>>,
    input_taken: bool,
    output_taken: bool,
}

impl Connection {
    /// Plugin code gets it: from now on nobody else can serve it.
    pub fn new(shared: &Shared, mut incoming: Incoming) -> Connection {
        if let Some(took) = incoming.took.take() {
            took();
        }
        Connection {
            id: shared.listening.next_id.fetch_add(1, Relaxed),
            ends: incoming.ends,
            socket: Some(Arc::new(incoming.socket)),
            input_taken: false,
            output_taken: false,
        }
    }

    fn socket(&self) -> Result<&Arc<Socket>, ConnectionError> {
        self.socket.as_ref().ok_or(ConnectionError::Closed)
    }

    /// The descriptor and everything the next owner has to know, if no stream is held.
    pub fn release(
        &mut self,
        state: Vec<u8>,
    ) -> Result<(std::os::fd::OwnedFd, Ends), ConnectionError> {
        if state.len() > MAX_STATE {
            return Err(ConnectionError::StateTooLarge(MAX_STATE as u64));
        }
        let socket = self.socket.take().ok_or(ConnectionError::Closed)?;
        match Arc::try_unwrap(socket) {
            Ok(socket) => {
                let (fd, read) = socket.release().map_err(|_| ConnectionError::Closed)?;
                let ends = Ends { state: Some(state), read: read.to_vec(), ..self.ends.clone() };
                Ok((fd, ends))
            }
            Err(socket) => {
                self.socket = Some(socket);
                Err(ConnectionError::StreamInUse)
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        if let Some(socket) = &self.socket {
            socket.owner_dropped();
        }
    }
}

impl Host for State {
    fn listeners(&mut self) -> wasmtime::Result<Vec<Resource<Listener>>> {
        let listening = &self.shared.listening;
        if listening.is_for(Taker::Http) {
            return Ok(Vec::new());
        }
        let mut listeners = Vec::new();
        for queue in &listening.queues {
            listeners.push(self.table.push(Listener(queue.clone()))?);
        }
        Ok(listeners)
    }
}

impl HostListener for State {
    fn address(&mut self, listener: Resource<Listener>) -> wasmtime::Result<SocketAddress> {
        let name = self.table.get(&listener)?.0.name.as_ref();
        Ok(name.map_or(SocketAddress::Unix(None), address::socket))
    }

    fn accept(
        &mut self,
        listener: Resource<Listener>,
    ) -> wasmtime::Result<Result<Resource<Connection>, ConnectionError>> {
        if !self.shared.listening.is_for(Taker::Accept) {
            return Ok(Err(ConnectionError::HandledElsewhere));
        }
        let popped = self.table.get(&listener)?.0.pop();
        self.accepted(popped)
    }

    fn subscribe(
        &mut self,
        listener: Resource<Listener>,
    ) -> wasmtime::Result<Resource<DynPollable>> {
        let queue = self.table.get(&listener)?.0.clone();
        pollable(&mut self.table, move || {
            let queue = queue.clone();
            async move { queue.wait().await }
        })
    }

    fn drop(&mut self, listener: Resource<Listener>) -> wasmtime::Result<()> {
        self.table.delete(listener)?;
        Ok(())
    }
}

impl State {
    pub(super) fn accepted(
        &mut self,
        popped: Result<Incoming, ConnectionError>,
    ) -> wasmtime::Result<Result<Resource<Connection>, ConnectionError>> {
        Ok(match popped {
            Ok(incoming) => {
                let connection = Connection::new(&self.shared, incoming);
                Ok(self.table.push(connection)?)
            }
            Err(error) => Err(error),
        })
    }

    /// Takes a connection out of plugin code's hands, or gives it back with the reason.
    pub(super) fn give_away(
        &mut self,
        connection: Resource<Connection>,
        give: impl FnOnce(&Shared, &mut Connection) -> Result<(), ConnectionError>,
    ) -> wasmtime::Result<Result<(), Refused>> {
        let mut taken = self.table.delete(connection)?;
        match give(&self.shared, &mut taken) {
            Ok(()) => Ok(Ok(())),
            Err(reason) => Ok(Err(Refused { connection: self.table.push(taken)?, reason })),
        }
    }
}

impl HostConnection for State {
    fn id(&mut self, connection: Resource<Connection>) -> wasmtime::Result<u64> {
        Ok(self.table.get(&connection)?.id)
    }

    fn peer_address(
        &mut self,
        connection: Resource<Connection>,
    ) -> wasmtime::Result<SocketAddress> {
        Ok(address::end(self.table.get(&connection)?.ends.peer))
    }

    fn local_address(
        &mut self,
        connection: Resource<Connection>,
    ) -> wasmtime::Result<SocketAddress> {
        Ok(address::end(self.table.get(&connection)?.ends.local))
    }

    fn input_stream(
        &mut self,
        connection: Resource<Connection>,
    ) -> wasmtime::Result<Result<Resource<DynInputStream>, ConnectionError>> {
        let connection = self.table.get_mut(&connection)?;
        if std::mem::replace(&mut connection.input_taken, true) {
            return Ok(Err(ConnectionError::AlreadyTaken));
        }
        let input: DynInputStream = match connection.socket() {
            Ok(socket) => Box::new(Input::new(socket.clone())),
            Err(error) => return Ok(Err(error)),
        };
        Ok(Ok(self.table.push(input)?))
    }

    fn output_stream(
        &mut self,
        connection: Resource<Connection>,
    ) -> wasmtime::Result<Result<Resource<DynOutputStream>, ConnectionError>> {
        let connection = self.table.get_mut(&connection)?;
        if std::mem::replace(&mut connection.output_taken, true) {
            return Ok(Err(ConnectionError::AlreadyTaken));
        }
        let output: DynOutputStream = match connection.socket() {
            Ok(socket) => Box::new(Output::new(socket.clone())),
            Err(error) => return Ok(Err(error)),
        };
        Ok(Ok(self.table.push(output)?))
    }

    fn shutdown(
        &mut self,
        connection: Resource<Connection>,
        direction: Direction,
    ) -> wasmtime::Result<Result<(), ConnectionError>> {
        let how = match direction {
            Direction::Receive => Shutdown::Read,
            Direction::Send => Shutdown::Write,
            Direction::Both => Shutdown::Both,
        };
        Ok(self.table.get(&connection)?.socket().map(|socket| socket.shut(how)))
    }

    fn set_nodelay(
        &mut self,
        connection: Resource<Connection>,
        enabled: bool,
    ) -> wasmtime::Result<Result<(), ConnectionError>> {
        let socket = self.table.get(&connection)?.socket();
        Ok(socket.and_then(|socket| match socket.set_nodelay(enabled) {
            Some(Ok(())) => Ok(()),
            Some(Err(_)) => Err(ConnectionError::Closed),
            None => Err(ConnectionError::Unsupported),
        }))
    }

    fn state(&mut self, connection: Resource<Connection>) -> wasmtime::Result<Option<Vec<u8>>> {
        Ok(self.table.get(&connection)?.ends.state.clone())
    }

    fn hand_back(
        &mut self,
        connection: Resource<Connection>,
        state: Vec<u8>,
    ) -> wasmtime::Result<Result<(), Refused>> {
        self.give_away(connection, |shared, connection| {
            if shared.role != Role::Worker || shared.draining() == Some(Drained::Alone) {
                return Err(ConnectionError::NoSuccessor);
            }
            let (fd, ends) = connection.release(state)?;
            shared.wish(Wish::HandBack { fd, ends });
            Ok(())
        })
    }

    fn drop(&mut self, connection: Resource<Connection>) -> wasmtime::Result<()> {
        self.table.delete(connection)?;
        Ok(())
    }
}
