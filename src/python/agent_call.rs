//! The calls that create a NIXL agent, and how each chooses its backends.
//!
//! Source of the signatures: `_api.py` of NIXL 0.1.1 to 1.5.1, `nixl_agent(agent_name, nixl_conf=None,
//! instantiate_all=False)`; `nixl_agent_config`'s `backends` is its second to sixth parameter, by version.

use rustpython_parser::ast::{Constant, Expr, ExprCall, Stmt};

use super::bindings::{Bindings, Placed, Value};
use super::environment_read::EnvironmentRead;
use super::meaning::{Meaning, Resolver};
use super::span::{end, start};
use crate::source::lines::position;
use crate::source::offset::TextOffset;

/// The name of `nixl_agent`'s second parameter.
const CONFIGURATION_PARAMETER: &str = "nixl_conf";
/// The fewest parameters of `nixl_agent_config` before `backends`, since NIXL 0.2.0.
const POSITIONS_BEFORE_BACKENDS: usize = 3;

/// A call that creates an agent.
#[derive(Clone, Debug)]
pub(crate) struct Site {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// The enclosing function.
    pub function: Option<String>,
    /// How it chooses its backends.
    pub shape: Shape,
    /// What makes it read the variable; empty where it is left alone.
    pub edits: Vec<CallEdit>,
}

/// How a call chooses the agent's backends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// Not at all: NIXL's default.
    Bare,
    /// By a configuration without `backends`.
    ConfigurationWithoutBackends,
    /// By arguments of its own; which.
    Configured(String),
    /// By an environment variable.
    EnvironmentAware(EnvironmentRead),
    /// In a way that this file does not tell; why.
    Unclear(String),
}

/// What is inserted into a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum CallEdit {
    /// A configuration, as the last argument of the agent's call.
    AddConfiguration {
        /// Where.
        offset: TextOffset,
        /// The argument's name, where it cannot be positional.
        keyword: Option<&'static str>,
        /// The configuration's class.
        class: ConfigurationClass,
    },
    /// `backends`, as the last argument of the configuration's call.
    AddBackends {
        /// Where.
        offset: TextOffset,
        /// Whether it is the only argument.
        first: bool,
    },
    /// `or` a configuration, after an argument that may be None.
    OrConfiguration {
        /// Where.
        offset: TextOffset,
        /// The configuration's class.
        class: ConfigurationClass,
    },
}

/// How the configuration's class is reached from the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ConfigurationClass {
    /// By this expression: `nixl_api.nixl_agent_config`.
    Expression(String),
    /// The file has no name for it. The inserted code imports it when the agent is created, from the first of these
    /// modules that exists: those of the agent's class.
    ImportedFrom(Vec<String>),
}

/// All calls in a module that create an agent, in order.
pub(crate) fn find(text: &str, module: &[Stmt]) -> Vec<Site> {
    let bindings = Bindings::of(module);
    let finder = Finder { text, bindings: &bindings, resolver: Resolver::new(&bindings) };
    let mut sites: Vec<(TextOffset, Site)> =
        bindings.uses.iter().filter_map(|placed| Some((start(placed.node), finder.site(*placed)?))).collect();
    sites.sort_by_key(|(offset, _)| *offset);
    sites.into_iter().map(|(_, site)| site).collect()
}

struct Finder<'b, 'a> {
    text: &'a str,
    bindings: &'b Bindings<'a>,
    resolver: Resolver<'b, 'a>,
}

/// What becomes of a call with a configuration.
enum Verdict {
    NeedsBackends(Vec<CallEdit>),
    LeftAlone(Shape),
}

