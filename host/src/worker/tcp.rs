//! Accepted connections for plugins that speak their own protocol: a call of `connection-handler`
//! for each, or a place in the queue of `accept`.

use std::cell::{OnceCell, RefCell};
use std::rc::Rc;

use tokio::sync::mpsc;
use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, Instance, Resource, TypedFunc};

use super::conn::Conn;
use super::context::{Live, Worker};
use super::failure::Failure;
use super::imports::socket::Socket;
use super::imports::{Connection, Drained, Incoming, Wish, ending};
use super::plugin::Handler;
use super::state::State;

type Handle = TypedFunc<(Resource<Connection>,), (Result<(), String>,)>;

/// An instance between two connections.
struct Handling {
    store: Store<State>,
    handle: Handle,
    served: u32,
    _live: Live,
}

/// Without a setting an instance serves one connection: making it costs less than half of what
/// accepting the connection does.
const DEFAULT_REUSE: u32 = 1;

/// What the connections of a worker share.
#[derive(Default)]
pub struct Pool {
    /// Instances that have served and may serve again.
    idle: RefCell<Vec<Handling>>,
    /// Where the numbers of closed connections go.
    closed: OnceCell<mpsc::UnboundedSender<u64>>,
}

/// Counts a connection as open as long as it exists, wherever plugin code keeps it.
pub struct Open {
    id: u64,
    closed: mpsc::UnboundedSender<u64>,
}

impl Drop for Open {
    fn drop(&mut self) {
        let _ = self.closed.send(self.id);
    }
}

pub fn serve(conn: Conn, worker: &Rc<Worker>) {
    let state = conn.state.clone();
    let (stream, prefix, ends, took) = conn.into_parts();
    let open = Open { id: worker.enroll(&state), closed: closed(worker) };
    let socket = Socket::new(stream, prefix, Some(open));
    let incoming = Incoming { socket, ends, took };
    match worker.plugin.handler {
        Handler::Connections(handle) => {
            tokio::task::spawn_local(call(worker.clone(), handle, incoming));
        }
        Handler::Accepts => {
            if let Some(late) = worker.shared.listening.push(incoming) {
                hand_back(worker, late);
            }
        }
        // Nobody to serve it: closed.
        _ => drop(incoming),
    }
}

/// It came while the worker was about to end.
fn hand_back(worker: &Rc<Worker>, incoming: Incoming) {
    if let (Some(Drained::HandBack), Some((fd, ends))) =
        (worker.shared.draining(), incoming.release())
    {
        worker.shared.wish(Wish::HandBack { fd, ends });
    }
}

fn closed(worker: &Rc<Worker>) -> mpsc::UnboundedSender<u64> {
    let start = || {
        let (sender, mut closed) = mpsc::unbounded_channel();
        let worker = worker.clone();
        tokio::task::spawn_local(async move {
            while let Some(id) = closed.recv().await {
                worker.left(id);
            }
        });
        sender
    };
    worker.raw.closed.get_or_init(start).clone()
}

async fn call(worker: Rc<Worker>, handle: ComponentExportIndex, incoming: Incoming) {
    let result = match instance(&worker, handle).await {
        Ok(handling) => serve_one(&worker, handling, incoming).await,
        Err(failure) => Err(failure),
    };
    if let Err(failure) = result {
        worker.report(&failure);
    }
}

async fn instance(worker: &Rc<Worker>, handle: ComponentExportIndex) -> Result<Handling, Failure> {
    if let Some(idle) = worker.raw.idle.borrow_mut().pop() {
        return Ok(idle);
    }
    let live = worker.live.one_more().ok_or(Failure::Overload)?;
    let mut store = worker.plugin.store();
    let made: wasmtime::Result<Handle> = worker
        .in_turn(async {
            let instance: Instance = worker.plugin.pre.instantiate_async(&mut store).await?;
            instance.get_typed_func(&mut store, handle)
        })
        .await;
    match made {
        Ok(handle) => Ok(Handling { store, handle, served: 0, _live: live }),
        Err(error) => Err(Failure::Instantiate(format!("{error:#}"))),
    }
}

async fn serve_one(
    worker: &Rc<Worker>,
    mut handling: Handling,
    incoming: Incoming,
) -> Result<(), Failure> {
    let connection = Connection::new(&worker.shared, incoming);
    let Handling { store, handle, .. } = &mut handling;
    store.set_epoch_deadline(super::epoch::TICKS_PER_TURN);
    let connection = store.data_mut().table.push(connection);
    let connection = connection.map_err(|error| Failure::Trapped(error.to_string()))?;
    match worker.in_turn(handle.call_async(&mut *store, (connection,))).await {
        Ok((Ok(()),)) => {}
        Ok((Err(text),)) => worker.stderr.line(&format!("connection: {text}")),
        Err(error) if ending(&error).is_some() => return Ok(()),
        Err(error) => return Err(worker.trapped(&error, store.data())),
    }
    handling.served += 1;
    let reuse = worker.limits().max_instance_reuse_count.unwrap_or(DEFAULT_REUSE);
    if reuse == 0 || handling.served < reuse {
        worker.raw.idle.borrow_mut().push(handling);
    }
    Ok(())
}
