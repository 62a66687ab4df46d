//! The tables: which room may know which, and the few stated exceptions.

/// A room and the rooms that it may use. Naming a folder's room includes the rooms in it.
pub(crate) struct Row {
    /// The room by its module path.
    pub room: &'static str,
    /// The rooms that it may use, besides itself, with blanks between.
    may_use: &'static str,
}

/// A file that must not know a room, its inner rooms excepted, that the rest of its own room may know.
pub(crate) struct Narrower {
    /// The file below src/.
    pub file: &'static str,
    /// The room.
    pub never: &'static str,
    /// Why.
    pub why: &'static str,
}

/// A file that may print or exit although it lies outside `commands`.
pub(crate) struct Exception {
    /// The file below src/.
    pub file: &'static str,
    /// The macro, or the function by its full path.
    pub what: &'static str,
    /// Why.
    pub why: &'static str,
}

impl Row {
    /// The rooms that it may use, besides itself.
    pub(crate) fn may_use(&self) -> impl Iterator<Item = &'static str> {
        self.may_use.split_whitespace().chain(std::iter::once(SHOWN).filter(|shown| self.room != *shown))
    }
}

const fn row(room: &'static str, may_use: &'static str) -> Row {
    Row { room, may_use }
}

/// Pure: a name from outside as a part of one line. Every room may use it, and shows names with it.
const SHOWN: &str = "shown";

/// Files in which `Path::display` is right: (file below src/, why).
pub(crate) const DISPLAYED: &[(&str, &str)] = &[
    ("doctor/machine.rs", "values of the JSON document, which has names as they are"),
    ("doctor/repair.rs", "a line of a file of the dynamic loader"),
    ("environment/elf/loader.rs", "a part of another path"),
    ("patching/selected.rs", "compared with a name"),
    ("smoke/engine/cuda.rs", "a path that the supervisor gets from a worker"),
    ("smoke/engine/libfabric/mod.rs", "a path that the supervisor gets from a worker"),
    ("smoke/engine/loaded.rs", "a path that the supervisor gets from a worker"),
    ("smoke/engine/ucp/mod.rs", "a path that the supervisor gets from a worker"),
];

/// The name that `main.rs` has for the library.
pub(crate) const LIBRARY: &str = "nixl_retrofit";

/// From the top of the house down.
pub(crate) const ROOMS: &[Row] = &[
    row("main", "lib cli commands exit_status"),
    // Fuzz targets and benches reach the rooms through the library.
    row(
        "lib",
        "cli commands fuzzing patching audit doctor advice smoke python rust rewriting environment source choice report releases \
         exit_status threads",
    ),
    row(
        "commands",
        "cli patching audit doctor advice smoke python rust environment source choice report exit_status threads",
    ),
    // Fills the rooms' own options; no room imports it.
    row("cli", "patching audit doctor advice smoke python rust environment source choice report exit_status"),
    // One function a fuzz target, which no room imports.
    row("fuzzing", "python rust rewriting environment source choice report threads"),
    // `audit`: of the packages that `--also` names, what their modules bind.
    row("patching", "audit python rust rewriting environment source choice report releases threads"),
    // `advice`: audit's findings have the identifiers that `doctor --explain` explains.
    row("audit", "advice python rust environment source choice report threads"),
    // `python`, `rust`: which backend the target's own file would choose.
    row("doctor", "advice smoke python rust environment source choice report threads"),
    // The rooms of smoke, declared. No room of smoke imports it.
    row(
        "smoke",
        "smoke::two_machines smoke::series smoke::subject smoke::transfer smoke::judge smoke::ending smoke::supervise smoke::meeting smoke::worker \
         smoke::engine smoke::janitor smoke::launch smoke::observe smoke::wire smoke::plan",
    ),
    // Finds the peer with `meeting`, then has the agreed transfers made.
    row("smoke::two_machines", "smoke::series smoke::transfer smoke::meeting smoke::plan environment choice report"),
    // What Dynamo does here, as files tell: of the environment, of its module, and in findings.
    row("smoke::subject", "smoke::plan advice python environment source choice report threads"),
    row(
        "smoke::series",
        "smoke::transfer smoke::judge smoke::ending smoke::meeting smoke::launch smoke::observe smoke::wire \
         smoke::plan smoke::payload environment choice report",
    ),
    // Supervises, then judges. Of the engines it knows how a thread is scheduled beside theirs, and tells supervise.
    row(
        "smoke::transfer",
        "smoke::supervise smoke::judge smoke::ending smoke::meeting smoke::launch smoke::observe smoke::wire \
         smoke::plan smoke::payload smoke::engine::schedule smoke::janitor environment choice report threads",
    ),
    row(
        "smoke::judge",
        "smoke::ending smoke::janitor smoke::launch smoke::observe smoke::wire smoke::plan advice environment choice report",
    ),
    row(
        "smoke::supervise",
        "smoke::ending smoke::meeting smoke::launch smoke::observe smoke::wire smoke::plan smoke::payload environment \
         choice report",
    ),
    // Outlives the supervisor, and loads nothing.
    row("smoke::janitor", "smoke::wire smoke::engine::lease"),
    // Handed from supervise to judge, so it knows neither.
    row("smoke::ending", "smoke::wire smoke::plan report"),
    // `report`: a meeting that fails ends in a report.
    row("smoke::meeting", "smoke::wire smoke::plan smoke::payload environment choice report"),
    row("smoke::worker", "smoke::engine smoke::wire smoke::plan smoke::payload report::stage"),
    row("smoke::engine", "smoke::wire smoke::plan smoke::payload choice report::stage report::fabric"),
    // Pure: how the kernel schedules a thread. In the engines' room because it is a foreign call.
    row("smoke::engine::schedule", ""),
    // Likewise: whether a file is in use.
    row("smoke::engine::lease", ""),
    row("smoke::launch", "environment choice"),
    row("smoke::observe", "environment choice report::fabric"),
    // Of `report` the names alone: a new key in the public JSON must not change what two machines say to each other.
    row("smoke::wire", "smoke::plan report::stage report::fabric"),
    row("smoke::plan", "environment choice report::stage report::fabric"),
    // Pure: bytes that follow from a seed, and their comparison.
    row("smoke::payload", "threads"),
    row("advice", "environment choice report"),
    row("python", "rewriting source choice report threads"),
    row("rust", "rewriting source choice report threads"),
    // From a file's marker to its plan, whatever its language.
    row("rewriting", "source choice report"),
    row("environment", "source choice"),
    // `choice`: the marker carries the options of the rule.
    row("source", "choice"),
    row("report", "choice"),
    // Pure: names of stages and fabrics, which everything below the judge may use.
    row("report::stage", ""),
    row("report::fabric", ""),
    row("choice", ""),
    // Pure: the tables of released sources.
    row("releases", ""),
    row("exit_status", ""),
    row("threads", ""),
    row(SHOWN, ""),
];

