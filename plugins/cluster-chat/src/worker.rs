//! A line chat: the first line is a name, every further one goes to everybody, whatever worker they are connected to.
//! When the worker drains, its connections go on in the next generation, names and half-typed lines included.

use std::{cell::RefCell, collections::HashMap, rc::Rc};

use host::{
    ipc, process,
    task::{self, Sender},
    tcp::{self, Connection},
};
use serde::{Deserialize, Serialize};

/// Longest line, in bytes.
const LINE: usize = 1024;
/// A client that is this many lines behind is disconnected.
const BACKLOG: usize = 256;

#[derive(Serialize, Deserialize)]
struct Line {
    text: String,
}

enum Tell {
    Line(Rc<str>),
    Drain,
}

/// The clients of this worker.
type Room = Rc<RefCell<HashMap<u64, Sender<Tell>>>>;

/// What a client is to the next worker.
#[derive(Serialize, Deserialize)]
struct Guest {
    name: String,
    unread: Vec<u8>,
}

fn main() -> host::Result<()> {
    let room = Room::default();
    let clients = Rc::clone(&room);
    task::block_on(async move {
        task::spawn(task::race(listen_to_primary(Rc::clone(&room)), drain(Rc::clone(&room))));
        tcp::serve(move |connection| chat(connection, Rc::clone(&clients))).await
    })
}

/// Without a primary program there is nothing to hear, and lines stay in this worker.
async fn listen_to_primary(room: Room) {
    loop {
        match ipc::receive_async::<Line>().await {
            Ok(line) => tell_all(&room, &line.text),
            Err(ipc::Error::Json(error)) => eprintln!("{error}"),
            Err(_) => return process::draining().await,
        }
    }
}

async fn drain(room: Room) {
    process::draining().await;
    for client in room.borrow().values() {
        // A client that is too far behind ends with the worker.
        let _ = client.send(Tell::Drain);
    }
}

fn tell_all(room: &Room, text: &str) {
    let text: Rc<str> = text.into();
    room.borrow_mut().retain(|_, client| client.send(Tell::Line(Rc::clone(&text))).is_ok());
}

async fn say(room: &Room, text: String) -> host::Result<()> {
    match ipc::send_async(&Line { text: text.clone() }).await {
        Ok(()) => {}
        Err(ipc::Error::NotConnected) => tell_all(room, &text),
        Err(error) => return Err(error.into()),
    }
    Ok(())
}

async fn chat(mut connection: Connection, room: Room) -> host::Result<()> {
    let Some(name) = enter(&mut connection, &room).await? else {
        return Ok(());
    };
    let id = connection.id();
    let (sender, mut told) = task::queue(BACKLOG);
    room.borrow_mut().insert(id, sender);
    let left = loop {
        let next = task::race(async { Next::Said(connection.line(LINE).await) }, async {
            Next::Told(told.next().await)
        });
        match next.await {
            Next::Said(Ok(Some(text))) => say(&room, format!("{name}: {text}")).await?,
            Next::Said(Ok(None) | Err(_)) => break true,
            Next::Told(Some(Tell::Line(text))) => {
                connection.write(format!("{text}\n").as_bytes()).await?
            }
            Next::Told(Some(Tell::Drain)) => break false,
            Next::Told(None) => return Ok(()),
        }
    };
    room.borrow_mut().remove(&id);
    if left {
        return say(&room, format!("* {name} has left")).await;
    }
    let state = serde_json::to_vec(&Guest { name, unread: connection.take_unread().into() })?;
    Ok(connection.hand_back(&state).await?)
}

enum Next {
    Said(host::Result<Option<String>>),
    Told(Option<Tell>),
}

/// The client's name: asked for, or known from the worker before.
async fn enter(connection: &mut Connection, room: &Room) -> host::Result<Option<String>> {
    if let Some(state) = connection.state() {
        let guest: Guest = serde_json::from_slice(&state)?;
        connection.put_unread(&guest.unread)?;
        return Ok(Some(guest.name));
    }
    connection.write(b"name? ").await?;
    let Some(name) = connection.line(LINE).await? else {
        return Ok(None);
    };
    say(room, format!("* {name} has come")).await?;
    Ok(Some(name))
}
