//! The whole command line, in one place.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::{ArgAction, Args, ColorChoice, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::choice::backend::Backend;
use crate::choice::rule::{EnvVar, OnUnknown, Rule};
use crate::smoke::launch::worker_command::WORKER_COMMAND;
use crate::smoke::meeting::address::Address;
use crate::smoke::plan::engine::EngineChoice;
use crate::smoke::plan::fabric::RequiredFabric;
use crate::smoke::plan::fault::Fault;
use crate::smoke::plan::memory::Memory;
use crate::smoke::plan::options::TransferOptions;

const EXAMPLES: &str = "\
Examples:
  nixl-retrofit check                          what would change
  nixl-retrofit apply /opt/dynamo/venv         patch, show the diff, prove the backend
  nixl-retrofit apply --smoke require          in a Dockerfile: no transfer, no image
  NIXL_BACKEND=LIBFABRIC,UCX nixl-retrofit smoke
  nixl-retrofit revert /opt/dynamo/venv        the original bytes again

Exit status:
  0  all is well
  1  check would change a file, or the transfer failed
  2  nothing could be done, and nothing was changed";

const TARGET_HELP: &str = "A file, a package or site-packages folder, a virtual environment, a Python interpreter, or - \
(standard input to standard output). With none: $VIRTUAL_ENV, the python3 on PATH, /opt/dynamo/venv, in that order";

const SMOKE_TARGET_HELP: &str = "A virtual environment, a Python interpreter, a site-packages folder, or a file in one. \
With none: $VIRTUAL_ENV, the python3 on PATH, /opt/dynamo/venv, in that order";

/// Makes an installed NVIDIA Dynamo honour NIXL_BACKEND, and proves with a real transfer that the backend works.
#[derive(Debug, Parser)]
#[command(name = "nixl-retrofit", version, after_help = EXAMPLES, max_term_width = 110, disable_help_subcommand = true)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Rewrite, show the diff, write, then run the smoke transfer
    #[command(after_help = "\
Examples:
  RUN nixl-retrofit apply --smoke require                  in a Dockerfile
  nixl-retrofit apply --smoke off /usr/bin/python3.12      patch only
  nixl-retrofit apply --allow UCX --on-unknown error FILE  any name but UCX is an error
  nixl-retrofit apply - < __init__.py > patched.py")]
    Apply(ApplyArgs),
    /// The dry run: show the diff, write nothing; exit status 1 when something would change
    #[command(after_help = "\
Examples:
  nixl-retrofit check || echo 'the base image is not patched'
  nixl-retrofit check /opt/dynamo/venv > nixl.patch; patch -d / -p1 < nixl.patch
  nixl-retrofit check --output-format json | jq '.files[].status'")]
    Check(CheckArgs),
    /// Restore the original bytes, checked by their SHA-256
    #[command(after_help = "\
Examples:
  nixl-retrofit revert /opt/dynamo/venv
  nixl-retrofit revert - < patched.py > original.py")]
    Revert(RevertArgs),
    /// The transfer alone, with that environment's NIXL
    #[command(after_help = "\
Examples:
  nixl-retrofit smoke                        the backends that NIXL_BACKEND chooses now
  nixl-retrofit smoke --backend UCX /opt/dynamo/venv
  UCX_TLS=tcp nixl-retrofit smoke --size 256M -v
  nixl-retrofit smoke --backend LIBFABRIC --require-fabric efa
  nixl-retrofit smoke --memory vram:0        from GPU memory to GPU memory
  nixl-retrofit smoke --output-format json | jq '.smoke | {status, fabric}'

Between two machines, each with the same token in a file (openssl rand -hex 32 > token):
  nixl-retrofit smoke --listen 0.0.0.0:7000 --token-file token                        on node-a
  nixl-retrofit smoke --connect node-a:7000 --token-file token --backend LIBFABRIC    on node-b
Both print the same result. What the listening end does not name, the connecting one decides: backends, size,
iterations; the shorter --timeout and the stricter --require-fabric count.")]
    Smoke(SmokeArgs),
    /// Print a completion script for a shell
    #[command(after_help = "\
