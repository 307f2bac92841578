//! Plugins and artifacts made to hurt: whatever they are, they cost the host one clear line, or one
//! worker, never the primary, its memory, or its time beyond the limit.

mod artifacts;
mod bombs;
mod memory;
mod wasm;
