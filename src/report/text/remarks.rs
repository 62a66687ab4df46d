//! What is said once for all transfers of a run: notes and warnings.

use super::page::Page;
use super::style::{BOLD, WARNING};
use super::title::title;
use crate::report::smoke::{Smoke, SmokeStatus};

/// A sentence, and the transfers that it is about.
struct Remark {
    text: String,
    titles: Vec<String>,
}

/// Shows the notes, then the warnings. What is not about every transfer begins with the titles of those it is about.
pub(super) fn show(page: &mut Page, smokes: &[Smoke]) {
    let tried = smokes.iter().filter(|smoke| smoke.status != SmokeStatus::Skipped).count();
    for (word, style, remarks) in [
        ("note", BOLD, distinct(smokes, notes)),
        ("warning", WARNING, distinct(smokes, |smoke| smoke.warnings.clone())),
    ] {
        for Remark { text, titles } in remarks {
            let about = if titles.len() < tried { format!("{}: ", titles.join("; ")) } else { String::new() };
            page.line(format_args!("{style}{word}:{style:#} {about}{}", text.replace('\n', "\n  ")));
        }
    }
}

fn distinct(smokes: &[Smoke], said: impl Fn(&Smoke) -> Vec<String>) -> Vec<Remark> {
    let mut remarks: Vec<Remark> = Vec::new();
    for smoke in smokes {
        let mut texts: Vec<String> = Vec::new();
        for text in said(smoke) {
            if !texts.contains(&text) {
                texts.push(text);
            }
        }
        for text in texts {
            match remarks.iter_mut().find(|remark| remark.text == text) {
                Some(known) => known.titles.push(title(smoke)),
                None => remarks.push(Remark { text, titles: vec![title(smoke)] }),
            }
        }
    }
    remarks
}

fn notes(smoke: &Smoke) -> Vec<String> {
    let peer =
        smoke.peer.iter().zip(&smoke.role).map(|(peer, role)| {
            format!("this machine was the {role}; the peer was `{}` ({})", peer.host, peer.address)
        });
    let stand_in = |name| format!("`{name}` was replaced by a stand-in; GPU memory cannot be tested");
    peer.chain(smoke.stand_ins.iter().map(stand_in)).collect()
}
