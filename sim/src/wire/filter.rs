//! The written side of an HTTP/2 connection, with two frames of ours put in place of the library's.
//!
//! The h2 server has no way to change `SETTINGS_MAX_CONCURRENT_STREAMS` on a living connection,
//! nor to choose the last stream id and the debug data of a GOAWAY. Both are what Apple's servers
//! do, so the doubles must. This filter watches the frame boundaries of what the library writes
//! and rewrites exactly those frames; the library still counts the SETTINGS acknowledgements.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

/// RFC 9113 section 4.1: length (3), type (1), flags (1), stream id (4).
const HEADER: usize = 9;
/// RFC 9113 section 6.5 and 6.8.
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;
const FLAG_ACK: u8 = 1;
/// RFC 9113 section 6.5.2.
const MAX_CONCURRENT_STREAMS: u16 = 3;
const INITIAL_WINDOW_SIZE: u16 = 4;

/// What the frames of one connection shall say; shared with the task that drives it.
#[derive(Debug)]
pub(crate) struct Frames {
    /// Streams announced by the next SETTINGS frame.
    pub(crate) max_streams: AtomicU32,
    /// Last stream id and debug data of any GOAWAY frame from now on.
    pub(crate) goaway: Mutex<Option<Goaway>>,
    /// End the socket with a TCP reset instead of a close.
    pub(crate) resets: AtomicBool,
}

/// What a GOAWAY shall say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Goaway {
    /// Streams above this one were not processed; `None` leaves the library's choice.
    pub(crate) last_stream: Option<u32>,
    /// APNs: a JSON object with the reason.
    pub(crate) debug: Vec<u8>,
}

impl Frames {
    pub(crate) fn new(max_streams: u32) -> Arc<Self> {
        Arc::new(Self {
            max_streams: AtomicU32::new(max_streams),
            goaway: Mutex::new(None),
            resets: AtomicBool::new(false),
        })
    }
}

/// A socket that can be ended with a TCP reset.
pub(crate) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {
    /// The socket below all layers.
    fn tcp(&self) -> &TcpStream;
}

impl Socket for TcpStream {
    fn tcp(&self) -> &TcpStream {
        self
    }
}

impl Socket for TlsStream<TcpStream> {
    fn tcp(&self) -> &TcpStream {
        self.get_ref().0
    }
}

/// The filter, around a connection's socket.
#[derive(Debug)]
pub(crate) struct Filter<S: Socket> {
    io: S,
    frames: Arc<Frames>,
    /// Bytes of the current frame's payload still to pass.
    payload_left: usize,
    /// The part of a frame header already passed.
    header: Vec<u8>,
    /// A rewritten frame on its way out.
    own: Vec<u8>,
    own_sent: usize,
}

/// What the bytes at the write position are.
#[derive(Debug, PartialEq, Eq)]
enum Next {
    /// So many bytes to pass as they are.
    Pass(usize),
    /// A whole frame of so many bytes to be replaced.
    Replace(usize, Vec<u8>),
}

impl<S: Socket> Filter<S> {
    pub(crate) fn new(io: S, frames: Arc<Frames>) -> Self {
        let header = Vec::with_capacity(HEADER);
        Self {
            io,
            frames,
            payload_left: 0,
            header,
            own: Vec::new(),
            own_sent: 0,
        }
    }

    /// Looks ahead over `buf`, up to the first frame to be replaced.
    fn next(&self, buf: &[u8]) -> Next {
        if !self.header.is_empty() {
            // Inside a frame header: only while the socket takes a few bytes at a time.
            return Next::Pass(buf.len().min(HEADER - self.header.len()));
        }
        let mut at = self.payload_left.min(buf.len());
        while let Some(frame) = Frame::at(buf, at) {
            if let Some(own) = self.rewritten(&frame) {
                return if at == 0 {
                    Next::Replace(frame.whole, own)
                } else {
                    Next::Pass(at)
                };
            }
            at = buf.len().min(at + frame.whole);
        }
        Next::Pass(buf.len())
    }

