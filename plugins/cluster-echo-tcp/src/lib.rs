//! Sends back what it gets, each connection in an instance of its own.

use host::tcp::Connection;

#[host::tcp]
async fn echo(mut connection: Connection) -> host::Result<()> {
    while let Some(bytes) = connection.read().await? {
        connection.write(&bytes).await?;
    }
    Ok(())
}
