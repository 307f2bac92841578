//! Asks a worker for `--health-path` over a connection of our own, before it gets a client's.

use std::os::fd::OwnedFd;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

/// The worker's end and ours, with the question already on its way.
pub fn ask(path: &str) -> Result<(OwnedFd, Asked)> {
    let (ours, theirs) =
        std::os::unix::net::UnixStream::pair().context("open health connection")?;
    ours.set_nonblocking(true).context("set non-blocking")?;
    theirs.set_nonblocking(true).context("set non-blocking")?;
    Ok((theirs.into(), Asked { ours, path: path.to_owned() }))
}

pub struct Asked {
    ours: std::os::unix::net::UnixStream,
    path: String,
}

/// Healthy is any answer from 200 to 399.
pub async fn check(asked: Asked, limit: Duration) -> Result<()> {
    let path = &asked.path;
    let status = async {
        let mut stream = UnixStream::from_std(asked.ours)?;
        let question =
            format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
        stream.write_all(question.as_bytes()).await?;
        let mut head = [0; 12];
        stream.read_exact(&mut head).await?;
        anyhow::Ok(head)
    };
    let head = tokio::time::timeout(limit, status)
        .await
        .with_context(|| format!("{path} not answered within {limit:?}"))?
        .with_context(|| format!("{path} not answered"))?;
    let status = String::from_utf8_lossy(&head[9..]).into_owned();
    ensure!(
        head.starts_with(b"HTTP/1.1 ") && matches!(head[9], b'2' | b'3'),
        "{path} answered {status}"
    );
    Ok(())
}
