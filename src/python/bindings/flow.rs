//! The order in which things run: versions of variables through branches, loops and exceptions.

use rustc_hash::FxHashMap;
use rustpython_parser::ast::{Expr, Stmt};
use smallvec::SmallVec;

use super::declared::Declared;
use super::names::Names;
use super::scope_variables::{ScopeVariables, SmallMap};
use super::{
    Bindings, Branching, BranchingId, Function, Join, MODULE_SCOPE, OPEN, Origin, Path, PathId, Scope, ScopeId,
    ScopeKind, Symbol, Value, Variable, VariableId, Version, VersionId,
};
use crate::source::offset::TextOffset;

/// Reads a module, statement by statement, in the order in which they run.
pub(super) struct Reader<'a> {
    pub(super) bindings: Bindings<'a>,
    pub(super) text: &'a str,
    pub(super) scope: ScopeId,
    pub(super) path: PathId,
    /// What each variable is now.
    current: Vec<VersionId>,
    /// What it was before each change.
    log: Vec<(VariableId, VersionId)>,
    /// Marks the variables already seen in one pass over the log.
    stamps: Vec<u32>,
    stamp: u32,
    /// The name of the module's own level that was bound last.
    last_bound: Symbol,
    /// Whether the place can be reached.
    pub(super) reachable: bool,
}

/// What a branch leaves.
pub(super) struct Arm {
    /// The variables that it changed, and what they are at its end.
    changes: Vec<(VariableId, VersionId)>,
    /// Whether its end is reached.
    reached: bool,
}

impl<'a> Bindings<'a> {
    /// Reads a module. `text` is what it was parsed from; the parser has bounded how deep it is.
    pub(crate) fn of(text: &'a str, module: &'a [Stmt]) -> Self {
        let mut reader = Reader::new(text);
        reader.declare(&super::declared::declared(text, module));
        reader.body(module);
        let mut bindings = reader.bindings;
        bindings.loads.sort_unstable();
        bindings
    }
}

impl<'a> Reader<'a> {
    fn new(text: &'a str) -> Self {
        let mut reader = Reader {
            bindings: Bindings { names: Names::for_text(text.len()), ..Bindings::default() },
            text,
            scope: MODULE_SCOPE,
            path: 0,
            current: Vec::new(),
            log: Vec::new(),
            stamps: Vec::new(),
            stamp: 0,
            last_bound: Symbol::default(),
            reachable: true,
        };
        reader.bindings.scopes.push(Scope::new(ScopeKind::Module, None, "", None));
        reader.path = reader.root_path();
        reader
    }

    // Scopes.

