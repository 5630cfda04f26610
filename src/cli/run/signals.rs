//! Ctrl-C and SIGTERM.

use std::thread;

use crate::streams::Control;

/// The first Ctrl-C (or SIGTERM) stops all streams, the second ends the process.
pub(super) fn stop_on_ctrl_c(streams: Vec<Control>) {
    let watch = move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
        else {
            return;
        };
        runtime.block_on(async {
            interrupted().await;
            eprintln!("stopping; what is in flight is written (Ctrl-C again to end at once)");
            streams.iter().for_each(Control::stop);
            interrupted().await;
            std::process::exit(130);
        });
    };
    if let Err(e) = thread::Builder::new().name("signals".into()).spawn(watch) {
        tracing::warn!("signals are not watched, Ctrl-C ends at once: {e}");
    }
}

async fn interrupted() {
    use tokio::signal::unix::{SignalKind, signal};
    let terminate = async {
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        () = terminate => {}
    }
}
