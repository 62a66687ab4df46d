//! The whole command line, in one place. What clap shows is in the doc comments: a verb first, no full stop at the end
//! of a one-liner.

use std::ffi::OsString;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::{Result, bail};
use clap::error::ErrorKind;
use clap::{ArgAction, Args, ColorChoice, CommandFactory, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;

use crate::choice::backend::{self, Backend};
use crate::choice::rule::{EnvVar, OnUnknown, Rule};
use crate::doctor::question::{Fabric, Question};
use crate::patching::{Expectation, Selection};
use crate::shown::Shown;
use crate::smoke::janitor::JANITOR_COMMAND;
use crate::smoke::launch::load_command::LOAD_COMMAND;
use crate::smoke::launch::worker_command::WORKER_COMMAND;
use crate::smoke::meeting::address::Address;
use crate::smoke::plan::engine::EngineChoice;
use crate::smoke::plan::fabric::RequiredFabric;
use crate::smoke::plan::fault::Fault;
use crate::smoke::plan::memory::Memory;
use crate::smoke::plan::options::TransferOptions;
use crate::smoke::two_machines::End;

const EXAMPLES: &str = "\
Examples:
  # Show what would change
  nixl-retrofit check
  # Patch, show the diff, prove the backend
  nixl-retrofit apply /opt/dynamo/venv
  # Fail an image build unless the transfer passes
  nixl-retrofit apply --smoke require
  # Test two backends without patching
  NIXL_BACKEND=LIBFABRIC,UCX nixl-retrofit smoke
  # Restore the original bytes
  nixl-retrofit revert /opt/dynamo/venv

Exit status:
  0  nothing is wrong
  1  check would change a file or found an unfinished change; or files were
     changed and something after that failed, such as the transfer
  2  the run could not start or finish its work, and changed nothing";

const TARGET_HELP: &str = "A file, a package or site-packages folder, a virtual environment, a Python interpreter, `-` (a Python \
source from standard input to standard output); for Rust a `.rs` file, or the folder of dynamo-llm or of its Cargo workspace \
[default: the first of $VIRTUAL_ENV, the python3 on PATH (absolute entries only) and \
/opt/dynamo/venv that has Dynamo]";

const ROOT_HELP: &str = "A virtual environment, a Python interpreter, a site-packages or any other folder, a source \
checkout, or a file [default: the first of $VIRTUAL_ENV, the python3 on PATH (absolute entries only) and \
/opt/dynamo/venv that has NIXL or Dynamo]";

const SMOKE_TARGET_HELP: &str = "A virtual environment, a Python interpreter, a site-packages folder, a file in one, \
or the folder or a library of a NIXL \
[default: the first of $VIRTUAL_ENV, the python3 on PATH (absolute entries only) and /opt/dynamo/venv that has NIXL]";

/// Make an installed NVIDIA Dynamo honour NIXL_BACKEND, and prove with a real transfer that the backend works
#[derive(Debug, Parser)]
#[command(name = "nixl-retrofit", version, long_version = env!("NIXL_RETROFIT_VERSION"), after_help = EXAMPLES, max_term_width = 110)]
pub struct Cli {
    /// Start no interpreter of a target: read its import path from its files, and do not check the inserted helper in it
    #[arg(long, global = true, display_order = 900)]
    pub no_exec: bool,
    /// How to report.
    #[command(flatten)]
    pub output: OutputArgs,
    /// The subcommand.
    #[command(subcommand)]
    pub command: Command,
}

/// The subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Rewrite, show the diff, write, then run the smoke transfer
    #[command(after_help = "\
Examples:
  # In a Dockerfile, after RUN
  nixl-retrofit apply --smoke require
  # Patch without a transfer
  nixl-retrofit apply --smoke off /opt/dynamo/venv/bin/python3
  # Raise ValueError for any name but UCX
  nixl-retrofit apply --allow UCX --on-unknown error __init__.py
  # Leave Dynamo's other modules
  nixl-retrofit apply --only nixl_connect
  # Patch other packages and files too
  nixl-retrofit apply --also vllm --also ./connector.py
  # Patch the Rust end before it is compiled
  nixl-retrofit apply lib/llm
  # Patch a source without a file
  nixl-retrofit apply - < __init__.py > patched.py")]
    Apply(ApplyArgs),
    /// Show the diff and write nothing; exit with status 1 when a file would change
    #[command(after_help = "\
Examples:
  # Stop a script unless the image is patched
  nixl-retrofit check || echo 'the image is not patched'
  # Does the patch apply to a new base?
  nixl-retrofit check --expect original
  # Keep the diff, and apply it elsewhere
  nixl-retrofit check > nixl.patch; patch -d site-packages -p1 < nixl.patch
  # Read the result in a script
  nixl-retrofit check --output-format json | jq '.files[].status'")]
    Check(CheckArgs),
    /// Restore the original bytes of all files patched in TARGET and verify their SHA-256
    #[command(after_help = "\
Examples:
  # Restore Dynamo's modules and everything else that was patched there
  nixl-retrofit revert /opt/dynamo/venv
  # A file outside of the environment too
  nixl-retrofit revert --also ./connector.py
  # Print the original of a patched source
  nixl-retrofit revert - < patched.py > original.py")]
    Revert(RevertArgs),
    /// List every place in a tree that chooses a NIXL backend, and how
    #[command(after_help = "\
Examples:
  # Look at the default environment's site-packages
  nixl-retrofit audit
  # Stop a script where a place ignores every setting
  nixl-retrofit audit /opt/dynamo/venv || echo 'NIXL_BACKEND is ignored'
  # Look at a source checkout
  nixl-retrofit audit ~/src/vllm
  # List the places in a script
  nixl-retrofit audit --output-format json | jq '.audit.places[].class'

Exit status:
  0  nothing ignores every setting
  1  something does
  2  nothing was found to look at")]
    Audit(AuditArgs),
    /// Say what would be loaded here, what can work, and why not
    #[command(after_help = "\
Examples:
  # Look at the default environment
  nixl-retrofit doctor
  # Ask about one backend over one fabric
  nixl-retrofit doctor /opt/dynamo/venv --backend LIBFABRIC --fabric efa
  # On the instance: expect devices and driver too
  nixl-retrofit doctor --expect-node
  # Explain a finding
  nixl-retrofit doctor --explain two-libibverbs
  # Read the verdicts in a script
  nixl-retrofit doctor --output-format json | jq '.doctor.verdicts'

Exit status:
  0  nothing is wrong
  1  something is
  2  there is no NIXL to look at")]
    Doctor(DoctorArgs),
    /// Run the smoke transfer alone, with the NIXL of an environment
    #[command(after_help = "\
Examples:
  # Test the backends that NIXL_BACKEND chooses
  nixl-retrofit smoke
  # Test one backend
  nixl-retrofit smoke --backend UCX /opt/dynamo/venv
  # Move more bytes, and say what the workers got
  UCX_TLS=tcp nixl-retrofit smoke --size 256M -v
  # Fail unless EFA carried the bytes
  nixl-retrofit smoke --backend LIBFABRIC --require-fabric efa
  # Transfer from GPU memory to GPU memory
  nixl-retrofit smoke --memory vram:0
  # Read the result in a script
  nixl-retrofit smoke --output-format json | jq '.smoke | {status, fabric}'

Between two machines that have the same token in a file:
  # On node-a, after: openssl rand -hex 32 > token
  nixl-retrofit smoke --listen 0.0.0.0:7000 --token-file token
  # On node-b, with a copy of that file
  nixl-retrofit smoke --connect node-a:7000 --token-file token --backend UCX
Both ends print the same result. The connecting end chooses the backends, the
size and the iterations unless the listening end names them. The shorter
--timeout and the stricter --require-fabric count.")]
    Smoke(SmokeArgs),
    /// Print a completion script for a shell
    #[command(after_help = "\
Example:
  # For every user of this machine
  nixl-retrofit completions bash > /etc/bash_completion.d/nixl-retrofit")]
    Completions {
        /// Write the script for this shell
        shell: Shell,
    },
    /// Print the manual page, of the program or of a subcommand
    #[command(after_help = "\
Examples:
  # Install the program's page
  nixl-retrofit man > /usr/share/man/man1/nixl-retrofit.1
  # Read a subcommand's page
  nixl-retrofit man smoke | man -l -")]
    Man {
        /// Print this subcommand's page [default: the program's]
        #[arg(value_name = "COMMAND")]
        command: Option<String>,
    },
    /// Run one side of a transfer (started by the supervisor, never by hand)
    #[command(name = WORKER_COMMAND, hide = true)]
    SmokeWorker,
    /// Remove what the workers of a transfer leave behind (started by the supervisor, never by hand)
    #[command(name = JANITOR_COMMAND, hide = true)]
    SmokeJanitor,
    /// Load one library and say what the loader says (started by doctor, never by hand)
    #[command(name = LOAD_COMMAND, hide = true)]
    LoadLibrary {
        /// What the answer follows.
        mark: String,
        /// The library.
        library: PathBuf,
    },
}

