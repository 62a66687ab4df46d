//! The report for people.

mod audit;
mod doctor;
mod files;
mod findings;
mod page;
mod remarks;
mod smokes;
mod style;
mod title;

pub(crate) use audit::audit;
pub(crate) use doctor::doctor;
pub(crate) use files::files;
pub(crate) use findings::findings;
pub(crate) use page::Page;
pub(crate) use smokes::smokes;

#[cfg(test)]
mod tests {
    use anstream::ColorChoice;

    use super::Page;

    /// What is shown without colours.
    pub(super) fn shown(show: impl FnOnce(&mut Page)) -> String {
        String::from_utf8(bytes(ColorChoice::Never, show)).unwrap()
    }

    /// The page with or without colours.
    pub(super) fn bytes(color: ColorChoice, show: impl FnOnce(&mut Page)) -> Vec<u8> {
        let mut page = Page::new(color);
        show(&mut page);
        page.as_bytes().to_vec()
    }
}
