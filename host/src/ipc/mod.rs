//! How the primary and its children talk: one message type per direction, one transport.

pub mod channel;
pub mod message;
