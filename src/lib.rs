//! Thrust: a container's ENTRYPOINT that starts the app, fronts it, and stops it without losing a request.

pub mod config;
pub mod drain;
pub mod handler;
pub mod http1;
pub mod journal;
pub mod proxy;
pub mod server;
pub mod service;
pub mod target;
pub mod telemetry;
pub mod upstream;
