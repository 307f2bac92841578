//! What plugins are written with.
