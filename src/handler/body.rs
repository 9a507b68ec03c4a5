//! A response's body: one enum, no boxes on the hot path.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use bytes::Bytes;
use http_body::{Frame, SizeHint};

use super::{
    encoded::Encoded,
    request::{Refusal, RequestBody},
};
use crate::{
    coding::Encoder,
    files::Pieces,
    http1::{self, ResponseBody},
};

/// Why a body ends before its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    /// What the app sends ended.
    #[error(transparent)]
    App(#[from] http1::BodyError<Refusal>),
    /// The file became shorter while it was sent, or cannot be read.
    #[error("the file cannot be read to its end")]
    File,
}

/// What is sent to the client after the head.
#[derive(Debug)]
pub struct Body {
    source: Source,
    sent: u64,
    /// Why it ends early, until the connection has sent what came before.
    failed: Option<BodyError>,
    /// Who is told of the end: the log, and who counts.
    ended: [Option<Box<dyn Ended>>; 2],
}

/// Where the bytes come from.
#[derive(Debug)]
enum Source {
    Empty,
    Bytes(Bytes),
    /// One behind the other.
    Pieces(std::vec::IntoIter<Bytes>),
    /// Streamed from the app as it sends; boxed, since it carries the whole exchange.
    App(Box<ResponseBody<RequestBody>>),
    /// A file, or parts of it; boxed, to be no larger than the others.
    File(Box<Pieces>),
    /// Another body, encoded as it passes.
    Encoded(Box<Encoded>),
    /// Another, and who sees it pass by.
    Teed(Box<Teed>),
}

/// A source that somebody looks at.
#[derive(Debug)]
struct Teed {
    source: Source,
    /// Until it has ended.
    tee: Option<Box<dyn Tee>>,
}

/// Sees a body pass by on its way to the client.
pub trait Tee: std::fmt::Debug {
    /// The next piece.
    fn data(&mut self, piece: &Bytes);
    /// Nothing more follows: that was all of it, or it has failed.
    fn ended(self: Box<Self>, whole: bool);
    /// The client takes nothing more; `rest` still could be read.
    fn left(self: Box<Self>, rest: Body);
}

/// How a body came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Every byte was taken.
    Whole,
    /// The source failed.
    Failed(BodyError),
    /// The client's connection ended first.
    Dropped,
}

/// Told once how a body ended.
pub trait Ended: std::fmt::Debug {
    /// `sent` bytes were taken by the connection, the last of them now.
    fn ended(self: Box<Self>, sent: u64, end: End, now: Instant);
}

/// Told once how much a body was before and after it was encoded.
pub trait Recoded: std::fmt::Debug {
    /// So many bytes became so many, as far as it got.
    fn recoded(self: Box<Self>, input: u64, output: u64);
}

impl Body {
    /// No body.
    pub fn empty() -> Self {
        Self::of(Source::Empty)
    }

    /// What the app sends, as it sends it.
    pub fn app(body: Box<ResponseBody<RequestBody>>) -> Self {
        Self::of(Source::App(body))
    }

    /// Drops `kept` once the app has sent all of this body, or nobody wants more of it: at once, if it has.
    pub fn keep_to_the_apps_end(&mut self, kept: impl std::fmt::Debug + 'static) {
        if let Source::App(body) = &mut self.source {
            body.keep_to_its_end(Box::new(kept));
        }
    }

    /// A file, or parts of it.
    pub fn file(pieces: Pieces) -> Self {
        match pieces.left() {
            0 => Self::empty(),
            _ => Self::of(Source::File(Box::new(pieces))),
        }
    }

    /// How many bytes are left, if they come from a file.
    pub fn file_length(&self) -> Option<u64> {
        match &self.source {
            Source::File(pieces) => Some(pieces.left()),
            Source::Empty
            | Source::Bytes(_)
            | Source::Pieces(_)
            | Source::App(_)
            | Source::Encoded(_)
            | Source::Teed(_) => None,
        }
    }

    /// Lets the bytes of a file be read: for whoever looks at them on their way.
    pub fn read_through(&mut self) {
        if let Source::File(pieces) = &mut self.source {
            pieces.read_through();
        }
    }

    /// This body, encoded as it passes; nobody knows how long it will be, but `counts` is told afterwards.
    pub fn encoded(mut self, encoder: Encoder, counts: Option<Box<dyn Recoded>>) -> Self {
        self.read_through();
        Self::of(Source::Encoded(Box::new(Encoded::new(
            self, encoder, counts,
        ))))
    }

    /// How many bytes are left, where that is known.
    pub fn length(&self) -> Option<u64> {
        http_body::Body::size_hint(self).exact()
    }

    /// All of it, if it is in memory and not longer than `most` bytes.
    ///
    /// # Errors
    /// The body as it was, if it is not.
    pub fn into_whole(mut self, most: usize) -> Result<Bytes, Self> {
        match &mut self.source {
            Source::Bytes(bytes) if bytes.len() <= most => {
                let bytes = std::mem::take(bytes);
                self.source = Source::Empty;
                self.sent += bytes.len() as u64;
                self.end(End::Whole);
                Ok(bytes)
            }
            _ => Err(self),
        }
    }

    /// These pieces, in their order.
    pub fn pieces(pieces: Vec<Bytes>) -> Self {
        Self::of(Source::Pieces(pieces.into_iter()))
    }

    /// Lets `tee` see this body pass by.
    pub fn tee(&mut self, tee: Box<dyn Tee>) {
        let source = std::mem::replace(&mut self.source, Source::Empty);
        let tee = Some(tee);
        self.source = Source::Teed(Box::new(Teed { source, tee }));
    }

