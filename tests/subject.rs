//! What a smoke transfer tests: what the environment's own Dynamo would do, told by its files; and what it says of the machine
//! and the variables around it.
#![allow(clippy::unwrap_used, reason = "a test may")]

mod common;

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tempfile::TempDir;

use common::{SOURCE, lab, nixl, program, site_packages, status, stderr, stdout};

/// The site-packages folder of an environment.
fn packages_of(environment: &Path) -> PathBuf {
    let lib = fs::read_dir(environment.join("lib")).unwrap().flatten().map(|entry| entry.path().join("site-packages"));
    lib.into_iter().find(|path| path.is_dir()).expect("a site-packages folder")
}

/// The miniature of Dynamo, whose import path also has that real NIXL.
fn with_nixl(version: &str) -> TempDir {
    let site = site_packages();
    fs::write(site.path().join("nixl.pth"), packages_of(&nixl(version)).to_str().unwrap()).unwrap();
    site
}

/// The miniature of Dynamo with these parts of that real NIXL, and what Python says when it imports NIXL there.
fn with_parts(version: &str, parts: &[&str]) -> TempDir {
    let (site, packages) = (site_packages(), packages_of(&nixl(version)));
    for part in parts {
        symlink(packages.join(part), site.path().join(part)).unwrap();
    }
    site
}

/// The last line that real Python prints when it imports NIXL there.
fn import_in_python(site: &Path) -> String {
    let python = lab(&["python"]);
    let mut command = Command::new(&python);
    command
        .args(["-c", "from nixl._api import nixl_agent"])
        .env("PYTHONPATH", site)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    let output = command.output().unwrap();
    stderr(&output).lines().last().unwrap_or_default().to_string()
}

/// Makes of the miniature's call what image builds make of it by hand.
fn by_hand(site: &Path, call: &str) {
    let path = site.join(SOURCE);
    let source = fs::read_to_string(&path).unwrap();
    let own = "self._nixl = nixl_api.nixl_agent(self._name)";
    assert!(source.contains(own), "{source}");
    fs::write(path, source.replace(own, call).replace("import logging\n", "import logging\nimport os as _os\n"))
        .unwrap();
}

/// One run with JSON output.
struct Run {
    status: i32,
    document: Value,
}

impl Run {
    fn of(arguments: &[&str], target: &Path, variables: &[(&str, &str)]) -> Run {
        Run::with(program(), arguments, target, variables)
    }

    /// Runs the program as that command starts it.
    fn with(mut command: Command, arguments: &[&str], target: &Path, variables: &[(&str, &str)]) -> Run {
        command.args(arguments).args(["--size", "64K", "--output-format", "json"]).arg(target);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        let document = serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}\n{}", stdout(&output), stderr(&output)));
        Run { status: status(&output), document }
    }

    #[track_caller]
    fn passed(self, backend: &str) -> Self {
        let smoke = &self.document["smoke"];
        let found = (self.status, smoke["status"].as_str(), smoke["backend"].as_str());
        assert_eq!(found, (0, Some("passed"), Some(backend)), "{:#}", self.document);
        self
    }

    /// The transfer failed at that stage, and its failure has these words.
    #[track_caller]
    fn failed(self, stage: &str, words: &[&str]) -> Self {
        let failure = &self.document["smoke"]["failure"];
        assert_eq!((self.status, failure["stage"].as_str()), (1, Some(stage)), "{:#}", self.document);
        let text = format!("{} {}", failure["message"].as_str().unwrap(), failure["advice"].as_str().unwrap());
        words.iter().for_each(|word| assert!(text.contains(word), "'{word}' is missing in: {text}"));
        self
    }

    /// The finding with this identifier has these words.
    #[track_caller]
    fn tells(self, id: &str, words: &[&str]) -> Self {
        let findings = self.document["findings"].as_array().unwrap();
        let finding = findings.iter().find(|finding| finding["id"] == id);
        let finding = finding.unwrap_or_else(|| panic!("no finding `{id}`: {:#}", self.document)).to_string();
        words.iter().for_each(|word| assert!(finding.contains(word), "'{word}' is missing in: {finding}"));
        self
    }

    #[track_caller]
    fn says_nothing_of(self, id: &str) -> Self {
        let findings = self.document["findings"].as_array().unwrap();
        assert!(!findings.iter().any(|finding| finding["id"] == id), "{:#}", self.document);
        self
    }
}

