//! The inserted Rust: functions that read the environment variable when an agent is made.
//!
//! They are built as tokens and laid out by prettyplease; what that lays out otherwise than rustfmt is not used here, and
//! a test runs rustfmt over every variant. They name everything by its full path, and need the crates `tracing` and
//! `anyhow`, which every crate that uses dynamo-memory's agent has. Both editions since 2021 compile them without warning.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{format_ident, quote};
use rustc_hash::FxHashSet;

use super::site::Call;
use crate::choice::rule::{OnUnknown, Rule};

/// The beginning of the functions' names, unless the file already uses it.
const FUNCTION: &str = "nixl_retrofit";
/// The name of a closure's parameter, likewise.
const VARIABLE: &str = "chosen";
/// The beginning of the type's name.
const TYPE: &str = "NixlRetrofit";

/// The names of the inserted items in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Names {
    suffix: String,
    variable: String,
}

impl Names {
    /// Names that do not occur in the text.
    pub(super) fn unused_in(text: &str) -> Self {
        let suffix = free_number(text, &[FUNCTION, TYPE]);
        Names { suffix, variable: format!("{VARIABLE}{}", free_number(text, &[VARIABLE])) }
    }

    fn function(&self, what: &str) -> Ident {
        format_ident!("{FUNCTION}{}_{what}", self.suffix)
    }

    fn class(&self) -> Ident {
        format_ident!("{TYPE}{}", self.suffix)
    }

    /// The parameter of an inserted closure.
    pub(super) fn variable(&self) -> &str {
        &self.variable
    }

    /// What is put before an expression, which a `)` follows, or before a statement.
    pub(super) fn before(&self, call: Call, modules: usize) -> String {
        let supers = "super::".repeat(modules);
        match call {
            Call::WithBackends => format!("{supers}{}(", self.function("with_backends")),
            Call::AddBackend { reference: false } => format!("{supers}{}(&mut ", self.class()),
            Call::CreateBackend => format!("{supers}{}(|{}| {{", self.function("each"), self.variable),
            Call::AddBackend { reference: true } => format!("{supers}{}(", self.class()),
        }
    }
}

/// The smallest number, or nothing, that follows none of these words in the text.
fn free_number(text: &str, words: &[&str]) -> String {
    let behind = words.iter().flat_map(|word| text.match_indices(word).map(|(at, word)| &text[at + word.len()..]));
    let digits = |rest: &str| rest.bytes().take_while(u8::is_ascii_digit).count();
    let taken: FxHashSet<&str> = behind.map(|rest| &rest[..digits(rest)]).collect();
    if taken.is_empty() {
        return String::new();
    }
    let mut numbers = (2u32..).map(|number| number.to_string());
    numbers.find(|number| !taken.contains(number.as_str())).unwrap_or_default()
}

/// Which of the items a file needs, and when they are compiled.
#[derive(Clone, Debug, Default)]
pub(super) struct Needs {
    /// Whether a call of `with_backends` is wrapped.
    pub with_backends: bool,
    /// Whether a receiver of `add_backend` is wrapped.
    pub add_backend: bool,
    /// Whether a statement with `create_backend` is repeated.
    pub create_backend: bool,
    /// The condition of compilation of all calls, as the source writes its predicate.
    pub condition: Option<TokenStream>,
    /// Whether some builds compile only a part of the calls, so that an item may be unused.
    pub partly: bool,
}