impl<'a> Finder<'_, 'a> {
    fn site(&self, placed: Placed<'a, Expr>) -> Option<Site> {
        let call = placed.node.as_call_expr().filter(|call| self.bindings.may_be_agent(&call.func))?;
        let callee = self.resolver.meanings(Placed { node: call.func.as_ref(), ..placed });
        let modules = distinct(callee.iter().filter_map(Meaning::nixl_agent_module));
        let (shape, edits) = if modules.is_empty() {
            (unknown_agent(call, &callee)?, Vec::new())
        } else {
            self.classify(placed, call, &callee, modules)
        };
        let (line, column) = position(self.text, start(call));
        let function = self.bindings.function_of(placed.scope).map(|scope| scope.name.to_string());
        Some(Site { line, column, function, shape, edits })
    }

    fn classify(
        &self,
        placed: Placed<'a, Expr>,
        call: &'a ExprCall,
        callee: &[Meaning],
        modules: Vec<String>,
    ) -> (Shape, Vec<CallEdit>) {
        if call.args.is_empty() && call.keywords.is_empty() {
            return (Shape::Unclear("it raises TypeError: no argument names the agent".into()), Vec::new());
        }
        if let Some(reason) = unclear_arguments(call) {
            return (Shape::Unclear(reason), Vec::new());
        }
        let class = self.configuration_class(placed, call, callee, modules);
        match argument(call, 1, CONFIGURATION_PARAMETER) {
            None => self.without_configuration(placed, call, class),
            Some(configuration) => match self.configuration(Placed { node: configuration, ..placed }, &class) {
                Verdict::LeftAlone(shape) => (shape, Vec::new()),
                Verdict::NeedsBackends(edits) if is_none(configuration) => (Shape::Bare, edits),
                Verdict::NeedsBackends(edits) => (Shape::ConfigurationWithoutBackends, edits),
            },
        }
    }

    fn without_configuration(
        &self,
        placed: Placed<'a, Expr>,
        call: &'a ExprCall,
        class: ConfigurationClass,
    ) -> (Shape, Vec<CallEdit>) {
        if let Some(shape) = argument(call, 2, "instantiate_all").and_then(instantiates_all) {
            return (shape, Vec::new());
        }
        let test = self.resolver.environment_test(placed.scope, placed.path);
        if let Some(read) = test.filter(|read| read.variable.as_deref().is_some_and(|name| name.contains("BACKEND"))) {
            return (Shape::EnvironmentAware(read), Vec::new());
        }
        let positional = call.args.len() == 1 && call.keywords.is_empty();
        let keyword = (!positional).then_some(CONFIGURATION_PARAMETER);
        let edit = CallEdit::AddConfiguration { offset: self.after_last_argument(call), keyword, class };
        (Shape::Bare, vec![edit])
    }

    /// Judges the configuration argument by everything that it can be.
    fn configuration(&self, placed: Placed<'a, Expr>, class: &ConfigurationClass) -> Verdict {
        let mut shapes = Vec::new();
        let mut edits = Vec::new();
        for binding in self.resolver.assigned_backends(placed) {
            let Value::Expression(value) = binding.value else { continue };
            shapes.push(self.given(Placed { node: value, scope: binding.scope, path: binding.path }));
        }
        for meaning in self.resolver.meanings(placed) {
            let Meaning::Plain(plain) = meaning else {
                shapes.push(Shape::Unclear(elsewhere(&meaning)));
                continue;
            };
            for leaf in self.resolver.returned(plain) {
                match self.leaf(placed, leaf, class) {
                    Ok(edit) => edits.push(edit),
                    Err(shape) => shapes.push(shape),
                }
            }
        }
        let found = |wanted: fn(&Shape) -> bool| shapes.iter().find(|shape| wanted(shape)).cloned();
        let aware = found(|shape| matches!(shape, Shape::EnvironmentAware(_)));
        if let Some(shape) = aware.or_else(|| found(|shape| matches!(shape, Shape::Unclear(_)))) {
            return Verdict::LeftAlone(shape);
        }
        if edits.is_empty() || !self.resolver.assigned_backends(placed).is_empty() {
            let reason = || Shape::Unclear("its configuration cannot be traced".into());
            return Verdict::LeftAlone(shapes.into_iter().next().unwrap_or_else(reason));
        }
        edits.dedup();
        Verdict::NeedsBackends(edits)
    }

    /// One possible configuration: how to give it backends, or why to leave it alone.
    fn leaf(
        &self,
        argument: Placed<'a, Expr>,
        leaf: Placed<'a, Expr>,
        class: &ConfigurationClass,
    ) -> Result<CallEdit, Shape> {
        if is_none(leaf.node) {
            return self.none(argument, leaf, class);
        }
        let call = leaf
            .node
            .as_call_expr()
            .ok_or_else(|| Shape::Unclear("its configuration is not a call of `nixl_agent_config`".into()))?;
        let callee = self.resolver.meanings(Placed { node: call.func.as_ref(), ..leaf });
        if !callee.iter().any(|meaning| meaning.nixl_config_module().is_some()) {
            let name = self.source(&call.func);
            return Err(Shape::Unclear(format!("its configuration comes from a call of `{name}`")));
        }
        if let Some(backends) = keyword(call, "backends") {
            return Err(self.given(Placed { node: backends, ..leaf }));
        }
        if let Some(reason) = unclear_arguments(call) {
            return Err(Shape::Unclear(reason));
        }
        if call.args.len() > POSITIONS_BEFORE_BACKENDS {
            return Err(Shape::Unclear("a positional argument of its configuration may be the backends".into()));
        }
        let first = call.args.is_empty() && call.keywords.is_empty();
        Ok(CallEdit::AddBackends { offset: self.after_last_argument(call), first })
    }

    fn none(
        &self,
        argument: Placed<'a, Expr>,
        leaf: Placed<'a, Expr>,
        class: &ConfigurationClass,
    ) -> Result<CallEdit, Shape> {
        let class = class.clone();
        let inside = start(argument.node) <= start(leaf.node) && end(leaf.node) <= end(argument.node);
        if inside {
            return Ok(CallEdit::OrConfiguration { offset: end(leaf.node), class });
        }
        if matches!(argument.node, Expr::Name(_) | Expr::Attribute(_)) {
            return Ok(CallEdit::OrConfiguration { offset: end(argument.node), class });
        }
        Err(Shape::Unclear("its configuration may be `None`, and where that comes from cannot be traced".into()))
    }

    /// Backends given by the file: from the environment, or its own.
    fn given(&self, backends: Placed<'a, Expr>) -> Shape {
        let read = self.resolver.environment_read(backends);
        match read.or_else(|| self.resolver.environment_test(backends.scope, backends.path)) {
            Some(read) => Shape::EnvironmentAware(read),
            None => Shape::Configured(format!("`backends={}`", self.source(backends.node))),
        }
    }

    fn configuration_class(
        &self,
        placed: Placed<'a, Expr>,
        call: &'a ExprCall,
        callee: &[Meaning],
        modules: Vec<String>,
    ) -> ConfigurationClass {
        if let Some(attribute) = call.func.as_attribute_expr().filter(|attribute| is_dotted_name(&attribute.value)) {
            return ConfigurationClass::Expression(format!("{}.nixl_agent_config", self.source(&attribute.value)));
        }
        let agent_has_alternative = callee.iter().any(|meaning| meaning.nixl_agent_module().is_none());
        let mut names = self.bindings.names_of_member("nixl_agent_config", placed.scope);
        names.retain(|name| self.is_configuration_class(name, placed, agent_has_alternative));
        match names.first() {
            Some(name) => ConfigurationClass::Expression((*name).to_string()),
            None => ConfigurationClass::ImportedFrom(modules),
        }
    }

    /// Whether a name is NIXL's configuration class at the call, and bound wherever the agent's class is: where the
    /// import fails and only the agent has a substitute, an unbound name would turn a clear error into a NameError.
    fn is_configuration_class(&self, name: &str, at: Placed<'a, Expr>, agent_has_alternative: bool) -> bool {
        let Some((_, bindings)) = self.bindings.look_up(name, at.scope, start(at.node), at.path) else { return false };
        let meanings: Vec<Meaning> = self.resolver.meanings_of_bindings(name, &bindings);
        let nixl = meanings.iter().filter(|meaning| meaning.nixl_config_module().is_some()).count();
        nixl > 0 && (nixl < meanings.len()) == agent_has_alternative
    }

    /// The end of a call's last argument, before a trailing comma and the call's closing parenthesis.
    fn after_last_argument(&self, call: &ExprCall) -> TextOffset {
        let close = end(call).0 - 1;
        let values = call.args.iter().chain(call.keywords.iter().map(|keyword| &keyword.value));
        let Some(last) = values.map(end).max() else { return TextOffset(close) };
        // An argument's node does not include the parentheses around it.
        let TextOffset(mut offset) = last;
        let mut rest = offset;
        let bytes = self.text.as_bytes();
        while rest < close && bytes[rest] != b',' {
            match bytes[rest] {
                b'#' => rest = memchr::memchr(b'\n', &bytes[rest..close]).map_or(close, |newline| rest + newline),
                b')' => {
                    rest += 1;
                    offset = rest;
                }
                _ => rest += 1,
            }
        }
        TextOffset(offset)
    }

    fn source(&self, expression: &Expr) -> &'a str {
        self.text.get(start(expression).0..end(expression).0).unwrap_or_default()
    }
}

