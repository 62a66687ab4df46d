//! Conditions of compilation: what is test code, and what else must hold where a statement is compiled.

use quote::ToTokens;
use syn::punctuated::Punctuated;
use syn::{Attribute, Meta, Token};

/// Attributes that make a function a test, by their path's last segment: `#[test]`, `#[tokio::test]`, …
const TEST_ATTRIBUTES: [&str; 4] = ["test", "bench", "rstest", "test_case"];

/// Whether something with these attributes is compiled for tests alone.
pub(super) fn is_test(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let last = attribute.path().segments.last();
        last.is_some_and(|segment| TEST_ATTRIBUTES.iter().any(|name| segment.ident == name))
            || never_without_test(attribute)
    })
}

/// The predicates of the `#[cfg(…)]` among these attributes, as they are written.
pub(super) fn predicates(attributes: &[Attribute]) -> Vec<String> {
    attributes.iter().filter_map(predicate).map(|predicate| predicate.to_token_stream().to_string()).collect()
}

fn predicate(attribute: &Attribute) -> Option<Meta> {
    if !attribute.path().is_ident("cfg") {
        return None;
    }
    attribute.parse_args().ok()
}

fn never_without_test(attribute: &Attribute) -> bool {
    predicate(attribute).is_some_and(|predicate| holds_without_test(&predicate) == Some(false))
}

/// Whether a predicate holds where nothing is tested; None where that depends on something else.
fn holds_without_test(predicate: &Meta) -> Option<bool> {
    let Meta::List(list) = predicate else {
        return predicate.path().is_ident("test").then_some(false);
    };
    let inner = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).ok()?;
    let mut inner = inner.iter().map(holds_without_test);
    if list.path.is_ident("not") {
        return inner.next()?.map(|holds| !holds);
    }
    let all: Vec<Option<bool>> = inner.collect();
    if list.path.is_ident("all") {
        return if all.contains(&Some(false)) {
            Some(false)
        } else {
            all.into_iter().collect::<Option<Vec<_>>>().map(|_| true)
        };
    }
    if list.path.is_ident("any") {
        return if all.contains(&Some(true)) {
            Some(true)
        } else {
            all.into_iter().collect::<Option<Vec<_>>>().map(|_| false)
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;
    use syn::parse::Parser;

    fn attributes(text: &str) -> Vec<Attribute> {
        Attribute::parse_outer.parse_str(text).unwrap()
    }

    #[test]
    fn test_code_is_what_no_other_build_compiles() {
        for text in [
            "#[test]",
            "#[tokio::test(flavor = \"x\")]",
            "#[cfg(test)]",
            "#[cfg(all(test, feature = \"a\"))]",
            "#[cfg(any(test))]",
            "#[cfg(not(not(test)))]",
            "#[a] #[cfg(all(feature = \"a\", all(test)))]",
        ] {
            assert!(is_test(&attributes(text)), "{text}");
        }
        for text in [
            "",
            "#[cfg(not(test))]",
            "#[cfg(any(test, feature = \"a\"))]",
            "#[cfg(feature = \"test\")]",
            "#[cfg(not(any(test, feature = \"a\")))]",
            "#[doc = \"test\"]",
            "#[cfg(]",
        ] {
            let Ok(attributes) = Attribute::parse_outer.parse_str(text) else { continue };
            assert!(!is_test(&attributes), "{text}");
        }
    }
}
