// SPDX-License-Identifier: GPL-2.0-only

//! The administrator's rules about which client may open which device:
//! `/sys/class/rnbd-server/ctl/export_rules`.
//!
//! [`rnbd_proto::export_rules`] defines their syntax and evaluation,
//! `Documentation/exports.md` describes their use.

#![deny(unsafe_code)]

use kernel::{
    alloc::AllocError,
    fmt,
    new_mutex,
    prelude::*,
    sync::{
        Arc,
        ArcBorrow,
        Mutex, //
    }, //
};

use rnbd_proto::{
    auth::KeyName,
    export_rules::{
        line::Line,
        ClientIdentity,
        Permission,
        Rules, //
    },
    wire::{
        name::SessName,
        rnbd::AccessMode, //
    }, //
};

use rtrs::kernel_ext::{
    class::ClassDevice,
    log::Plain,
    net::SockAddr,
    sysfs::{
        Attrs,
        Buf,
        StoreCtx, //
    }, //
};

use crate::rule_target::RuleTarget;

/// The maximum size of all rules in bytes. They are read as one page of sysfs, which also
/// truncates what is written beyond one page.
const MAX_TEXT: usize = 4000;

/// Printed before the rules, so that the content can be written back as it was read.
const CLEAR: &[u8] = b"clear\n";

/// Printed when there are no rules.
const USAGE: &[u8] = b"\
# There are no rules, so the parameter export_default decides. Lines to write, of which
# those of one write take effect at once:
#   clear        (from now on rules decide, and what none fits is denied)
#   allow|deny [session=<pattern>] [from=<address>[/<bits>][,...]] [key=<name>]
#              [device=<pattern>] [ro]
#   default      (no rules)
default
";

rtrs::sysfs_files! {
    static CTL_FILES: Files<ExportRules> = [
        c"export_rules" => show(ExportRules::show) store(ExportRules::store);
    ];
}

/// The text of the rules, one per line.
pub(crate) type RuleText = KVec<u8>;

/// The rules of all clients.
#[pin_data]
pub(crate) struct ExportRules {
    /// The permission while there are no rules.
    default: Permission,
    /// Locked to take a reference or to replace the rules, not while they are evaluated.
    #[pin]
    list: Mutex<Option<Arc<RuleText>>>,
}

/// The reason why a device is not opened.
pub(crate) enum OpenError {
    /// Opening failed.
    Failed(Error),
    /// The rules deny it, which was logged. The error goes to the client.
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

/// A client's request to open a device.
#[derive(Clone, Copy)]
pub(crate) struct OpenRequest<'a> {
    /// Name of the session.
    pub(crate) session: SessName<'a>,
    /// Name of the key that its client has proven.
    pub(crate) key: Option<KeyName>,
    /// The address of one of its paths.
    pub(crate) peer: SockAddr,
    /// The requested path.
    pub(crate) path: &'a [u8],
    /// The requested access mode.
    pub(crate) mode: AccessMode,
}

impl OpenRequest<'_> {
    fn client(&self) -> Result<ClientIdentity<'_>> {
        Ok(ClientIdentity {
            session: self.session,
            peer: self.peer.addr().ok_or(EAFNOSUPPORT)?.into(),
            key: self.key,
        })
    }

    /// Fails, with a line in the log, if `access` does not include the requested mode.
    fn enforce(&self, access: Permission, why: fmt::Arguments<'_>) -> Result<(), OpenError> {
        let Err(errno) = access.check(self.mode) else {
            return Ok(());
        };
        let error = Error::from_errno(-errno);

        rtrs::pr_err_ratelimited!(self.peer =>
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
    /// Creates an empty list; `default` applies until rules are written.
    pub(crate) fn new(default: Permission) -> Result<Arc<Self>> {
        Arc::pin_init(
            pin_init!(Self {
                default,
                list <- new_mutex!(None, "rnbd_rules"),
            }),
            GFP_KERNEL,
        )
    }

    /// Creates the file in `ctl`. The returned value must be dropped before the module
    /// is unloaded.
    pub(crate) fn create_file(self: &Arc<Self>, ctl: &ClassDevice) -> Result<Attrs> {
        Attrs::attach(ctl, self.clone(), &CTL_FILES)
    }

    /// Fails if the client of `request` is denied every device.
    pub(crate) fn check_any(&self, request: &OpenRequest<'_>) -> Result<(), OpenError> {
        let Some(list) = self.list() else {
            return request.enforce(self.default, fmt!("by export_default"));
        };

        if Rules::new(&list).denies_all(&request.client()?) {
            let why = fmt!("as no rule allows it anything");
            return request.enforce(Permission::Denied, why);
        }
        Ok(())
    }

    /// Fails if the rules do not allow `request` to open `target`.
    ///
    /// # Errors
    ///
    /// - `ENOENT` for a device that is hidden from the client;
    /// - `EACCES` to write to a device that the client may only read;
    /// - those of [`RuleTarget::matches`].
    pub(crate) fn check(
        &self,
        request: &OpenRequest<'_>,
        target: &RuleTarget,
    ) -> Result<(), OpenError> {
        let Some(list) = self.list() else {
            return request.enforce(self.default, fmt!("by export_default"));
        };
        let client = request.client()?;
        let (access, why) = Rules::new(&list).decide(&client, |pattern| target.matches(pattern))?;

        request.enforce(access, fmt!("{}", Plain(why)))
    }

    /// The permission of each client while there are no rules.
    pub(crate) fn default_permission(&self) -> Permission {
        self.default
    }

    /// The rules, if there are any.
    pub(crate) fn list(&self) -> Option<Arc<RuleText>> {
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

    /// Applies all lines of `input`, or none.
    fn store(this: ArcBorrow<'_, Self>, input: &[u8], _ctx: &StoreCtx<'_>) -> Result {
        // What `show` prints can be written back.
        if input.len() > CLEAR.len() + MAX_TEXT {
            return Err(too_long());
        }
        let mut list = this.list.lock();
        let new = edit(list.as_deref(), input)?;

        *list = match new {
            None => {
                pr_info!("export_rules: no rules, export_default decides\n");
                None
            }
            Some(new) => {
                let new = Arc::new(new, GFP_KERNEL)?;

                pr_info!(
                    "export_rules: {} rule(s), devices that match none are denied\n",
                    Rules::new(&new).count()
                );
                Some(new)
            }
        };
        Ok(())
    }
}

/// Returns the rules after applying `input` to `list`.
fn edit(list: Option<&RuleText>, input: &[u8]) -> Result<Option<RuleText>> {
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
            Line::Clear => new = Some(RuleText::new()),
            Line::Default => new = None,
            Line::Rule(rule) => {
                let new = new.get_or_insert_with(RuleText::new);

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

fn copy(list: &[u8]) -> Result<RuleText> {
    let mut copy = RuleText::with_capacity(list.len(), GFP_KERNEL)?;

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
