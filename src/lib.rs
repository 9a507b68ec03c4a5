//! Thrust: a container's ENTRYPOINT that starts the app, fronts it, and stops it without losing a request.

pub mod config;
pub mod proxy;
pub mod server;
pub mod service;
pub mod target;
pub mod upstream;