    fn rewritten(&self, frame: &Frame<'_>) -> Option<Vec<u8>> {
        match frame.kind {
            SETTINGS if frame.flags & FLAG_ACK == 0 => {
                let max = self.frames.max_streams.load(Ordering::Acquire);
                Some(settings(frame.bytes, max))
            }
            GOAWAY => {
                let wanted = self
                    .frames
                    .goaway
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner);
                wanted
                    .as_ref()
                    .map(|goaway| rewritten_goaway(frame.bytes, goaway))
            }
            _ => None,
        }
    }

    /// Follows the frame boundaries over bytes that were passed.
    fn passed(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let n_payload = self.payload_left.min(bytes.len());
            self.payload_left -= n_payload;
            bytes = bytes.get(n_payload..).unwrap_or_default();
            let n_header = bytes.len().min(HEADER - self.header.len());
            let (header, rest) = bytes.split_at_checked(n_header).unwrap_or((bytes, &[]));
            self.header.extend_from_slice(header);
            bytes = rest;
            if let &[high, middle, low, ..] = self.header.as_slice()
                && self.header.len() == HEADER
            {
                self.payload_left = length(high, middle, low);
                self.header.clear();
            }
        }
    }

    fn poll_own(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(left) = self.own.get(self.own_sent..)
            && !left.is_empty()
        {
            match ready!(Pin::new(&mut self.io).poll_write(cx, left))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n_written => self.own_sent += n_written,
            }
        }
        self.own.clear();
        self.own_sent = 0;
        Poll::Ready(Ok(()))
    }
}

/// One whole frame inside a buffer.
struct Frame<'a> {
    kind: u8,
    flags: u8,
    /// Header and payload, as far as the buffer holds them.
    bytes: &'a [u8],
    /// Length of both.
    whole: usize,
}

impl<'a> Frame<'a> {
    fn at(buf: &'a [u8], at: usize) -> Option<Self> {
        let rest = buf.get(at..)?;
        let &[high, middle, low, kind, flags, ..] = rest.get(..HEADER)? else {
            return None;
        };
        let whole = HEADER + length(high, middle, low);
        Some(Self {
            kind,
            flags,
            bytes: rest.get(..whole).unwrap_or(rest),
            whole,
        })
    }
}

fn length(high: u8, middle: u8, low: u8) -> usize {
    usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low)
}

/// The first SETTINGS carries the limit itself; a later one is the library's window update, whose
/// parameter (unchanged in value, so of no use to the peer) gives its place to the limit.
fn settings(frame: &[u8], max_streams: u32) -> Vec<u8> {
    let (header, payload) = frame.split_at_checked(HEADER).unwrap_or((frame, &[]));
    let is_id = |it: &[u8], id: u16| it.starts_with(&id.to_be_bytes());
    let has_limit = payload
        .chunks(6)
        .any(|it| is_id(it, MAX_CONCURRENT_STREAMS));
    let replaced = if has_limit {
        MAX_CONCURRENT_STREAMS
    } else {
        INITIAL_WINDOW_SIZE
    };
    let mut own = header.to_vec();
    for parameter in payload.chunks(6) {
        if is_id(parameter, replaced) {
            own.extend_from_slice(&MAX_CONCURRENT_STREAMS.to_be_bytes());
            own.extend_from_slice(&max_streams.to_be_bytes());
        } else {
            own.extend_from_slice(parameter);
        }
    }
    own
}

fn rewritten_goaway(frame: &[u8], wanted: &Goaway) -> Vec<u8> {
    let library = frame.get(HEADER..HEADER + 8).unwrap_or(&[0; 8]);
    let (last_stream, error_code) = library.split_at_checked(4).unwrap_or((library, &[]));
    let [_, l2, l1, l0] = (8 + u32::try_from(wanted.debug.len()).unwrap_or(0)).to_be_bytes();
    let mut own = vec![l2, l1, l0, GOAWAY, 0, 0, 0, 0, 0];
    match wanted.last_stream {
        Some(last) => own.extend_from_slice(&last.to_be_bytes()),
        None => own.extend_from_slice(last_stream),
    }
    own.extend_from_slice(error_code);
    own.extend_from_slice(&wanted.debug);
    own
}

