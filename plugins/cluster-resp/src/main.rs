//! A small key-value server with the protocol of Redis, enough for `redis-cli` and `redis-benchmark`. Keys live in the
//! memory of the worker: run it with `--workers 1` to have one set of them.

mod commands;
mod protocol;

use std::{cell::RefCell, rc::Rc};

use commands::Store;
use host::tcp::{self, Connection};
use protocol::{Parsed, Parser, Reply};

fn main() -> host::Result<()> {
    let store = Rc::new(RefCell::new(Store::default()));
    host::task::block_on(tcp::serve(move |connection| serve(connection, Rc::clone(&store))))
}

/// Answers all commands of a piece at once, for clients that send many before they read.
async fn serve(mut connection: Connection, store: Rc<RefCell<Store>>) -> host::Result<()> {
    let mut parser = Parser::default();
    let mut out = Vec::new();
    while let Some(bytes) = connection.read().await? {
        parser.feed(&bytes);
        let mut quit = false;
        while !quit {
            match parser.next() {
                Parsed::Command(arguments) => {
                    quit = arguments.first().is_some_and(|name| name.eq_ignore_ascii_case(b"quit"));
                    store.borrow_mut().execute(&arguments).write(&mut out);
                }
                Parsed::Incomplete => break,
                Parsed::Invalid(reason) => {
                    Reply::Error(format!("Protocol error: {reason}")).write(&mut out);
                    quit = true;
                }
            }
        }
        connection.write(&out).await?;
        out.clear();
        if quit {
            break;
        }
    }
    Ok(())
}