#[test]
fn names_that_the_patched_code_ignores_are_told_with_the_value_as_it_is() {
    let site = with_nixl("1.5.0");
    for (value, cure) in [
        ("\"UCX\"", "the quotes are part of the value"),
        ("LIBFABRIC;UCX", "NIXL_BACKEND=LIBFABRIC,UCX"),
        ("LIBFABRIC UCX", "NIXL_BACKEND=LIBFABRIC,UCX"),
        ("EFA", "NIXL_BACKEND=LIBFABRIC"),
    ] {
        let run = Run::of(&["apply", "--smoke", "off"], site.path(), &[("NIXL_BACKEND", value)]);
        let written = value.replace('"', "\\\"");
        run.tells("backend-names-ignored", &[&format!("`NIXL_BACKEND` is `{written}`"), "uses `UCX`", cure]);
    }
    let right = Run::of(&["smoke"], site.path(), &[("NIXL_BACKEND", " ucx ,, UCX")]);
    right.passed("UCX").says_nothing_of("backend-names-ignored");
    Run::of(&["smoke"], site.path(), &[("NIXL_BACKEND", "UCX,EFA")])
        .passed("UCX")
        .tells("backend-names-ignored", &["EFA"]);
}

#[test]
fn the_options_that_the_file_was_patched_with_decide_whoever_runs_the_transfer() {
    let site = with_nixl("1.5.0");
    Run::of(&["apply", "--smoke", "off", "--env-var", "MYB", "--allow", "UCX"], site.path(), &[]);
    let variables = [("MYB", "UCX"), ("NIXL_BACKEND", "LIBFABRIC")];
    Run::of(&["smoke"], site.path(), &variables).passed("UCX").tells("another-variable", &["reads `MYB`", "LIBFABRIC"]);
    let run = Run::of(&["smoke"], site.path(), &[("MYB", "LIBFABRIC")]).passed("UCX");
    run.tells("backend-names-ignored", &["`MYB` is `LIBFABRIC`"]);
}

#[test]
fn a_value_for_which_the_patched_code_raises_is_a_failure_in_its_words() {
    let site = with_nixl("1.5.0");
    let variables = [("NIXL_BACKEND", "UCX,EFA")];
    let words = ["ValueError: NIXL Connect: NIXL_BACKEND names unknown backend(s) EFA; supported: UCX, LIBFABRIC"];
    Run::of(&["apply", "--on-unknown", "error"], site.path(), &variables).failed("import", &words);
    Run::of(&["smoke"], site.path(), &variables).failed("import", &words);
    let named = Run::of(&["smoke", "--backend", "UCX"], site.path(), &variables).passed("UCX");
    named.tells("backend-names-rejected", &["warning", "ValueError"]);
    Run::of(&["smoke"], site.path(), &[]).passed("UCX").says_nothing_of("backend-names-rejected");
}

#[test]
fn an_unpatched_file_has_the_default_of_nixl() {
    let site = with_nixl("1.5.0");
    let run = Run::of(&["smoke"], site.path(), &[("NIXL_BACKEND", "LIBFABRIC")]).passed("UCX");
    run.tells("variable-not-read", &["`NIXL_BACKEND`", "`LIBFABRIC`", "nixl-retrofit apply"]);
    Run::of(&["smoke"], site.path(), &[]).passed("UCX").says_nothing_of("variable-not-read");
}

