//! A module seen line by line, before it is known what the modules around it bind: enough to tell what its places depend on.

use std::ops::Range;

use super::needs::{Needs, functions};
use super::notes::Notes;
use crate::python::meaning::NixlClass;
use crate::python::syntax::outline::{self, Kind, Outline};

/// A module that was not parsed yet.
pub(crate) struct Sketch {
    outline: Outline,
    notes: Notes,
}

impl Sketch {
    /// Reads a module, on this thread alone. None where all of it must be parsed.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let (outline, notes) = outline::read_alone(text, &Notes::default())?;
        let sketch = Sketch { outline, notes };
        (!sketch.defines_getattr()).then_some(sketch)
    }

    /// Whether there is a `__getattr__` outside classes: by one, a module exports what tables anywhere in it say.
    fn defines_getattr(&self) -> bool {
        let name = outline::name("__getattr__");
        let mut lines =
            self.outline.lines.iter().enumerate().filter(|(_, it)| it.kind == Kind::Function && !it.in_class);
        lines.any(|(line, _)| self.outline.mentions(line).first().is_some_and(|own| own.name == name))
    }

    /// Where its functions are, as far as they can be left out: what it exports does not depend on them.
    pub(crate) fn functions(&self) -> Vec<Range<usize>> {
        ranges(&self.outline, &|_| false)
    }

    /// Where the functions are that none of its places depends on. `aliases` are all names that modules of the tree bind
    /// NIXL's classes to. None where there may be others.
    pub(crate) fn left_out<'n>(
        &self,
        aliases: impl Iterator<Item = (&'n str, NixlClass)>,
    ) -> Option<Vec<Range<usize>>> {
        let needs = Needs::of(&self.outline, &self.notes, aliases)?;
        Some(ranges(&self.outline, &|unit| needs.keeps(unit)))
    }
}

/// The functions that can be left out, in order, joined where they follow each other in one block. `kept` says which are
/// not left out, by their number.
fn ranges(outline: &Outline, kept: &dyn Fn(usize) -> bool) -> Vec<Range<usize>> {
    let left_out = functions(outline).enumerate().filter(|(number, unit)| unit.accepted && !kept(*number));
    outline.joined(left_out.map(|(_, unit)| unit), usize::MAX)
}