/// A call of a `nixl_agent` that may or may not be NIXL's.
fn unknown_agent(call: &ExprCall, callee: &[Meaning]) -> Option<Shape> {
    let name = match call.func.as_ref() {
        Expr::Name(name) => name.id.as_str(),
        Expr::Attribute(attribute) => attribute.attr.as_str(),
        _ => return None,
    };
    if name != "nixl_agent" {
        return None;
    }
    callee.iter().find_map(|meaning| match meaning {
        Meaning::Unknown(reason) => Some(Shape::Unclear(format!("may not be NIXL's agent: {reason}"))),
        Meaning::Member { module, .. } if module == "." => {
            Some(Shape::Unclear("may not be NIXL's agent: imported from another module of this package".into()))
        }
        _ => None,
    })
}

fn unclear_arguments(call: &ExprCall) -> Option<String> {
    if call.args.iter().any(rustpython_ast::Expr::is_starred_expr) {
        return Some("its arguments are unpacked from a sequence (`*`)".into());
    }
    if call.keywords.iter().any(|keyword| keyword.arg.is_none()) {
        return Some("its arguments are unpacked from a mapping (`**`)".into());
    }
    if call.args.iter().any(rustpython_ast::Expr::is_generator_exp_expr) {
        return Some("its argument is a generator expression".into());
    }
    None
}