#[test]
fn a_hand_patch_is_tested_as_it_chooses() {
    let site = with_nixl("1.5.0");
    by_hand(
        site.path(),
        "self._nixl = nixl_api.nixl_agent(self._name, nixl_api.nixl_agent_config(backends=[\"UCX\"]))",
    );
    let run = Run::of(&["smoke"], site.path(), &[("NIXL_BACKEND", "LIBFABRIC")]).passed("UCX");
    run.tells("backends-fixed", &["`UCX`", "line 24"]);

    let read = "nixl_api.nixl_agent_config(backends=[_os.environ.get(\"NIXL_BACKEND\", \"UCX\")])";
    let site = with_nixl("1.5.0");
    by_hand(site.path(), &format!("self._nixl = nixl_api.nixl_agent(self._name, {read})"));
    Run::of(&["smoke"], site.path(), &[]).passed("UCX");
    let list = [("NIXL_BACKEND", "LIBFABRIC,UCX")];
    Run::of(&["smoke"], site.path(), &list).failed("import", &["one name", "`LIBFABRIC,UCX`"]);
    Run::of(&["smoke"], site.path(), &[("NIXL_BACKEND", "EFA")]).failed("import", &["asks NIXL for `EFA`"]);

    let site = with_nixl("1.5.0");
    by_hand(site.path(), &format!("self._nixl = nixl_api.nixl_agent(self._name, {})", read.replace("_os.", "os.")));
    let source = fs::read_to_string(site.path().join(SOURCE)).unwrap().replace("os: Any = None, ", "");
    fs::write(site.path().join(SOURCE), source).unwrap();
    Run::of(&["smoke"], site.path(), &[]).failed("import", &["NameError: name 'os' is not defined", "import os"]);

    let site = with_nixl("1.5.0");
    let call = "self._nixl = nixl_api.nixl_agent(self._name, nixl_api.nixl_agent_config(backends=[\"LIBFABRIC\"]))";
    by_hand(site.path(), call);
    let run = Run::of(&["smoke", "--backend", "UCX"], site.path(), &[]).passed("UCX");
    run.tells("not-the-files-choice", &["`--backend UCX`", "`LIBFABRIC`"]);
}

/// What a wheel of NIXL for CUDA 13 consists of, besides the package `nixl`.
const WHEEL: [&str; 3] = ["nixl_cu13", ".nixl_cu13.mesonpy.libs", "nixl_cu13.libs"];

#[track_caller]
fn fails_as_in_python(site: &Path, cure: &str) {
    let words = import_in_python(site);
    assert!(words.contains("Error: "), "{words}");
    Run::of(&["smoke"], site, &[]).failed("import", &[&words, cure]);
    Run::of(&["apply", "--smoke", "require"], site, &[]).failed("import", &[&words, cure]);
    Run::of(&["apply"], site, &[])
        .passed("UCX")
        .tells("nixl-import-fails", &["warning", "fails in this environment's Python"]);
}

#[test]
fn a_nixl_that_python_cannot_import_fails_the_transfer_in_pythons_words() {
    fails_as_in_python(with_parts("1.5.0", &WHEEL).path(), "pip install nixl");

    let with_torch = |version: &str| {
        let site = with_parts(version, &[&WHEEL[..], &["nixl", "nixl_meta_utils.py"]].concat());
        fs::create_dir(site.path().join("torch")).unwrap();
        fs::write(site.path().join("torch/__init__.py"), "").unwrap();
        fs::write(site.path().join("torch/version.py"), "cuda: str = \"12.8\"\n").unwrap();
        site
    };
    fails_as_in_python(with_torch("1.5.0").path(), "install `nixl-cu12`");
    fails_as_in_python(with_torch("1.3.2").path(), "install `nixl-cu12`");
    let site = with_torch("1.0.1");
    Run::of(&["smoke"], site.path(), &[]).passed("UCX").says_nothing_of("nixl-import-fails");
}

#[test]
fn a_wheel_for_another_python_fails_the_transfer_in_pythons_words() {
    // The folder's name is how the program learns the version of a Python that it does not start.
    let (_folder, site) = common::virtual_environment();
    let packages = packages_of(&nixl("1.5.0"));
    for part in &[&WHEEL[1..], &["nixl", "nixl_meta_utils.py"]].concat() {
        symlink(packages.join(part), site.join(part)).unwrap();
    }
    common::copy_tree(&packages.join("nixl_cu13"), &site.join("nixl_cu13"));
    Run::of(&["smoke"], &site, &[]).passed("UCX").says_nothing_of("nixl-import-fails");
    for entry in fs::read_dir(site.join("nixl_cu13")).unwrap().flatten() {
        let name = entry.file_name().into_string().unwrap();
        if let Some((start, end)) = name.split_once(".cpython-3") {
            fs::rename(entry.path(), entry.path().with_file_name(format!("{start}.cpython-39{end}"))).unwrap();
        }
    }
    fails_as_in_python(&site, "for another one");
}