/// What the design says must never be, held against the table above.
pub(crate) const NEVER: &[(&[&str], &[&str])] = &[
    (&["smoke"], &["cli"]),
    (
        &["smoke::engine", "smoke::worker"],
        &["smoke::supervise", "smoke::judge", "smoke::meeting", "smoke::launch", "smoke::observe"],
    ),
    (&["smoke::supervise"], &["smoke::judge", "smoke::worker", "smoke::engine"]),
    (&["smoke::judge"], &["smoke::supervise", "smoke::meeting", "smoke::worker", "smoke::engine"]),
    (&["smoke::meeting"], &["smoke::supervise", "smoke::judge", "smoke::launch", "smoke::worker", "smoke::engine"]),
    (
        &["environment", "source", "choice", "report"],
        &[
            "main", "lib", "cli", "commands", "patching", "audit", "doctor", "advice", "smoke", "python", "rust",
            "threads",
        ],
    ),
    (&["python", "rust"], &["cli", "environment", "smoke"]),
];

/// Narrower than the room's own row.
pub(crate) const NARROWER: &[Narrower] = &[Narrower {
    file: "smoke/meeting/message.rs",
    never: "report",
    why: "the format between machines is not the public JSON",
}];

/// Where unsafe code is: what calls libraries, and what takes several words of the payload at a time.
pub(crate) const UNSAFE: [&str; 2] = ["smoke/engine/", "smoke/payload/vectors.rs"];

/// Programs of their own, which build.rs compiles: no module of this one declares them, and no rule here reads them.
pub(crate) const OTHER_PROGRAMS: &[&str] = &["python/unicode_names2/lib.rs", "smoke/launch/cuda_stand_in/libcuda.rs"];

/// Who prints and exits.
pub(crate) const SPEAKERS: &[&str] = &["main.rs", "commands/"];

/// Who else may, and why: each row is used, or the test fails.
pub(crate) const EXCEPTIONS: &[Exception] = &[
    Exception {
        file: "smoke/engine/process.rs",
        what: "libc::_exit",
        why: "a worker that is done, or has no supervisor, ends before a vendor library's destructor can hang",
    },
    Exception {
        file: "smoke/worker/target.rs",
        what: "std::process::exit",
        why: "a fault on purpose: the tests' stand-in for a library that calls exit()",
    },
    Exception {
        file: "smoke/worker/target.rs",
        what: "std::process::abort",
        why: "a fault on purpose: the tests' stand-in for a library that crashes",
    },
    Exception {
        file: "smoke/worker/target.rs",
        what: "std::io::stderr",
        why: "a fault on purpose: the tests' stand-in for a library that floods its output",
    },
];

/// Macros that print.
pub(crate) const PRINTING: &[&str] = &["print", "println", "eprint", "eprintln", "dbg"];

/// Functions that print or end the process.
pub(crate) const ENDING: &[&str] = &[
    "std::io::stdout",
    "std::io::stderr",
    "std::process::exit",
    "std::process::abort",
    "rustix::stdio::stdout",
    "rustix::stdio::stderr",
    "libc::exit",
    "libc::_exit",
    "libc::abort",
];

/// Names of values with a type of their own, which are never compared with a string's literal.
pub(crate) const TYPED: &[&str] = &["stage", "fabric", "status"];

/// The row of a module, by its path: the innermost room. What lies in smoke/ lies in one of its rooms.
pub(crate) fn row_of(module: &str) -> Option<&'static Row> {
    let fits = |row: &&Row| is_inside(module, row.room) && (row.room != "smoke" || module == "smoke");
    ROOMS.iter().filter(fits).max_by_key(|row| row.room.len())
}

/// Whether a module is that room or lies in it.
pub(crate) fn is_inside(module: &str, room: &str) -> bool {
    module.strip_prefix(room).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Whether a row allows the use of a room.
pub(crate) fn allows(row: &Row, room: &str) -> bool {
    is_inside(room, row.room) || row.may_use().any(|allowed| is_inside(room, allowed))
}
