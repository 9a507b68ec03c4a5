//! The body of the app's answer, read as the client takes it, while the rest of the request is still being sent.

use std::{
    rc::Rc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use http_body::{Body, Frame};

use super::{
    decode::{Decoded, Decoder},
    send::{SendError, Sending},
    stream::{Connection, Home},
};
use crate::drain::{Stage, Watch};

/// Why the body ended before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError<E> {
    /// The app closed its connection, or broke its framing.
    #[error("the app's answer ended early")]
    Truncated,
    /// The rest of the request could not be read from the client.
    #[error("the request's body failed while it was answered")]
    Request(E),
    /// The app is gone.
    #[error("the app is gone")]
    Gone,
}

/// A piece of a body, or why there is none.
type Piece<E> = Result<Frame<Bytes>, BodyError<E>>;

/// A body on its way from the app.
#[derive(Debug)]
pub struct ResponseBody<B> {
    connection: Option<Connection>,
    decoder: Decoder,
    sending: Option<Sending<B>>,
    home: Option<Rc<dyn Home>>,
    watch: Watch,
    /// Whether it ends by itself when the stop signal is relayed.
    endless: bool,
}

impl<B: Body<Data = Bytes> + Unpin> ResponseBody<B> {
    pub(super) fn new(
        connection: Connection,
        decoder: Decoder,
        sending: Option<Sending<B>>,
        home: Option<Rc<dyn Home>>,
        watch: Watch,
    ) -> Self {
        Self {
            connection: Some(connection),
            decoder,
            sending,
            home,
            watch,
            endless: false,
        }
    }

    /// Says that this is an event stream: it ends cleanly when the stop signal is relayed, and how long it lasts does not
    /// say how long the app takes.
    pub fn ends_at_the_relay(&mut self) {
        self.endless = true;
        if let Some(connection) = &mut self.connection {
            connection.lap = None;
        }
    }

    /// How many bytes are left, where that is known.
    pub fn length(&self) -> Option<u64> {
        self.decoder.left()
    }

    /// Whether its end is told by more than the end of the connection.
    pub fn is_framed(&self) -> bool {
        !matches!(self.decoder, Decoder::UntilClose)
    }

    /// Whether nothing will follow.
    pub fn is_end_stream(&self) -> bool {
        self.decoder.is_done() && self.connection.is_none()
    }

    /// The next piece.
    pub fn poll_frame(&mut self, cx: &mut Context<'_>) -> Poll<Option<Piece<B::Error>>> {
        if let Err(error) = self.send_on(cx) {
            return Poll::Ready(Some(Err(error)));
        }
        match ready!(self.poll_decoded(cx)) {
            Ok(Decoded::Data(data)) => {
                self.release_if_done();
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            Ok(Decoded::Trailers(trailers)) => {
                self.release_if_done();
                Poll::Ready(Some(Ok(Frame::trailers(trailers))))
            }
            Ok(Decoded::End | Decoded::More) => {
                self.release_if_done();
                Poll::Ready(None)
            }
            Err(error) => {
                self.connection = None;
                Poll::Ready(Some(Err(error)))
            }
        }
    }

    /// Goes on sending the request; an answer may begin before its request has ended.
    fn send_on(&mut self, cx: &mut Context<'_>) -> Result<(), BodyError<B::Error>> {
        let (Some(sending), Some(connection)) = (&mut self.sending, &mut self.connection) else {
            return Ok(());
        };
        match sending.poll(connection, cx) {
            Poll::Pending => return Ok(()),
            Poll::Ready(Ok(())) => {}
            // The app does not want the rest; what it answers still counts, but not its connection.
            Poll::Ready(Err(SendError::Closed)) => self.home = None,
            Poll::Ready(Err(SendError::Body(error))) => return Err(BodyError::Request(error)),
        }
        self.sending = None;
        Ok(())
    }

    fn poll_decoded(&mut self, cx: &mut Context<'_>) -> Poll<Result<Decoded, BodyError<B::Error>>> {
        let mut ended = false;
        loop {
            let Some(connection) = &mut self.connection else {
                return Poll::Ready(Ok(Decoded::End));
            };
            match self.decoder.decode(&mut connection.read, ended) {
                Ok(Decoded::More) => {}
                Ok(decoded) => return Poll::Ready(Ok(decoded)),
                Err(_) => return Poll::Ready(Err(BodyError::Truncated)),
            }
            match connection.poll_fill(cx, self.decoder.expected()) {
                Poll::Pending if self.endless && self.watch.stage() >= Stage::Relaying => {
                    self.decoder = Decoder::new(super::Framing::Empty);
                    self.home = None;
                }
                Poll::Pending if self.watch.stage() >= Stage::Gone && connection.is_silent() => {
                    return Poll::Ready(Err(BodyError::Gone));
                }
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) => ended = true,
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(Err(BodyError::Truncated)),
            }
        }
    }

    /// Gives the connection back, or closes it, once the answer is whole.
    fn release_if_done(&mut self) {
        if !self.decoder.is_done() {
            return;
        }
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        let clean = self.sending.take().is_none() && connection.read.is_empty();
        if let Some(home) = self.home.take().filter(|_| clean) {
            connection.reused = true;
            home.take_back(connection);
        }
    }
}
