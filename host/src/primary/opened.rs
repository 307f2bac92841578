//! What the primary opens while it still is who it was started as.

use std::net::{SocketAddr, TcpListener};

use anyhow::{Context, Result};

use super::bound::Bound;
use super::output::Output;
use super::takeover::{self, Estate};
use super::{control, metrics, user};
use crate::config::{Config, Control};

/// What is opened while we still are who we were started as.
pub struct Opened {
    pub estate: Option<Estate>,
    pub bound: Vec<Bound>,
    pub socket: Option<control::Socket>,
    pub metrics: Option<TcpListener>,
    pub max_held: usize,
}

impl Opened {
    pub async fn by(config: &Config, output: &Output) -> Result<Opened> {
        let max_held = raise_descriptor_limit();
        let mut estate = takeover::receive().await?;
        let bound = config.pools.iter().map(|pool| Bound::open(pool, estate.as_mut()));
        let bound = bound.collect::<Result<_>>()?;
        let socket = open_control(config, estate.as_ref(), output)?;
        let metrics = open_metrics(config, estate.as_mut())?;
        let user = config.user.as_deref().map(user::find).transpose()?;
        if let (Some(socket), Some(user)) = (&socket, user) {
            socket.give_to(user);
        }
        user::become_user(config.user.as_deref(), config.group.as_deref())?;
        Ok(Opened { estate, bound, socket, metrics, max_held })
    }
}

fn open_metrics(config: &Config, estate: Option<&mut Estate>) -> Result<Option<TcpListener>> {
    let Some(address) = config.metrics else { return Ok(None) };
    let inherited = estate.and_then(|estate| estate.metrics.take());
    let is_this = |bound: SocketAddr| {
        bound.ip() == address.ip() && [0, bound.port()].contains(&address.port())
    };
    let inherited = inherited.filter(|listener| listener.local_addr().is_ok_and(is_this));
    match inherited {
        Some(listener) => Ok(Some(listener)),
        None => metrics::bind(address).map(Some),
    }
}

/// A host nobody can talk to still serves, unless somebody asked for just this socket or name.
fn open_control(
    config: &Config,
    estate: Option<&Estate>,
    output: &Output,
) -> Result<Option<control::Socket>> {
    if let Some(estate) = estate {
        // Its owner still answers there; it is replaced when we serve.
        return estate
            .socket
            .clone()
            .map(|(name, path)| control::Socket::later(name, path))
            .transpose();
    }
    match control::Socket::open(config) {
        Err(error) if config.control == Control::Usual && !config.name_given => {
            output.log(&format!("no control socket: {error:#}"));
            Ok(None)
        }
        other => other.context("open control socket"),
    }
}

/// Connections in transit are held here: takes as many descriptors as we may have, and says how many
/// of them may go on connections.
fn raise_descriptor_limit() -> usize {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return 256 };
    let raised = setrlimit(Resource::RLIMIT_NOFILE, hard, hard).is_ok();
    let limit = if raised { hard } else { soft };
    usize::try_from(limit).unwrap_or(usize::MAX) / 4 * 3
}
