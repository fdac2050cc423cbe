// SPDX-License-Identifier: GPL-2.0-only

//! The trait that a block device driver implements.

use kernel::{
    prelude::*,
    ModuleMetadata, //
};

use rnbd_proto::wire::rnbd::IdentityKind;

use super::{
    payload::RequestPayload,
    request::Request,
    timeout::TimedOutRequest, //
};

/// A block device driver; the value is one device.
pub(crate) trait Operations: Send + Sync + Sized + 'static {
    /// The module that an open device keeps loaded.
    type Module: ModuleMetadata;

    /// Executes a request. May run in atomic context, on several CPUs at once,
    /// until [`super::Disk`] is dropped.
    fn queue_rq(&self, payload: RequestPayload<Self>);

    /// Writes the message that asks the server for `request`, each time that the request is
    /// sent, and returns its length.
    fn encode_message(&self, request: &Request, out: &mut [u8]) -> Result<usize>;

    /// Fails if [`Self::encode_message`] is going to, as far as the device alone decides that.
    /// Cheap; in any context.
    fn check(&self) -> Result;

    /// A request of [`Self::queue_rq`] is about to be completed. In any context.
    fn completing(&self, request: &Request);

    /// Completes requests of polled queue `number` for which a response has arrived, and
    /// returns the number of responses handled. May run in atomic context, on several CPUs at
    /// once.
    fn poll(&self, number: u32) -> u32;

    /// A request was not completed within the timeout of its queue. Called again after each
    /// further period, in process context.
    fn timed_out(&self, request: &TimedOutRequest);

    /// Allows or refuses opening the device or one of its partitions. Runs under the lock
    /// that [`super::Disk::with_openers`] takes.
    fn open(&self, writable: bool) -> Result;

    /// Returns the unique id of the disk, if it has one of this `kind`.
    fn unique_id(&self, kind: IdentityKind) -> Option<&[u8]>;
}
