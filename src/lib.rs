//! **lwt**: which virtual machines depend on each other, from nothing but the CPU time that the
//! hypervisor accounts to each of them.
//!
//! The modules, in the order in which data flows through them:
//!
//! collect -> transport -> window -> model -> (cluster | coupling) -> dependencies -> events -> serve
//!
//! and back: perturb (asks) -> agent (does, on the hosts); decisions (what people know better)

pub mod types;
pub mod simd;

pub mod collect;
pub mod transport;
pub mod window;
pub mod model;
pub mod cluster;
pub mod coupling;
pub mod dependencies;
pub mod events;
pub mod perturb;
pub mod decisions;
pub mod agent;
pub mod evaluate;
pub mod simulate;
pub mod report;
pub mod pipeline;
pub mod metrics;
pub mod serve;
pub mod config;
pub mod cli;