Example:
  nixl-retrofit completions bash > /etc/bash_completion.d/nixl-retrofit")]
    Completions {
        /// The shell
        shell: Shell,
    },
    /// One side of a transfer; started by the supervisor, never by hand
    #[command(name = WORKER_COMMAND, hide = true)]
    SmokeWorker,
}

/// Options of every subcommand.
#[derive(Clone, Debug, Args)]
pub struct OutputArgs {
    /// How results are written to standard output
    #[arg(long, value_enum, default_value_t = OutputFormat::Text, value_name = "FORMAT")]
    pub output_format: OutputFormat,
    /// Colours: auto means on a terminal, unless NO_COLOR is set
    #[arg(long, default_value_t = ColorChoice::Auto, value_name = "WHEN")]
    pub color: ColorChoice,
    /// Say more: how the file was found, what was checked, what the worker processes saw
    #[arg(short, long, action = ArgAction::Count)]
    pub verbose: u8,
    /// Print nothing but errors; the exit status tells the rest
    #[arg(short, long, conflicts_with = "verbose")]
    pub quiet: bool,
}

/// The formats of standard output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people
    Text,
    /// One document, for programs
    Json,
}

/// What the rewritten code shall do.
#[derive(Clone, Debug, Args)]
pub struct PatchArgs {
    /// The backend when the variable is unset, blank or names nothing allowed
    #[arg(long, default_value_t = Backend::Ucx, value_name = "NAME")]
    pub default_backend: Backend,
    /// The backends that the variable may name
    #[arg(long, value_delimiter = ',', default_values_t = Backend::ALL, value_name = "NAME,NAME")]
    pub allow: Vec<Backend>,
    /// What the patched code does with another name: warn and leave it out, or raise ValueError
    #[arg(long, value_enum, default_value_t = OnUnknown::Fallback, value_name = "WHAT")]
    pub on_unknown: OnUnknown,
    /// The environment variable that the patched code reads
    #[arg(long, default_value_t = EnvVar::default(), value_name = "NAME")]
    pub env_var: EnvVar,
}

impl PatchArgs {
    /// The rule that these options describe.
    ///
    /// # Errors
    /// Where the default backend is not among the allowed ones.
    pub fn rule(&self) -> Result<Rule> {
        if !self.allow.contains(&self.default_backend) {
            bail!("--default-backend {} is not among those that --allow names", self.default_backend);
        }
        Ok(Rule {
            variable: self.env_var.clone(),
            default: self.default_backend,
            allowed: self.allow.clone(),
            on_unknown: self.on_unknown,
        })
    }
}

/// How the transfer is made.
#[derive(Clone, Debug, Args)]
pub struct TransferArgs {
    /// The backends to test [default: what the patched code would choose now]. Of several: each alone, then both agents
    /// with all of them, then against a target with UCX alone
    #[arg(long, value_delimiter = ',', value_name = "NAME,NAME")]
    pub backend: Vec<Backend>,
    /// The target's backends, where its agent has others: LIBFABRIC,UCX against UCX is Dynamo's frontend media loader
    #[arg(long, value_delimiter = ',', value_name = "NAME,NAME")]
    pub peer_backend: Vec<Backend>,
    /// What moves the bytes: the installed NIXL; UCX or libfabric themselves; auto: NIXL where it has a C API
    #[arg(long, value_enum, default_value_t = EngineChoice::Auto, value_name = "ENGINE")]
    pub engine: EngineChoice,
    /// Whose memory the payload lies in, on both sides: dram, the machine's; vram[:DEVICE], that of the GPU with this
    /// number (0), for which NVIDIA's driver must be there: a container build never has it
    #[arg(long, default_value_t = Memory::Dram, value_name = "MEMORY")]
    pub memory: Memory,
    /// Payload in each direction, in bytes or with K, M, G (powers of 1024) [default: 64M]
    #[arg(long, value_name = "BYTES")]
    pub size: Option<ByteSize>,
    /// Large messages in each direction; the payload is divided among them [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub iterations: Option<u32>,
    /// Deadline of one transfer, in seconds or with ms, s, m; also of the wait for the other end, with --listen and
    /// --connect
    #[arg(long, default_value = "60s", value_name = "TIME")]
    pub timeout: Deadline,
    /// NIXL's plugin folder [default: NIXL_PLUGIN_DIR, or the installed NIXL's own]
    #[arg(long, value_name = "DIR")]
    pub plugin_dir: Option<PathBuf>,
    /// A folder with libfabric, libcudart or libhwloc; may be repeated. Searched first; then LD_LIBRARY_PATH, the
    /// loader's own places (ldconfig), /opt/amazon/efa/lib and lib64, /usr/local/cuda*/lib64, and the folders
    /// nvidia/*/lib and PREFIX/lib of the environment's wheels
    #[arg(long, value_name = "DIR")]
    pub library_path: Vec<PathBuf>,
    /// What must have carried the bytes, as the running library states it; anything else is a failure. Of several
    /// backends it is demanded of the first one alone and of the agents with all
    #[arg(long, value_enum, default_value_t = RequiredFabric::Any, value_name = "FABRIC")]
    pub require_fabric: RequiredFabric,
    /// A fault that one worker commits on purpose (for tests)
    #[arg(long, hide = true, value_name = "FAULT")]
    pub fault: Option<Fault>,
}

