//! Two links of ureq's connector chain, so that an answer that comes before the end of a body is read.
//!
//! - [`DropRefusedBody`] stands between the socket and TLS. Once a write of the body has failed, because the server
//!   has answered and closed, it drops what is left to write. ureq would report the broken pipe; so it goes on to
//!   read the answer, which is waiting. Below TLS, because TLS flushes before it reads.
//! - [`KeepEarlyAnswer`] stands at the end. When the answer comes instead of `100 Continue`, ureq (3.5) looks at it,
//!   leaves it in its buffer and then waits for more input before it looks again, which never comes on a connection
//!   that is kept open. So input that is new is offered twice.
//!
//! Nothing here knows HTTP.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use ureq::{
    Error,
    unversioned::transport::{Buffers, ConnectionDetails, Connector, NextTimeout, Transport},
};

use super::client::interrupted;

/// What the body and the connection know of each other.
#[derive(Debug, Default)]
pub struct BodyState {
    began: AtomicBool,
    refused: AtomicBool,
}

impl BodyState {
    /// The body begins: a write that failed before is a failed connection.
    pub fn begin(&self) {
        self.began.store(true, Ordering::Relaxed);
    }

    /// Whether the other side takes no more.
    pub fn is_refused(&self) -> bool {
        self.refused.load(Ordering::Relaxed)
    }
}

/// Drops the rest of a body that the other side does not take.
#[derive(Debug)]
pub struct DropRefusedBody {
    state: Arc<BodyState>,
}

impl DropRefusedBody {
    /// For one request, whose body shares the state.
    pub fn new(state: Arc<BodyState>) -> Self {
        Self { state }
    }
}

impl<In: Transport> Connector<In> for DropRefusedBody {
    type Out = DropsRefusedBody<In>;

    fn connect(&self, _: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(|inner| DropsRefusedBody { inner, state: self.state.clone() }))
    }
}

/// See [`DropRefusedBody`].
#[derive(Debug)]
pub struct DropsRefusedBody<In> {
    inner: In,
    state: Arc<BodyState>,
}

impl<In: Transport> Transport for DropsRefusedBody<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        if self.state.is_refused() {
            return Ok(());
        }
        let outcome = self.inner.transmit_output(amount, timeout);
        let gone = match &outcome {
            Err(Error::Io(error)) => interrupted(error.kind()),
            // Nobody reads; perhaps because the answer is given already.
            Err(Error::Timeout(ureq::Timeout::PerWrite)) => true,
            _ => false,
        };
        if gone && self.state.began.load(Ordering::Relaxed) {
            self.state.refused.store(true, Ordering::Relaxed);
            return Ok(());
        }
        outcome
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        self.inner.await_input(timeout)
    }

    fn is_open(&mut self) -> bool {
        !self.state.is_refused() && self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}

/// Offers new input twice.
#[derive(Debug)]
pub struct KeepEarlyAnswer;

impl<In: Transport> Connector<In> for KeepEarlyAnswer {
    type Out = KeepsEarlyAnswer<In>;

    fn connect(&self, _: &ConnectionDetails<'_>, chained: Option<In>) -> Result<Option<Self::Out>, Error> {
        Ok(chained.map(|inner| KeepsEarlyAnswer { inner, fresh: false }))
    }
}

/// See [`KeepEarlyAnswer`].
#[derive(Debug)]
pub struct KeepsEarlyAnswer<In> {
    inner: In,
    /// The input has been offered once since something came in.
    fresh: bool,
}

impl<In: Transport> Transport for KeepsEarlyAnswer<In> {
    fn buffers(&mut self) -> &mut dyn Buffers {
        self.inner.buffers()
    }

    fn transmit_output(&mut self, amount: usize, timeout: NextTimeout) -> Result<(), Error> {
        self.inner.transmit_output(amount, timeout)
    }

    fn await_input(&mut self, timeout: NextTimeout) -> Result<bool, Error> {
        if self.fresh && !self.inner.buffers().input().is_empty() {
            self.fresh = false;
            return Ok(true);
        }
        let outcome = self.inner.await_input(timeout);
        self.fresh = matches!(outcome, Ok(true));
        outcome
    }

    fn is_open(&mut self) -> bool {
        self.inner.is_open()
    }

    fn is_tls(&self) -> bool {
        self.inner.is_tls()
    }
}