/// Options of every subcommand, before or after it.
#[derive(Clone, Debug, Args)]
pub struct OutputArgs {
    /// Write the report to standard output in this format
    #[arg(long, global = true, value_enum, default_value_t = OutputFormat::Text, value_name = "FORMAT", display_order = 901)]
    pub output_format: OutputFormat,
    /// Colour the output; auto: on a terminal, or as NO_COLOR, FORCE_COLOR and CLICOLOR_FORCE say
    #[arg(long, global = true, default_value_t = ColorChoice::Auto, value_name = "WHEN", display_order = 902)]
    pub color: ColorChoice,
    /// Show how the file was found, what was checked and what the worker processes got
    #[arg(short, long, global = true, action = ArgAction::Count, display_order = 903)]
    pub verbose: u8,
    /// Print errors and failed transfers only
    #[arg(short, long, global = true, display_order = 904)]
    pub quiet: bool,
}

/// The formats of the report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people
    Text,
    /// One document, for programs
    Json,
    /// Workflow commands that annotate files, and a summary in $GITHUB_STEP_SUMMARY
    Github,
    /// SARIF 2.1.0, for code scanning
    Sarif,
}

/// What the patched code does.
#[derive(Clone, Debug, Args)]
pub struct PatchArgs {
    /// Use this backend when the variable is unset, blank or names no allowed backend
    #[arg(long, default_value_t = Backend::Ucx, value_name = "NAME")]
    pub default_backend: Backend,
    /// Allow the variable to name these backends
    #[arg(long, value_delimiter = ',', default_values_t = Backend::ALL, value_name = "NAME,NAME")]
    pub allow: Vec<Backend>,
    /// Handle any other name in the variable this way
    #[arg(long, value_enum, default_value_t = OnUnknown::Fallback, value_name = "WHAT")]
    pub on_unknown: OnUnknown,
    /// Read this environment variable when an agent is created
    #[arg(long, default_value_t = EnvVar::default(), value_name = "NAME")]
    pub env_var: EnvVar,
    /// Refuse to rewrite a source that no release of Dynamo known to this version has, with exit status 2
    #[arg(long)]
    pub known_only: bool,
}

