// SPDX-License-Identifier: GPL-2.0-only

//! The command line.

use std::{
    path::PathBuf,
    time::Duration, //
};

use crate::complete;

use clap::{
    Args,
    Parser,
    Subcommand,
    ValueEnum, //
};

const EXIT_CODES: &str = "\
Exit codes:
  0  done
  1  failed
  2  wrong command line, value or file
  3  no such device, session or path
  4  may succeed later: the server cannot be reached, the device is busy
  5  the driver is not loaded, or does not have the file
  6  not permitted, here or by the server";

const EXAMPLES: &str = "\
A server lets clients have a disk, and starts now and at each boot:
  echo 'allow session=* device=/dev/sdb' >> /etc/rnbd/exports
  systemctl enable --now rnbd-server

A client maps it, has it mapped at each boot as /dev/disk/by-rnbd/data, and looks:
  rnbdctl map --session store --path 10.0.0.2 /dev/sdb
  rnbdctl save rnbd0 data
  rnbdctl list

Manual pages: rnbd-exports(5), rnbdtab(5), rnbd-server.service(8), rnbd-attach@.service(8)

";

const MAP_HELP: &str = "\
Examples:
  rnbdctl map --session store --path 10.0.0.2 /dev/sdb
  rnbdctl map --session store /dev/sdc        a second disk of the same server

The rules of the server, rnbd-exports(5), say what this machine may have.";

/// Shows and manages RNBD devices, sessions and exports
///
/// A client maps block devices of a server over RDMA, as /dev/rnbd0 and so on. Start with
/// `rnbdctl doctor`, on both machines, then `rnbdctl map`.
#[derive(Debug, Parser)]
#[command(version, after_help = format!("{EXAMPLES}{EXIT_CODES}"), max_term_width = 100)]
pub(crate) struct Cli {
    /// Print JSON instead of tables
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Directory that has sys/, proc/, dev/ and etc/
    #[arg(long, global = true, hide = true, default_value = "/")]
    pub(crate) root: PathBuf,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Map a device of a server as a disk of this machine
    #[command(after_help = MAP_HELP)]
    Map(Map),
    /// Remove mapped disks
    Unmap(Unmap),
    /// Open a device on the server again after the server has closed it
    Remap {
        /// Such as rnbd0, /dev/rnbd0, /dev/ram0@session or a name of rnbdtab
        #[arg(add = complete::devices())]
        device: String,
    },
    /// Set the size of a disk, for servers that do not report a change
    Resize {
        /// Such as rnbd0, /dev/rnbd0, /dev/ram0@session or a name of rnbdtab
        #[arg(add = complete::devices())]
        device: String,
        /// With a unit: s (sectors of 512 bytes), K, M, G or T, or KiB to TiB
        size: String,
    },
    /// List mapped disks and exported devices
    #[command(visible_alias = "ls")]
    List,
    /// Show all about a disk, a session or an exported device
    Show {
        /// Its name
        #[arg(add = complete::names())]
        name: String,
    },
    /// List sessions
    Sessions,
    /// List paths of sessions
    Paths {
        /// Only of this session
        #[arg(add = complete::any_sessions())]
        session: Option<String>,
    },
    /// List the devices that clients of this server have open
    Exports,
    /// Add, remove, connect or disconnect a path of a session
    Path {
        #[command(subcommand)]
        action: PathAction,
    },
    /// Show or set how a session chooses the path of each request
    Policy {
        /// Name of the session
        #[arg(add = complete::client_sessions())]
        session: String,
        /// round-robin (each path in turn: for equal paths), min-inflight (the path with the
        /// fewest requests in flight: evens out unequal load) or min-latency (the path with the
        /// fastest heartbeat: for paths of unequal length)
        #[arg(add = complete::policies())]
        policy: Option<String>,
    },
    /// Show or set the limits of a session
    Tune(Tune),
    /// Show, check or load the rules that say which clients may open which devices
    Rules {
        #[command(subcommand)]
        action: RulesAction,
    },
    /// Make, load, list or remove keys that clients and servers prove to each other
    Key {
        #[command(subcommand)]
        action: KeyAction,
    },
    /// Map devices of /etc/rnbd/rnbdtab by their names
    Attach(Attach),
    /// Unmap devices of /etc/rnbd/rnbdtab by their names
    Detach(Detach),
    /// Add a mapped disk to /etc/rnbd/rnbdtab, which has it attached at each boot
    Save(Save),
    /// Show how busy devices and paths are, again and again
    Top(Top),
    /// Draw histograms of the latency of a device, or switch counting on or off
    Latency(Latency),
    /// Print metrics in the format of OpenMetrics
    Metrics,
    /// Look for what keeps RNBD from working on this machine
    Doctor,
    /// Print a script that completes this command line in a shell
    Completion {
        /// bash, zsh, fish, ...
        shell: clap_complete::Shell,
    },
    /// Write units of systemd for the devices of /etc/rnbd/rnbdtab to a directory
    #[command(hide = true)]
    Units {
        /// The directory
        directory: PathBuf,
    },
    /// Print properties of a mapped device, for udev
    #[command(hide = true)]
    Udev {
        /// Such as rnbd0
        device: String,
    },
    /// Let I/O of all sessions wait for a path this many seconds at most, as at shutdown
    #[command(hide = true)]
    LimitWaiting {
        /// The limit
        seconds: u32,
    },
    /// Write the man pages to a directory
    #[command(hide = true)]
    Man {
        /// The directory
        directory: PathBuf,
    },
}

