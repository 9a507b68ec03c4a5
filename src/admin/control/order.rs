//! A command on its way to the Service.

use tokio::sync::{mpsc, oneshot};

use super::protocol::{Command, Reply};

/// What the Service is to do.
#[derive(Debug)]
pub struct Order {
    /// This,
    pub command: Command,
    answer: oneshot::Sender<Reply>,
}

/// The orders as they come.
#[derive(Debug)]
pub struct Orders(Option<mpsc::UnboundedReceiver<Order>>);

/// The way in. Each visitor has one order under way, so it is as short as the room is small.
pub(super) type Sender = mpsc::UnboundedSender<Order>;

/// Both ends.
pub(super) fn channel() -> (Sender, Orders) {
    let (sender, receiver) = mpsc::unbounded_channel();
    (sender, Orders(Some(receiver)))
}

impl Order {
    /// With the end at which its answer is heard.
    pub(super) fn new(command: Command) -> (Self, oneshot::Receiver<Reply>) {
        let (answer, heard) = oneshot::channel();
        (Self { command, answer }, heard)
    }

    /// Answers whoever gave it, if that one still listens.
    pub fn answer(self, reply: Reply) {
        let _ = self.answer.send(reply);
    }
}

impl Orders {
    /// None, ever.
    pub fn none() -> Self {
        Self(None)
    }

    /// The next. Cancel safe.
    pub async fn next(&mut self) -> Order {
        if let Some(orders) = &mut self.0
            && let Some(order) = orders.recv().await
        {
            return order;
        }
        std::future::pending().await
    }
}
