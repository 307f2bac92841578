//! `/spawn/NAME/COUNT` runs a program so often, one run after the other, and says how many nanoseconds one took;
//! `/flow/NAME/MIB` sends so much through it and says how long that took.

use std::time::Instant;

use host::{Params, Request, Response, Router, child::Command, task};

#[host::http]
async fn routes(request: Request) -> Response {
    Router::new()
        .get("/spawn/:name/:count", spawn)
        .get("/flow/:name/:mib", flow)
        .handle(request)
        .await
}

async fn spawn(_: Request, params: Params) -> host::Result<String> {
    let count: u32 = params.get("count").parse()?;
    let begun = Instant::now();
    for _ in 0..count {
        let output = Command::new(params.get("name")).output_async().await?;
        if !output.exit.success() {
            return Err(format!("it ended with {}", output.exit).into());
        }
    }
    Ok((begun.elapsed() / count.max(1)).as_nanos().to_string())
}

async fn flow(_: Request, params: Params) -> host::Result<String> {
    let bytes = params.get("mib").parse::<usize>()? << 20;
    let begun = Instant::now();
    let mut child = Command::new(params.get("name")).spawn()?;
    let (stdin, stdout) = (child.stdin.take(), child.stdout.take());
    task::spawn(async move {
        let Some(mut stdin) = stdin else { return };
        let chunk = vec![b'x'; 64 << 10];
        for _ in 0..bytes / chunk.len() {
            if stdin.write_all_async(&chunk).await.is_err() {
                return;
            }
        }
    });
    let (mut stdout, mut arrived) = (stdout.ok_or("no stdout")?, 0);
    while let Some(piece) = stdout.chunk().await? {
        arrived += piece.len();
    }
    if arrived != bytes {
        return Err(format!("{arrived} of {bytes} bytes").into());
    }
    Ok(begun.elapsed().as_nanos().to_string())
}
