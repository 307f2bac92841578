//! Answers every request, and tells the primary program about it.

use serde::Serialize;

#[derive(Serialize)]
struct Notify {
    cmd: &'static str,
}

#[host::http]
fn hello() -> host::Result<&'static str> {
    match host::ipc::send(&Notify { cmd: "notifyRequest" }) {
        // Without a primary program nobody counts.
        Ok(()) | Err(host::ipc::Error::NotConnected) => Ok("hello world\n"),
        Err(error) => Err(error.into()),
    }
}
