//! One request and the head of its answer.

use std::{
    future::{Future, poll_fn},
    io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use http_body::Body;
use tokio::time::Sleep;

use super::{
    body::ResponseBody,
    decode::{Decoded, Decoder},
    head::{self, Framing, Head},
    send::{SendError, Sending},
    stream::{Connection, Home},
};
use crate::drain::{Stage, Watch};

/// A request on its way, until the head of its answer is there.
#[derive(Debug)]
pub struct Exchange<B> {
    connection: Connection,
    sending: Sending<B>,
    method: Method,
    scratch: HeaderMap,
    watch: Watch,
    /// Whether the app took the request no further than its connection's buffer: not a byte came back.
    silent: bool,
    bodiless: bool,
    send_failed: bool,
}

/// The head of an answer, and what follows it.
#[derive(Debug)]
pub enum Answer<B> {
    /// An answer whose body is whole already: the connection is free again.
    Whole(Head, Bytes),
    /// An answer whose body is still to come.
    Streaming(Head, Box<ResponseBody<B>>),
    /// The app speaks another protocol from here on (101).
    Switched(Head, Connection),
}

/// Why there is no answer.
#[derive(Debug)]
pub enum ExchangeError<E> {
    /// The connection ended before a byte of the answer.
    Closed,
    /// The connection ended inside the answer's head.
    Broken(io::Error),
    /// The answer is not HTTP/1.
    BadResponse,
    /// The request's body failed first.
    Body(E),
    /// The answer did not begin in time.
    Timeout,
    /// The app is gone and its answer was not there.
    Gone,
}

impl<B: Body<Data = Bytes> + Unpin> Exchange<B> {
    /// Prepares `head`, a whole request head, and its body for `connection`. `scratch` is an old map whose room the
    /// answer's headers use.
    pub fn new(
        connection: Connection,
        method: Method,
        head: Vec<u8>,
        body: Option<B>,
        chunked: bool,
        scratch: HeaderMap,
        watch: Watch,
    ) -> Self {
        Self {
            connection,
            bodiless: body.is_none(),
            sending: Sending::new(head, body, chunked),
            method,
            scratch,
            watch,
            silent: true,
            send_failed: false,
        }
    }

    /// Sends the request and reads the head of the final answer; interim ones go to `interim`. The answer must begin
    /// within `patience` from when the request is out. Then comes [`finish`](Self::finish).
    ///
    /// # Errors
    /// See [`ExchangeError`].
    pub async fn run(
        &mut self,
        patience: Option<Duration>,
        mut interim: impl FnMut(&Head),
    ) -> Result<Head, ExchangeError<B::Error>> {
        let mut clock = None;
        poll_fn(|cx| {
            let polled = self.poll_answer(cx, &mut interim);
            match patience {
                Some(patience) if polled.is_pending() => self.poll_clock(&mut clock, patience, cx),
                _ => polled,
            }
        })
        .await
    }

    /// Whether the request may be sent again on another connection: this one was kept alive and ended before a byte of the
    /// answer, and nothing of a body was taken from the client.
    pub fn may_be_repeated(&self) -> bool {
        self.connection.reused && self.silent && self.bodiless
    }

    /// The head of a request that may be repeated.
    pub fn take_head(&mut self) -> Vec<u8> {
        self.sending.take_head()
    }

    /// The room of what was written, to be used again; none as long as it is in use.
    pub fn take_room(&mut self) -> Vec<u8> {
        if self.sending.is_done() {
            self.sending.take_head()
        } else {
            Vec::new()
        }
    }

    fn poll_answer(
        &mut self,
        cx: &mut Context<'_>,
        interim: &mut impl FnMut(&Head),
    ) -> Poll<Result<Head, ExchangeError<B::Error>>> {
        if !self.send_failed && !self.sending.is_done() {
            match self.sending.poll(&mut self.connection, cx) {
                Poll::Ready(Err(SendError::Body(error))) => {
                    return Poll::Ready(Err(ExchangeError::Body(error)));
                }
                // The app may have answered before it closed: what it said is read first.
                Poll::Ready(Err(SendError::Closed)) => self.send_failed = true,
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
        }
        loop {
            let head = ready!(self.poll_one_head(cx))?;
            if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                return Poll::Ready(Ok(head));
            }
            interim(&head);
            self.scratch = head.headers;
        }
    }

    /// Runs from when the whole request is out until a byte of the answer is in.
    fn poll_clock(
        &self,
        clock: &mut Option<Pin<Box<Sleep>>>,
        patience: Duration,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Head, ExchangeError<B::Error>>> {
        if !self.silent || !(self.sending.is_done() || self.send_failed) {
            return Poll::Pending;
        }
        let sleep = clock.get_or_insert_with(|| Box::pin(tokio::time::sleep(patience)));
        sleep
            .as_mut()
            .poll(cx)
            .map(|()| Err(ExchangeError::Timeout))
    }

    fn poll_one_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Head, ExchangeError<B::Error>>> {
        loop {
            match head::parse(&mut self.connection.read, &self.method, &mut self.scratch) {
                Ok(Some(head)) => return Poll::Ready(Ok(head)),
                Ok(None) => {}
                Err(_) => return Poll::Ready(Err(ExchangeError::BadResponse)),
            }
            match self.connection.poll_fill(cx, 0) {
                Poll::Pending
                    if self.watch.stage() >= Stage::Gone && self.connection.is_silent() =>
                {
                    return Poll::Ready(Err(ExchangeError::Gone));
                }
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) if self.silent => {
                    return Poll::Ready(Err(ExchangeError::Closed));
                }
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(ExchangeError::Broken(
                        io::ErrorKind::UnexpectedEof.into(),
                    )));
                }
                Poll::Ready(Ok(_)) => self.silent = false,
                Poll::Ready(Err(_)) if self.silent => {
                    return Poll::Ready(Err(ExchangeError::Closed));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(ExchangeError::Broken(error))),
            }
        }
    }

    /// The answer whose head was read; `home` gets the connection back when it is whole.
    pub fn finish(self, head: Head, home: &Rc<impl Home + 'static>) -> Answer<B> {
        let Self {
            mut connection,
            sending,
            send_failed,
            ..
        } = self;
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            connection.lap = None;
            return Answer::Switched(head, connection);
        }
        let sending = (!send_failed && !sending.is_done()).then_some(sending);
        let keep = head.keep_alive && !send_failed;
        let mut decoder = Decoder::new(head.framing);
        if sending.is_some() && decoder.is_done() {
            // The answer is whole before its request: what is left of that goes nowhere.
            return Answer::Whole(head, Bytes::new());
        }
        if sending.is_none() && !matches!(head.framing, Framing::Chunked | Framing::UntilClose) {
            let here = connection.read.len() as u64;
            let length = decoder.left().unwrap_or(0);
            if length <= here {
                let body = match decoder.decode(&mut connection.read, false) {
                    Ok(Decoded::Data(data)) => data,
                    _ => Bytes::new(),
                };
                // Bytes beyond the answer are nobody's: such a connection is not used again.
                if keep && connection.read.is_empty() {
                    connection.reused = true;
                    home.take_back(connection);
                }
                return Answer::Whole(head, body);
            }
        }
        let home: Option<Rc<dyn Home>> = keep.then(|| home.clone() as Rc<dyn Home>);
        let body = ResponseBody::new(connection, decoder, sending, home, self.watch);
        Answer::Streaming(head, Box::new(body))
    }
}

