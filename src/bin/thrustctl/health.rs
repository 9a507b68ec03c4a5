//! Whether it is healthy: asked where there is the best answer to be had.

use std::{net::TcpStream, path::PathBuf, time::Duration};

use thrust::admin::control::protocol::{Command, Reply};

use super::{
    arguments::Probe,
    ask::ask,
    call::{Call, CallError},
    complain, front,
    outcome::Outcome,
    variable,
};

/// Asks, and says why not.
pub(crate) fn check(socket: Option<PathBuf>, probe: Probe, patience: Duration) -> Outcome {
    let patience = patience.max(Duration::from_millis(1));
    let healthy = if socket.is_some() {
        over_socket(socket, probe, patience)
    } else if let Some(address) = front::status_address() {
        let path = match probe {
            Probe::Ready => "/readyz",
            Probe::Live => "/livez",
        };
        let asked = ask(address, "GET", path, "localhost", patience);
        judge(asked, |status| status == 200)
    } else {
        over_front(probe, patience)
    };
    match healthy {
        Ok(()) => Outcome::Done,
        Err(why) => {
            complain(&why);
            Outcome::Failed
        }
    }
}

fn over_socket(socket: Option<PathBuf>, probe: Probe, patience: Duration) -> Result<(), String> {
    let asked = || -> Result<Reply, CallError> {
        let mut call = Call::make(socket, &Command::Status)?;
        call.wait_at_most(patience)?;
        call.next()?.map(|(reply, _)| reply).ok_or(CallError::Ended)
    };
    match asked().map_err(|error| error.to_string())? {
        Reply::Status(snapshot) if snapshot.ready || probe == Probe::Live => Ok(()),
        Reply::Status(snapshot) => Err(snapshot.reason.unwrap_or_else(|| "not ready".to_owned())),
        Reply::Refused { why } => Err(why),
        Reply::Done { .. } => Err(CallError::Strange.to_string()),
    }
}

/// Without a path of the app's own for it, any answer of the app's will do; ours, when there is none, is one of these three.
fn over_front(probe: Probe, patience: Duration) -> Result<(), String> {
    let address = front::front_address();
    if probe == Probe::Live {
        let connected = TcpStream::connect_timeout(&address, patience);
        return connected
            .map(drop)
            .map_err(|error| format!("{address}: {error}"));
    }
    let host = variable(&["THRUSTER_HTTP_HEALTH_HOST"]);
    let host = host.as_deref().unwrap_or("localhost");
    match variable(&["THRUSTER_HTTP_HEALTH_PATH"]) {
        Some(path) => {
            let asked = ask(address, "GET", &path, host, patience);
            judge(asked, |status| (200..400).contains(&status))
        }
        None => {
            let asked = ask(address, "HEAD", "/", host, patience);
            judge(asked, |status| !matches!(status, 502..=504))
        }
    }
}

fn judge(asked: std::io::Result<u16>, good: impl Fn(u16) -> bool) -> Result<(), String> {
    match asked {
        Ok(status) if good(status) => Ok(()),
        Ok(status) => Err(format!("not ready: {status}")),
        Err(error) => Err(format!("no answer: {error}")),
    }
}
