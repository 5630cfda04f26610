//! `millrace outbox`.
