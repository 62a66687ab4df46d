//! Declarations of modules in files of their own.

use syn::Item;
use syn::ext::IdentExt;

use super::condition;
use super::syntax::Source;

/// Whether a source declares a module that only tests compile. One that is not understood declares none. The stack has to
/// be large.
pub(crate) fn is_declared_for_tests(source: &[u8], name: &str) -> bool {
    let Ok(source) = Source::parse(source) else { return false };
    source.file.items.iter().any(|item| match item {
        Item::Mod(module) => {
            module.content.is_none() && module.ident.unraw() == name && condition::is_test(&module.attrs)
        }
        _ => false,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declaration_for_tests_is_seen() {
        let source = b"mod a;\n#[cfg(test)]\nmod tests;\n#[cfg(test)]\nmod inline {}\n";
        assert!(is_declared_for_tests(source, "tests"));
        assert!(!is_declared_for_tests(source, "a") && !is_declared_for_tests(source, "inline"));
        assert!(!is_declared_for_tests(b"#[cfg(test)] mod tests", "tests"));
    }
}
