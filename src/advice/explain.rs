//! The page behind each finding: `docs/findings/ID.md`.

/// How many letters of an identifier may be wrong, and no more than a third of them.
const WRONG_LETTERS: usize = 5;

/// Identifier and page, by the files in `docs/findings`.
const PAGES: &[(&str, &str)] = &[
    ("another-variable", include_str!("../../docs/findings/another-variable.md")),
    ("backend-names-ignored", include_str!("../../docs/findings/backend-names-ignored.md")),
    ("backend-names-rejected", include_str!("../../docs/findings/backend-names-rejected.md")),
    ("backends-fixed", include_str!("../../docs/findings/backends-fixed.md")),
    ("capi-not-on-loader-path", include_str!("../../docs/findings/capi-not-on-loader-path.md")),
    ("capi-of-another-nixl", include_str!("../../docs/findings/capi-of-another-nixl.md")),
    ("choice-unclear", include_str!("../../docs/findings/choice-unclear.md")),
    ("ends-choose-differently", include_str!("../../docs/findings/ends-choose-differently.md")),
    ("interpreter-broken", include_str!("../../docs/findings/interpreter-broken.md")),
    ("libfabric-built-without-efa", include_str!("../../docs/findings/libfabric-built-without-efa.md")),
    ("libfabric-without-efa", include_str!("../../docs/findings/libfabric-without-efa.md")),
    ("library-damaged", include_str!("../../docs/findings/library-damaged.md")),
    ("library-missing", include_str!("../../docs/findings/library-missing.md")),
    ("library-other-machine", include_str!("../../docs/findings/library-other-machine.md")),
    ("library-too-old", include_str!("../../docs/findings/library-too-old.md")),
    ("loader-accepts", include_str!("../../docs/findings/loader-accepts.md")),
    ("loader-refuses", include_str!("../../docs/findings/loader-refuses.md")),
    ("loading-ends-the-process", include_str!("../../docs/findings/loading-ends-the-process.md")),
    ("machine-lacks", include_str!("../../docs/findings/machine-lacks.md")),
    ("media-loader-no-common-backend", include_str!("../../docs/findings/media-loader-no-common-backend.md")),
    ("name-not-bound", include_str!("../../docs/findings/name-not-bound.md")),
    ("nixl-configuration-unreadable", include_str!("../../docs/findings/nixl-configuration-unreadable.md")),
    ("nixl-import-fails", include_str!("../../docs/findings/nixl-import-fails.md")),
    ("nixl-versions-differ", include_str!("../../docs/findings/nixl-versions-differ.md")),
    ("no-common-backend", include_str!("../../docs/findings/no-common-backend.md")),
    ("no-such-backend", include_str!("../../docs/findings/no-such-backend.md")),
    ("not-the-files-choice", include_str!("../../docs/findings/not-the-files-choice.md")),
    ("pin-unsatisfied", include_str!("../../docs/findings/pin-unsatisfied.md")),
    ("plugin-not-shipped", include_str!("../../docs/findings/plugin-not-shipped.md")),
    ("plugins-of-another-nixl", include_str!("../../docs/findings/plugins-of-another-nixl.md")),
    ("preloaded-libraries", include_str!("../../docs/findings/preloaded-libraries.md")),
    ("rdma-device-unused", include_str!("../../docs/findings/rdma-device-unused.md")),
    ("record-out-of-date", include_str!("../../docs/findings/record-out-of-date.md")),
    ("setting-names-no-plugin", include_str!("../../docs/findings/setting-names-no-plugin.md")),
    ("setting-read-by-nobody", include_str!("../../docs/findings/setting-read-by-nobody.md")),
    ("settings-disagree", include_str!("../../docs/findings/settings-disagree.md")),
    ("several-nixls", include_str!("../../docs/findings/several-nixls.md")),
    ("shared-memory-small", include_str!("../../docs/findings/shared-memory-small.md")),
    ("symbol-undefined", include_str!("../../docs/findings/symbol-undefined.md")),
    ("two-libibverbs", include_str!("../../docs/findings/two-libibverbs.md")),
    ("ucx-asked-unavailable", include_str!("../../docs/findings/ucx-asked-unavailable.md")),
    ("ucx-module-absent", include_str!("../../docs/findings/ucx-module-absent.md")),
    ("ucx-module-not-loadable", include_str!("../../docs/findings/ucx-module-not-loadable.md")),
    ("ucx-variable-unused", include_str!("../../docs/findings/ucx-variable-unused.md")),
    ("variable-demands-hardware", include_str!("../../docs/findings/variable-demands-hardware.md")),
    ("variable-misspelt", include_str!("../../docs/findings/variable-misspelt.md")),
    ("variable-not-read", include_str!("../../docs/findings/variable-not-read.md")),
    ("variable-takes-one-name", include_str!("../../docs/findings/variable-takes-one-name.md")),
];

/// The page of a finding.
pub(crate) fn page(id: &str) -> Option<&'static str> {
    PAGES.iter().find(|(known, _)| *known == id).map(|(_, page)| *page)
}

/// Every identifier with the first sentence of its page, a line each.
pub(crate) fn list() -> String {
    let width = PAGES.iter().map(|(id, _)| id.len()).max().unwrap_or_default();
    let line = |(id, page): &(&str, &str)| format!("{id:width$}  {}\n", first_sentence(page));
    PAGES.iter().map(line).collect()
}

/// A page begins with its title and a paragraph.
fn first_sentence(page: &str) -> String {
    let paragraph = page.lines().skip(2).take_while(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    paragraph.split_inclusive(". ").next().unwrap_or_default().trim_end().to_string()
}

/// The identifiers that a wrong one is nearest to, or a part of; at most three.
pub(crate) fn near_misses(wrong: &str) -> Vec<&'static str> {
    let lower = wrong.to_ascii_lowercase();
    let known = PAGES.iter().map(|(id, _)| {
        let distance = if lower.len() > 2 && id.contains(&lower) { 0 } else { strsim::osa_distance(&lower, id) };
        (distance, *id)
    });
    let mut near: Vec<_> = known.filter(|(distance, id)| *distance <= WRONG_LETTERS.min(id.len() / 3)).collect();
    near.sort_unstable();
    near.into_iter().take(3).map(|(_, id)| id).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_identifier_leads_to_the_right_one() {
        assert_eq!(near_misses("two-libibverb"), ["two-libibverbs"]);
        assert_eq!(near_misses("Library-Mising"), ["library-missing"]);
        assert_eq!(near_misses("libibverbs"), ["two-libibverbs"]);
        assert_eq!(near_misses("ucx").len(), 3);
        assert_eq!(near_misses("nope"), [""; 0]);
        assert_eq!(near_misses(""), [""; 0]);
    }

    #[test]
    fn each_line_of_the_list_is_a_sentence() {
        for line in list().lines() {
            assert!(line.ends_with('.') && line.len() < 240, "{line}");
        }
    }
}
