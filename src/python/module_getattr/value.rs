//! What an expression in a module's `__getattr__` can be.

use std::rc::Rc;

/// One possible value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// `None`.
    None,
    /// A text.
    Text(String),
    /// A module, by its full name.
    Module(String),
    /// A member of a module.
    Member(String, String),
    /// A tuple, a list or a set that is written out.
    Items(Rc<Vec<Values>>),
    /// A dictionary with texts as keys that is written out.
    Table(Rc<Vec<(String, Values)>>),
    /// Anything else.
    Unknown,
}

/// The most values of one expression.
const MOST: usize = 32;

/// Everything that an expression can be; nothing where it raises.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Values(Vec<Value>);

impl Values {
    /// This one alone.
    pub(super) fn one(value: Value) -> Self {
        Values(vec![value])
    }

    /// Anything.
    pub(super) fn unknown() -> Self {
        Values::one(Value::Unknown)
    }

    /// The values, in the order in which they were found.
    pub(crate) fn list(&self) -> &[Value] {
        &self.0
    }

    /// Adds those of another expression. Too many are anything.
    pub(super) fn add(&mut self, others: Values) {
        for value in others.0 {
            if !self.0.contains(&value) {
                self.0.push(value);
            }
        }
        if self.0.len() > MOST {
            *self = Values::unknown();
        }
    }

    /// All values that `each` makes of these.
    pub(super) fn flat_map(&self, mut each: impl FnMut(&Value) -> Values) -> Values {
        let mut all = Values::default();
        self.0.iter().for_each(|value| all.add(each(value)));
        all
    }

    /// The text, where it can be nothing else.
    pub(super) fn text(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Value::Text(text)] => Some(text),
            _ => None,
        }
    }

    /// The texts that a container has, where each of them is certain: the items, or the keys.
    pub(super) fn texts_in(&self) -> Option<Vec<&str>> {
        match self.0.as_slice() {
            [Value::Items(items)] => items.iter().map(Values::text).collect(),
            [Value::Table(entries)] => Some(entries.iter().map(|(key, _)| key.as_str()).collect()),
            _ => None,
        }
    }

    /// Whether it is None; `None` where it may be and may not be.
    pub(super) fn is_none(&self) -> Option<bool> {
        let (none, other): (Vec<&Value>, Vec<&Value>) = self.0.iter().partition(|value| **value == Value::None);
        match (none.is_empty(), other.is_empty()) {
            (false, true) => Some(true),
            (true, false) if !other.contains(&&Value::Unknown) => Some(false),
            _ => None,
        }
    }
}
