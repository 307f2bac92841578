//! `/NAME/ARGUMENT/…` runs the program granted under that name and shows what it printed and how it ended. It may take
//! a second and print 64 KiB.

use std::time::Duration;

use host::{Request, child::Command};

#[host::http]
async fn run(request: Request) -> String {
    let mut words = request.uri().path().split('/').filter(|word| !word.is_empty());
    let Some(program) = words.next() else {
        return format!("there is: {}\n", host::child::programs().join(", "));
    };
    let mut command = Command::new(program);
    command.args(words).timeout(Duration::from_secs(1)).max_buffer(64 << 10);
    match command.output_async().await {
        Err(error) => format!("{program}: {error}\n"),
        Ok(output) => format!(
            "{}: {}\nstdout:\n{}stderr:\n{}",
            program,
            output.exit,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        ),
    }
}
