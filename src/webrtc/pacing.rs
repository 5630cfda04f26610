//! How far the results may run ahead of a client that acknowledges them.
//!
//! The window is open until the first acknowledgement: a client that never sends one is held by the
//! buffer of its channel only. Sessions in real time have no window.

/// See the module documentation.
#[derive(Clone, Copy, Debug)]
pub struct AckWindow {
    /// Frames ahead of the acknowledged one; `None` counts nothing.
    size: Option<u64>,
    acknowledged: u64,
}

impl AckWindow {
    /// A window of so many frames, or none in real time.
    pub fn new(size: u64, realtime: bool) -> Self {
        Self {
            size: (!realtime).then_some(size),
            acknowledged: 0,
        }
    }

    /// The client has dealt with all frames up to `frame`, of those up to `sent` that it was sent.
    /// Nonsense and what it said before changes nothing.
    pub fn acknowledge(&mut self, frame: i64, sent: u64) {
        let frame = u64::try_from(frame).unwrap_or_default().min(sent);
        self.acknowledged = self.acknowledged.max(frame);
    }

    /// Whether the frame of this number may be made.
    pub fn lets(&self, frame: u64) -> bool {
        match self.size {
            Some(size) if self.acknowledged > 0 => frame <= self.acknowledged.saturating_add(size),
            _ => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_wait_once_a_client_acknowledges() {
        let mut window = AckWindow::new(1, false);
        assert!(window.lets(500), "nothing was acknowledged yet");
        window.acknowledge(1, 3);
        assert!(window.lets(2));
        assert!(!window.lets(3));
        window.acknowledge(2, 3);
        assert!(window.lets(3));
    }

    #[test]
    fn nonsense_opens_no_window_and_closes_none() {
        let mut window = AckWindow::new(4, false);
        window.acknowledge(-3, 9);
        assert!(window.lets(100), "still nothing acknowledged");
        window.acknowledge(i64::MAX, 9);
        assert!(window.lets(13));
        assert!(!window.lets(14), "no more than was sent is acknowledged");
        window.acknowledge(2, 9);
        assert!(window.lets(13), "an older one takes nothing back");
    }

    #[test]
    fn real_time_has_no_window() {
        let mut window = AckWindow::new(1, true);
        window.acknowledge(1, 1);
        assert!(window.lets(1_000));
    }
}