/// The folder that holds TensorRT-LLM's own NIXL, with the libraries of that release.
fn bundle(site: &Path, version: &str) -> PathBuf {
    let libraries = packages_of(&nixl(version)).join(".nixl_cu13.mesonpy.libs");
    let folder = site.join("tensorrt_llm/libs/nixl");
    fs::create_dir_all(&folder).unwrap();
    for entry in fs::read_dir(libraries).unwrap().flatten() {
        symlink(entry.path(), folder.join(entry.file_name())).unwrap();
    }
    folder
}

#[test]
fn every_nixl_of_the_image_is_named_and_target_may_be_one() {
    let site =
        with_parts("1.5.0", &[&WHEEL[..], &["nixl", "nixl_meta_utils.py", "nixl_cu13-1.5.0.dist-info"]].concat());
    let other = bundle(site.path(), "1.0.1");
    let run = Run::of(&["smoke"], site.path(), &[]).passed("UCX");
    run.tells(
        "several-nixls",
        &["nixl-cu13 1.5.0", "is tested", &format!("also here: a NIXL of unknown version in `{}`", other.display())],
    );

    let expected = other.join("libnixl_capi.so").display().to_string();
    for target in [other.clone(), other.join("libnixl.so"), other.join("plugins/libplugin_UCX.so")] {
        let run = Run::of(&["smoke"], &target, &[]);
        assert_eq!(run.document["smoke"]["nixl_library"], expected, "{:#}", run.document);
        run.tells("several-nixls", &["also here: nixl-cu13 1.5.0"]);
    }
    for target in [".nixl_cu13.mesonpy.libs", "nixl_cu13", "nixl_cu13.libs"] {
        let run = Run::of(&["smoke"], &site.path().join(target), &[]).passed("UCX");
        assert_eq!(run.document["smoke"]["nixl_version"], "1.5.0", "{target}");
    }
}

#[test]
fn what_was_loaded_below_nixl_is_stated() {
    let run = Run::of(&["smoke"], with_nixl("1.5.0").path(), &[]).passed("UCX");
    let smoke = &run.document["smoke"];
    let loaded = smoke["loaded"].as_array().unwrap();
    let file = |stem: &str| {
        let path = |it: &&Value| it["path"].as_str().unwrap().rsplit('/').next().unwrap().starts_with(stem);
        loaded.iter().find(path).unwrap_or_else(|| panic!("no {stem}: {smoke:#}"))
    };
    assert!(file("libucp")["version"].as_str().unwrap().starts_with("1."), "{smoke:#}");
    assert!(
        file("libplugin_UCX")["path"].as_str().unwrap().starts_with(smoke["plugin_dir"].as_str().unwrap()),
        "{smoke:#}"
    );
    run.says_nothing_of("several-nixls").says_nothing_of("preloaded-libraries");
}

#[test]
fn parts_of_another_nixl_are_told() {
    let site = with_nixl("1.5.0");
    let old = packages_of(&nixl("1.0.1")).join(".nixl_cu13.mesonpy.libs");
    let plugins = old.join("plugins").display().to_string();
    let run = Run::of(&["smoke"], site.path(), &[("NIXL_PLUGIN_DIR", &plugins)]);
    run.tells("plugins-of-another-nixl", &[&plugins, "`NIXL_PLUGIN_DIR`", "nixl-cu13 1.5.0"]);
    let run = Run::of(&["smoke", "--plugin-dir", &plugins], site.path(), &[]);
    let run = run.tells("plugins-of-another-nixl", &["`--plugin-dir`"]);
    let warnings = run.document["smoke"]["warnings"].to_string();
    assert!(warnings.contains("does not belong to it") && warnings.contains("libucp-"), "{warnings}");
    let own = packages_of(&nixl("1.5.0")).join(".nixl_cu13.mesonpy.libs/plugins").display().to_string();
    let run = Run::of(&["smoke"], site.path(), &[("NIXL_PLUGIN_DIR", &own)]);
    run.passed("UCX").says_nothing_of("plugins-of-another-nixl");

    let library = old.join("libnixl.so").display().to_string();
    let run = Run::of(&["smoke"], site.path(), &[("LD_PRELOAD", &library)]).tells("preloaded-libraries", &[&library]);
    run.failed("load", &["libraries of different NIXL versions are mixed"]);
}