    /// All of it, where that is in memory already.
    pub fn whole(&self) -> Option<Bytes> {
        match &self.source {
            Source::Empty => Some(Bytes::new()),
            Source::Bytes(bytes) => Some(bytes.clone()),
            Source::Pieces(_)
            | Source::App(_)
            | Source::File(_)
            | Source::Encoded(_)
            | Source::Teed(_) => None,
        }
    }

    /// Whether all of it is in memory already.
    pub fn is_whole(&self) -> bool {
        matches!(
            self.source,
            Source::Empty | Source::Bytes(_) | Source::Pieces(_)
        )
    }

    /// Whether its end is told by more than the end of the app's connection, which may come too early.
    pub fn is_framed(&self) -> bool {
        self.source.is_framed()
    }

    /// Tells `ended` when this body ends; there is room for two.
    pub fn on_end(&mut self, ended: Box<dyn Ended>) {
        let [first, second] = &mut self.ended;
        let room = if first.is_none() { first } else { second };
        *room = Some(ended);
    }

    fn of(source: Source) -> Self {
        Self {
            source,
            sent: 0,
            failed: None,
            ended: [None, None],
        }
    }

    fn end(&mut self, end: End) {
        let [first @ Some(_), second] = &mut self.ended else {
            return;
        };
        let now = Instant::now();
        for ended in [first.take(), second.take()].into_iter().flatten() {
            ended.ended(self.sent, end, now);
        }
    }
}

impl Source {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        match self {
            Self::Empty => Poll::Ready(None),
            Self::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                *self = Self::Empty;
                Poll::Ready(Some(Ok(Frame::data(bytes))))
            }
            Self::App(body) => body
                .poll_frame(cx)
                .map(|frame| frame.map(|frame| frame.map_err(BodyError::App))),
            Self::File(pieces) => pieces.poll_piece(cx).map(|piece| {
                piece.map(|piece| match piece {
                    Ok(bytes) => Ok(Frame::data(bytes)),
                    Err(error) => {
                        tracing::debug!(%error, "a file cannot be read to its end");
                        Err(BodyError::File)
                    }
                })
            }),
            Self::Encoded(body) => body.poll_frame(cx),
            Self::Pieces(pieces) => Poll::Ready(pieces.next().map(|piece| Ok(Frame::data(piece)))),
            Self::Teed(teed) => teed.poll(cx),
        }
    }

    fn is_end(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Bytes(_) => false,
            Self::Pieces(pieces) => pieces.as_slice().is_empty(),
            Self::App(body) => body.is_end_stream(),
            Self::File(pieces) => pieces.left() == 0,
            Self::Encoded(body) => body.is_end_stream(),
            Self::Teed(teed) => teed.source.is_end(),
        }
    }

    fn is_framed(&self) -> bool {
        match self {
            Self::Empty | Self::Bytes(_) | Self::Pieces(_) => true,
            Self::App(body) => body.is_framed(),
            Self::File(_) => true,
            Self::Encoded(body) => body.is_framed(),
            Self::Teed(teed) => teed.source.is_framed(),
        }
    }

    fn length(&self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::Bytes(bytes) => Some(bytes.len() as u64),
            Self::Pieces(pieces) => Some(
                pieces
                    .as_slice()
                    .iter()
                    .map(|piece| piece.len() as u64)
                    .sum(),
            ),
            Self::App(body) => body.length(),
            Self::File(pieces) => Some(pieces.left()),
            Self::Encoded(_) => None,
            Self::Teed(teed) => teed.source.length(),
        }
    }
}

impl Teed {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = ready!(self.source.poll(cx));
        if let (Some(Ok(frame)), Some(tee)) = (&frame, &mut self.tee)
            && let Some(piece) = frame.data_ref()
        {
            tee.data(piece);
        }
        let failed = matches!(frame, Some(Err(_)));
        if (failed || frame.is_none() || self.source.is_end())
            && let Some(tee) = self.tee.take()
        {
            tee.ended(!failed);
        }
        Poll::Ready(frame)
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() {
            Self::empty()
        } else {
            Self::of(Source::Bytes(bytes))
        }
    }
}

impl From<&'static str> for Body {
    fn from(text: &'static str) -> Self {
        Bytes::from_static(text.as_bytes()).into()
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = match self.failed.take() {
            Some(error) => Some(Err(error)),
            None => match ready!(self.source.poll(cx)) {
                Some(Err(error)) => {
                    // hyper throws away what it has not sent when a body fails: it is to send that first, and ask again.
                    self.failed = Some(error);
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                frame => frame,
            },
        };
        match &frame {
            None => self.end(End::Whole),
            Some(Err(error)) => self.end(End::Failed(*error)),
            Some(Ok(frame)) => {
                self.sent += frame.data_ref().map_or(0, Bytes::len) as u64;
                if self.is_end_stream() {
                    self.end(End::Whole);
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.source.is_end()
    }

    fn size_hint(&self) -> SizeHint {
        self.source
            .length()
            .map_or(SizeHint::new(), SizeHint::with_exact)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        let end = match &self.source {
            _ if http_body::Body::is_end_stream(self) => End::Whole,
            Source::File(pieces) if pieces.has_failed() => End::Failed(BodyError::File),
            _ => End::Dropped,
        };
        self.end(end);
        if let Source::Teed(teed) = &mut self.source
            && let Some(tee) = teed.tee.take()
        {
            let rest = std::mem::replace(&mut teed.source, Source::Empty);
            tee.left(Self::of(rest));
        }
    }
}
