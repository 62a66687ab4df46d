//! What of a module its places depend on.
//!
//! 1. Lines that name one of NIXL's classes, an alias of one, or a way to choose backends matter.
//! 2. So do the lines that name what such a line may bind to a class or to a configuration, what a function with such a line
//!    returns, and the parameters that one is passed for. A call of the agent's class makes an agent, which goes no
//!    further: what is done with it is found by the name of the method.
//! 3. What these lines say depends on the conditions around them, and on what the names in them are bound to: on the lines
//!    that bind them, and so on.
//!
//! Names are compared as they are written, whatever their scope, so what is taken is too much rather than too little. A
//! function that has no line that matters can be left out.

mod holders;

use rustc_hash::{FxHashMap, FxHashSet};

use super::notes::{Import, Notes, flag};
use crate::python::environment_read::ADDS;
use crate::python::meaning::{FOLLOWED, NixlClass};
use crate::python::syntax::outline::{self, Kind, Mention, Name, Outline, Unit};

/// The longest chain of bindings that is followed, against their order and with it.
const ROUNDS: usize = 32;
/// No line, or no function.
const NONE: u32 = u32::MAX;
/// How many bits say quickly that a name is in no set.
const BITS: usize = 1 << 12;
/// Methods that say whether calling a class or an object raises.
const SPECIAL: [&str; 2] = ["__new__", "__init__"];
/// Those of objects, wherever the object comes from.
const SPECIAL_OF_OBJECTS: [&str; 2] = ["__call__", "__getattr__"];

/// What places depend on.
pub(super) struct Needs<'o> {
    outline: &'o Outline,
    notes: &'o Notes,
    /// The functions outside functions: the lines and the header of each.
    functions: Vec<Function>,
    /// The function of each line.
    function_of: Vec<u32>,
    around: Around,
    /// By their name, the headers of all functions.
    named: FxHashMap<Name, Vec<usize>>,
    /// The names of NIXL's classes: whether they are a configuration's.
    classes: FxHashMap<Name, NixlClass>,
    /// Whether anything in the module chooses backends of an object that exists.
    chooses: bool,
    /// What may hold the agent's class, and nothing that makes anything else of NIXL.
    agents: Names,
    /// What may hold a class or a configuration, or give one when it is called.
    holders: Names,
    /// What the lines that matter use.
    used: Names,
    /// Of the variables that they use, those outside functions, where the names of classes are seen.
    outside: FxHashSet<Name>,
    /// Functions whose parameters matter: so do the calls of them.
    called: FxHashSet<Name>,
    /// Names in any of these sets.
    quick: Vec<bool>,
    /// The lines that matter.
    lines: Vec<bool>,
    /// The headers of functions and classes whose own names matter.
    defined: Vec<bool>,
    pending: Vec<usize>,
    changed: bool,
}

struct Function {
    lines: std::ops::Range<usize>,
    header: usize,
    /// Whether it is parsed.
    kept: bool,
    /// Whether it binds names of the module.
    global: bool,
    /// Whether there is a class in it.
    class: bool,
}

/// Names by what they are.
#[derive(Default)]
struct Names {
    /// Variables that can be seen outside of one function.
    variables: FxHashSet<Name>,
    /// Variables of a function, by its number.
    local: FxHashSet<(u32, Name)>,
    attributes: FxHashSet<Name>,
}

/// The lines around a line.
struct Around {
    /// The header of the block.
    header: Vec<u32>,
    /// The clause before a clause.
    before: Vec<u32>,
    /// The clause after a clause.
    after: Vec<u32>,
}

impl Around {
    fn of(outline: &Outline, notes: &Notes) -> Self {
        let count = outline.lines.len();
        let mut around = Around { header: vec![NONE; count], before: vec![NONE; count], after: vec![NONE; count] };
        // By the depth, the last line of the block that is open.
        let mut last: Vec<u32> = Vec::new();
        for (number, line) in outline.lines.iter().enumerate() {
            let depth = line.depth as usize;
            last.truncate(depth + 1);
            around.header[number] = depth.checked_sub(1).and_then(|above| last.get(above)).copied().unwrap_or(NONE);
            if notes.flags[number] & flag::CONTINUES != 0
                && let Some(&before) = last.get(depth)
            {
                around.before[number] = before;
                around.after[before as usize] = number as u32;
            }
            last.truncate(depth);
            last.resize(depth + 1, number as u32);
        }
        around
    }
}

