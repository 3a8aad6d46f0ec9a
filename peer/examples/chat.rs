//! A chat: everybody in a topic reads what the others type.
//!
//! `cargo run --example chat -- 127.0.0.1:0 alice room`, in several terminals, with the seeds of
//! config.toml running.

use std::error::Error;
use std::time::Duration;

use tidings::{CommandError, Config, Delivery, NodeId, Overrides, Peer, Subscription};
use tokio::io::{AsyncBufReadExt as _, BufReader};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [listen, name, room] = arguments.as_slice() else {
        return Err("usage: chat LISTEN NAME ROOM, e.g. chat 127.0.0.1:0 alice room".into());
    };
    let mut overrides = Overrides::new();
    overrides.set("LISTEN", "peer.listen", Some(listen)).set("NAME", "peer.name", Some(name)).set(
        "NAME",
        "peer.data",
        Some(format!("data/chat-{name}")),
    );
    let peer = Peer::join(Config::load(None, &overrides)?).await?;
    peer.wait_joined(Duration::from_secs(10)).await?;

    let messages = enter(&peer, room).await?;
    eprintln!("you are in {room}; what you type is read by all, an empty line leaves");
    let reading = tokio::spawn(show(messages, peer.about().node));
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await?.filter(|line| !line.is_empty()) {
        peer.publish(room, format!("{name}: {line}")).await?;
    }
    peer.leave().await;
    reading.await?;
    Ok(())
}

/// Who comes first hosts the room.
async fn enter(peer: &Peer, room: &str) -> Result<Subscription, tidings::Error> {
    match peer.subscribe(room).await {
        Err(tidings::Error::Refused(CommandError::TopicNotFound(_))) => {
            peer.create_topic(room).await?;
            peer.subscribe(room).await
        }
        result => result,
    }
}

async fn show(mut messages: Subscription, own: NodeId) {
    while let Some(delivery) = messages.next().await {
        match delivery {
            Delivery::Message(message) if message.origin == own => {}
            Delivery::Message(message) => println!("{}", String::from_utf8_lossy(&message.body)),
            Delivery::Gap(gap) => eprintln!("({} messages are missing)", gap.count()),
            Delivery::TopicDeleted(_) => eprintln!("(the room was closed)"),
            _ => {}
        }
    }
}