impl TransferArgs {
    /// What these options ask for.
    ///
    /// # Errors
    /// Where they make no transfer possible.
    pub fn options(&self) -> Result<TransferOptions> {
        if self.engine == EngineChoice::Native && !self.peer_backend.is_empty() {
            bail!("--peer-backend needs NIXL's agents, and --engine native has none; leave one of them away");
        }
        if let Some(folder) = self.plugin_dir.as_ref().filter(|folder| !folder.is_dir()) {
            bail!("--plugin-dir {}: no such folder", folder.display());
        }
        if let Some(folder) = self.library_path.iter().find(|folder| !folder.is_dir()) {
            bail!("--library-path {}: no such folder", folder.display());
        }
        Ok(TransferOptions {
            backends: self.backend.clone(),
            peer_backends: self.peer_backend.clone(),
            engine: self.engine,
            memory: self.memory,
            size: self.size.map(|size| size.0),
            iterations: self.iterations,
            timeout: self.timeout.0,
            plugin_dir: self.plugin_dir.clone(),
            library_path: self.library_path.clone(),
            require_fabric: self.require_fabric,
            fault: self.fault,
        })
    }
}

/// The transfer between two machines.
#[derive(Clone, Debug, Args)]
pub struct MachinesArgs {
    /// Be the target for a peer on another machine, one: wait for it at this address, port 0 being any free one, until
    /// --timeout is over. Other interfaces than the loopback need a token
    #[arg(long, group = "end", value_name = "ADDR:PORT")]
    pub listen: Option<Address>,
    /// Be the initiator, with the target on the machine that listens there; it may start later, until --timeout is over
    #[arg(long, group = "end", value_name = "ADDR:PORT")]
    pub connect: Option<Address>,
    /// A file with the secret that both ends share; its text is taken without the newline at the end. It is not sent:
    /// each end proves that it has it [default: the environment variable NIXL_RETROFIT_TOKEN]
    #[arg(long, requires = "end", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

/// Which end of a transfer between two machines this is, and where they meet.
#[derive(Clone, Debug)]
pub enum End {
    /// The target's.
    Listen(Address),
    /// The initiator's.
    Connect(Address),
}

impl MachinesArgs {
    /// None where both ends are on this machine.
    pub fn end(&self) -> Option<End> {
        let listen = self.listen.clone().map(End::Listen);
        listen.or_else(|| self.connect.clone().map(End::Connect))
    }
}

/// `apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// What to work on.
    #[arg(value_name = "TARGET", help = TARGET_HELP)]
    pub targets: Vec<PathBuf>,
    /// What the rewritten code does.
    #[command(flatten)]
    pub patch: PatchArgs,
    /// The transfer afterwards: auto skips it, and says why, where there is no NIXL
    #[arg(long, value_enum, default_value_t = SmokeWhen::Auto, value_name = "WHEN")]
    pub smoke: SmokeWhen,
    /// How the transfer is made.
    #[command(flatten)]
    pub transfer: TransferArgs,
    /// How results are written.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// Whether `apply` ends with a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SmokeWhen {
    /// When the environment has a NIXL that can do it
    Auto,
    /// Always; exit status 1 when it cannot be made
    Require,
    /// Never
    Off,
}