/// Options of `map`.
#[derive(Args, Debug)]
pub(crate) struct Map {
    /// Path of the device on the server, such as /dev/sdb; if the server is loaded with a
    /// dev_search_path, below that
    pub(crate) device_path: String,
    /// A name of your choice for what this machine has of one server; the server shows it, too
    #[arg(short, long, add = complete::client_sessions())]
    pub(crate) session: String,
    /// Address of the server, up to six: [<source>@]<address>; needed for a new session
    #[arg(short, long = "path")]
    pub(crate) paths: Vec<String>,
    /// Port of the server [default: 1234]
    #[arg(long)]
    pub(crate) port: Option<u16>,
    /// Name of a key that this machine and the server must prove, see `rnbdctl key`
    #[arg(long, value_name = "NAME", add = complete::key_names())]
    pub(crate) key: Option<String>,
    #[command(flatten)]
    pub(crate) access: Access,
    /// Make queues for polled I/O, as many as CPUs if no number is given
    #[arg(
        long,
        value_name = "QUEUES",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "-1",
        allow_hyphen_values = true
    )]
    pub(crate) polled: Option<i32>,
    #[command(flatten)]
    pub(crate) node: Node,
}

/// Whether to wait for device nodes.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Node {
    /// Wait until the device node exists, with its link if it has a name: 30 seconds at most, or as many as in --wait=60
    #[arg(
        long,
        value_name = "SECONDS",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "30"
    )]
    pub(crate) wait: Option<u64>,
}

/// What to do about programs that have a device open.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Openers {
    /// Even if the device is open; its I/O fails
    #[arg(long)]
    pub(crate) force: bool,
    /// Seconds to wait for a program that has it open for a moment, such as udev
    #[arg(long, value_name = "SECONDS", default_value_t = 5)]
    pub(crate) settle: u64,
}

/// How to open the device.
#[derive(Args, Clone, Copy, Debug)]
#[group(multiple = false)]
pub(crate) struct Access {
    /// Only to read
    #[arg(long)]
    pub(crate) ro: bool,
    /// To write while another client has it open for writing, too
    #[arg(long)]
    pub(crate) migration: bool,
}

/// Options of `unmap`.
#[derive(Args, Debug)]
pub(crate) struct Unmap {
    /// Such as rnbd0, /dev/rnbd0, /dev/ram0@session or a name of rnbdtab
    #[arg(
        required_unless_present = "all",
        conflicts_with = "all",
        add = complete::devices()
    )]
    pub(crate) devices: Vec<String>,
    /// All mapped devices
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) openers: Openers,
}

/// What to do with a path.
#[derive(Debug, Subcommand)]
pub(crate) enum PathAction {
    /// Connect another path of a session
    Add {
        /// Name of the session
        #[arg(add = complete::client_sessions())]
        session: String,
        /// [<source>@]<address>
        path: String,
    },
    /// Disconnect a path and remove it from its session
    Remove {
        #[command(flatten)]
        path: OnePath,
        /// Also the last path of a session that has devices mapped, whose I/O fails then
        #[arg(short, long)]
        force: bool,
    },
    /// Connect a path at once; one that is up is disconnected first
    Connect(OnePath),
    /// Disconnect a path: of a client, until it is told to connect; of a server, the client
    /// connects it again if it is set to
    Disconnect {
        #[command(flatten)]
        path: OnePath,
        /// A path of the server on this machine
        #[arg(long)]
        server: bool,
    },
}

/// A path that exists.
#[derive(Args, Debug)]
pub(crate) struct OnePath {
    /// Name of the session
    #[arg(add = complete::any_sessions())]
    pub(crate) session: String,
    /// Name of the path, or the address of the server in it
    #[arg(add = complete::paths())]
    pub(crate) path: String,
}

/// Options of `tune`.
#[derive(Args, Debug)]
pub(crate) struct Tune {
    /// Name of the session
    #[arg(add = complete::client_sessions())]
    pub(crate) session: String,
    /// Attempts to connect a lost path, 0 to 9999, or "unlimited" ("infinite")
    #[arg(long, value_name = "NUMBER", allow_hyphen_values = true)]
    pub(crate) max_reconnect_attempts: Option<String>,
    /// Seconds that I/O waits for a path before it fails, or "off" ("never"); with 0 it fails
    /// as soon as no path is up
    #[arg(long, value_name = "SECONDS", allow_hyphen_values = true)]
    pub(crate) fast_io_fail_tmo: Option<String>,
}

