// SPDX-License-Identifier: GPL-2.0-only

//! Settings of a session.

use rnbd_proto::{
    mpath_policy::MpathPolicy,
    reconnect_backoff, //
};

use crate::{
    cli::Tune,
    explain::Attempt,
    failure::{
        Exit,
        Failure,
        Result, //
    },
    model::{
        self,
        Side, //
    },
    output,
    system::System, //
};

use super::{
    find,
    list,
    path, //
};

/// Shows or sets the policy of a session.
pub(super) fn policy(
    system: &System,
    session: &str,
    policy: Option<&str>,
    json: bool,
) -> Result<String> {
    let found = find::client_session(system, session)?;
    let Some(policy) = policy else {
        return if json {
            output::json([("sessions", &vec![found])])
        } else {
            Ok(output::cell(found.policy) + "\n")
        };
    };

    if MpathPolicy::parse(policy.as_bytes()).is_none() {
        return Err(
            Failure::new(Exit::Usage, format!("there is no policy {policy}"))
                .advise("choose round-robin, min-inflight or min-latency"),
        );
    }
    set(system, session, "mpath_policy", policy)
}

/// Shows or sets the limits of a session.
pub(super) fn tune(system: &System, options: &Tune, json: bool) -> Result<String> {
    let session = find::client_session(system, &options.session)?;
    let attempts = options
        .max_reconnect_attempts
        .as_deref()
        .map(attempts)
        .transpose()?;
    let seconds = options
        .fast_io_fail_tmo
        .as_deref()
        .map(seconds)
        .transpose()?;

    if let Some(number) = &attempts {
        set(system, &session.name, "max_reconnect_attempts", number)?;
    }
    if let Some(number) = &seconds {
        set(system, &session.name, "fast_io_fail_tmo", number)?;
    }
    if attempts.is_some() || seconds.is_some() {
        return Ok(String::new());
    }
    if json {
        return output::json([("sessions", &vec![session])]);
    }
    Ok(output::details(vec![
        (
            "max-reconnect-attempts",
            session.max_reconnect_attempts.map(list::attempts),
        ),
        (
            "fast-io-fail-tmo",
            session.fast_io_fail_tmo.map(list::seconds),
        ),
    ]))
}

/// Returns what to write to `max_reconnect_attempts`.
fn attempts(text: &str) -> Result<String> {
    let number = match text {
        "unlimited" | "infinite" => "-1",
        _ => text,
    };

    match reconnect_backoff::parse_max_attempts(number.as_bytes()) {
        Ok(number) => Ok(number.to_string()),
        Err(_) => Err(
            Failure::new(Exit::Usage, format!("'{text}' is no number of attempts"))
                .advise("give a number from 0 to 9999, or unlimited"),
        ),
    }
}

/// Returns what to write to `fast_io_fail_tmo`.
fn seconds(text: &str) -> Result<String> {
    if text == "never" {
        return Ok("off".into());
    }
    if text == "off" || text.parse::<u32>().is_ok() {
        return Ok(text.into());
    }
    Err(
        Failure::new(Exit::Usage, format!("'{text}' is no number of seconds"))
            .advise("give a number of seconds, or off (never)"),
    )
}

/// Lowers `fast_io_fail_tmo` of all sessions of the client to this limit. What waits already
/// waits that long from now.
pub(super) fn limit_waiting(system: &System, limit: u32) -> Result<String> {
    let mut result = Ok(String::new());

    for session in model::sessions(system) {
        // The C driver has no limit that could be lowered.
        let Some(now) = session.fast_io_fail_tmo else {
            continue;
        };

        if (0..=i64::from(limit)).contains(&now) {
            continue;
        }
        let one = set(
            system,
            &session.name,
            "fast_io_fail_tmo",
            &limit.to_string(),
        );

        result = result.and(one);
    }
    result
}

/// Writes to a file of a session.
pub(super) fn set(system: &System, session: &str, file: &str, text: &str) -> Result<String> {
    let path = format!("{}/{session}/{file}", Side::Client.directory());

    if !system.exists(&path) {
        return Err(Failure::new(
            Exit::NoDriver,
            format!("the driver of this machine does not have {file}"),
        )
        .advise("it is not the one of this program; leave the option out"));
    }
    let what = format!("cannot set {file} of session {session}");

    path::write(system, &path, text, Attempt::Write, &what)
}
