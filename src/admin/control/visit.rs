//! One connection: a command, and what is answered.

use std::{io, rc::Rc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::UnixStream,
    time::timeout,
};

use super::{
    order::Order,
    protocol::{Command, Reply},
    room::Room,
};

/// How long a command may take to arrive, and a line of its answer to be taken.
const PATIENCE: Duration = Duration::from_secs(5);

/// The longest line of a command, in bytes.
const LONGEST: usize = 16 * 1024;

/// How often whoever watches is told.
const PULSE: Duration = Duration::from_millis(200);

/// A visitor.
#[derive(Debug)]
pub(super) struct Visit {
    stream: UnixStream,
    room: Rc<Room>,
}

impl Visit {
    pub(super) fn new(stream: UnixStream, room: Rc<Room>) -> Self {
        Self { stream, room }
    }

    /// Hears the command and answers it.
    pub(super) async fn serve(mut self) {
        let mut closing = self.room.closing.clone();
        let read = tokio::select! {
            read = timeout(PATIENCE, self.read_line()) => read,
            // Who has not said anything by now came too late.
            _ = closing.wait_for(|closing| *closing) => return,
        };
        let line = match read {
            Ok(Ok(line)) => line,
            Ok(Err(error)) => return self.end(Reply::refused(error.to_string())).await,
            Err(_) => return self.end(Reply::refused("no command came")).await,
        };
        match serde_json::from_slice(&line) {
            Ok(command) => self.answer(command).await,
            Err(error) => {
                let why = format!("this is no command of ours: {error}");
                self.end(Reply::refused(why)).await;
            }
        }
    }

    async fn answer(mut self, command: Command) {
        match command {
            Command::Status => {
                let reply = self.status();
                self.end(reply).await;
            }
            Command::Watch => self.watch().await,
            Command::Drain => {
                let reply = self.order(command).await;
                let refused = matches!(reply, Reply::Refused { .. });
                if self.write(&reply).await.is_ok() && !refused {
                    self.watch().await;
                }
            }
            command => {
                let reply = self.order(command).await;
                self.end(reply).await;
            }
        }
    }

    /// Has the Service do it.
    async fn order(&self, command: Command) -> Reply {
        let (order, answer) = Order::new(command);
        // Nobody obeys any more, or nobody has answered: it is over.
        let _ = self.room.orders.send(order);
        let answer = answer.await;
        answer.unwrap_or_else(|_| Reply::refused("the service has ended"))
    }

    /// Tells how things are until they are over, or nobody listens.
    async fn watch(mut self) {
        let mut closing = self.room.closing.clone();
        loop {
            let over = *closing.borrow_and_update();
            let reply = self.status();
            if self.write(&reply).await.is_err() || over {
                return;
            }
            tokio::select! {
                () = tokio::time::sleep(PULSE) => {}
                _ = closing.changed() => {}
                () = gone(&mut self.stream) => return,
            }
        }
    }

    fn status(&self) -> Reply {
        Reply::Status(Box::new((self.room.source)()))
    }

    /// A last line.
    pub(super) async fn end(mut self, reply: Reply) {
        // Whoever has left needs no answer.
        let _ = self.write(&reply).await;
    }

    async fn write(&mut self, reply: &Reply) -> io::Result<()> {
        let mut line = serde_json::to_vec(reply).map_err(io::Error::other)?;
        line.push(b'\n');
        timeout(PATIENCE, self.stream.write_all(&line)).await?
    }

    /// Up to the first line feed, or the end of what is sent.
    async fn read_line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        let mut piece = [0; 1024];
        loop {
            let length = self.stream.read(&mut piece).await?;
            let end = piece[..length].iter().position(|byte| *byte == b'\n');
            line.extend_from_slice(&piece[..end.unwrap_or(length)]);
            if line.len() > LONGEST {
                return Err(io::Error::other(format!(
                    "a command is at most {LONGEST} bytes long"
                )));
            }
            if end.is_some() || length == 0 {
                return Ok(line);
            }
        }
    }
}

/// Waits until the visitor has left; what it says before that is not heard.
async fn gone(stream: &mut UnixStream) {
    let mut ignored = [0; 64];
    while stream
        .read(&mut ignored)
        .await
        .is_ok_and(|length| length > 0)
    {}
}
