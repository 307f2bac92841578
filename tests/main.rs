//! Integration tests: the real binary, real plugins, real sockets. One module a topic.

mod support;

// tests/cluster joins with the host's side of `host:cluster`, which its plugins import.

mod access_log;
mod bad_clients;
mod bad_input;
mod balance;
mod cache;
mod check;
mod cluster;
mod config_file;
mod control;
mod control_socket;
mod failures;
mod grants;
mod hostile;
mod instances;
mod listening;
mod metrics;
mod reload;
mod sandbox;
mod sdk;
mod serve;
mod service;
mod smuggling;
mod streaming;
mod supervision;
mod upgrade;
mod upkeep;