/// `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// What to work on.
    #[arg(value_name = "TARGET", help = TARGET_HELP)]
    pub targets: Vec<PathBuf>,
    /// What the rewritten code does.
    #[command(flatten)]
    pub patch: PatchArgs,
    /// How results are written.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `revert`.
#[derive(Debug, Args)]
pub struct RevertArgs {
    /// What to work on.
    #[arg(value_name = "TARGET", help = TARGET_HELP)]
    pub targets: Vec<PathBuf>,
    /// How results are written.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// `smoke`.
#[derive(Debug, Args)]
pub struct SmokeArgs {
    /// Whose NIXL to use.
    #[arg(value_name = "TARGET", help = SMOKE_TARGET_HELP)]
    pub target: Option<PathBuf>,
    /// The transfer between two machines.
    #[command(flatten)]
    pub machines: MachinesArgs,
    /// How the transfer is made.
    #[command(flatten)]
    pub transfer: TransferArgs,
    /// How results are written.
    #[command(flatten)]
    pub output: OutputArgs,
}

/// A number of bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hint = "write bytes, or a number with K, M or G: 65536, 64K, 64M, 1G";
        let upper = text.trim().to_ascii_uppercase();
        let body = upper.strip_suffix("IB").or_else(|| upper.strip_suffix('B')).unwrap_or(&upper);
        let (digits, shift) = match body.as_bytes().last() {
            Some(b'K') => (&body[..body.len() - 1], 10),
            Some(b'M') => (&body[..body.len() - 1], 20),
            Some(b'G') => (&body[..body.len() - 1], 30),
            _ => (body, 0),
        };
        let number: u64 = digits.parse().map_err(|_| hint.to_string())?;
        let bytes = number.checked_mul(1 << shift).ok_or("too large")?;
        if !(1..=1 << 40).contains(&bytes) {
            return Err("between 1 byte and 1 TiB".into());
        }
        Ok(ByteSize(bytes))
    }
}

/// How long something may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(pub Duration);

impl FromStr for Deadline {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hint = "write seconds, or a number with ms, s or m: 60, 500ms, 2m";
        let text = text.trim();
        let (digits, unit_ms) = if let Some(digits) = text.strip_suffix("ms") {
            (digits, 1.0)
        } else if let Some(digits) = text.strip_suffix('s') {
            (digits, 1000.0)
        } else if let Some(digits) = text.strip_suffix('m') {
            (digits, 60_000.0)
        } else {
            (text, 1000.0)
        };
        let number: f64 = digits.trim().parse().map_err(|_| hint.to_string())?;
        let milliseconds = number * unit_ms;
        if !(1.0..=86_400_000.0).contains(&milliseconds) {
            return Err("between 1 ms and 24 hours".into());
        }
        Ok(Deadline(Duration::from_secs_f64(milliseconds / 1000.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!("64M".parse(), Ok(ByteSize(64 << 20)));
        assert_eq!("1GiB".parse(), Ok(ByteSize(1 << 30)));
        assert_eq!("512".parse(), Ok(ByteSize(512)));
        for wrong in ["", "0", "-1", "M", "1T", "1.5M", "9999999999G"] {
            assert!(wrong.parse::<ByteSize>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn deadlines_have_units() {
        assert_eq!("1ms".parse(), Ok(Deadline(Duration::from_millis(1))));
        assert_eq!("2m".parse(), Ok(Deadline(Duration::from_secs(120))));
        assert_eq!("1.5".parse(), Ok(Deadline(Duration::from_millis(1500))));
        for wrong in ["", "0", "-1s", "NaN", "inf", "99999999m"] {
            assert!(wrong.parse::<Deadline>().is_err(), "{wrong}");
        }
    }
}
