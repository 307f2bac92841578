//! Opens the outgoing connections that plugins are granted. Workers ask over a channel of their
//! own and get a connected descriptor or a refusal; they can neither resolve nor connect.
//! A worker's request is untrusted: the name is looked up here, and every address is judged here.

pub mod policy;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Result;
use tokio::net::TcpStream;

use crate::ipc::channel::Channel;
use crate::ipc::message::{FromResolver, Refusal, ToResolver, WantsConnection};
use crate::sandbox::{self, Walls};
use crate::{event_loop, sys};
use policy::Grant;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(30);
/// Requests one worker may have open at a time; the next ones wait unread.
const AT_ONCE: usize = 256;

type ToPeer = Channel<FromResolver, WantsConnection>;

pub fn run(walls: Walls) -> Result<()> {
    sandbox::fds::only_the_declared()?;
    sandbox::enter_resolver(walls)?;
    let runtime = event_loop::build(&mut tokio::runtime::Builder::new_current_thread())?;
    event_loop::run(&runtime, async {
        let channel: Channel<(), ToResolver> = Channel::new(sys::adopt_fd(sys::CHANNEL_FD)?)?;
        let grants: Rc<RefCell<Vec<Grant>>> = Rc::default();
        while let Some((message, fds)) = channel.recv().await? {
            match message {
                ToResolver::Grants(new) => *grants.borrow_mut() = new,
                ToResolver::Worker => {
                    for fd in fds {
                        let worker = Rc::new(Channel::new(fd)?);
                        tokio::task::spawn_local(serve(worker, grants.clone()));
                    }
                }
            }
        }
        Ok(())
    })
}

/// Until the worker is gone or talks nonsense.
async fn serve(worker: Rc<ToPeer>, grants: Rc<RefCell<Vec<Grant>>>) {
    let slots = std::sync::Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
    let pump = worker.clone();
    tokio::task::spawn_local(async move { pump.pump(|| {}).await });
    loop {
        let Ok(slot) = slots.clone().acquire_owned().await else { return };
        let Ok(Some((wanted, _))) = worker.recv().await else { return };
        let (worker, grants) = (worker.clone(), grants.borrow().clone());
        tokio::task::spawn_local(async move {
            let WantsConnection { ticket, host, port } = wanted;
            let connecting = tokio::time::timeout(CONNECT_TIMEOUT, connect(&grants, &host, port));
            let answer = match connecting.await.unwrap_or(Err(Refusal::TimedOut)) {
                Ok(fd) => (FromResolver::Connected { ticket }, vec![fd]),
                Err(why) => (FromResolver::Refused { ticket, why }, vec![]),
            };
            let _ = worker.post(&answer.0, answer.1);
            drop(slot);
        });
    }
}

async fn connect(grants: &[Grant], host: &str, port: u16) -> Result<OwnedFd, Refusal> {
    if !policy::allows_host(grants, host, port) {
        return Err(Refusal::Denied);
    }
    let found = tokio::net::lookup_host((host, port)).await.map_err(|_| Refusal::NotFound)?;
    let (allowed, refused): (Vec<SocketAddr>, Vec<SocketAddr>) =
        found.partition(|address| policy::allows_address(grants, address.ip(), port));
    let mut last = if refused.is_empty() { Refusal::NotFound } else { Refusal::Denied };
    for address in allowed {
        match open(address).await {
            Ok(fd) => return Ok(fd),
            Err(error) => last = refusal(&error),
        }
    }
    Err(last)
}

async fn open(address: SocketAddr) -> io::Result<OwnedFd> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream.into_std()?.into())
}

fn refusal(error: &io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => Refusal::Refused,
        io::ErrorKind::TimedOut => Refusal::TimedOut,
        _ => Refusal::Unreachable,
    }
}
