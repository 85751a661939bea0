//! hyper's traits of input and output, of bodies, and tower's of services, forwarded.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll},
};

use hyper::{
    body::{Body, Frame, SizeHint},
    rt::{Read, ReadBufCursor, Write},
};
use tower_service::Service;

use super::ThreadBound;

impl<R: Read + 'static> Read for ThreadBound<R> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        self.as_pin_mut().poll_read(cx, buffer)
    }
}

impl<W: Write + 'static> Write for ThreadBound<W> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.as_pin_mut().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.as_pin_mut().poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        W::is_write_vectored(self)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.as_pin_mut().poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.as_pin_mut().poll_shutdown(cx)
    }
}

impl<B: Body + 'static> Body for ThreadBound<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        self.as_pin_mut().poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        B::is_end_stream(self)
    }

    fn size_hint(&self) -> SizeHint {
        B::size_hint(self)
    }
}

/// The future of a call is bound to the same thread, so that it is `Send`, too.
impl<S, Request> Service<Request> for ThreadBound<S>
where
    S: Service<Request> + Unpin + 'static,
    S::Future: 'static,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ThreadBound<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        S::poll_ready(self, cx)
    }

    fn call(&mut self, request: Request) -> ThreadBound<S::Future> {
        let future = S::call(self, request);
        self.bind_too(future)
    }
}
