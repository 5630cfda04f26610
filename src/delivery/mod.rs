//! What leaves millrace: webhooks and files.

/// Sends events to receivers without making anybody wait.
#[derive(Debug, Default)]
pub struct Dispatcher {}
