// SPDX-License-Identifier: GPL-2.0-only

//! What clients may open, as the administrator says:
//! `/sys/class/rnbd-server/ctl/export_rules`.
//!
//! What rules look like and how they decide is in [`rnbd_proto::export_rules`], what
//! they are good for in `Documentation/exports.md`.

#![deny(unsafe_code)]

use kernel::alloc::AllocError;
use kernel::fmt;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::Arc;
use kernel::sync::ArcBorrow;
use kernel::sync::Mutex;
use rnbd_proto::export_rules::line::Line;
use rnbd_proto::export_rules::ClientIdentity;
use rnbd_proto::export_rules::Permission;
use rnbd_proto::export_rules::Rules;
use rnbd_proto::wire::name::SessName;
use rnbd_proto::wire::rnbd::AccessMode;
use rtrs::kernel_ext::class::ClassDevice;
use rtrs::kernel_ext::log::Plain;
use rtrs::kernel_ext::net::SockAddr;
use rtrs::kernel_ext::sysfs::Attrs;
use rtrs::kernel_ext::sysfs::Buf;
use rtrs::kernel_ext::sysfs::StoreCtx;

use crate::rule_target::RuleTarget;

/// Most bytes of all rules together: they are read as one page of sysfs, which also
/// cuts off what is written beyond one.
const MAX_TEXT: usize = 4000;

/// What the file prints before the rules, so that they can be written as they were read.
const CLEAR: &[u8] = b"clear\n";

/// What the file prints when there are no rules.
const USAGE: &[u8] = b"\
# There are no rules, so the parameter export_default decides. Lines to write, of which
# those of one write take effect at once:
#   clear        (from now on rules decide, and what none fits is denied)
#   allow|deny [session=<pattern>] [from=<address>[/<bits>][,...]] [device=<pattern>] [ro]
#   default      (no rules)
default
";

rtrs::sysfs_files! {
    static CTL_FILES: Files<ExportRules> = [
        c"export_rules" => show(ExportRules::show) store(ExportRules::store);
    ];
}

/// Rules, each on a line of its own.
type List = KVec<u8>;

/// Who may open what.
#[pin_data]
pub(crate) struct ExportRules {
    /// What counts while there is no list.
    default: Permission,
    /// Held for a look at it, not while somebody decides by it.
    #[pin]
    list: Mutex<Option<Arc<List>>>,
}

/// Why a device is not opened.
pub(crate) enum OpenError {
    /// Something went wrong.
    Failed(Error),
    /// The client may not have it, which the log says already. This is what it is told.
    Denied(Error),
}

impl From<Error> for OpenError {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<AllocError> for OpenError {
    fn from(error: AllocError) -> Self {
        Self::Failed(error.into())
    }
}

/// Who wants to open a device, and how.
#[derive(Clone, Copy)]
pub(crate) struct OpenRequest<'a> {
    /// Name of the session.
    pub(crate) session: SessName<'a>,
    /// Where one of its paths comes from.
    pub(crate) peer: SockAddr,
    /// The path asked for.
    pub(crate) path: &'a [u8],
    /// How it is to be opened.
    pub(crate) mode: AccessMode,
}

impl OpenRequest<'_> {
    fn client(&self) -> Result<ClientIdentity<'_>> {
        Ok(ClientIdentity {
            session: self.session,
            peer: self.peer.addr().ok_or(EAFNOSUPPORT)?.into(),
        })
    }

    /// What becomes of it if this much access is allowed.
    fn answer(&self, access: Permission, why: fmt::Arguments<'_>) -> Result<(), OpenError> {
        let Err(errno) = access.check(self.mode) else {
            return Ok(());
        };
        let error = Error::from_errno(-errno);

        rtrs::pr_err_ratelimited!(
            "{}: '{}' as {} denied to {} {}: {:?}\n",
            Plain(self.session),
            Plain(self.path.escape_ascii()),
            Plain(self.mode),
            self.peer,
            why,
            error
        );
        Err(OpenError::Denied(error))
    }
}

