//! Films written and read back.