impl<S: Socket> AsyncWrite for Filter<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_own(cx))?;
        match self.next(buf) {
            Next::Pass(n_free) => {
                let free = buf.get(..n_free).unwrap_or(buf);
                let n_written = ready!(Pin::new(&mut self.io).poll_write(cx, free))?;
                self.passed(free.get(..n_written).unwrap_or(free));
                Poll::Ready(Ok(n_written))
            }
            Next::Replace(n_taken, own) => {
                // Counted as written; the next write or flush sends it first.
                self.own = own;
                Poll::Ready(Ok(n_taken.min(buf.len())))
            }
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_own(cx))?;
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_own(cx))?;
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<S: Socket> AsyncRead for Filter<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

impl<S: Socket> Drop for Filter<S> {
    fn drop(&mut self) {
        if self.frames.resets.load(Ordering::Acquire)
            && let Err(error) = self.io.tcp().set_zero_linger()
        {
            tracing::debug!(%error, "socket closed instead of reset");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(id: u16, value: u32) -> Vec<u8> {
        [&id.to_be_bytes()[..], &value.to_be_bytes()[..]].concat()
    }

    fn settings_frame(parameters: &[(u16, u32)]) -> Vec<u8> {
        let payload: Vec<u8> = parameters
            .iter()
            .flat_map(|&(id, it)| parameter(id, it))
            .collect();
        let length = u8::try_from(payload.len()).unwrap();
        [vec![0, 0, length, SETTINGS, 0, 0, 0, 0, 0], payload].concat()
    }

    #[test]
    fn the_first_settings_keep_all_but_the_limit() {
        let library = settings_frame(&[(3, 1000), (4, 65_535), (6, 16_384)]);
        assert_eq!(
            settings(&library, 1),
            settings_frame(&[(3, 1), (4, 65_535), (6, 16_384)])
        );
    }

    #[test]
    fn a_window_update_becomes_the_limit() {
        assert_eq!(
            settings(&settings_frame(&[(4, 65_535)]), 7),
            settings_frame(&[(3, 7)])
        );
    }

    #[test]
    fn a_goaway_says_our_stream_and_reason() {
        let library = [
            0, 0, 8, GOAWAY, 0, 0, 0, 0, 0, 0x7f, 255, 255, 255, 0, 0, 0, 0,
        ];
        let wanted = Goaway {
            last_stream: Some(5),
            debug: b"{}".to_vec(),
        };
        let expected = [
            0, 0, 10, GOAWAY, 0, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, b'{', b'}',
        ];
        assert_eq!(rewritten_goaway(&library, &wanted), expected);
        let wanted = Goaway {
            last_stream: None,
            debug: Vec::new(),
        };
        assert_eq!(rewritten_goaway(&library, &wanted), library);
    }

    #[tokio::test]
    async fn frames_are_found_however_the_bytes_are_cut() {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        let data = [vec![0, 0, 3, 0, 0, 0, 0, 0, 1], b"abc".to_vec()].concat();
        let ping = [0, 0, 8, 6, 0, 0, 0, 0, 0, SETTINGS, 0, 0, 0, 0, 0, 0, 0].to_vec();
        let written = [data.clone(), settings_frame(&[(4, 9)]), ping.clone()].concat();
        let expected = [data, settings_frame(&[(3, 7)]), ping].concat();
        // A frame is always written whole by the library; what goes before it may be cut.
        for cut in 0..=12 {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            let out = TcpStream::connect(listener.local_addr().unwrap())
                .await
                .unwrap();
            let (mut peer, _) = listener.accept().await.unwrap();
            let mut filter = Filter::new(out, Frames::new(7));
            filter.write_all(&written[..cut]).await.unwrap();
            filter.write_all(&written[cut..]).await.unwrap();
            filter.flush().await.unwrap();
            drop(filter);
            let mut seen = Vec::new();
            peer.read_to_end(&mut seen).await.unwrap();
            assert_eq!(seen, expected, "cut at {cut}");
        }
    }
}
