//! The cures that are a link or a configuration file of their own: written whole or not at all, and taken back on request.
//!
//! | finding | what is written |
//! | --- | --- |
//! | `two-libibverbs` | a link to the system's libibverbs in place of the wheel's, which stays beside it, and RECORD's line for it |
//! | `capi-not-on-loader-path` | a file in `/etc/ld.so.conf.d` with the folder of `libnixl_capi.so`; then ldconfig runs |
//! | `record-out-of-date` | RECORD's rows for modules that this program patched; the old RECORD stays beside it |

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, anyhow, bail};

use super::inventory::Inventory;
use super::kept;
use super::libraries::Libraries;
use super::question::Subject;
use super::stale_record;
use super::verdict;
use crate::environment::elf::loader::{self, Loader};
use crate::environment::python::distribution;
use crate::report::doctor::Repair;
use crate::shown::Shown;
use crate::source::lock;
use crate::source::regular::is_same_file;
use crate::source::replace::{self, Change};

/// The findings with a repair.
pub(crate) const FIXABLE: [&str; 3] = [TWO_LIBIBVERBS, CAPI, RECORD];
const TWO_LIBIBVERBS: &str = "two-libibverbs";
const CAPI: &str = "capi-not-on-loader-path";
const RECORD: &str = "record-out-of-date";

/// The file that makes a folder known to the dynamic loader.
const CONFIGURATION: &str = "/etc/ld.so.conf.d/nixl-retrofit.conf";
/// Its first line.
const MARK: &str = "# Written by nixl-retrofit doctor --fix; doctor --undo removes it.\n";

/// Whether an identifier is one of those.
///
/// # Errors
/// When it is not; the message names those that are.
pub(crate) fn check(ids: &[String]) -> Result<()> {
    match ids.iter().find(|id| !FIXABLE.contains(&id.as_str())) {
        Some(id) => bail!(
            "`--fix {id}`: no finding of that name has a repair\nhelp: those with one are {}; pass TARGET before `--fix`",
            FIXABLE.join(", ")
        ),
        None => Ok(()),
    }
}

/// Makes the repairs. What is right already is left alone. `modules` are those of Dynamo.
///
/// # Errors
/// When one cannot be made: then that one has changed nothing.
pub(crate) fn fix(subject: &Subject, ids: &[String], modules: &[PathBuf]) -> Result<Vec<Repair>> {
    let mut repairs = Vec::new();
    for id in FIXABLE.into_iter().filter(|known| ids.iter().any(|id| id == known)) {
        let steps = match id {
            TWO_LIBIBVERBS => one_libibverbs(subject)?,
            RECORD => stale_record::mend(subject.import_path, modules)?,
            _ => known_capi(subject)?,
        };
        repairs.push(Repair { id, steps });
    }
    Ok(repairs)
}

/// Takes every repair back.
///
/// # Errors
/// When one cannot be taken back, or there is none.
pub(crate) fn undo(subject: &Subject, modules: &[PathBuf]) -> Result<Vec<Repair>> {
    let mut repairs = Vec::new();
    let steps = own_libibverbs_again(subject)?;
    if !steps.is_empty() {
        repairs.push(Repair { id: TWO_LIBIBVERBS, steps });
    }
    let steps = forget_capi()?;
    if !steps.is_empty() {
        repairs.push(Repair { id: CAPI, steps });
    }
    let steps = stale_record::take_back(subject.import_path, modules)?;
    if !steps.is_empty() {
        repairs.push(Repair { id: RECORD, steps });
    }
    if repairs.is_empty() {
        bail!("nothing to undo: `doctor --fix` has written nothing here");
    }
    Ok(repairs)
}

fn look(subject: &Subject) -> Result<(Inventory, Libraries)> {
    let own = subject.variables.get("LD_LIBRARY_PATH").map(loader::split_path).unwrap_or_default();
    let loader = Loader::new(own);
    let inventory = Inventory::take(subject, &loader).ok_or_else(|| anyhow!("no NIXL is installed there"))?;
    let libraries = Libraries::judge(&inventory, subject, &loader);
    Ok((inventory, libraries))
}

fn one_libibverbs(subject: &Subject) -> Result<Vec<String>> {
    let (inventory, libraries) = look(subject)?;
    let Some((own, system)) = verdict::two_libibverbs(&inventory, &libraries) else {
        return Ok(vec!["nothing to do: there is one libibverbs".into()]);
    };
    let (own, system) = (own.canonicalize()?, system.canonicalize()?);
    let folder = replace::real_folder(&own)?;
    let _lock = lock::exclusive(&folder, Instant::now() + lock::PATIENCE)?;
    let kept = kept::name(&own);
    let records = records(subject, &own, &fs::read(&system)?)?;
    replace::replace_by_link(&own, &system, &kept)?;
    if let Err(error) = records.iter().try_for_each(Change::make) {
        records.iter().for_each(|record| drop(record.undo()));
        replace::take_back(&own, &kept)?;
        return Err(error);
    }
    replace::sync(&folder)?;
    let mut steps = vec![format!("{} is a link to {}", own.shown(), system.shown())];
    steps.push(format!("the original is {}", kept.shown()));
    steps.extend(records.iter().map(|record| format!("updated: {}", record.path().shown())));
    Ok(steps)
}

