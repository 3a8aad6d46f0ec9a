//! Asks the HTTP pages of a seed.

use std::net::SocketAddr;
use std::time::Duration;

use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::failure::Failure;

/// The JSON of a page of the seed at `address`.
pub(crate) async fn get<T: DeserializeOwned>(
    address: SocketAddr,
    path: &str,
) -> Result<T, Failure> {
    let unreachable = |cause: &dyn std::fmt::Display| {
        Failure::unreachable(format!(
            "no answer from the HTTP port of a seed at {address}: {cause}"
        ))
    };
    let answer = match tokio::time::timeout(TIMEOUT, exchange(address, path)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(unreachable(&error)),
        Err(_) => return Err(unreachable(&"timed out")),
    };
    let text = String::from_utf8_lossy(&answer);
    let parts = text.strip_prefix("HTTP/1.").and_then(|rest| rest.split_once("\r\n\r\n"));
    let Some((head, body)) = parts else { return Err(unreachable(&"that is no HTTP")) };
    match head.split(' ').nth(1) {
        Some("200") => serde_json::from_str(body)
            .map_err(|error| Failure::failed(format!("{address}{path}: {error}"))),
        Some(status) => {
            Err(Failure::refused(format!("{address}{path}: status {status}: {}", body.trim())))
        }
        None => Err(unreachable(&"that is no HTTP")),
    }
}

/// `text` as part of a query.
pub(crate) fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let encode = |byte: u8| match plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    text.bytes().map(encode).collect()
}

/// HTTP/1.0: the answer ends with the connection, and is never in chunks.
async fn exchange(address: SocketAddr, path: &str) -> std::io::Result<Vec<u8>> {
    let mut tcp = TcpStream::connect(address).await?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
    tcp.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    tcp.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    Ok(answer)
}

/// A seed answers at once; one that is stopped does not.
const TIMEOUT: Duration = Duration::from_secs(3);
/// A thousand peers with ten thousand topics each are more than anybody wants to read.
const ANSWER_BYTES_MAX: u64 = 64 << 20;

#[cfg(test)]
mod tests {
    use super::encode;

    #[test]
    fn queries_are_encoded() {
        assert_eq!(encode("sport/# +ü&x=1"), "sport%2F%23%20%2B%C3%BC%26x%3D1");
    }
}