/// Which files are patched.
#[derive(Clone, Debug, Args)]
pub struct FileArgs {
    /// Of Dynamo's own modules that create NIXL agents, process this one only [default: nixl_connect and
    /// common.multimodal.embedding_transfer]
    #[arg(long, value_enum, value_name = "MODULE")]
    pub only: Option<Only>,
    /// Process these sources too: a package or distribution of the environment (vllm), a folder or a file; or block-manager, the UCX of dynamo-llm's block manager; repeatable. In
    /// them, too, only calls that ignore every setting are rewritten
    #[arg(long, value_name = "NAME|PATH")]
    pub also: Vec<String>,
}

/// One of Dynamo's own modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Only {
    /// `dynamo.nixl_connect`
    #[value(name = "nixl_connect")]
    NixlConnect,
}

impl FileArgs {
    /// The files that these options select.
    pub(crate) fn selection(&self) -> Selection<'_> {
        let only_nixl_connect = self.only == Some(Only::NixlConnect);
        Selection { only_nixl_connect, also: &self.also, known_only: false }
    }
}

impl PatchArgs {
    /// The rule that these options describe.
    ///
    /// # Errors
    /// If the default backend is not an allowed one.
    pub fn rule(&self) -> Result<Rule> {
        if !self.allow.contains(&self.default_backend) {
            let (default, allowed) = (self.default_backend, backend::list(&self.allow));
            bail!(
                "`--default-backend {default}` is not one of `--allow {allowed}`\nhelp: add `{default}` to `--allow`, or \
                 choose another default"
            );
        }
        Ok(Rule {
            variable: self.env_var.clone(),
            default: self.default_backend,
            allowed: self.allow.clone(),
            on_unknown: self.on_unknown,
        })
    }
}