impl<'o> Needs<'o> {
    /// None where all of the module must be parsed.
    pub(super) fn of<'n>(
        outline: &'o Outline,
        notes: &'o Notes,
        aliases: impl Iterator<Item = (&'n str, NixlClass)>,
    ) -> Option<Self> {
        let classes = classes(notes, aliases)?;
        let mut function_of = vec![NONE; outline.lines.len()];
        let mut all = Vec::new();
        for unit in functions(outline) {
            function_of[unit.lines.clone()].fill(all.len() as u32);
            let has = |wanted: u16| unit.lines.clone().any(|line| notes.flags[line] & wanted != 0);
            let class = unit.lines.clone().any(|line| outline.lines[line].kind == Kind::Class);
            let global = has(flag::GLOBAL);
            all.push(Function {
                lines: unit.lines.clone(),
                header: outline.header(unit)?,
                kept: !unit.accepted || class || global || has(flag::STAR),
                global,
                class,
            });
        }
        let mut named: FxHashMap<Name, Vec<usize>> = FxHashMap::default();
        for (line, _) in outline.lines.iter().enumerate().filter(|(_, line)| line.kind == Kind::Function) {
            named.entry(outline.mentions(line).first()?.name).or_default().push(line);
        }
        let count = outline.lines.len();
        let mut needs = Needs {
            outline,
            notes,
            functions: all,
            function_of,
            around: Around::of(outline, notes),
            named,
            classes,
            chooses: notes.flags.iter().any(|flags| flags & flag::CHOOSES != 0),
            agents: Names::default(),
            holders: Names::default(),
            used: Names::default(),
            outside: FxHashSet::default(),
            called: FxHashSet::default(),
            quick: vec![false; BITS],
            lines: vec![false; count],
            defined: vec![false; count],
            pending: Vec::new(),
            changed: false,
        };
        needs.begin();
        needs.close()?;
        Some(needs)
    }

    /// Whether a function is parsed, by its number.
    pub(super) fn keeps(&self, function: usize) -> bool {
        self.functions[function].kept
    }

    /// What matters whatever is named.
    fn begin(&mut self) {
        let names: Vec<Name> = self.classes.keys().copied().collect();
        names.into_iter().for_each(|name| self.mark(name));
        for line in 0..self.lines.len() {
            let flags = self.notes.flags[line];
            // What a class inherits joins its attributes to those of others.
            if flags & (flag::CHOOSES | flag::LOOKS_UP | flag::STAR) != 0
                || self.outline.lines[line].kind == Kind::Class
            {
                self.add(line);
            }
        }
        for name in SPECIAL_OF_OBJECTS.map(outline::name) {
            self.named.get(&name).cloned().unwrap_or_default().into_iter().for_each(|line| self.define(line));
        }
    }

    /// Adds lines until no line depends on one that is not there. None where that takes too long, or Python calls are
    /// followed to some of too many functions.
    fn close(&mut self) -> Option<()> {
        let count = self.lines.len();
        for round in 0..ROUNDS {
            self.changed = false;
            for number in 0..count {
                // What a line uses is mostly bound before it, and what it binds is used after it.
                let line = if round % 2 == 0 { number } else { count - 1 - number };
                if self.may_concern(line) {
                    self.look_at(line)?;
                }
            }
            if !self.changed {
                return Some(());
            }
        }
        None
    }

    fn mark(&mut self, name: Name) {
        self.quick[name as usize % BITS] = true;
    }

    /// Whether a line has names of any set, or calls strings by names.
    fn may_concern(&self, line: usize) -> bool {
        let is_marked = |mention: &Mention| self.quick[mention.name as usize % BITS];
        self.notes.flags[line] & flag::QUOTES != 0 || self.outline.mentions(line).iter().any(is_marked)
    }

    fn look_at(&mut self, line: usize) -> Option<()> {
        self.follow_holders(line)?;
        match self.outline.lines[line].kind {
            Kind::Function => self.look_at_function(line)?,
            Kind::Class if self.defines_used(line) => self.define_class(line),
            _ => {}
        }
        if !self.lines[line] && (self.binds_used(line) || self.adds_to_used(line) || self.calls_called(line)) {
            self.add(line);
        }
        Some(())
    }

    /// Keeps the function of a line.
    fn keep(&mut self, line: usize) {
        if let Some(function) = self.functions.get_mut(self.function_of[line] as usize) {
            self.changed |= !function.kept;
            function.kept = true;
        }
    }