impl ExportRules {
    /// No list, and `default` as long as it stays like that.
    pub(crate) fn new(default: Permission) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                default,
                list <- new_mutex!(None, "rnbd_rules"),
            }),
            GFP_KERNEL,
        )
    }

    /// Shows the list in `ctl`. What is returned must be dropped before the module
    /// goes.
    pub(crate) fn show_in(self: &Arc<Self>, ctl: &ClassDevice) -> Result<Attrs> {
        Attrs::attach(ctl, self.clone(), &CTL_FILES)
    }

    /// Refuses what would be refused for every device there is.
    pub(crate) fn expect_any(&self, request: &OpenRequest<'_>) -> Result<(), OpenError> {
        let Some(list) = self.list() else {
            return request.answer(self.default, fmt!("by export_default"));
        };

        if Rules::new(&list).denies_all(&request.client()?) {
            let why = fmt!("as no rule allows it anything");
            return request.answer(Permission::Denied, why);
        }
        Ok(())
    }

    /// Refuses what is not allowed.
    ///
    /// # Errors
    ///
    /// `ENOENT` for a device that the client is not to see, `EACCES` to write to one
    /// that it may read; what [`RuleTarget::is`] says.
    pub(crate) fn check(
        &self,
        request: &OpenRequest<'_>,
        subject: &RuleTarget,
    ) -> Result<(), OpenError> {
        let Some(list) = self.list() else {
            return request.answer(self.default, fmt!("by export_default"));
        };
        let client = request.client()?;
        let (access, why) = Rules::new(&list).decide(&client, |pattern| subject.is(pattern))?;

        request.answer(access, fmt!("{}", Plain(why)))
    }

    fn list(&self) -> Option<Arc<List>> {
        self.list.lock().clone()
    }

    fn show(this: ArcBorrow<'_, Self>, buf: &mut Buf<'_>) -> Result {
        match this.list() {
            None => buf.push(USAGE),
            Some(list) => {
                buf.push(CLEAR)?;
                buf.push(&list)
            }
        }
    }

    /// Does what all lines say, or nothing.
    fn store(this: ArcBorrow<'_, Self>, input: &[u8], _ctx: &StoreCtx<'_>) -> Result {
        // Not less than what `show` gives.
        if input.len() > CLEAR.len() + MAX_TEXT {
            return Err(too_long());
        }
        let mut list = this.list.lock();
        let new = edit(list.as_deref(), input)?;

        *list = match new {
            None => {
                pr_info!("export_rules: none, export_default decides\n");
                None
            }
            Some(new) => {
                let new = Arc::new(new, GFP_KERNEL)?;

                pr_info!(
                    "export_rules: {}, what none fits is denied\n",
                    Rules::new(&new).count()
                );
                Some(new)
            }
        };
        Ok(())
    }
}

/// What a list becomes by `input`.
fn edit(list: Option<&List>, input: &[u8]) -> Result<Option<List>> {
    let mut new = list.map(|list| copy(list)).transpose()?;

    for (number, line) in (1..).zip(input.split(|byte| *byte == b'\n')) {
        let line = Line::parse(line).map_err(|reason| {
            pr_err!(
                "export_rules: line {}: {}; nothing changed\n",
                number,
                Plain(reason)
            );
            Error::from_errno(-reason.errno())
        })?;

        match line {
            Line::Blank => {}
            Line::Clear => new = Some(List::new()),
            Line::Default => new = None,
            Line::Rule(rule) => {
                let new = new.get_or_insert_with(List::new);

                new.extend_from_slice(rule.text, GFP_KERNEL)?;
                new.push(b'\n', GFP_KERNEL)?;
                if new.len() > MAX_TEXT {
                    return Err(too_long());
                }
            }
        }
    }
    Ok(new)
}

fn copy(list: &[u8]) -> Result<List> {
    let mut copy = List::with_capacity(list.len(), GFP_KERNEL)?;

    copy.extend_from_slice(list, GFP_KERNEL)?;
    Ok(copy)
}

fn too_long() -> Error {
    pr_err!(
        "export_rules: more than {} bytes; nothing changed\n",
        MAX_TEXT
    );
    E2BIG
}