/// What to transfer, and how.
#[derive(Clone, Debug, Args)]
pub struct TransferArgs {
    /// Test these backends [default: those that the patched code would choose now]. Of several, test each alone, then
    /// two agents with all of them, then an agent with all of them against one with UCX alone
    #[arg(long, value_delimiter = ',', value_name = "NAME,NAME")]
    pub backend: Vec<Backend>,
    /// Give the target these backends [default: those of --backend]. LIBFABRIC,UCX against UCX is Dynamo's frontend
    /// media loader
    #[arg(long, value_delimiter = ',', value_name = "NAME,NAME")]
    pub peer_backend: Vec<Backend>,
    /// Move the bytes with the installed NIXL, or with UCX or libfabric directly; auto: NIXL if it has a C API
    #[arg(long, value_enum, default_value_t = EngineChoice::Auto, value_name = "ENGINE")]
    pub engine: EngineChoice,
    /// Put the payload into host memory (dram) or into the memory of a GPU (vram, vram:N), on both sides. GPU memory
    /// needs NVIDIA's driver, which a container build does not have
    #[arg(long, default_value_t = Memory::Dram, value_name = "MEMORY")]
    pub memory: Memory,
    /// Move this many bytes in each direction; K, M, G and T are powers of 1024 [default: 64M]
    #[arg(long, value_name = "BYTES")]
    pub size: Option<ByteSize>,
    /// Divide the payload among this many large messages in each direction [default: 4]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub iterations: Option<u32>,
    /// Limit one transfer to this time, in seconds or with ms, s, m, h; limit the wait for the peer too, with --listen and
    /// --connect
    #[arg(long, default_value = "60s", value_name = "TIME")]
    pub timeout: Deadline,
    /// Load NIXL's plugins from this folder [default: $NIXL_PLUGIN_DIR, or the installed NIXL's own]
    #[arg(long, value_name = "DIR")]
    pub plugin_dir: Option<PathBuf>,
    /// Search this folder first for libfabric, libcudart and libhwloc; repeatable. Then follow LD_LIBRARY_PATH, the
    /// loader's own places (ldconfig), /opt/amazon/efa/lib and lib64, /usr/local/cuda*/lib64, and the folders
    /// nvidia/*/lib and PREFIX/lib of the environment's wheels
    #[arg(long, value_name = "DIR")]
    pub library_path: Vec<PathBuf>,
    /// Fail unless this fabric carried the bytes, as the running library states it. Of several backends, this concerns
    /// the first one alone and the agents with all of them
    #[arg(long, value_enum, default_value_t = RequiredFabric::Any, value_name = "FABRIC")]
    pub require_fabric: RequiredFabric,
    /// Make one worker commit this fault (for tests)
    #[arg(long, hide = true, value_name = "FAULT")]
    pub fault: Option<Fault>,
}

