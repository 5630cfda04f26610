//! Arguments that say whether pictures are sent over RTSP.

use std::net::SocketAddr;
use std::sync::Arc;

use clap::Args;

use crate::network::listen;
use crate::outputs::rtsp::{Login, RtspServer};

/// Whether pictures are sent over RTSP, and to whom.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Pictures over RTSP")]
pub struct RtspArgs {
    /// Send the annotated picture of each stream over RTSP, e.g. at 127.0.0.1:8554: it is at
    /// rtsp://127.0.0.1:8554/STREAM, and encoded while somebody watches.
    #[arg(long, env = "MILLRACE_RTSP_LISTEN", value_parser = listen::address, value_name = "ADDRESS:PORT")]
    rtsp_listen: Option<SocketAddr>,
    /// Name that viewers have to give.
    #[arg(
        long,
        env = "MILLRACE_RTSP_USER",
        requires = "rtsp_password",
        value_name = "NAME"
    )]
    rtsp_user: Option<String>,
    /// Password that viewers have to give; better in the environment than here.
    #[arg(
        long,
        env = "MILLRACE_RTSP_PASSWORD",
        hide_env_values = true,
        requires = "rtsp_user",
        value_name = "PASSWORD"
    )]
    rtsp_password: Option<String>,
}

impl RtspArgs {
    /// Starts the server, if one is wanted.
    ///
    /// # Errors
    /// If it cannot listen or nothing here encodes H.264.
    pub(super) fn start(&self) -> Result<Option<Arc<RtspServer>>, String> {
        let Some(address) = self.rtsp_listen else {
            return Ok(None);
        };
        let login = self.rtsp_user.as_ref().zip(self.rtsp_password.as_ref());
        let login = login.map(|(user, password)| Login {
            user: user.clone(),
            password: password.clone(),
        });
        if !address.ip().is_loopback() && login.is_none() {
            tracing::warn!(%address, "anyone who reaches this address may watch; --rtsp-user and --rtsp-password guard it");
        }
        let server = RtspServer::start(address, login.as_ref()).map_err(|e| e.to_string())?;
        eprintln!("pictures are at rtsp://{}/STREAM", server.address());
        Ok(Some(server))
    }
}
