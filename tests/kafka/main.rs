//! On a real Apache Kafka, which `tests/kafka/broker` starts: topics, and who is let in.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "../common/mod.rs"]
mod common;
mod agent;
mod bad;
mod campaign;
mod chaos;
mod cluster;
mod collect;
mod decide;
mod disk;
mod fleet;
mod foreign;
mod perturb;
mod pipeline;
mod rights;
mod programs;
mod security;
mod service;
mod sink;
mod source;
mod topics;
mod verdicts;
mod watch;
mod world;