impl TransferArgs {
    /// What these options ask for.
    ///
    /// # Errors
    /// If they contradict each other, or name a folder that does not exist.
    pub fn options(&self) -> Result<TransferOptions> {
        if self.engine == EngineChoice::Native && !self.peer_backend.is_empty() {
            bail!(
                "`--peer-backend` needs NIXL's agents, and `--engine native` creates none\nhelp: drop one of the two"
            );
        }
        let named = self.plugin_dir.iter().map(|folder| ("--plugin-dir", folder));
        for (option, folder) in named.chain(self.library_path.iter().map(|folder| ("--library-path", folder))) {
            if !folder.is_dir() {
                bail!("`{option} {}`: no such directory", folder.shown());
            }
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
    /// Be the target: wait at this address for exactly one peer, until --timeout is over; port 0 is any free one.
    /// An address other than a loopback one needs a token
    #[arg(long, group = "end", value_name = "ADDR:PORT")]
    pub listen: Option<Address>,
    /// Be the initiator: connect to the machine that listens there. It may start later, until --timeout is over
    #[arg(long, group = "end", value_name = "ADDR:PORT")]
    pub connect: Option<Address>,
    /// Read the shared secret from this file [default: the value of $NIXL_RETROFIT_TOKEN]. It is never sent: each end
    /// proves that it has it. A newline at its end is ignored
    #[arg(long, requires = "end", value_name = "FILE")]
    pub token_file: Option<PathBuf>,
}

impl Cli {
    /// The subcommands' names.
    pub(crate) const COMMANDS: [&str; 8] =
        ["apply", "check", "revert", "audit", "doctor", "smoke", "completions", "man"];

    /// Parses a command line, the program's name first.
    ///
    /// # Errors
    /// If it is not one, or asks for help or the version.
    pub fn parsed(arguments: &[OsString]) -> Result<Cli, clap::Error> {
        let cli = Cli::try_parse_from(arguments).map_err(|error| match error.kind() {
            // clap's own message lists the hidden ones too.
            ErrorKind::MissingSubcommand => {
                Cli::command().error(ErrorKind::MissingSubcommand, "a subcommand is missing")
            }
            _ => error,
        })?;
        // clap looks for conflicts among the options on one side of the subcommand.
        if cli.output.quiet && cli.output.verbose > 0 {
            let message = "the argument '--quiet' cannot be used with '--verbose'";
            return Err(Cli::command().error(ErrorKind::ArgumentConflict, message));
        }
        Ok(cli)
    }
}

impl MachinesArgs {
    /// Which end this is; None if both are on this machine.
    pub fn end(&self) -> Option<End> {
        let listen = self.listen.clone().map(End::Listen);
        listen.or_else(|| self.connect.clone().map(End::Connect))
    }
}

/// `apply`.
#[derive(Debug, Args)]
pub struct ApplyArgs {
    /// The targets.
    #[arg(value_name = "TARGET", help = TARGET_HELP)]
    pub targets: Vec<PathBuf>,
    /// Which files.
    #[command(flatten)]
    pub files: FileArgs,
    /// What the patched code does.
    #[command(flatten)]
    pub patch: PatchArgs,
    /// Run the smoke transfer afterwards
    #[arg(long, value_enum, default_value_t = SmokeWhen::Auto, value_name = "WHEN")]
    pub smoke: SmokeWhen,
    /// What to transfer, and how.
    #[command(flatten)]
    pub transfer: TransferArgs,
}

/// Whether `apply` ends with a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SmokeWhen {
    /// Run it if the environment has a NIXL that can do it, and report why not otherwise
    Auto,
    /// Run it, and exit with status 1 if it cannot be made
    Require,
    /// Do not run it
    Off,
}

/// `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    /// The targets.
    #[arg(value_name = "TARGET", help = TARGET_HELP)]
    pub targets: Vec<PathBuf>,
    /// Which files.
    #[command(flatten)]
    pub files: FileArgs,
    /// What the patched code does.
    #[command(flatten)]
    pub patch: PatchArgs,
    /// Exit with status 0 if the files are as expected, else with 1; an unfinished change is never expected
    #[arg(long, value_enum, default_value_t = Expectation::Patched, value_name = "WHAT")]
    pub(crate) expect: Expectation,
}

/// `revert`.
#[derive(Debug, Args)]
pub struct RevertArgs {
    /// The targets.
    #[arg(value_name = "TARGET", help = TARGET_HELP)]
    pub targets: Vec<PathBuf>,
    /// Which files.
    #[command(flatten)]
    pub files: FileArgs,
}

/// `audit`.
#[derive(Debug, Args)]
pub struct AuditArgs {
    /// The trees.
    #[arg(value_name = "ROOT", help = ROOT_HELP)]
    pub roots: Vec<PathBuf>,
}

/// `doctor`.
#[derive(Debug, Args)]
pub struct DoctorArgs {
    /// The environment to look at.
    #[arg(value_name = "TARGET", help = SMOKE_TARGET_HELP)]
    pub target: Option<PathBuf>,
    /// Look only at what this backend needs; several with commas
    #[arg(long, value_delimiter = ',', value_name = "NAME,NAME")]
    pub backend: Vec<Backend>,
    /// Look only at what this fabric needs
    #[arg(long, value_enum, value_name = "FABRIC")]
    pub fabric: Option<DoctorFabric>,
    /// Judge as for the node: what the machine lacks is wrong too
    #[arg(long)]
    pub expect_node: bool,
    /// Read files only; load no library to confirm what they say
    #[arg(long)]
    pub no_load: bool,
    /// Print the page about a finding, or list all of them, and look at nothing
    #[arg(long, value_name = "ID", num_args = 0..=1, default_missing_value = "", conflicts_with_all = ["target", "backend", "fabric", "expect_node", "no_load", "fix", "undo", "compare"])]
    pub explain: Option<String>,
    /// Write the cure of these findings, where it is a link or a configuration file of its own: two-libibverbs,
    /// capi-not-on-loader-path, record-out-of-date; then look again
    #[arg(long, value_name = "ID", num_args = 1.., value_delimiter = ',')]
    pub fix: Vec<String>,
    /// Take back what --fix wrote; then look again
    #[arg(long, conflicts_with = "fix")]
    pub undo: bool,
    /// Hold this environment against the other end of the wire: the report of doctor --output-format json there
    #[arg(long, value_name = "REPORT.json")]
    pub compare: Option<PathBuf>,
}