    /// Makes a line matter, and the conditions around it.
    fn add(&mut self, line: usize) {
        self.pending.push(line);
        while let Some(line) = self.pending.pop() {
            self.keep(line);
            if std::mem::replace(&mut self.lines[line], true) {
                continue;
            }
            self.changed = true;
            self.use_names(line);
            let kind = self.outline.lines[line].kind;
            // A function runs elsewhere.
            if kind != Kind::Function {
                self.pending.extend(self.conditions(line));
            }
        }
    }

    /// The clauses that decide whether a line runs.
    fn conditions(&self, line: usize) -> impl Iterator<Item = usize> + use<> {
        let Around { header, before, after } = &self.around;
        let is_function =
            |line: &u32| self.outline.lines.get(*line as usize).is_some_and(|it| it.kind == Kind::Function);
        let header = Some(header[line]).filter(|header| !is_function(header));
        let all = [header, Some(before[line]), Some(after[line])];
        all.into_iter().flatten().filter(|line| *line != NONE).map(|line| line as usize)
    }

    /// What a line uses matters.
    fn use_names(&mut self, line: usize) {
        let outline = self.outline;
        let kind = outline.lines[line].kind;
        // What is imported is bound elsewhere.
        let imports = self.notes.flags[line] & flag::IMPORTS != 0;
        for (number, mention) in outline.mentions(line).iter().enumerate().filter(|_| !imports) {
            // What a definition binds it does not use.
            let defined = kind == Kind::Function && mention.bound || kind == Kind::Class && number == 0;
            if defined {
                continue;
            }
            self.mark(mention.name);
            if mention.attribute {
                self.used.attributes.insert(mention.name);
                continue;
            }
            self.used.variables.insert(mention.name);
            match self.function_around(line) {
                Some(function) => self.used.local.insert((function as u32, mention.name)),
                None => self.outside.insert(mention.name),
            };
        }
    }

    /// The function that a line is inside of, as a line of its body.
    fn function_around(&self, line: usize) -> Option<usize> {
        let function = self.function_of[line] as usize;
        (self.functions.get(function)?.header < line).then_some(function)
    }

    /// Whether a line binds a name that matters.
    fn binds_used(&self, line: usize) -> bool {
        let mut bound = self.outline.mentions(line).iter().filter(|mention| mention.bound);
        if self.outline.lines[line].kind != Kind::Function {
            return bound.any(|mention| self.is_used_binding(mention, line));
        }
        // A body on the header's line.
        let global = self.is_global(line);
        bound.skip(1).any(|mention| match mention.attribute {
            true => self.used.attributes.contains(&mention.name),
            false => global && self.used.variables.contains(&mention.name),
        })
    }

    /// Whether the function of a line binds names of the module.
    fn is_global(&self, line: usize) -> bool {
        self.functions.get(self.function_of[line] as usize).is_some_and(|function| function.global)
    }

    /// Whether the own name of a function or class matters.
    fn defines_used(&self, line: usize) -> bool {
        self.outline.mentions(line).first().is_some_and(|own| self.is_used_binding(own, line))
    }

    /// Whether a name matters that a line binds.
    fn is_used_binding(&self, mention: &Mention, line: usize) -> bool {
        let is_attribute = self.used.attributes.contains(&mention.name);
        if mention.attribute {
            return is_attribute;
        }
        let is_variable = self.used.variables.contains(&mention.name);
        match self.function_around(line) {
            Some(number) => {
                let function = &self.functions[number];
                self.used.local.contains(&(number as u32, mention.name))
                    || function.global && is_variable
                    || function.class && is_attribute
            }
            // A name in a class is an attribute too, and functions do not see it.
            None if self.outline.lines[line].in_class => is_attribute || self.outside.contains(&mention.name),
            None => is_attribute || is_variable,
        }
    }

    /// Whether a line adds to a list that a variable holds that matters.
    fn adds_to_used(&self, line: usize) -> bool {
        let adds = ADDS.map(outline::name);
        self.outline.mentions(line).windows(2).any(|pair| {
            let [list, method] = pair else { return false };
            let is_addition = list.owner && !list.attribute && method.attribute && adds.contains(&method.name);
            is_addition && self.used.variables.contains(&list.name) && !self.is_another(list.name, line)
        })
    }

    /// Whether a variable is one that a function that is not kept has of its own.
    fn is_another(&self, name: Name, line: usize) -> bool {
        let Some(function) = self.function_around(line).map(|number| &self.functions[number]) else { return false };
        let binds =
            |line: usize| self.outline.mentions(line).iter().any(|it| it.bound && !it.attribute && it.name == name);
        !function.kept && function.lines.clone().any(binds)
    }