#[test]
fn a_compiled_side_that_cannot_find_nixl_is_told() {
    let site = with_nixl("1.5.0");
    let folder = packages_of(&nixl("1.5.0")).join(".nixl_cu13.mesonpy.libs").display().to_string();
    let run = Run::of(&["smoke"], site.path(), &[]).passed("UCX");
    run.tells("capi-not-on-loader-path", &["runs as a stub", &folder, "ldconfig"]);
    let run = Run::of(&["smoke"], site.path(), &[("LD_LIBRARY_PATH", &folder)]).passed("UCX");
    run.says_nothing_of("capi-not-on-loader-path").says_nothing_of("capi-of-another-nixl");
    let other = packages_of(&nixl("1.0.1")).join(".nixl_cu13.mesonpy.libs").display().to_string();
    let run = Run::of(&["smoke"], site.path(), &[("LD_LIBRARY_PATH", &other)]);
    run.tells("capi-of-another-nixl", &[&other, &folder]);
    // No Dynamo: no compiled side.
    Run::of(&["smoke"], &nixl("1.5.0"), &[]).passed("UCX").says_nothing_of("capi-not-on-loader-path");
}

#[test]
fn a_backend_without_a_plugin_does_not_pass_for_what_the_library_below_can_do() {
    let site = with_nixl("1.5.0");
    let empty = tempfile::tempdir().unwrap();
    let arguments = ["smoke", "--engine", "native", "--plugin-dir", empty.path().to_str().unwrap()];
    let words = ["no plugin `libplugin_UCX.so`", "NIXL cannot use it"];
    Run::of(&arguments, site.path(), &[]).failed("backend", &words);
    Run::of(&arguments[..3], site.path(), &[]).passed("UCX");
}

/// The program in a mount namespace of its own with a `/dev/shm` of that size.
fn with_shared_memory(size: &str) -> Command {
    let mut command = Command::new("unshare");
    let script = "mount -t tmpfs -o size=$1 none /dev/shm && shift && exec \"$@\"";
    command.args(["--mount", "--propagation", "private", "bash", "-c", script, "bash", size]);
    command.arg(program().get_program());
    command
}

#[test]
fn a_small_shared_memory_is_told_and_explains_a_death() {
    let site = with_nixl("1.5.0");
    let run = Run::with(with_shared_memory("64m"), &["smoke"], site.path(), &[]).passed("UCX");
    run.tells("shared-memory-small", &["64 MiB", "--shm-size"]);
    let run = Run::with(with_shared_memory("16m"), &["smoke"], site.path(), &[]);
    run.failed("backend", &["signal", "--shm-size=1g", "16 MiB"]);
    let run = Run::with(with_shared_memory("1g"), &["smoke"], site.path(), &[]).passed("UCX");
    run.says_nothing_of("shared-memory-small");
}

#[test]
fn a_configuration_file_for_which_nixl_creates_no_agent_is_named() {
    let site = with_nixl("1.5.0");
    let home = tempfile::tempdir().unwrap();
    let absent = home.path().join("absent.cfg").display().to_string();
    let words = ["`NIXL_CONFIG_FILE`", &absent, "No such file"];
    Run::of(&["smoke"], site.path(), &[("NIXL_CONFIG_FILE", &absent)]).failed("agent", &words);
    let broken = home.path().join(".nixl.cfg");
    fs::write(&broken, "no toml [").unwrap();
    let own = broken.display().to_string();
    Run::of(&["smoke"], site.path(), &[("HOME", home.path().to_str().unwrap())]).failed("agent", &[&own, "is no TOML"]);
    fs::write(&broken, "").unwrap();
    Run::of(&["smoke"], site.path(), &[("HOME", home.path().to_str().unwrap())]).passed("UCX");
}

/// A folder with these libraries of that NIXL alone, copied.
fn libraries_of(version: &str, names: &[&str]) -> TempDir {
    let (folder, from) = (tempfile::tempdir().unwrap(), packages_of(&nixl(version)).join(".nixl_cu13.mesonpy.libs"));
    for name in names {
        fs::copy(from.join(name), folder.path().join(name)).unwrap();
    }
    folder
}

