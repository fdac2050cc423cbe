// SPDX-License-Identifier: GPL-2.0-only

//! Order of requests of one id, and their hand-over to the service in process context.

use kernel::{
    prelude::*,
    sync::{
        rcu,
        Arc, //
    }, //
};

use crate::{
    kernel_ext::{
        log::Plain,
        work::OwnedWorkItem, //
    },
    server::{
        dispatch_queue::Dispatch,
        path::Conn,
        request::{
            PendingRequest,
            Request, //
        },
        resend_order::Entry,
        session::{
            Session,
            SERVE, //
        }, //
    }, //
};

/// Sends a request that came by `conn`, and which the client cannot change any more, to the service
/// as soon as no other request of its id is being executed: now, or later by the session's work
/// item.
pub(super) fn submit(conn: &Conn, request: PendingRequest) {
    match conn.path().session().orders().enter(request.chunk().id()) {
        true => enqueue(conn, request),
        false => submit_or_wait(conn, request),
    }
}

/// Goes on with [`submit`] if another request of the same id is, or was, being executed.
#[cold]
#[inline(never)]
fn submit_or_wait(conn: &Conn, request: PendingRequest) {
    let (id, path) = (request.chunk().id(), conn.path());
    let orders = path.session().orders();
    match orders.enter_or_wait(id, request, || path.is_closing()) {
        Entry::Entered(request) => enqueue(conn, request),
        Entry::Waits => {}
        Entry::Rejected(request, why) => give_up(request, why),
    }
}

/// Queues a request, which has entered the order of its message id, for the service. It came by
/// `conn`.
#[inline]
fn enqueue(conn: &Conn, request: PendingRequest) {
    match conn.path().data().queue(conn.id()) {
        Some(queue) => queue.push(request),
        // Cannot happen: a path has its queues before its client may send requests.
        None => request.refuse("no dispatch queue"),
    }
}

/// Closes the path of a request that has not entered the order of its message id, and is not
/// going to be executed. Any context.
fn give_up(request: PendingRequest, why: &str) {
    // As at the end of a request: its references are not the last ones.
    let _section = rcu::read_lock();
    let (chunk, conn, data) = request.into_parts();
    let id = chunk.id().get();
    drop(data);
    drop(chunk);
    conn.path().fail(fmt!("message id {id}: {why}"));
    conn.path().chunk_returned();
}

impl Dispatch for PendingRequest {
    /// Hands the request to the service. If its path is closing it is not executed, as the client
    /// sends it over another path or has given it up; then it only leaves the order of its id.
    ///
    /// Called by work items that the teardown of the path waits for after it has waited for the
    /// chunks.
    #[inline]
    fn dispatch(mut self) {
        let path = self.conn().path().clone();
        match (self.read(), path.service()) {
            _ if path.is_closing() => {}
            (Ok(()), Some(service)) => {
                path.data().stats().count(self.chunk().request());
                return service.request(Request::new(self));
            }
            (Ok(()), None) => {}
            (Err(e), _) => path.fail(fmt!("malformed request: {}", Plain(e))),
        }
        path.session().executed(self.chunk().id());
        drop(self);
        path.chunk_returned();
    }

    fn refuse(self, why: &str) {
        // The session outlives its paths, and this path exists while its chunk is in use.
        let session = self.conn().path().session();
        session.executed(self.chunk().id());
        give_up(self, why);
    }
}

impl OwnedWorkItem<SERVE> for Session {
    fn run(this: Arc<Self>) {
        this.orders().serve(PendingRequest::dispatch);
    }
}