/// The inserted items, as tokens.
pub(super) fn items(names: &Names, rule: &Rule, needs: &Needs) -> Vec<TokenStream> {
    let mut items = vec![backends(names, rule)];
    if needs.with_backends || needs.add_backend {
        items.push(add(names, rule));
    }
    if needs.with_backends {
        items.extend(with_backends(names, rule));
    }
    if needs.add_backend {
        items.extend(class(names, rule));
    }
    if needs.create_backend {
        items.extend(each(names, rule));
    }
    let condition = needs.condition.iter().map(|predicate| quote!(#[cfg(#predicate)])).next();
    let unused = needs.partly.then(|| quote!(#[allow(dead_code)]));
    items.into_iter().map(|item| quote!(#condition #unused #item)).collect()
}

/// The items' source, with `\n` at the end of each line.
///
/// # Errors
/// None in practice: they are Rust.
pub(super) fn source(items: &[TokenStream]) -> syn::Result<String> {
    let laid_out = items.iter().map(|item| Ok(prettyplease::unparse(&syn::parse2(item.clone())?)));
    Ok(laid_out.collect::<syn::Result<Vec<String>>>()?.join("\n"))
}

/// The function that chooses.
fn backends(names: &Names, rule: &Rule) -> TokenStream {
    let function = names.function("backends");
    let (variable, default) = (rule.variable.as_str(), rule.default.name());
    let allowed = rule.allowed.iter().map(|backend| backend.name());
    let count = proc_macro2::Literal::usize_unsuffixed(rule.allowed.len());
    let doc = format!(" Returns the NIXL backends that `{variable}` names now, {default} by default.");
    let strict = rule.on_unknown == OnUnknown::Error;
    let returned = if strict { quote!(::anyhow::Result<Vec<&'static str>>) } else { quote!(Vec<&'static str>) };
    let result = if strict { quote!(Ok(chosen)) } else { quote!(chosen) };
    let refuse = strict.then(|| {
        quote! {
            if !unknown.is_empty() {
                let wrong = format!("{VARIABLE} names unknown backends, {unknown:?}");
                ::anyhow::bail!("NIXL Connect: {wrong}; supported: {ALLOWED:?}");
            }
        }
    });
    let warn = (!strict).then(|| {
        quote! {
            for name in unknown {
                let warning = format!("Unknown backend {name:?} in {VARIABLE} is ignored");
                ::tracing::warn!("NIXL Connect: {warning}; supported: {ALLOWED:?}");
            }
        }
    });
    quote! {
        #[doc = #doc]
        fn #function() -> #returned {
            const VARIABLE: &str = #variable;
            const ALLOWED: [&str; #count] = [#(#allowed),*];
            type Values = Vec<Option<::std::ffi::OsString>>;
            static LOGGED: ::std::sync::Mutex<Values> = ::std::sync::Mutex::new(Vec::new());
            let value = ::std::env::var_os(VARIABLE);
            let text = value.as_deref().unwrap_or_default().to_string_lossy();
            let mut chosen = Vec::new();
            let mut unknown = Vec::new();
            for name in text.split(',') {
                let name = name.trim_matches([' ', '\t', '\n', '\r', '\u{b}', '\u{c}']);
                let is_named = |backend: &&str| backend.eq_ignore_ascii_case(name);
                match ALLOWED.into_iter().find(is_named) {
                    Some(backend) if chosen.contains(&backend) => {}
                    Some(backend) => chosen.push(backend),
                    None if name.is_empty() => {}
                    None => unknown.push(name),
                }
            }
            #refuse
            if chosen.is_empty() {
                chosen.push(#default);
            }
            let logged = LOGGED.lock();
            let mut logged = logged.unwrap_or_else(::std::sync::PoisonError::into_inner);
            if logged.contains(&value) {
                return #result;
            }
            #warn
            ::tracing::info!("NIXL Connect: Using backend(s): {chosen:?}");
            logged.push(value.clone());
            #result
        }
    }
}

/// How a function ends that has tried all backends of `VARIABLE` and kept the causes of those that failed: `none_works` is
/// an error, otherwise each cause is a warning.
fn judged(none_works: &TokenStream) -> TokenStream {
    quote! {
        if #none_works {
            let value = ::std::env::var_os(VARIABLE).unwrap_or_else(|| "unset".into());
            let (value, causes) = (value.to_string_lossy(), causes.join("; "));
            ::anyhow::bail!("no backend of {VARIABLE} ({value}) works: {causes}");
        }
        for cause in causes {
            ::tracing::warn!("NIXL Connect: Cannot use a backend of {VARIABLE}: {cause}");
        }
        Ok(())
    }
}

/// The function that makes the chosen backends.
fn add(names: &Names, rule: &Rule) -> TokenStream {
    let (function, backends) = (names.function("add_backends"), names.function("backends"));
    let variable = rule.variable.as_str();
    let doc = format!(" Creates the backends that `{variable}` names; at least one of them has to work.");
    let strict = (rule.on_unknown == OnUnknown::Error).then(|| quote!(?));
    let end = judged(&quote!(causes.len() == chosen.len()));
    quote! {
        #[doc = #doc]
        fn #function(agent: &mut ::dynamo_memory::nixl::NixlAgent,) -> ::anyhow::Result<()> {
            const VARIABLE: &str = #variable;
            let chosen = #backends()#strict;
            let mut causes = Vec::new();
            for backend in &chosen {
                if let Err(error) = agent.add_backend(backend) {
                    causes.push(format!("{backend}: {error:#}"));
                }
            }
            #end
        }
    }
}

/// The function that stands for `NixlAgent::with_backends`.
fn with_backends(names: &Names, rule: &Rule) -> [TokenStream; 2] {
    let (function, add) = (names.function("with_backends"), names.function("add_backends"));
    let variable = rule.variable.as_str();
    let doc = format!(" Returns a function that takes the backends of `{variable}` instead of those it is given.");
    let result = format_ident!("{}Result", names.class());
    [
        quote!(type #result = ::anyhow::Result<::dynamo_memory::nixl::NixlAgent>;),
        quote! {
            #[doc = #doc]
            fn #function(
                with_backends: impl Fn(&str, &[&str]) -> #result,
            ) -> impl Fn(&str, &[&str]) -> #result {
                move |name: &str, _: &[&str]| {
                    let mut agent = with_backends(name, &[])?;
                    #add(&mut agent)?;
                    Ok(agent)
                }
            }
        },
    ]
}

/// The type that stands for an agent in front of `.add_backend(…)`.
fn class(names: &Names, rule: &Rule) -> [TokenStream; 2] {
    let (class, add) = (names.class(), names.function("add_backends"));
    let variable = rule.variable.as_str();
    let doc = format!(" An agent that gets the backends of `{variable}` instead of the one it is asked for.");
    let lifetime = syn::Lifetime::new("'a", Span::call_site());
    [
        quote! {
            #[doc = #doc]
            struct #class<#lifetime>(&#lifetime mut ::dynamo_memory::nixl::NixlAgent);
        },
        quote! {
            impl #class<'_> {
                fn add_backend(self, _: &str) -> ::anyhow::Result<()> {
                    #add(self.0)
                }
            }
        },
    ]
}

/// The type that stands for a backend's name in a closure, and the function that calls the closure with those chosen. Where
/// a plugin is missing, the source says what that means: no backend is created, and nothing fails.
fn each(names: &Names, rule: &Rule) -> [TokenStream; 3] {
    let class = format_ident!("{}Backend", names.class());
    let (function, backends) = (names.function("each"), names.function("backends"));
    let variable = rule.variable.as_str();
    let strict = (rule.on_unknown == OnUnknown::Error).then(|| quote!(?));
    let doc =
        format!(" A backend of `{variable}` in the place of the one that the code names, and whether it is created.");
    let doc_of_each =
        format!(" Makes each backend of `{variable}`; one that fails is an error where no other one works.");
    let end = judged(&quote!(!works && !causes.is_empty()));
    [
        quote! {
            #[doc = #doc]
            struct #class(&'static str, ::std::cell::Cell<bool>);
        },
        quote! {
            impl #class {
                fn at(&self, _: &str) -> &'static str {
                    self.0
                }

                fn created(&self, _: &str) -> &'static str {
                    self.1.set(true);
                    self.0
                }
            }
        },
        quote! {
            #[doc = #doc_of_each]
            fn #function(
                mut make: impl FnMut(&#class) -> ::anyhow::Result<()>,
            ) -> ::anyhow::Result<()> {
                const VARIABLE: &str = #variable;
                let mut works = false;
                let mut causes = Vec::new();
                for name in #backends()#strict {
                    let backend = #class(name, ::std::cell::Cell::new(false));
                    match make(&backend) {
                        Ok(()) => works |= backend.1.get(),
                        Err(error) => causes.push(format!("{name}: {error:#}")),
                    }
                }
                #end
            }
        },
    ]
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::process::{Command, Stdio};

    use super::*;
    use crate::choice::backend::Backend;

    fn rules() -> Vec<Rule> {
        let mut rules = Vec::new();
        for on_unknown in [OnUnknown::Fallback, OnUnknown::Error] {
            for allowed in [Backend::ALL.to_vec(), vec![Backend::Libfabric]] {
                for variable in ["X", "NIXL_BACKEND", "A_VARIABLE_WITH_A_NAME_THAT_IS_AS_LONG_AS_ANY_WILL_EVER_BE"] {
                    let variable = variable.parse().unwrap();
                    rules.push(Rule { variable, default: allowed[0], allowed: allowed.clone(), on_unknown });
                }
            }
        }
        rules
    }

    fn rustfmt(edition: &str, source: &str) -> String {
        let mut rustfmt = Command::new("rustfmt");
        let rustfmt = rustfmt.args(["--edition", edition, "--emit", "stdout", "--config-path", "/dev/null"]);
        let mut child = rustfmt.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("rustfmt");
        child.stdin.take().unwrap().write_all(source.as_bytes()).unwrap();
        String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap()
    }

    #[test]
    fn rustfmt_leaves_every_variant_as_it_is() {
        let names = ["", "12"].map(|suffix| Names { suffix: suffix.into(), variable: VARIABLE.into() });
        let both = Needs { with_backends: true, add_backend: true, create_backend: true, ..Needs::default() };
        let conditional = Needs { condition: Some(quote!(feature = "media-nixl")), partly: true, ..both.clone() };
        for rule in rules() {
            for (names, needs) in names.iter().zip([&both, &conditional]) {
                let source = source(&items(names, &rule, needs)).unwrap();
                for edition in ["2021", "2024"] {
                    assert_eq!(source, rustfmt(edition, &source));
                }
            }
        }
    }

    #[test]
    fn names_are_unused() {
        let suffix = |text: &str| Names::unused_in(text).suffix;
        assert_eq!(suffix("fn f() {}"), "");
        assert_eq!(suffix("fn nixl_retrofit_x() {}"), "2");
        assert_eq!(suffix("struct NixlRetrofit; struct NixlRetrofit2;"), "3");
    }
}
