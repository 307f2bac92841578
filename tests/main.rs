//! Integration tests: the real binary, real plugins, real sockets. One module a topic.

mod support;

mod access_log;
mod bad_clients;
mod bad_input;
mod balance;
mod cache;
mod cluster;
mod failures;
mod grants;
mod instances;
mod listening;
mod sdk;
mod serve;
mod streaming;
mod supervision;
