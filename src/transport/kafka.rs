//! Apache Kafka: the log that samples come from and results go to. The only module that names rdkafka.

pub mod settings;
pub mod client;
mod delivery;
mod token;
pub mod trouble;
pub mod topics;
pub mod admin;
pub mod probe;
pub mod source;
pub mod sink;
pub mod publish;
pub mod state;
pub mod follow;
pub mod tell;
mod nudge;