fn own_libibverbs_again(subject: &Subject) -> Result<Vec<String>> {
    let mut steps = Vec::new();
    for folder in subject.import_path.iter().flat_map(|site| libraries_of_wheels(site)) {
        let entries = fs::read_dir(&folder).into_iter().flatten().flatten().map(|entry| entry.path());
        for (own, kept) in entries.filter_map(|kept| Some((kept::original(&kept)?, kept))) {
            let _lock = lock::exclusive(&folder, Instant::now() + lock::PATIENCE)?;
            let records = records(subject, &own, &fs::read(&kept)?)?;
            records.iter().try_for_each(Change::make)?;
            replace::take_back(&own, &kept)?;
            replace::sync(&folder)?;
            steps.push(format!("{} is the wheel's own again", own.shown()));
            steps.extend(records.iter().map(|record| format!("updated: {}", record.path().shown())));
        }
    }
    Ok(steps)
}

/// `nixl_cu12.libs`, …
fn libraries_of_wheels(site: &Path) -> Vec<PathBuf> {
    let names = ["nixl.libs", "nixl_cu12.libs", "nixl_cu13.libs"];
    names.iter().map(|name| site.join(name)).filter(|folder| folder.is_dir()).collect()
}

/// The RECORDs that list a file, with its line for this content.
fn records(subject: &Subject, file: &Path, content: &[u8]) -> Result<Vec<Change>> {
    let sites: Vec<&Path> = subject.import_path.iter().map(PathBuf::as_path).collect();
    let home = sites.iter().find(|site| is_inside(file, site)).copied().unwrap_or(Path::new("/"));
    let home = home.canonicalize().with_context(|| format!("{}: cannot be found", home.shown()))?;
    let owners = distribution::owners(&sites, &[(file, &home)])?;
    let mut changes = Vec::new();
    for owner in owners.into_iter().flatten() {
        let updated = owner.record.with_content(&owner.entry, content)?;
        if updated != owner.record.bytes {
            changes.push(Change::Replace(replace::stage(&owner.record.path, &owner.record.bytes, &updated, None)?));
        }
    }
    Ok(changes)
}

fn is_inside(file: &Path, folder: &Path) -> bool {
    folder.canonicalize().is_ok_and(|folder| file.starts_with(folder))
}

fn known_capi(subject: &Subject) -> Result<Vec<String>> {
    let (inventory, _) = look(subject)?;
    let nixl = inventory.nixl();
    let Some(capi) = &nixl.capi else { bail!("{} has no C API\nhelp: install NIXL 0.10.1 or newer", nixl.title()) };
    if inventory.bare_capi.as_deref().is_some_and(|bare| is_same_file(bare, capi)) {
        return Ok(vec!["nothing to do: a bare dlopen finds it".into()]);
    }
    let folder = replace::real_folder(capi)?;
    let content = format!("{MARK}{}\n", folder.display());
    replace::create(Path::new(CONFIGURATION), content.as_bytes())?;
    if let Err(error) = run_ldconfig() {
        let _ = fs::remove_file(CONFIGURATION);
        return Err(error);
    }
    Ok(vec![format!("written: {CONFIGURATION} with {}", folder.shown()), "ran ldconfig".into()])
}

fn forget_capi() -> Result<Vec<String>> {
    if !fs::read_to_string(CONFIGURATION).is_ok_and(|text| text.starts_with(MARK)) {
        return Ok(Vec::new());
    }
    fs::remove_file(CONFIGURATION).with_context(|| format!("{CONFIGURATION}: cannot be removed"))?;
    run_ldconfig()?;
    Ok(vec![format!("removed: {CONFIGURATION}"), "ran ldconfig".into()])
}

fn run_ldconfig() -> Result<()> {
    let program = ["/sbin/ldconfig", "/usr/sbin/ldconfig"].into_iter().find(|path| Path::new(path).exists());
    let program =
        program.ok_or_else(|| anyhow!("ldconfig is not installed\nhelp: add the folder to LD_LIBRARY_PATH"))?;
    let output =
        Command::new(program).stdin(Stdio::null()).output().with_context(|| format!("{program}: cannot start"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        bail!("{program}: {}", words.lines().last().unwrap_or("failed"));
    }
    Ok(())
}
