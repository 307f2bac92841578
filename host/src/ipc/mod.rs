//! How the primary and its children talk: one message type per direction, one transport. Plugins'
//! own messages have a transport of their own.

pub mod blocking;
pub mod channel;
pub mod child;
pub mod cluster;
pub mod files;
pub mod line;
pub mod message;
mod watched;