/// A fabric that `doctor` is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DoctorFabric {
    /// Amazon's EFA
    Efa,
    /// InfiniBand or RoCE
    Rdma,
}

impl DoctorArgs {
    /// What is asked.
    pub(crate) fn question(&self) -> Question {
        Question {
            backends: self.backend.clone(),
            fabric: self.fabric.map(|fabric| match fabric {
                DoctorFabric::Efa => Fabric::Efa,
                DoctorFabric::Rdma => Fabric::Rdma,
            }),
            expect_node: self.expect_node,
            load: !self.no_load,
        }
    }
}

/// `smoke`.
#[derive(Debug, Args)]
pub struct SmokeArgs {
    /// The environment with the NIXL to use.
    #[arg(value_name = "TARGET", help = SMOKE_TARGET_HELP)]
    pub target: Option<PathBuf>,
    /// The transfer between two machines.
    #[command(flatten)]
    pub machines: MachinesArgs,
    /// What to transfer, and how.
    #[command(flatten)]
    pub transfer: TransferArgs,
}

/// A number of bytes, from 1 to 2^40.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ByteSize(pub u64);

impl FromStr for ByteSize {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hint = "expected bytes, or a number with K, M, G or T: 65536, 64K, 64M, 1G";
        let upper = text.trim().to_ascii_uppercase();
        let body = upper.strip_suffix("IB").or_else(|| upper.strip_suffix('B')).unwrap_or(&upper);
        let (digits, shift) = match body.as_bytes().last() {
            Some(b'K') => (&body[..body.len() - 1], 10),
            Some(b'M') => (&body[..body.len() - 1], 20),
            Some(b'G') => (&body[..body.len() - 1], 30),
            Some(b'T') => (&body[..body.len() - 1], 40),
            _ => (body, 0),
        };
        let number: u64 = digits.parse().map_err(|_| hint.to_string())?;
        let bytes = number.checked_mul(1 << shift).ok_or("expected 1 byte to 1 TiB")?;
        if !(1..=1 << 40).contains(&bytes) {
            return Err("expected 1 byte to 1 TiB".into());
        }
        Ok(ByteSize(bytes))
    }
}

/// A time limit, from 1 ms to 24 hours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Deadline(pub Duration);

impl FromStr for Deadline {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let hint = "expected seconds, or a number with ms, s, m or h: 60, 500ms, 2m, 1h";
        let text = text.trim();
        let (digits, unit_ms) = if let Some(digits) = text.strip_suffix("ms") {
            (digits, 1.0)
        } else if let Some(digits) = text.strip_suffix('s') {
            (digits, 1000.0)
        } else if let Some(digits) = text.strip_suffix('m') {
            (digits, 60_000.0)
        } else if let Some(digits) = text.strip_suffix('h') {
            (digits, 3_600_000.0)
        } else {
            (text, 1000.0)
        };
        let number: f64 = digits.trim().parse().map_err(|_| hint.to_string())?;
        let milliseconds = number * unit_ms;
        if !(1.0..=86_400_000.0).contains(&milliseconds) {
            return Err("expected 1 ms to 24 hours".into());
        }
        Ok(Deadline(Duration::from_secs_f64(milliseconds / 1000.0)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!("64M".parse(), Ok(ByteSize(64 << 20)));
        assert_eq!("1GiB".parse(), Ok(ByteSize(1 << 30)));
        assert_eq!("512".parse(), Ok(ByteSize(512)));
        assert_eq!("1T".parse(), Ok(ByteSize(1 << 40)));
        for wrong in ["", "0", "-1", "M", "2T", "1.5M", "9999999999G"] {
            assert!(wrong.parse::<ByteSize>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn deadlines_have_units() {
        assert_eq!("1ms".parse(), Ok(Deadline(Duration::from_millis(1))));
        assert_eq!("2m".parse(), Ok(Deadline(Duration::from_secs(120))));
        assert_eq!("24h".parse(), Ok(Deadline(Duration::from_secs(86_400))));
        assert_eq!("1.5".parse(), Ok(Deadline(Duration::from_millis(1500))));
        for wrong in ["", "0", "-1s", "NaN", "inf", "99999999m", "25h", "h"] {
            assert!(wrong.parse::<Deadline>().is_err(), "{wrong}");
        }
    }
}