    fn calls_called(&self, line: usize) -> bool {
        !self.called.is_empty() && self.outline.mentions(line).iter().any(|it| self.called.contains(&it.name))
    }

    fn look_at_function(&mut self, header: usize) -> Option<()> {
        if self.defines_used(header) {
            self.define(header);
        }
        let outline = self.outline;
        let inline = outline.block(header).is_empty();
        let is_method = outline.lines[header].in_class && !self.is_static(header);
        let own = (self.function_of[header], inline && self.lines[header]);
        let mut matters = false;
        for (number, parameter) in outline.mentions(header).iter().skip(1).filter(|it| it.bound).enumerate() {
            let is_used = own.1 || self.used.local.contains(&(own.0, parameter.name));
            // Nobody passes an object its own method's first parameter.
            matters |= is_used && !(number == 0 && is_method);
            if is_used && !self.lines[header] {
                self.add(header);
            }
        }
        if !matters || !self.chooses {
            return Some(());
        }
        let Some(name) = outline.mentions(header).first().map(|own| own.name) else { return Some(()) };
        (self.named.get(&name).map_or(0, Vec::len) <= FOLLOWED).then_some(())?;
        self.mark(name);
        self.changed |= self.called.insert(name);
        Some(())
    }

    /// The decorators of a function.
    fn decorators(&self, header: usize) -> impl Iterator<Item = usize> + use<'o> {
        let lines = &self.outline.lines;
        (0..header).rev().take_while(|line| lines[*line].kind == Kind::Decorator)
    }

    fn is_static(&self, header: usize) -> bool {
        let name = outline::name("staticmethod");
        self.decorators(header).any(|line| self.outline.mentions(line).iter().any(|it| it.name == name))
    }

    /// What a function returns matters, and whether it returns.
    fn define(&mut self, header: usize) {
        if std::mem::replace(&mut self.defined[header], true) {
            return;
        }
        self.decorators(header).for_each(|line| self.add(line));
        self.add(header);
        let block = self.outline.block(header);
        let last = block.end - 1;
        for line in block {
            if self.notes.flags[line] & flag::RETURNS != 0 || line == last && self.may_raise(header, line) {
                self.add(line);
            }
        }
    }

    /// Whether the last line of a function may be a call of a function that raises.
    fn may_raise(&self, header: usize, last: usize) -> bool {
        let lines = &self.outline.lines;
        let assigns = self.outline.mentions(last).iter().any(|mention| mention.bound);
        let is_assignment = assigns && self.notes.flags[last] & (flag::NAMED | flag::SEVERAL) == 0;
        lines[last].depth == lines[header].depth + 1 && !is_assignment
    }

    /// Whether calling a class raises matters, or calling an object of it.
    fn define_class(&mut self, header: usize) {
        if std::mem::replace(&mut self.defined[header], true) {
            return;
        }
        self.add(header);
        let special = SPECIAL.map(outline::name);
        for line in self.outline.block(header) {
            let own = self.outline.mentions(line).first().map(|own| own.name);
            if self.outline.lines[line].kind == Kind::Function && own.is_some_and(|own| special.contains(&own)) {
                self.define(line);
            }
        }
    }
}

/// The functions outside functions.
pub(super) fn functions(outline: &Outline) -> impl Iterator<Item = &Unit> {
    outline.units.iter().filter(|unit| outline.header(unit).is_some())
}

/// The names of NIXL's classes in a module. None where strings may be others.
fn classes<'n>(
    notes: &Notes,
    aliases: impl Iterator<Item = (&'n str, NixlClass)>,
) -> Option<FxHashMap<Name, NixlClass>> {
    let mut classes: FxHashMap<Name, NixlClass> = FxHashMap::default();
    let mut add = |name: Name, class: NixlClass| {
        let known = classes.entry(name).or_insert(class);
        // A configuration goes further.
        *known = (*known).max(class);
    };
    for class in [NixlClass::Agent, NixlClass::Configuration] {
        add(outline::name(class.name()), class);
    }
    for (name, class) in aliases {
        let is_own = NixlClass::named(name).is_some();
        let name = outline::name(name);
        // By `getattr`.
        (is_own || !notes.odd_strings && !notes.strings.contains(&name)).then_some(())?;
        add(name, class);
    }
    // Twice, for what is imported from an import.
    for _ in 0..2 {
        for Import { name, bound } in &notes.imports {
            if let Some(&class) = classes.get(name) {
                let known = classes.entry(*bound).or_insert(class);
                *known = (*known).max(class);
            }
        }
    }
    Some(classes)
}
