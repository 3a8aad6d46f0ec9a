//! A browser, just large enough for a node's pages.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::Value;

const TIMEOUT: Duration = Duration::from_secs(5);

/// The status and the body of a page.
///
/// # Errors
/// No connection, no answer within 5 s, or an answer that is not HTTP.
pub fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
    stream.set_read_timeout(Some(TIMEOUT))?;
    stream.set_write_timeout(Some(TIMEOUT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)?;
    let answer = String::from_utf8(answer).context("a page is UTF-8")?;
    let (head, body) = answer.split_once("\r\n\r\n").context("an answer has a head")?;
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    Ok((status.context("an answer has a status")?, body.to_owned()))
}

/// The JSON of a page that was found.
///
/// # Errors
/// As [`get`], or another status than 200, or no JSON.
pub fn json(address: SocketAddr, path: &str) -> Result<Value> {
    let (status, body) = get(address, path)?;
    anyhow::ensure!(status == 200, "{path} answers {status}: {body}");
    serde_json::from_str(&body).with_context(|| format!("{path} answers {body}"))
}
