//! On a real Apache Kafka, which `tests/kafka/broker` starts: topics, and who is let in.
//!
//! Tests begin in the order of these names: the long ones that are `alone` are apart, so that others run beside each of them.
#![allow(clippy::unwrap_used, reason = "a test may")]

#[path = "../common/mod.rs"]
mod common;
mod agent;
mod bad;
mod campaign;
mod collect;
mod decide;
mod disk;
mod fleet;
mod foreign;
mod leaders;
mod perturb;
mod pipeline;
mod programs;
mod rights;
mod security;
mod service;
mod sink;
mod source;
mod survival;
mod topics;
mod verdicts;
mod watch;
mod world;
