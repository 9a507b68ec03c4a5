//! One connection: waits bare until it is readable, speaks HTTP/1.1 through hyper, and is let go, cut or handed over.

use std::{
    convert::Infallible,
    future::{Future, poll_fn},
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Instant,
};

use bytes::Bytes;
use http::{HeaderValue, StatusCode, Version, header};
use http_body::{Frame, SizeHint};
use hyper::{body::Incoming, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, task::spawn_local};

use super::{
    clock::Clock,
    close::{buffered, linger, request_timeout},
    core::Core,
    io::Io,
    registry::Place,
    state::{Due, State},
    tunnel::Tunnelled,
};
use crate::{
    drain::{Open, Stage},
    handler::{Body, Client, Handler, Request, RequestBody, Response, Upgrade},
    http1::BodyError,
};

/// A connection of core `core`; counted by `open`, woken through `place`.
pub(super) struct Connection<H> {
    core: Rc<Core<H>>,
    state: Rc<State>,
    open: Open,
    _place: Place,
}

/// How a connection, or its time with hyper, ends.
#[derive(Debug)]
enum Leave {
    /// Nothing is going on: its buffers are given back until it is readable again.
    Park,
    /// hyper is done with it.
    Done,
    /// It is idle and no longer wanted.
    LetGo,
    /// Its head did not become whole in time.
    HeadTimeout,
    /// Whatever is left of it is given up.
    Cut,
}

impl<H: Handler + 'static> Connection<H> {
    pub(super) fn new(core: Rc<Core<H>>, state: Rc<State>, open: Open, place: Place) -> Self {
        Self {
            core,
            state,
            open,
            _place: place,
        }
    }

    /// Serves `stream` to its end.
    pub(super) async fn serve(self, mut stream: TcpStream) {
        let mut clock = Clock::default();
        let leave = loop {
            if let Some(leave) = self.park(&stream, &mut clock).await {
                break leave;
            }
            let (back, ahead, leave) = self.talk(stream, &mut clock).await;
            stream = back;
            match leave {
                Leave::Park => {}
                Leave::Done => {
                    if let Some((slot, tunnel)) = self.state.take_tunnel() {
                        return slot.keep(Tunnelled::new(stream, ahead, self.open, tunnel));
                    }
                    break Leave::Done;
                }
                leave => break leave,
            }
        };
        self.close(stream, &leave);
    }

    /// Waits until the socket is readable; without hyper and its buffers, as most connections are idle most of the time.
    async fn park(&self, stream: &TcpStream, clock: &mut Clock) -> Option<Leave> {
        poll_fn(|cx| {
            self.state.remember(cx.waker());
            if stream.poll_read_ready(cx).is_ready() {
                return Poll::Ready(None);
            }
            if let Some(leave) = self.on_stage(stream) {
                return Poll::Ready(Some(leave));
            }
            while clock.poll(self.state.parked_deadline(), cx).is_ready() {
                match self.state.due(Instant::now()) {
                    Due::Idle => return Poll::Ready(Some(Leave::LetGo)),
                    _ => self.state.update_hold(false),
                }
            }
            Poll::Pending
        })
        .await
    }

    /// Speaks HTTP/1.1 until the connection is idle for a while or over; gives the socket back, and bytes read ahead.
    async fn talk(&self, stream: TcpStream, clock: &mut Clock) -> (TcpStream, Bytes, Leave) {
        let (handler, state) = (self.core.handler.clone(), self.state.clone());
        let service = service_fn(move |request| answer(handler.clone(), state.clone(), request));
        let io = TokioIo::new(Io::new(stream, self.state.clone()));
        let mut http = Box::new(self.core.http.serve_connection(io, service));
        let leave = poll_fn(|cx| {
            self.state.remember(cx.waker());
            self.poll_talk(Pin::new(&mut *http), clock, cx)
        })
        .await;
        let parts = http.into_parts();
        (parts.io.into_inner().into_stream(), parts.read_buf, leave)
    }

    fn poll_talk<F>(&self, mut http: Pin<&mut F>, clock: &mut Clock, cx: &mut Context<'_>) -> Poll<Leave>
    where
        F: Future<Output = hyper::Result<()>>,
    {
        loop {
            if let Poll::Ready(ended) = http.as_mut().poll(cx) {
                return Poll::Ready(self.ended(ended));
            }
            if self.state.watch.leaving()
                && let Some(leave) = self.on_stage_while_talking()
            {
                return Poll::Ready(leave);
            }
            if clock.poll(self.state.deadline(), cx).is_pending() {
                return Poll::Pending;
            }
            match self.state.due(Instant::now()) {
                Due::Nothing => self.state.update_hold(false),
                Due::Idle => return Poll::Ready(Leave::LetGo),
                Due::Head => return Poll::Ready(Leave::HeadTimeout),
                // The body's next poll fails with it, and the path answers 408.
                Due::Body => self.state.time_out_body(),
                Due::Write => return Poll::Ready(Leave::Cut),
                Due::Park => return Poll::Ready(Leave::Park),
            }
        }
    }
}
