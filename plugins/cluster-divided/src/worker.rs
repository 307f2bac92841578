//! Sends `worker` each second until it is told to end. Listens to nothing.

use std::time::Duration;

use host::{ipc, process, task};

fn main() -> host::Result<()> {
    task::block_on(task::race(talk(), async {
        process::draining().await;
        Ok(())
    }))
}

async fn talk() -> host::Result<()> {
    loop {
        ipc::send_async("worker").await?;
        task::sleep(Duration::from_secs(1)).await;
    }
}
