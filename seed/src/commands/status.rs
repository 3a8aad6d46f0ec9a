//! `seed status`: how seeds are.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Serialize;
use tidings_runtime::table::{Table, print_json, short};

use crate::client;
use crate::commands::Ask;
use crate::failure::Failure;
use crate::http::views::Status;

/// Show how seeds are: all of the configuration, or the one at --http
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    ask: Ask,
    /// One JSON object
    #[arg(long)]
    json: bool,
}

/// What is known of one seed.
#[derive(Debug, Serialize)]
struct Row {
    http: SocketAddr,
    up: bool,
    #[serde(flatten)]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<String>,
}

pub(crate) async fn run(args: Args) -> Result<(), Failure> {
    let mut asked = Vec::new();
    for http in args.ask.addresses()? {
        asked.push((http, tokio::spawn(client::get::<Status>(http, "/v1/status"))));
    }
    let mut rows = Vec::new();
    let mut failed = None;
    for (http, answer) in asked {
        let answer = answer.await.map_err(|error| Failure::failed(error.to_string()))?;
        rows.push(match answer {
            Ok(status) => Row { http, up: true, status: Some(status), error: None },
            Err(failure) => {
                let error = Some(failure.message().to_owned());
                failed = Some(failure);
                Row { http, up: false, status: None, error }
            }
        });
    }
    if args.json {
        print_json(&serde_json::json!({ "seeds": rows }))?;
    } else {
        print(&rows)?;
    }
    match failed {
        Some(failure) if rows.iter().all(|row| !row.up) => Err(failure),
        _ => Ok(()),
    }
}

fn print(rows: &[Row]) -> Result<(), Failure> {
    let head = [
        "NODE", "ADDRESS", "NAME", "HTTP", "STATE", "SEEDS", "PEERS", "SUSPECT", "DEAD", "TOPICS",
        "SESSIONS", "UPTIME",
    ];
    let mut table = Table::new(head);
    for row in rows {
        let http = row.http.to_string();
        let Some(status) = &row.status else {
            let mut cells: [String; 12] = std::array::from_fn(|_| String::new());
            cells[3] = http;
            cells[4] = "down".to_owned();
            table.row(cells);
            continue;
        };
        let state = match (status.ready, status.learning) {
            _ if !status.member => "not in set",
            (true, _) => "ready",
            (false, true) if status.reachable >= status.quorum => "learning",
            (false, _) => "no quorum",
        };
        table.row([
            short(&status.node),
            status.addr.to_string(),
            status.name.clone(),
            http,
            state.to_owned(),
            format!("{}/{}", status.reachable, status.seeds),
            status.peers.to_string(),
            status.suspects.to_string(),
            status.dead.to_string(),
            status.topics.to_string(),
            status.sessions.to_string(),
            uptime(Duration::from_millis(status.uptime_ms)),
        ]);
    }
    Ok(table.print()?)
}

fn uptime(time: Duration) -> String {
    let seconds = time.as_secs();
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}