/// What to do with export rules.
#[derive(Debug, Subcommand)]
pub(crate) enum RulesAction {
    /// Print the rules of the server
    Show,
    /// Say which devices of this machine the rules of a file are about
    Check(CheckRules),
    /// Replace the rules of the server, all at once
    Load {
        /// A file, or - for the standard input
        #[arg(default_value = EXPORTS)]
        file: String,
    },
}

/// The file of the export rules.
pub(crate) const EXPORTS: &str = "/etc/rnbd/exports";

/// Options of `rules check`.
#[derive(Args, Debug)]
pub(crate) struct CheckRules {
    /// A file, or - for the standard input
    #[arg(default_value = EXPORTS)]
    pub(crate) file: String,
    /// Say what a client with this session may open
    #[arg(long, requires = "from", add = complete::any_sessions())]
    pub(crate) session: Option<String>,
    /// The address of that client
    #[arg(long, value_name = "ADDRESS", requires = "session")]
    pub(crate) from: Option<String>,
    /// The key that it has proven
    #[arg(long, value_name = "NAME", requires = "session", add = complete::key_names())]
    pub(crate) key: Option<String>,
}

/// What to do with keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeyAction {
    /// Make a key of 32 random bytes, in the directory /etc/rnbd/keys
    New {
        /// Its name
        name: String,
        /// Make a new value for a key that exists
        #[arg(long)]
        replace: bool,
    },
    /// Give the kernel the keys of /etc/rnbd/keys, in place of those that it has
    ///
    /// `map`, `attach` and `rules load` load a key that the kernel does not have by themselves.
    Load {
        /// Names of keys; without any, all keys that have a file
        #[arg(add = complete::key_names())]
        names: Vec<String>,
    },
    /// List keys: those that have a file, and those that the kernel has
    List,
    /// Remove keys from the kernel, but not their files. Paths that are up stay up
    Unload {
        /// Names of keys
        #[arg(required = true, add = complete::key_names())]
        names: Vec<String>,
    },
}

/// Options of `attach`.
#[derive(Args, Debug)]
pub(crate) struct Attach {
    /// Names in the first column of the table
    #[arg(
        required_unless_present = "all",
        conflicts_with = "all",
        add = complete::table()
    )]
    pub(crate) names: Vec<String>,
    /// All devices but those with the option noauto
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) node: Node,
}

/// Options of `detach`.
#[derive(Args, Debug)]
pub(crate) struct Detach {
    /// Names in the first column of the table
    #[arg(
        required_unless_present = "all",
        conflicts_with = "all",
        add = complete::table()
    )]
    pub(crate) names: Vec<String>,
    /// All devices but those with the option noauto
    #[arg(long)]
    pub(crate) all: bool,
    #[command(flatten)]
    pub(crate) openers: Openers,
}

/// Options of `save`.
#[derive(Args, Debug)]
pub(crate) struct Save {
    /// Such as rnbd0, /dev/rnbd0 or /dev/ram0@session
    #[arg(add = complete::devices())]
    pub(crate) device: String,
    /// What to call it: the disk is /dev/disk/by-rnbd/<NAME> from then on
    pub(crate) name: String,
    /// Port of the server, if it is not 1234: the driver does not tell
    #[arg(long)]
    pub(crate) port: Option<u16>,
}

/// Options of `latency`.
#[derive(Args, Debug)]
pub(crate) struct Latency {
    /// A mapped device, or an exported one as <device>@<session>
    #[arg(add = complete::counted_devices())]
    pub(crate) device: String,
    /// Start counting from zero, or stop counting
    pub(crate) switch: Option<Switch>,
}

/// Options of `top`.
#[derive(Args, Clone, Copy, Debug)]
pub(crate) struct Top {
    /// Seconds between two samples
    #[arg(short, long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    pub(crate) interval: Duration,
    /// Print text once, after one interval
    #[arg(long, conflicts_with = "batch")]
    pub(crate) once: bool,
    /// Print text so many times. Without a terminal, text is printed without end
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u64).range(1..))]
    pub(crate) batch: Option<u64>,
}

/// Parses an interval in seconds.
fn interval(text: &str) -> Result<Duration, String> {
    let seconds = text.parse().ok().filter(|it| (0.1..=3600.0).contains(it));

    seconds
        .map(Duration::from_secs_f64)
        .ok_or_else(|| "must be from 0.1 to 3600".into())
}

/// Whether to count requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Switch {
    /// Count.
    On,
    /// Do not count.
    Off,
}