#[cfg(test)]
mod tests {
    use std::{io::Write, net::TcpListener};

    use super::*;
    use crate::{drain::Drain, target::Address};

    /// No body.
    #[derive(Debug)]
    struct Nothing;

    impl Body for Nothing {
        type Data = Bytes;
        type Error = std::convert::Infallible;

        fn poll_frame(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<http_body::Frame<Bytes>, Self::Error>>> {
            Poll::Ready(None)
        }
    }

    #[tokio::test]
    async fn what_the_app_wrote_before_it_died_is_its_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = Address::Tcp(listener.local_addr().unwrap());
        let connection = Connection::connect(&address).await.unwrap();
        let (mut app, _) = listener.accept().unwrap();
        let (drain, mut seeds) = Drain::new(1);
        let watch = seeds.remove(0).plant();
        let mut exchange = Exchange::<Nothing>::new(
            connection,
            Method::GET,
            b"GET / HTTP/1.1\r\nhost: a\r\n\r\n".to_vec(),
            None,
            false,
            HeaderMap::new(),
            watch,
        );
        let mut answer = std::pin::pin!(exchange.run(None, |_| {}));
        // Without a turn of the runtime in between, so that it knows of nothing.
        let mut poll = async || poll_fn(|cx| Poll::Ready(answer.as_mut().poll(cx))).await;
        assert!(poll().await.is_pending());
        app.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            .unwrap();
        drop(app);
        drain.enter(Stage::Gone);
        let polled = match poll().await {
            Poll::Ready(ready) => ready,
            Poll::Pending => answer.await,
        };
        let head = polled.expect("given up with the answer in the socket");
        assert_eq!(
            (head.status, head.framing),
            (StatusCode::OK, Framing::Length(2))
        );
    }
}