    pub(super) fn here(&mut self) -> &mut Scope<'a> {
        &mut self.bindings.scopes[self.scope as usize]
    }

    pub(super) fn open(&mut self, kind: ScopeKind, name: &'a str) -> ScopeId {
        let class = if kind == ScopeKind::Class { Some(name) } else { self.bindings.scope(self.scope).class };
        self.bindings.scopes.push(Scope::new(kind, Some(self.scope), name, class));
        (self.bindings.scopes.len() - 1) as ScopeId
    }

    pub(super) fn within(&mut self, scope: ScopeId, work: impl FnOnce(&mut Self)) {
        let outer = std::mem::replace(&mut self.scope, scope);
        work(self);
        self.scope = outer;
    }

    /// Runs the body of a function, which runs later: nothing that it does changes the variables around it here.
    pub(super) fn deferred(&mut self, scope: ScopeId, work: impl FnOnce(&mut Self)) {
        let (mark, reachable) = (self.log.len(), std::mem::replace(&mut self.reachable, true));
        let path = self.root_path();
        let outer = std::mem::replace(&mut self.path, path);
        self.within(scope, |inner| {
            work(inner);
            let falls_through = inner.reachable;
            if let Some(function) = &mut inner.here().function {
                function.falls_through = falls_through;
                function.returns.shrink_to_fit();
                function.parameters.shrink_to_fit();
            }
        });
        self.path = outer;
        self.log.truncate(mark);
        self.reachable = reachable;
    }

    /// Gives the scope the names that its body declares.
    pub(super) fn declare(&mut self, declared: &Declared<'a>) {
        for name in &declared.globals {
            let symbol = self.symbol(name);
            let variable = self.variable_in(MODULE_SCOPE, symbol);
            self.here().variables.insert(symbol, variable);
        }
        for name in &declared.nonlocals {
            let symbol = self.symbol(name);
            if let Some(variable) = self.enclosing_function_variable(symbol) {
                self.here().variables.insert(symbol, variable);
            }
        }
        for name in &declared.bound {
            let symbol = self.symbol(name);
            self.variable_in(self.scope, symbol);
        }
    }

    fn enclosing_function_variable(&self, symbol: Symbol) -> Option<VariableId> {
        let parents =
            std::iter::successors(self.bindings.scope(self.scope).parent, |&id| self.bindings.scope(id).parent);
        let mut functions = parents.map(|id| self.bindings.scope(id)).filter(|scope| scope.kind == ScopeKind::Function);
        functions.find_map(|scope| scope.variables.get(symbol))
    }

    fn variable_in(&mut self, scope: ScopeId, symbol: Symbol) -> VariableId {
        if let Some(known) = self.bindings.scope(scope).variables.get(symbol) {
            return known;
        }
        let variable = self.new_variable(symbol, scope);
        self.bindings.scopes[scope as usize].variables.insert(symbol, variable);
        variable
    }

    fn new_variable(&mut self, symbol: Symbol, owner: ScopeId) -> VariableId {
        let variable = self.bindings.variables.len() as VariableId;
        self.bindings.variables.push(Variable { symbol, owner, bindings: SmallVec::new(), at_any_time: Vec::new() });
        self.stamps.push(0);
        let unbound = self.version(variable, Origin::Unbound);
        self.current.push(unbound);
        variable
    }

    pub(super) fn symbol(&mut self, name: &'a str) -> Symbol {
        let class = self.bindings.scope(self.scope).class;
        self.bindings.names.symbol(name, class)
    }

    // Versions.

    fn version(&mut self, variable: VariableId, origin: Origin<'a>) -> VersionId {
        self.bindings.versions.push(Version { variable, origin });
        (self.bindings.versions.len() - 1) as VersionId
    }

    pub(super) fn next_version(&self) -> VersionId {
        self.bindings.versions.len() as VersionId
    }

    fn set(&mut self, variable: VariableId, version: VersionId) {
        let before = std::mem::replace(&mut self.current[variable as usize], version);
        self.log.push((variable, before));
    }

    /// Binds a name of this scope, or of another one that `global` or `nonlocal` names.
    pub(super) fn bind(&mut self, name: &'a str, value: Value<'a>) -> VariableId {
        let symbol = match self.scope {
            MODULE_SCOPE => self.bindings.names.next_symbol(name, &mut self.last_bound),
            _ => self.symbol(name),
        };
        let variable = self.variable_in(self.scope, symbol);
        let version = self.version(variable, Origin::Bound(value));
        self.record(variable, version);
        variable
    }

    /// Makes a version the present one; another scope's variable can become it at any time.
    fn record(&mut self, variable: VariableId, version: VersionId) {
        let own = self.bindings.variable(variable).owner == self.scope;
        let bound = &mut self.bindings.variables[variable as usize];
        bound.bindings.push(version);
        if own {
            self.set(variable, version);
        } else {
            bound.at_any_time.push(version);
        }
    }

    /// Binds a name of the module, at some time: `globals()["name"] = …`.
    pub(super) fn bind_global(&mut self, name: &'a str, value: Value<'a>) {
        let symbol = self.bindings.names.symbol(name, None);
        let variable = self.variable_in(MODULE_SCOPE, symbol);
        let version = self.version(variable, Origin::Bound(value));
        let bound = &mut self.bindings.variables[variable as usize];
        bound.bindings.push(version);
        bound.at_any_time.push(version);
    }

    /// As [`Reader::bind`], where the name may as well keep what it was.
    pub(super) fn bind_perhaps(&mut self, name: &'a str, value: Value<'a>) {
        let symbol = self.symbol(name);
        let variable = self.variable_in(self.scope, symbol);
        let (before, from) = (self.current[variable as usize], self.next_version());
        self.bind(name, value);
        self.span(variable, before, from, from + 1);
    }

    /// Makes a variable unbound.
    pub(super) fn unbind(&mut self, name: &'a str) {
        let symbol = self.symbol(name);
        let variable = self.variable_in(self.scope, symbol);
        let version = self.version(variable, Origin::Unbound);
        self.record(variable, version);
    }

    fn span(&mut self, variable: VariableId, before: VersionId, from: VersionId, to: VersionId) -> VersionId {
        let version = self.version(variable, Origin::Span { before, from, to });
        self.set(variable, version);
        version
    }

    /// Records an assignment to an attribute.
    pub(super) fn bind_attribute(&mut self, class: Option<ScopeId>, name: &'a str, value: Value<'a>) {
        let symbol = self.symbol(name);
        let known = class.and_then(|class| self.bindings.class_attributes.get(&(class, symbol)).copied());
        let variable = known.unwrap_or_else(|| self.new_variable(symbol, self.scope));
        let version = self.version(variable, Origin::Bound(value));
        self.bindings.variables[variable as usize].bindings.push(version);
        match class {
            Some(class) => {
                self.bindings.class_attributes.insert((class, symbol), variable);
            }
            None => self.bindings.foreign_attributes.entry(symbol).or_default().push(version),
        }
        self.bindings.attributes_by_name.entry(symbol).or_default().push(version);
    }

    /// What a use of a name sees; records it.
    pub(super) fn load(&mut self, name: &'a str, at: TextOffset) {
        let symbol = self.symbol(name);
        if let Some(version) = self.seen(symbol) {
            self.bindings.loads.push((at.0 as u32, version));
        }
    }

    /// What a use of a name here would see; None for a name that the file does not bind.
    pub(super) fn seen(&mut self, symbol: Symbol) -> Option<VersionId> {
        let mut scope = self.scope;
        let mut function = None;
        loop {
            let here = self.bindings.scope(scope);
            let visible = here.kind != ScopeKind::Class || scope == self.scope;
            if let Some(variable) = here.variables.get(symbol).filter(|_| visible) {
                let now = self.current[variable as usize];
                let owner = self.bindings.variable(variable).owner;
                // A class's own name that is not bound yet is looked up outside of the class.
                let not_yet =
                    here.kind == ScopeKind::Class && matches!(self.bindings.version(now).origin, Origin::Unbound);
                if !not_yet {
                    // `global` and `nonlocal` names are free variables of the function that says so.
                    let function = function.or((owner != scope).then_some(scope));
                    return Some(function.map_or(now, |function| self.free(function, variable)));
                }
            }
            if here.kind == ScopeKind::Function && function.is_none() {
                function = Some(scope);
            }
            scope = self.bindings.scope(scope).parent?;
        }
    }

    /// A variable of another scope as a function sees it: as it was at the definition, or as anything after it made it.
    fn free(&mut self, function: ScopeId, variable: VariableId) -> VersionId {
        if let Some(known) = self.bindings.scope(function).free.get(variable) {
            return known;
        }
        let before = self.current[variable as usize];
        let from = self.next_version();
        let version = self.version(variable, Origin::Span { before, from, to: OPEN });
        self.bindings.scopes[function as usize].free.insert(variable, version);
        version
    }

    /// What a variable of this name is now, as seen from here.
    pub(super) fn value_now(&self, name: &str) -> Option<Value<'a>> {
        let scopes = std::iter::successors(Some(self.scope), |&id| self.bindings.scope(id).parent);
        let variable = scopes.into_iter().find_map(|id| {
            let scope = self.bindings.scope(id);
            scope.variables.get(self.bindings.names.find(name, scope.class)?)
        })?;
        match self.bindings.version(self.current[variable as usize]).origin {
            Origin::Bound(value) => Some(value),
            _ => None,
        }
    }

    // Branches.

    /// The path of a body that runs on its own.
    pub(super) fn root_path(&mut self) -> PathId {
        let branching = self.branching(Vec::new(), TextOffset(0));
        self.bindings.paths.push(Path { parent: None, branching, arm: 0, leaves: false });
        (self.bindings.paths.len() - 1) as PathId
    }

    pub(super) fn branching(&mut self, tests: Vec<&'a Expr>, end: TextOffset) -> BranchingId {
        self.bindings.branchings.push(Branching { tests, path: self.path, end });
        (self.bindings.branchings.len() - 1) as BranchingId
    }

    /// Runs one branch of a statement, and undoes what it changes.
    pub(super) fn arm(&mut self, branching: BranchingId, number: u32, work: impl FnOnce(&mut Self)) -> Arm {
        self.bindings.paths.push(Path { parent: Some(self.path), branching, arm: number, leaves: false });
        let path = (self.bindings.paths.len() - 1) as PathId;
        let outer = std::mem::replace(&mut self.path, path);
        let arm = self.tried(work);
        self.bindings.paths[path as usize].leaves = !arm.reached;
        self.path = outer;
        arm
    }

    /// Runs something and undoes what it changes.
    fn tried(&mut self, work: impl FnOnce(&mut Self)) -> Arm {
        let (mark, reachable) = (self.log.len(), self.reachable);
        work(self);
        self.stamp += 1;
        let mut changes = Vec::new();
        while self.log.len() > mark {
            let Some((variable, before)) = self.log.pop() else { break };
            let index = variable as usize;
            let last = std::mem::replace(&mut self.current[index], before);
            if std::mem::replace(&mut self.stamps[index], self.stamp) != self.stamp {
                changes.push((variable, last));
            }
        }
        Arm { changes, reached: std::mem::replace(&mut self.reachable, reachable) }
    }

    /// Goes on after a statement's branches. `passes`: whether it may run none of them.
    pub(super) fn merge(&mut self, branching: BranchingId, arms: &[Arm], passes: bool) {
        let live = arms.iter().filter(|arm| arm.reached).count();
        if live == 0 && !passes {
            self.reachable = false;
            return;
        }
        let mut changes: FxHashMap<VariableId, Vec<(u32, VersionId)>> = FxHashMap::default();
        for (number, arm) in (0..).zip(arms).filter(|(_, arm)| arm.reached) {
            arm.changes.iter().for_each(|(variable, last)| changes.entry(*variable).or_default().push((number, *last)));
        }
        let mut changes: Vec<_> = changes.into_iter().collect();
        changes.sort_unstable_by_key(|(variable, _)| *variable);
        for (variable, arms) in changes {
            let before = (passes || arms.len() < live).then(|| self.current[variable as usize]);
            let first = arms[0].1;
            let same = before.is_none_or(|before| before == first) && arms.iter().all(|(_, last)| *last == first);
            let version = if same {
                first
            } else {
                self.version(variable, Origin::Join(Box::new(Join { branching, before, arms })))
            };
            self.set(variable, version);
        }
    }

    /// Runs the body of a loop. What it binds can be there from the start, from the round before.
    pub(super) fn repeated(&mut self, branching: BranchingId, bound: &[&'a str], work: impl FnOnce(&mut Self)) {
        let from = self.next_version();
        let spans: Vec<VersionId> = bound
            .iter()
            .filter_map(|name| {
                let symbol = self.symbol(name);
                let variable = self.variable_in(self.scope, symbol);
                let own = self.bindings.variable(variable).owner == self.scope;
                let before = self.current[variable as usize];
                own.then(|| self.span(variable, before, from, OPEN))
            })
            .collect();
        self.arm(branching, 0, work);
        let end = self.next_version();
        for span in spans {
            if let Origin::Span { to, .. } = &mut self.bindings.versions[span as usize].origin {
                *to = end;
            }
        }
    }

    /// Gives every variable that `arms` change what it can be while they run: for what follows an exception.
    pub(super) fn anywhere_in(&mut self, arms: &[&Arm], from: VersionId) {
        let to = self.next_version();
        self.stamp += 1;
        for (variable, _) in arms.iter().flat_map(|arm| &arm.changes) {
            let index = *variable as usize;
            if std::mem::replace(&mut self.stamps[index], self.stamp) != self.stamp {
                self.span(*variable, self.current[index], from, to);
            }
        }
    }

    /// Runs a `finally` with what the variables can be after an exception too; what it does not change goes on as it was
    /// after `arms` without one.
    pub(super) fn finally(
        &mut self,
        branching: BranchingId,
        arms: &[Arm],
        from: VersionId,
        work: impl FnOnce(&mut Self),
    ) {
        let mut spans = from..from;
        let last = self.tried(|inner| {
            let first = inner.next_version();
            inner.anywhere_in(&arms.iter().collect::<Vec<_>>(), from);
            spans = first..inner.next_version();
            inner.reachable = true;
            work(inner);
        });
        self.merge(branching, arms, false);
        self.reachable &= last.reached;
        for (variable, version) in last.changes {
            if !spans.contains(&version) {
                self.set(variable, version);
            }
        }
    }
}

impl Arm {
    /// Whether its end is reached.
    pub(super) fn reached(&self) -> bool {
        self.reached
    }
}

impl<'a> Scope<'a> {
    fn new(kind: ScopeKind, parent: Option<ScopeId>, name: &'a str, class: Option<&'a str>) -> Self {
        let function = (kind == ScopeKind::Function).then(Function::default);
        Scope {
            kind,
            parent,
            name,
            class,
            variables: match kind {
                ScopeKind::Module => ScopeVariables::Module(Vec::new()),
                _ => ScopeVariables::Inner(SmallMap::new()),
            },
            free: SmallMap::new(),
            function,
            bases: &[],
        }
    }
}
