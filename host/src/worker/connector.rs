//! The worker's line to the resolver: asks for connections, gets descriptors.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

use anyhow::Result;
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot};

use super::outbound::{Connecting, Connector};
use crate::ipc::channel::Channel;
use crate::ipc::message::{FromResolver, Refusal, WantsConnection};

type Answer = oneshot::Sender<io::Result<TcpStream>>;
type Asked = (String, u16, Answer);

/// Where requests go; replaced when the primary starts a new resolver.
#[derive(Clone, Default)]
pub struct ResolverLine(Arc<Mutex<Option<mpsc::UnboundedSender<Asked>>>>);

impl ResolverLine {
    /// Uses this channel from now on. Must be called inside the runtime.
    pub fn connect(&self, fd: OwnedFd) -> Result<()> {
        let channel = Rc::new(Channel::new(fd)?);
        let (sender, asked) = mpsc::unbounded_channel();
        tokio::task::spawn_local(converse(channel, asked));
        *self.0.lock().expect("no panic while held") = Some(sender);
        Ok(())
    }
}

impl Connector for ResolverLine {
    fn connect(&self, host: String, port: u16) -> Connecting {
        let line = self.0.lock().expect("no panic while held").clone();
        Box::pin(async move {
            let gone = || io::Error::from(io::ErrorKind::NetworkUnreachable);
            let (answer, answered) = oneshot::channel();
            line.and_then(|line| line.send((host, port, answer)).ok()).ok_or_else(gone)?;
            answered.await.map_err(|_| gone())?
        })
    }
}

/// Ends, and with it every open question, when the resolver is gone.
async fn converse(
    channel: Rc<Channel<WantsConnection, FromResolver>>,
    mut asked: mpsc::UnboundedReceiver<Asked>,
) {
    let open: RefCell<HashMap<u64, Answer>> = RefCell::default();
    let next = Cell::new(0);
    let ask = async {
        while let Some((host, port, answer)) = asked.recv().await {
            let ticket = next.replace(next.get() + 1);
            open.borrow_mut().insert(ticket, answer);
            if channel.post(&WantsConnection { ticket, host, port }, vec![]).is_err() {
                return;
            }
        }
    };
    let hear = async {
        while let Ok(Some((answer, mut fds))) = channel.recv().await {
            let (ticket, result) = match answer {
                FromResolver::Connected { ticket } => (ticket, fds.pop().map(adopt)),
                FromResolver::Refused { ticket, why } => (ticket, Some(Err(kind(why).into()))),
            };
            if let (Some(answer), Some(result)) = (open.borrow_mut().remove(&ticket), result) {
                let _ = answer.send(result);
            }
        }
    };
    tokio::select! {
        _ = ask => {}
        _ = hear => {}
        _ = channel.pump(|| {}) => {}
    }
}

fn adopt(fd: OwnedFd) -> io::Result<TcpStream> {
    TcpStream::from_std(std::net::TcpStream::from(fd))
}

fn kind(why: Refusal) -> io::ErrorKind {
    match why {
        Refusal::Denied => io::ErrorKind::PermissionDenied,
        Refusal::NotFound => io::ErrorKind::NotFound,
        Refusal::Refused => io::ErrorKind::ConnectionRefused,
        Refusal::TimedOut => io::ErrorKind::TimedOut,
        Refusal::Unreachable => io::ErrorKind::HostUnreachable,
    }
}