fn instantiates_all(argument: &Expr) -> Option<Shape> {
    match argument.as_constant_expr().map(|constant| &constant.value) {
        Some(Constant::Bool(false)) => None,
        Some(Constant::Bool(true)) => Some(Shape::Configured("`instantiate_all=True`, every installed plugin".into())),
        _ => Some(Shape::Unclear("`instantiate_all` is not a constant".into())),
    }
}

fn argument<'a>(call: &'a ExprCall, position: usize, name: &str) -> Option<&'a Expr> {
    call.args.get(position).or_else(|| keyword(call, name))
}

fn keyword<'a>(call: &'a ExprCall, name: &str) -> Option<&'a Expr> {
    let named = call.keywords.iter().find(|keyword| keyword.arg.as_ref().is_some_and(|arg| arg.as_str() == name));
    named.map(|keyword| &keyword.value)
}

fn is_none(expression: &Expr) -> bool {
    expression.as_constant_expr().is_some_and(|constant| constant.value == Constant::None)
}

/// A name, or an attribute of one: it can be evaluated twice.
fn is_dotted_name(expression: &Expr) -> bool {
    match expression {
        Expr::Name(_) => true,
        Expr::Attribute(attribute) => is_dotted_name(&attribute.value),
        _ => false,
    }
}

fn elsewhere(meaning: &Meaning) -> String {
    match meaning {
        Meaning::Unknown(reason) => format!("its configuration cannot be traced: {reason}"),
        Meaning::Member { module, name } => format!("its configuration is `{name}` of the module `{module}`"),
        _ => "its configuration cannot be traced".into(),
    }
}

