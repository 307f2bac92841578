//! Prints 2 before it listens, and 4 and the text of the first message it gets.

use serde::Deserialize;

#[derive(Deserialize)]
struct Command {
    cmd: String,
    text: String,
}

fn start() -> Result<(), String> {
    println!("2");
    Ok(())
}

fn drain() {}

host::lifecycle!(start, drain);

#[host::message]
fn on_message(message: host::ipc::Message) {
    match message.json::<Command>() {
        Ok(command) if command.cmd == "recvmsg" => println!("4\n{}", command.text),
        Ok(command) => eprintln!("unknown command {}", command.cmd),
        Err(error) => eprintln!("{error}"),
    }
}

#[host::http]
fn hello() -> &'static str {
    "hello world\n"
}
