//! `/N` forks the program `sums` and has it add up the numbers to N, so that a large N holds up nobody here:
//! `--program sums=sums.wasm`.

use host::{Request, child::Command};

#[host::http]
async fn sum(request: Request) -> host::Result<String> {
    let most: u64 = request.uri().path().trim_start_matches('/').parse()?;
    let child = Command::new("sums").fork()?;
    let sum: u64 = child.request_async(&most, None).await?;
    Ok(format!("process {} says {sum}\n", child.id()))
}
