//! What may hold one of NIXL's classes or a configuration, followed from the lines that name a class.

use super::{FOLLOWED, Kind, Mention, NONE, Name, Names, Needs, NixlClass, flag};

impl Needs<'_> {
    /// Makes a line matter that names what may hold one, and follows it. None where too many functions have one name.
    pub(super) fn follow_holders(&mut self, line: usize) -> Option<()> {
        let outline = self.outline;
        let (flags, first) = (self.notes.flags[line], outline.first_mention(line));
        let (mut holds, mut spreads) = (false, None);
        for (number, mention) in outline.mentions(line).iter().enumerate() {
            if !self.holds(mention, line) {
                continue;
            }
            holds = true;
            if !self.only_creates(line, first + number) {
                spreads = spreads.max(Some(!self.is_agent(mention, line)));
            }
        }
        if flags & flag::QUOTES != 0 {
            (holds, spreads) = (true, Some(true));
        }
        if !holds {
            return Some(());
        }
        self.add(line);
        if flags & flag::IMPORTS != 0 {
            return Some(());
        }
        if self.chooses {
            self.pass_on(line)?;
        }
        if let Some(more) = spreads {
            self.spread(line, more);
        }
        Some(())
    }

    /// Whether a name may hold a class or a configuration. What an attribute of it is, is neither.
    fn holds(&self, mention: &Mention, line: usize) -> bool {
        let holds = self.classes.contains_key(&mention.name)
            || self.is_one_of(&self.holders, mention, line)
            || self.is_one_of(&self.agents, mention, line);
        holds && !mention.owner
    }

    /// Whether a name is the agent's class, if it is anything of NIXL.
    fn is_agent(&self, mention: &Mention, line: usize) -> bool {
        let is_class = self.classes.get(&mention.name) == Some(&NixlClass::Agent);
        let is_agent = is_class || self.is_one_of(&self.agents, mention, line);
        is_agent && !self.named.contains_key(&mention.name) && !self.is_one_of(&self.holders, mention, line)
    }

    fn is_one_of(&self, names: &Names, mention: &Mention, line: usize) -> bool {
        if mention.attribute {
            return names.attributes.contains(&mention.name);
        }
        names.variables.contains(&mention.name) || names.local.contains(&(self.function_of[line], mention.name))
    }

    /// Whether a mention of a class or of what holds one can only make it an agent here: it is called, or an argument of
    /// such a call.
    fn only_creates(&self, line: usize, number: usize) -> bool {
        let outline = self.outline;
        let first = outline.first_mention(line);
        let is_creation = |number: usize| {
            let mention = &outline.mentions(line)[number - first];
            mention.called && self.is_agent(mention, line)
        };
        if is_creation(number) {
            return true;
        }
        let calls = &self.notes.calls;
        let from = calls.partition_point(|call| call.callee < first);
        let before = calls[from..].iter().take_while(|call| call.callee < number);
        self.notes.flags[line] & flag::NAMED == 0
            && before.filter(|call| number < call.end).any(|call| is_creation(call.callee))
    }

    /// What a line passes to functions, their parameters may hold.
    fn pass_on(&mut self, line: usize) -> Option<()> {
        let outline = self.outline;
        for mention in outline.mentions(line) {
            let headers = self.named.get(&mention.name).cloned().unwrap_or_default();
            (headers.len() <= FOLLOWED).then_some(())?;
            for header in headers {
                self.keep(header);
                let parameters = outline.mentions(header).iter().skip(1).filter(|parameter| parameter.bound);
                parameters.for_each(|parameter| self.hold_locally(header, parameter.name, true));
            }
        }
        Some(())
    }

    /// What a line binds or returns may hold what is in it. `more`: more than the agent's class.
    fn spread(&mut self, line: usize, more: bool) {
        let outline = self.outline;
        let here = &outline.lines[line];
        let is_header = here.kind == Kind::Function;
        for (number, mention) in outline.mentions(line).iter().enumerate().filter(|(_, mention)| mention.bound) {
            let is_parameter = is_header && number > 0;
            if mention.attribute || here.in_class && !is_parameter {
                self.hold_attribute(mention.name, more);
            }
            if mention.attribute {
                continue;
            }
            if is_parameter || self.function_around(line).is_some() {
                self.hold_locally(line, mention.name, more);
            }
            if self.is_global(line) || !is_parameter && self.function_around(line).is_none() {
                self.hold_variable(mention.name, more);
            }
        }
        if self.notes.flags[line] & flag::RETURNS == 0 || self.function_of[line] == NONE {
            return;
        }
        for line in self.functions[self.function_of[line] as usize].lines.clone() {
            if let Some(own) = outline.mentions(line).first().filter(|_| outline.lines[line].kind == Kind::Function) {
                self.hold_attribute(own.name, true);
                self.hold_variable(own.name, true);
            }
        }
    }

    fn hold_attribute(&mut self, name: Name, more: bool) {
        self.mark(name);
        let names = if more { &mut self.holders } else { &mut self.agents };
        self.changed |= names.attributes.insert(name);
    }

    fn hold_variable(&mut self, name: Name, more: bool) {
        self.mark(name);
        let names = if more { &mut self.holders } else { &mut self.agents };
        self.changed |= names.variables.insert(name);
    }

    fn hold_locally(&mut self, line: usize, name: Name, more: bool) {
        self.mark(name);
        let names = if more { &mut self.holders } else { &mut self.agents };
        self.changed |= names.local.insert((self.function_of[line], name));
    }
}