#[test]
fn a_library_that_nixl_needs_and_the_loader_does_not_find_is_named() {
    let folder = libraries_of("1.5.0", &["libnixl.so", "libnixl_capi.so"]);
    let run = Run::of(&["smoke"], folder.path(), &[]);
    let words = ["needs `libnixl_build.so`, which was not found", "searched:", "ldconfig", "reinstall this NIXL"];
    let run = run.failed("load", &words);
    assert!(!run.document.to_string().contains("a moment ago"), "{:#}", run.document);
}

#[test]
fn a_library_for_another_processor_is_told_by_its_header() {
    let folder = libraries_of("1.5.0", &["libnixl.so", "libnixl_capi.so"]);
    let library = folder.path().join("libnixl_capi.so");
    let mut bytes = fs::read(&library).unwrap();
    // `e_machine`: EM_AARCH64, or EM_X86_64 on such a machine.
    bytes[18] = if cfg!(target_arch = "aarch64") { 62 } else { 183 };
    fs::write(&library, bytes).unwrap();
    let other = if cfg!(target_arch = "aarch64") { "x86_64" } else { "aarch64" };
    Run::of(&["smoke"], folder.path(), &[])
        .failed("load", &[&format!("the library is for {other}"), std::env::consts::ARCH]);
}

#[test]
fn variables_that_demand_hardware_are_told_with_the_command_for_a_build() {
    if fs::read_dir("/sys/class/infiniband").is_ok_and(|mut entries| entries.next().is_some()) {
        return;
    }
    let site = with_nixl("1.5.0");
    for (variable, value) in [("UCX_TLS", "rc,ud,cuda_copy"), ("UCX_NET_DEVICES", "mlx5_0:1")] {
        let run = Run::of(&["smoke"], site.path(), &[(variable, value)]);
        run.failed(
            "backend",
            &[&format!("env -u {variable} nixl-retrofit"), &format!("`{variable}={value}` demands"), "on the instance"],
        );
    }
    let libraries = lab(&["libfabric"]);
    let arguments = ["smoke", "--backend", "LIBFABRIC", "--library-path", libraries.to_str().unwrap()];
    let run = Run::of(&arguments, site.path(), &[("FI_PROVIDER", "efa")]);
    run.failed("backend", &["env -u FI_PROVIDER nixl-retrofit", "an EFA device"]);
    Run::of(&["smoke"], site.path(), &[("UCX_TLS", "tcp,self")]).passed("UCX");
}

#[test]
fn a_misspelt_variable_is_told() {
    let site = with_nixl("1.5.0");
    let run =
        Run::of(&["smoke"], site.path(), &[("NIXL_PLUGIN_PATH", "/x"), ("NIXL_BACKENDS", "LIBFABRIC")]).passed("UCX");
    run.tells("variable-misspelt", &["`NIXL_BACKENDS`", "`NIXL_BACKEND`"]);
}

#[test]
fn several_transfers_are_a_table_with_what_to_do_at_its_end() {
    let site = with_nixl("1.5.0");
    let libraries = lab(&["libfabric"]);
    let arguments =
        ["smoke", "--backend", "LIBFABRIC,UCX", "--size", "64K", "--library-path", libraries.to_str().unwrap()];
    let text = stdout(&program().args(arguments).arg(site.path()).output().unwrap());
    let rows: Vec<&str> = text.lines().take_while(|line| line.starts_with("smoke passed: ")).collect();
    assert_eq!(rows.len(), 4, "{text}");
    assert!(
        rows[3].contains("LIBFABRIC,UCX to UCX  shm (UCX)") && rows[3].contains(" Gbit/s") && rows[3].ends_with(" ms"),
        "{text}"
    );

    let empty = tempfile::tempdir().unwrap();
    let arguments = ["smoke", "--backend", "LIBFABRIC,UCX", "--plugin-dir", empty.path().to_str().unwrap()];
    let text = stdout(&program().args(arguments).arg(site.path()).output().unwrap());
    assert_eq!(text.matches("what to do: ").count(), 1, "one plugin folder is wrong for both: {text}");
    assert!(text.lines().last().unwrap().starts_with("what to do: name the directory"), "{text}");
}
