//! Integration tests: the real binary, real plugins, real sockets. One module a topic.

mod support;

mod access_log;
mod bad_clients;
mod bad_input;
mod balance;
mod cache;
mod check;
mod children;
mod cluster;
mod config_file;
mod control;
mod control_socket;
mod docs;
mod failures;
mod grants;
mod hostile;
mod instances;
mod languages;
mod limits;
mod listening;
mod metrics;
mod new;
mod reload;
mod sandbox;
mod sdk;
mod security_page;
mod serve;
mod service;
mod smuggling;
mod streaming;
mod supervision;
mod top;
mod upgrade;
mod upkeep;
