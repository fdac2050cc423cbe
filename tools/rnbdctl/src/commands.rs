// SPDX-License-Identifier: GPL-2.0-only

//! What each command does. Each returns its output.

mod attach;
mod boot;
mod doctor;
mod find;
mod generate;
mod key;
mod latency;
mod list;
mod map;
mod metrics;
mod path;
mod rules;
mod save;
mod show;
mod top;
mod tune;
mod unmap;

use crate::{
    cli::{
        Cli,
        Command, //
    },
    failure::Result,
    system::System, //
};

/// Runs the command.
pub(crate) fn run(system: &System, cli: &Cli) -> Result<String> {
    let json = cli.json;

    match &cli.command {
        Command::Map(options) => map::map(system, options, json),
        Command::Unmap(options) => unmap::unmap(system, options),
        Command::Remap { device } => map::remap(system, device),
        Command::Resize { device, size } => map::resize(system, device, size),
        Command::List => list::list(system, json),
        Command::Show { name } => show::show(system, name, json),
        Command::Sessions => list::sessions(system, json),
        Command::Paths { session } => list::paths(system, session.as_deref(), json),
        Command::Exports => list::exports(system, json),
        Command::Path { action } => path::path(system, action),
        Command::Policy { session, policy } => {
            tune::policy(system, session, policy.as_deref(), json)
        }
        Command::Tune(options) => tune::tune(system, options, json),
        Command::Rules { action } => rules::rules(system, action, json),
        Command::Key { action } => key::key(system, action, json),
        Command::Attach(options) => attach::attach(system, options),
        Command::Detach(options) => attach::detach(system, options),
        Command::Save(options) => save::save(system, options),
        Command::Top(options) => top::top(system, options, json),
        Command::Latency(options) => latency::latency(system, options, json),
        Command::Metrics => metrics::metrics(system),
        Command::Doctor => doctor::doctor(system, json),
        Command::Completion { shell } => generate::completion(*shell),
        Command::Units { directory } => boot::units(system, directory),
        Command::Udev { device } => boot::udev(system, device),
        Command::LimitWaiting { seconds } => tune::limit_waiting(system, *seconds),
        Command::Man { directory } => generate::man(directory),
    }
}