fn distinct<'m>(modules: impl Iterator<Item = &'m str>) -> Vec<String> {
    let mut distinct: Vec<String> = Vec::new();
    for module in modules {
        if !distinct.iter().any(|known| known == module) {
            distinct.push(module.to_string());
        }
    }
    distinct
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::python::syntax::parse;

    /// Each call's line and shape, in short.
    fn shapes(text: &str) -> Vec<String> {
        let module = parse(text).expect("the test's source parses");
        find(text, &module).iter().map(short).collect()
    }

    fn short(site: &Site) -> String {
        let shape = match &site.shape {
            Shape::Bare => "bare".into(),
            Shape::ConfigurationWithoutBackends => "config".into(),
            Shape::Configured(_) => "configured".into(),
            Shape::EnvironmentAware(read) => format!("env {}", read.variable.as_deref().unwrap_or("?")),
            Shape::Unclear(_) => "unclear".into(),
        };
        format!("{}:{shape}", site.line)
    }

    fn one(text: &str) -> String {
        let shapes = shapes(text);
        assert_eq!(shapes.len(), 1, "{shapes:?} in\n{text}");
        shapes[0].split_once(':').map(|(_, shape)| shape.to_string()).unwrap_or_default()
    }

    #[test]
    fn the_agent_is_found_whatever_it_is_called() {
        for text in [
            "import nixl._api as nixl_api\nnixl_api.nixl_agent('a')",
            "import nixl._api\nnixl._api.nixl_agent('a')",
            "import nixl\nnixl.nixl_agent('a')",
            "from nixl import _api\n_api.nixl_agent('a')",
            "from nixl import _api as api\napi.nixl_agent('a')",
            "from nixl._api import nixl_agent\nnixl_agent('a')",
            "from nixl._api import nixl_agent as X\nX('a')",
            "from nixl_cu12._api import nixl_agent\nnixl_agent('a')",
            "import nixl_cu13._api as n\nn.nixl_agent('a')",
            "from nixl._api import *\nnixl_agent('a')",
            "from nixl._api import nixl_agent\nAgent = nixl_agent\nAgent('a')",
            "import importlib\napi = importlib.import_module('nixl._api')\napi.nixl_agent('a')",
            "try:\n    import nixl._api as api\nexcept ImportError as e:\n    api = Proxy(e)\napi.nixl_agent('a')",
            "try:\n    from nixl_cu13._api import nixl_agent\nexcept ImportError:\n    from nixl_cu12._api import nixl_agent\nnixl_agent('a')",
            "try:\n    from nixl._api import nixl_agent\nexcept ImportError:\n    nixl_agent = None\ndef f():\n    return nixl_agent('a')",
            "def f():\n    from nixl._api import nixl_agent\n    return nixl_agent('a')",
            "def f():\n    global api\n    import nixl._api as api\ndef g():\n    return api.nixl_agent('a')",
            "def lazy():\n    from nixl._api import nixl_agent, nixl_agent_config\n    return nixl_agent, nixl_agent_config\ndef f():\n    agent, config = lazy()\n    return agent('a')",
            "class C:\n    def __init__(self):\n        import nixl._api as api\n        self.api = api\n    def f(self):\n        return self.api.nixl_agent('a')",
            "if TYPE_CHECKING:\n    from x import y\nelse:\n    import nixl._api as api\napi.nixl_agent('a')",
        ] {
            assert_eq!(one(text), "bare", "{text}");
        }
    }

    #[test]
    fn what_is_not_nixls_is_no_site() {
        for text in [
            "def nixl_agent(x): pass\nnixl_agent('a')",
            "class nixl_agent: pass\nnixl_agent('a')",
            "from elsewhere import nixl_agent\nnixl_agent('a')",
            "import elsewhere\nelsewhere.nixl_agent('a')",
            "from nixl._api import nixl_agent\ndef nixl_agent(x): pass\nnixl_agent('a')",
            "from nixl._api import nixl_agent\nnixl_agent = print\nnixl_agent('a')",
            "import nixl._api as api\n'api.nixl_agent(x)'",
            "import nixl._api as api\n# api.nixl_agent(x)",
            "import nixl._api as api\ndef f():\n    \"\"\"api.nixl_agent(x)\"\"\"",
            "import nixl._api as api\napi.nixl_agent_config()",
            "import nixl._api as api\nx: api.nixl_agent = None",
            "from nixl._api import nixl_agent\ndef f(nixl_agent=print):\n    pass",
            "import nixl_tools as nixl\nnixl.nixl_agent('a')",
        ] {
            assert_eq!(shapes(text), Vec::<String>::new(), "{text}");
        }
    }

    #[test]
    fn scopes_are_pythons() {
        let parameter = "from nixl._api import nixl_agent\ndef f(nixl_agent):\n    return nixl_agent('a')";
        assert_eq!(one(parameter), "unclear");
        let class_name =
            "class C:\n    from nixl._api import nixl_agent\n    def f(self):\n        return nixl_agent('a')";
        assert_eq!(shapes(class_name).len(), 0, "a class's names are not seen in its functions");
        let in_class = "class C:\n    from nixl._api import nixl_agent\n    a = nixl_agent('a')";
        assert_eq!(one(in_class), "bare");
        let later = "def f():\n    return nixl_agent('a')\nfrom nixl._api import nixl_agent";
        assert_eq!(one(later), "bare", "the function runs when the module is complete");
        let other_branch = "if x:\n    from nixl._api import nixl_agent\n    nixl_agent('a')\nelse:\n    nixl_agent = print\n    nixl_agent('b')";
        assert_eq!(shapes(other_branch), ["3:bare"]);
    }

    #[test]
    fn calls_come_in_any_shape() {
        let import = "from nixl._api import nixl_agent, nixl_agent_config\n";
        for (text, expected) in [
            ("nixl_agent(agent_name='a')", "bare"),
            ("nixl_agent('a',)", "bare"),
            ("nixl_agent('a', None)", "bare"),
            ("nixl_agent('a', nixl_conf=None)", "bare"),
            ("nixl_agent(\n  'a'  # the name, (\n  ,  # more\n)", "bare"),
            ("f = lambda n: nixl_agent(n)", "bare"),
            ("def f(a=nixl_agent('a')): pass", "bare"),
            ("x = nixl_agent('a') if y else None", "bare"),
            ("x = [nixl_agent(n) for n in names]", "bare"),
            ("x = {n: nixl_agent(n) for n in names}", "bare"),
            ("x = list(nixl_agent(n) for n in names)", "bare"),
            ("x = f'{nixl_agent(n)}'", "bare"),
            ("nixl_agent()", "unclear"),
            ("nixl_agent(*args)", "unclear"),
            ("nixl_agent('a', **options)", "unclear"),
            ("nixl_agent('a', instantiate_all=True)", "configured"),
            ("nixl_agent('a', instantiate_all=False)", "bare"),
            ("nixl_agent('a', instantiate_all=x)", "unclear"),
            ("nixl_agent('a', nixl_agent_config())", "config"),
            ("nixl_agent('a', nixl_agent_config(num_threads=8, capture_telemetry=True))", "config"),
            ("nixl_agent('a', nixl_agent_config(True, False, 0, ['UCX']))", "unclear"),
            ("nixl_agent('a', nixl_agent_config(**options))", "unclear"),
            ("nixl_agent('a', nixl_agent_config(backends=['UCX']))", "configured"),
            ("nixl_agent('a', nixl_agent_config(backends=[]))", "configured"),
            ("nixl_agent('a', make())", "unclear"),
            ("def f(config=None):\n    return nixl_agent('a', config)", "unclear"),
            ("c = nixl_agent_config(num_threads=2)\nnixl_agent('a', c)", "config"),
            ("c = nixl_agent_config(num_threads=2) if x else None\nnixl_agent('a', c)", "config"),
            ("c = nixl_agent_config()\nc.backends = ['OBJ']\nnixl_agent('a', c)", "configured"),
            ("c = nixl_agent_config(backends=b)\ndef f():\n    return nixl_agent('a', c)", "configured"),
            ("def make():\n    return nixl_agent_config(num_threads=2)\nnixl_agent('a', make())", "config"),
        ] {
            assert_eq!(one(&format!("{import}{text}")), expected, "{text}");
        }
    }

    #[test]
    fn patches_made_by_hand_are_known() {
        let inside = [
            "b = os.environ.get('NIXL_BACKEND', 'UCX')\n    c = api.nixl_agent_config(backends=[b])\n    return api.nixl_agent(n, c)",
            "return api.nixl_agent(n, api.nixl_agent_config(backends=[os.getenv('NIXL_BACKEND')]))",
            "return api.nixl_agent(n, api.nixl_agent_config(backends=os.environ['NIXL_BACKEND'].split(',')))",
            "import os as o\n    x = o.environ.get('NIXL_BACKEND', 'UCX')\n    y = [x] if x != 'UCX' else ['UCX']\n    c = api.nixl_agent_config(backends=y)\n    return api.nixl_agent(n, c)",
            "x = os.environ.get('NIXL_BACKEND', 'UCX')\n    if x not in ('UCX', 'LIBFABRIC'):\n        x = 'UCX'\n    bs = [x]\n    c = api.nixl_agent_config(backends=bs)\n    return api.nixl_agent(n, c)",
            "if os.environ.get('NIXL_BACKEND') == 'LIBFABRIC':\n        bs = ['LIBFABRIC']\n    else:\n        bs = ['UCX']\n    return api.nixl_agent(n, api.nixl_agent_config(backends=bs))",
            "x = os.environ.get('NIXL_BACKEND')\n    if x:\n        c = api.nixl_agent_config(backends=[x])\n    else:\n        c = None\n    return api.nixl_agent(n, c)",
            "bs = [b.strip() for b in os.environ.get('NIXL_BACKEND', 'UCX').split(',')]\n    return api.nixl_agent(n, api.nixl_agent_config(backends=bs))",
            "return api.nixl_agent(n, api.nixl_agent_config(backends=chosen()))",
            "return api.nixl_agent(n, CONFIG)",
            "return api.nixl_agent(n, api.nixl_agent_config(backends=[os.environ.get(NAME)]))",
            "if os.environ.get('NIXL_BACKEND'):\n        c = api.nixl_agent_config(backends=['X'])\n        return api.nixl_agent(n, c)",
            "c = api.nixl_agent_config()\n    c.backends = [os.environ['NIXL_BACKEND']]\n    return api.nixl_agent(n, c)",
            "return api.nixl_agent(n, api.nixl_agent_config(backends=['LIBFABRIC' if 'NIXL_BACKEND' in os.environ else 'UCX']))",
        ];
        for body in inside {
            let text = format!(
                "import os\nimport nixl._api as api\nNAME = 'NIXL_BACKEND'\nCONFIG = api.nixl_agent_config(backends=[os.environ.get(NAME)])\n\
                 def chosen():\n    value = os.environ.get('NIXL_BACKEND')\n    return [value or 'UCX']\ndef f(n):\n    {body}\n"
            );
            assert_eq!(one(&text), "env NIXL_BACKEND", "{body}");
        }
        let from_import = "from os import environ as e\nimport nixl._api as api\napi.nixl_agent('a', api.nixl_agent_config(backends=[e['X_BACKEND']]))";
        assert_eq!(one(from_import), "env X_BACKEND");
        let attribute = "import os\nimport nixl._api as api\nclass C:\n    def __init__(self):\n        self.b = [os.environ['MX']]\n    def f(self):\n        return api.nixl_agent('a', api.nixl_agent_config(backends=self.b))";
        assert_eq!(one(attribute), "env MX");
        let not_os = "import myos as os\nimport nixl._api as api\napi.nixl_agent('a', api.nixl_agent_config(backends=[os.environ['X']]))";
        assert_eq!(one(not_os), "configured");
        let other_variable = "import os\nimport nixl._api as api\ndef f():\n    if os.environ.get('DEBUG'):\n        print()\n    return api.nixl_agent('a')";
        assert_eq!(one(other_variable), "bare");
    }

    #[test]
    fn names_that_go_round_in_circles_end() {
        assert_eq!(one("import nixl._api as api\na = b\nb = a\napi.nixl_agent('x', a)"), "unclear");
        assert_eq!(shapes("nixl_agent = nixl_agent\nnixl_agent('x')").len(), 0);
    }
}
